"""Measure leakage and object coverage of each mask strategy; print a table, write a JSON file."""

from drivemim.cli.analyze_masks import main

if __name__ == "__main__":
    main()
