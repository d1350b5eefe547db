"""Train a pretrainer or a detector: python tools/train.py CONFIG."""

import sys

from drivemim.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
