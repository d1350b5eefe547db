"""Run the command line: ``python -m drivemim COMMAND ...``."""

import sys

from drivemim.cli import main

if __name__ == "__main__":  # not in the worker processes, which import this module too
    sys.exit(main())
