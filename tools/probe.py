"""Probe a frozen backbone on pedestrians and vehicles: python tools/probe.py CONFIG ..."""

import sys

from drivemim.cli.probe import main

if __name__ == "__main__":
    sys.exit(main())
