"""Run the command line: ``python -m drivemim COMMAND ...``."""

import sys

from drivemim.cli import main

sys.exit(main())
