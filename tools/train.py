"""Train a pretrainer or a detector: python tools/train.py CONFIG."""

from drivemim.cli.train import main

if __name__ == "__main__":
    main()
