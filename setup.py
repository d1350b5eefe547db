"""Add the configs to the wheel; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copy ``configs/`` into the package, where ``drivemim train NAME`` looks for it."""

    def run(self) -> None:
        """Build the package, then copy the configs."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "drivemim" / "configs"
            shutil.rmtree(target, ignore_errors=True)
            skipped = shutil.ignore_patterns("__pycache__")
            shutil.copytree("configs", target, ignore=skipped)


setup(cmdclass={"build_py": BuildWithConfigs})
