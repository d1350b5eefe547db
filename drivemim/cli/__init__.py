"""The ``drivemim`` command: ``drivemim COMMAND ...``, or ``python -m drivemim COMMAND ...``.

Each command is a module of this package. The repository has a script for each, with the same
options.
"""

from __future__ import annotations

import sys
from importlib import import_module

from drivemim import __version__
from drivemim.errors import did_you_mean
from drivemim.process_ends import one_line_stops

COMMANDS = {
    "index": "index a data set: nuScenes, nuImages, rigs, or folders of images and videos",
    "pretrain": "pretrain a backbone on a folder or an index, and export it",
    "train": "pretrain a backbone, or train a detector, with a config",
    "export": "export a pretrained backbone",
    "transfer": "adapt an MMDetection config of your own to an exported backbone",
    "test": "evaluate a detector",
    "predict": "draw a detector's detections on images, folders, videos or an index",
    "probe": "train linear probes on the frozen features of backbones",
    "visualize": "draw masks and reconstructions of a checkpoint",
    "visualize-masks": "draw the masks of a config",
    "analyze-masks": "measure what masks leak and cover",
    "town": "generate a small town as a data set in nuScenes format",
    "check-env": "check the installed packages",
}


def main() -> int | None:
    """Run a command; return its exit code."""
    arguments = sys.argv[1:]
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        lines = [f"  {command:{width}}  {does}" for command, does in COMMANDS.items()]
        print("\n".join(["usage: drivemim COMMAND ...", "", *lines, ""]))
        print("drivemim COMMAND --help lists the options of a command.")
        return 0
    if name == "--version":
        print(f"drivemim {__version__}")
        return 0
    if name not in COMMANDS:
        print(
            f"drivemim: there is no command '{name}'{did_you_mean(name, COMMANDS)}", file=sys.stderr
        )
        return 2
    sys.argv = [f"drivemim {name}", *arguments[1:]]
    with one_line_stops():  # Ctrl-C may also come during the imports, which take seconds
        result: int | None = import_module(f"drivemim.cli.{name.replace('-', '_')}").main()
    return result
