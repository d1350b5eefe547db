"""Adapt your own MMDetection config to an exported backbone."""

from drivemim.cli.transfer import main

if __name__ == "__main__":
    main()
