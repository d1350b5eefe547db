"""Build the index of a data set: nuScenes or nuImages tables, rigs, or folders of images."""

import sys

from drivemim.cli.index import main

if __name__ == "__main__":
    sys.exit(main())
