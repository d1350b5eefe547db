"""Pretrain on a folder or an index, and export the backbone: python tools/pretrain.py SOURCE."""

from drivemim.cli.pretrain import main

if __name__ == "__main__":
    main()
