"""Generate a data set in nuScenes' format: a small town and drives through it."""

import sys

from drivemim.cli.town import main

if __name__ == "__main__":
    sys.exit(main())
