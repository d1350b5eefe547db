"""Train linear probes on the frozen features of a backbone: drivemim probe CONFIG ..."""

from __future__ import annotations

from pathlib import Path

from drivemim.arguments import ArgumentParser
from drivemim.config.loading import add_config_options
from drivemim.evaluation.frozen_probe import probe_table
from drivemim.evaluation.results_file import results_json
from drivemim.files import ensure_writable, write_bytes
from drivemim.process_ends import one_line_errors
from drivemim.training.probing import probe_backbone
from drivemim.trust import add_trust_option


def main() -> None:
    """Parse the command line and probe."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config of a pretraining run")
    parser.add_argument(
        "--checkpoint",
        help="checkpoint of that run, its folder for the newest one, or an exported backbone; "
        "default: random initialisation",
    )
    parser.add_argument("--index", required=True, help="index of labelled frames")
    parser.add_argument(
        "--train", nargs="+", required=True, help="a split or scene names, to train the probes on"
    )
    parser.add_argument(
        "--val", nargs="+", required=True, help="a split or scene names, to evaluate the probes on"
    )
    parser.add_argument("--cameras", nargs="+", help="default: all")
    parser.add_argument(
        "--level", type=int, default=-1, help="map of the backbone to probe (default: last)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the probes, and of a random initialisation"
    )
    parser.add_argument("--device", default="cpu", help="device of the backbone (default: cpu)")
    parser.add_argument(
        "--transductive",
        action="store_true",
        help="allow a pretraining that saw images of --val, or may have",
    )
    parser.add_argument(
        "--allow-boxes-read",
        action="store_true",
        help="allow a pretraining that read annotated boxes of --val",
    )
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    add_config_options(parser)
    add_trust_option(parser)
    args = parser.parse_args()
    train, val = (names[0] if len(names) == 1 else names for names in (args.train, args.val))
    selection = {"index": args.index, "train": train, "val": val, "cameras": args.cameras}
    selection |= {"level": args.level, "seed": args.seed}
    allowed = {"transductive": args.transductive, "allow_boxes_read": args.allow_boxes_read}
    with one_line_errors():
        if args.out is not None:
            ensure_writable(args.out)
        results = probe_backbone(
            args.config,
            args.checkpoint,
            **selection,
            device=args.device,
            options=args.cfg_options,
            **allowed,
        )
        if args.out is not None:
            source = {"config": args.config, "checkpoint": args.checkpoint, **selection}
            write_bytes(args.out, results_json({**source, **results}))
    print(probe_table(results))
    for note in results["notes"]:
        print(f"- {args.checkpoint}: {note}.")
