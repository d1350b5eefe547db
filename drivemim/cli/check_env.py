"""List installed packages and a fix for each problem; exit with code 1 if there is one."""

from __future__ import annotations

from drivemim.arguments import ArgumentParser
from drivemim.environment import collect_env


def main() -> int:
    """Print the findings."""
    ArgumentParser(description=__doc__).parse_args()
    environment = collect_env()
    print(environment)
    return 1 if environment.problems else 0
