"""Export a pretrained backbone: drivemim export CHECKPOINT [OUT.safetensors]."""

from __future__ import annotations

from pathlib import Path

from drivemim.arguments import ArgumentParser
from drivemim.process_ends import one_line_errors
from drivemim.transfer.exporting import EXPORT, export_backbone
from drivemim.transfer.run_checkpoints import checkpoint_in
from drivemim.trust import add_trust_option


def main() -> None:
    """Parse the command line and export."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "checkpoint", help="checkpoint of a pretraining run, or its folder for the newest one"
    )
    parser.add_argument(
        "out",
        nargs="?",
        help=".safetensors file; a .pth and a model card are written too (default: "
        f"{EXPORT} beside the checkpoint)",
    )
    parser.add_argument("--config", help="config of the run, instead of the one in the checkpoint")
    parser.add_argument("--ema", action="store_true", help="export the averaged weights")
    parser.add_argument(
        "--input-size",
        nargs=2,
        type=int,
        metavar=("H", "W"),
        help="height and width in pixels at which features are recorded, to be compared at loading "
        "(default: the image_size of the run)",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=[],
        metavar="NAME=FILE.json",
        help="results for the model card, for example of drivemim probe or drivemim test",
    )
    add_trust_option(parser)
    args = parser.parse_args()
    with one_line_errors():
        checkpoint = checkpoint_in(Path(args.checkpoint))
        out = args.out or checkpoint.with_name(EXPORT)
        metadata = export_backbone(
            checkpoint,
            out,
            config=args.config,
            ema=args.ema,
            input_size=tuple(args.input_size) if args.input_size else None,
            metrics=args.metrics,
        )
    print(
        f"{out}: {metadata['architecture']['type']}, strides {metadata['strides']}, "
        f"iteration {metadata['source']['iteration']}"
    )
