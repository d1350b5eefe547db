"""Adapt your own MMDetection config to an exported backbone.

drivemim transfer --config YOURS.py --backbone EXPORT.safetensors --out TRANSFER.py
"""

from __future__ import annotations

import argparse

from drivemim.arguments import ArgumentParser
from drivemim.process_ends import one_line_errors
from drivemim.transfer.detector_config import describe_stages, write_detector_config
from drivemim.trust import add_trust_option


def main() -> None:
    """Parse the command line, check and write the config."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config",
        required=True,
        help="path of your config, name of one that ships with DriveMIM, or "
        "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py",
    )
    parser.add_argument("--backbone", required=True, help="file written by drivemim export")
    parser.add_argument("--out", help="config to write, which inherits yours; default: print it")
    parser.add_argument(
        "--plain", action="store_true", help="import nothing of DriveMIM: load the export's .pth"
    )
    add_trust_option(parser)
    args = parser.parse_args()
    with one_line_errors():
        written = write_detector_config(args.config, args.backbone, out=args.out, plain=args.plain)
    print(f"{describe_stages(written.stages)}\n\n{written.report}\n")
    print(written.text if args.out is None else f"{args.out} inherits {args.config} and sets:")
    if args.out is not None:
        for setting in written.settings:
            print(f"  {setting.key}: {setting.reason}")
