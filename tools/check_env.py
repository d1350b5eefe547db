"""List installed packages and a fix for each problem; exit with code 1 if there is one."""

import sys
from pathlib import Path

try:
    from drivemim.cli.check_env import main
except ImportError as error:
    sys.exit(
        f"WRONG: {error} in {sys.executable}\n"
        f"  fix: make setup, then .venv/bin/python tools/{Path(__file__).name}"
    )

if __name__ == "__main__":
    sys.exit(main())
