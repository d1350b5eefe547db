"""List installed packages and a fix for each problem; exit with code 1 if there is one."""

import argparse
import sys
from pathlib import Path

try:
    from drivemim.environment import inspect_environment
except ImportError as error:
    sys.exit(
        f"WRONG: {error} in {sys.executable}\n"
        f"  cure: make setup, then .venv/bin/python tools/{Path(__file__).name}"
    )


def main() -> int:
    """Print the findings."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    environment = inspect_environment()
    print(environment)
    return 1 if environment.problems else 0


if __name__ == "__main__":
    sys.exit(main())
