"""Export a pretrained backbone: python tools/export_backbone.py CHECKPOINT OUT.safetensors."""

from drivemim.cli.export import main

if __name__ == "__main__":
    main()
