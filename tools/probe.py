"""Probe a frozen backbone on pedestrians and vehicles: python tools/probe.py CONFIG ..."""

from drivemim.cli.probe import main

if __name__ == "__main__":
    main()
