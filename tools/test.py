"""Evaluate a checkpoint: python tools/test.py CONFIG CHECKPOINT."""

from drivemim.cli.test import main

if __name__ == "__main__":
    main()
