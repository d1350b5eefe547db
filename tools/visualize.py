"""Draw a pretrainer's input, mask and reconstruction: visualize.py CONFIG CHECKPOINT."""

from drivemim.cli.visualize import main

if __name__ == "__main__":
    main()
