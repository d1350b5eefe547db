"""Adapt your own MMDetection config to an exported backbone."""

import sys

from drivemim.cli.transfer import main

if __name__ == "__main__":
    sys.exit(main())
