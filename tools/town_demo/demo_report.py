"""The demo's report: clips, masks, reconstructions, losses, and the detectors' results."""

from __future__ import annotations

import math
import platform
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

import drivemim
from drivemim.data.classes import CLASSES
from drivemim.environment import OPENMMLAB, OTHERS, installed_version
from drivemim.evaluation.results_file import read_curves, read_metrics
from drivemim.registry import MODELS
from drivemim.visualization import (
    Chart,
    Code,
    Picture,
    ReportSection,
    Table,
    Text,
    ap_bars,
    encode_image,
    figure_svg,
    loss_curves,
    miss_rate_chart,
    precision_recall_chart,
    read_curve,
    reliability_chart,
    render_report,
    slice_bars,
    write_report,
)
from drivemim.visualization.html_report import ReportPart
from drivemim.visualization.score_plots import DetectorCurves
from town_demo.demo_plan import INITS, PRETRAIN_CONFIG, DemoSettings
from workflow.steps import StepResult

Metrics = Mapping[str, float]

COMPARED_METRIC = "drivemim/mAP50"
TOO_SHORT = "A quick demo is too short to compare the two."

AP_ROWS = {
    "drivemim/pedestrian_AP": "pedestrian",
    "drivemim/vehicle_AP": "vehicle",
    "drivemim/mAP": "mean",
    "drivemim/mAP50": "mean, AP50",
}
ERROR_ROWS = {
    "drivemim/pedestrian_LAMR": "pedestrian, log-average miss rate",
    "drivemim/pedestrian_ECE": "pedestrian, calibration error",
    "drivemim/vehicle_ECE": "vehicle, calibration error",
}
_DISTANCE = re.compile(r"^drivemim/(\w+)_AP\[distance (.+)\]$")


def write_demo_report(
    settings: DemoSettings, results: Sequence[StepResult], work_dir: Path
) -> Path:
    """Collect the results of the steps in ``work_dir`` into ``work_dir/report.html``.

    Args:
        settings: settings of the demo.
        results: outcomes of its steps.
        work_dir: the demo's folder.

    Returns:
        The report's path.
    """
    files = {name: work_dir / f"results-{init}.json" for init, name in INITS.items()}
    initialisations = {name: read_metrics(path) for name, path in files.items()}
    curves = {f"from {name}": read_curves(path) for name, path in files.items()}
    sections = [
        ReportSection("Detection results", _score_parts(initialisations)),
        ReportSection("Detections", _detection_parts(work_dir)),
        ReportSection("Errors of the detectors", _failure_parts(initialisations, curves)),
        ReportSection("Input of pretraining", _clip_parts(settings, work_dir)),
        ReportSection("Masks and reconstructions", _reconstruction_parts(settings, work_dir)),
        ReportSection("Losses", _loss_parts(work_dir)),
        ReportSection("Times", [_times(results)]),
        ReportSection("Commands and versions", _provenance(settings, results)),
    ]
    path = work_dir / "report.html"
    write_report(path, render_report("DriveMIM demo", _lead(settings, work_dir), sections))
    return path


@dataclass(frozen=True)
class Outcome:
    """The comparison of the two detectors.

    Attributes:
        gain: mAP50 of the detector from the pretrained backbone, minus that of the one from random
            initialisation; NaN if either has none.
        sentence: the result as a sentence.
    """

    gain: float
    sentence: str


def read_outcome(work_dir: Path) -> Outcome:
    """Compare the detectors' mAP50, read from the results in ``work_dir``."""
    pretrained, random = (
        read_metrics(work_dir / f"results-{init}.json").get(COMPARED_METRIC, math.nan)
        for init in INITS
    )
    gain = pretrained - random
    numbers = f"mAP50 {_percent(pretrained)} % against {_percent(random)} %"
    if math.isnan(gain):
        return Outcome(gain, f"The detectors cannot be compared: {numbers}.")
    if gain > 0:
        better = "The detector from the pretrained backbone was better than from random"
    elif gain < 0:
        better = "The detector from the pretrained backbone was worse than from random"
    else:
        better = "The detector from the pretrained backbone was as good as from random"
    return Outcome(gain, f"{better} initialisation: {numbers} ({100 * gain:+.1f} points).")


def _lead(settings: DemoSettings, work_dir: Path) -> str:
    outcome = read_outcome(work_dir).sentence
    if settings.is_meaningless:
        outcome = f"{outcome} {TOO_SHORT}"
    return (
        f"{outcome} The backbone was pretrained on images of a generated "
        "town, without boxes. The same detector was then fine-tuned from it and from random "
        f"initialisation for {settings.finetune_iterations} iterations each, with the same frames "
        "in the same order. Both were evaluated on scenes that neither saw. This is a single seed, "
        "so there is no spread."
    )


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def _score_parts(initialisations: Mapping[str, Metrics]) -> list[ReportPart]:
    names = list(initialisations)
    keys = list(dict.fromkeys(key for metrics in initialisations.values() for key in metrics))
    distances = [key for key in keys if _DISTANCE.match(key)]
    chart = ap_bars(initialisations, list(AP_ROWS), list(AP_ROWS.values()))
    rows = [_score_row(label, key, initialisations) for key, label in AP_ROWS.items()]
    distance_rows = []
    for key in distances:
        match = _DISTANCE.match(key)
        assert match is not None
        distance_rows.append(_score_row(f"{match[1]}, {match[2]}", key, initialisations))
    header = ["", *(f"from {name}" for name in names), "difference", "objects"]
    return [
        Chart(figure_svg(chart), "COCO AP (IoU 0.50 to 0.95) on mini_val, percent."),
        Table(header, rows, "AP in percent."),
        Table(header, distance_rows, "AP in percent, by the object's distance from the vehicle."),
    ]


def _detection_parts(work_dir: Path) -> list[ReportPart]:
    """Show both detectors' results on the same images, one above the other."""
    parts: list[ReportPart] = [
        Text(
            "The same images twice: above the detector from the pretrained backbone, below the one "
            "from random initialisation. Each picture has as many detections, the highest-scoring "
            "ones, as annotated objects: pedestrians red, vehicles blue, with the score in "
            "percent. Annotated objects are white. Grey objects are ignored, because they are too "
            "small or too far."
        )
    ]
    folders = [work_dir / f"detections-{init}" for init in INITS]
    for path in sorted(folders[0].glob("*.jpg")):
        pictures = [cv2.imread(str(folder / path.name)) for folder in folders]
        stacked = np.concatenate(pictures).astype(np.uint8, copy=False)
        parts.append(Picture(encode_image(stacked), path.stem.split("_", 1)[1]))
    return parts


def _failure_parts(
    initialisations: Mapping[str, Metrics], curves: DetectorCurves
) -> list[ReportPart]:
    detectors = {f"from {name}": metrics for name, metrics in initialisations.items()}
    rows = [_score_row(label, key, initialisations)[:-1] for key, label in ERROR_ROWS.items()]
    return [
        Table(["", *detectors, "difference"], rows, "Percent; lower is better."),
        Chart(figure_svg(precision_recall_chart(curves, CLASSES)), "Precision over recall."),
        Chart(
            figure_svg(miss_rate_chart(curves, CLASSES)),
            "Fraction of objects missed over false positives per image, at IoU 0.50. The "
            "log-average miss rate is the geometric mean over the shaded part.",
        ),
        Chart(
            figure_svg(reliability_chart(curves, CLASSES)),
            "Fraction of correct detections over their score, at IoU 0.50. On the dotted line, the "
            "scores are calibrated. Larger markers stand for more detections.",
        ),
        *(
            Chart(
                figure_svg(slice_bars(detectors, name)),
                f"AP50 of {name}s in slices of the data; slices without objects are left out.",
            )
            for name in CLASSES
        ),
    ]


def _score_row(label: str, key: str, initialisations: Mapping[str, Metrics]) -> list[str]:
    """Return a table row: label, value of each detector, difference, number of objects.

    The number of objects is "-" unless the metric is an AP.
    """
    values = [metrics.get(key, math.nan) for metrics in initialisations.values()]
    # Use the rounded numbers as shown; adding 0 turns -0.0 into 0.0.
    difference = round(100 * values[0], 1) - round(100 * values[-1], 1) + 0.0
    count = next(iter(initialisations.values())).get(re.sub(r"_AP\b", "_count", key), math.nan)
    return [
        label,
        *(_percent(value) for value in values),
        "-" if math.isnan(difference) else f"{difference:+.1f}",
        "-" if math.isnan(count) or "_AP" not in key else f"{count:.0f}",
    ]


def _clip_parts(settings: DemoSettings, work_dir: Path) -> list[ReportPart]:
    parts: list[ReportPart] = [
        Text(
            "Clips of scenes that pretraining did not see: one row per time step, one column per "
            "camera. Boxes of pedestrians are red, of vehicles blue. The chip in a box's corner "
            "has the colour of its track, the same in every frame. Pretraining does not read boxes."
        )
    ]
    for number in range(settings.pictures):
        parts.append(_picture(work_dir, f"clip-{number}.jpg", f"Clip {number + 1}"))
    return parts


def _reconstruction_parts(settings: DemoSettings, work_dir: Path) -> list[ReportPart]:
    parts: list[ReportPart] = [
        Text(
            "Original; what the encoder sees, hidden patches in grey; the decoder's "
            f"reconstruction{_pixels_note(work_dir)}; and its error, from black (none) to bright "
            "yellow, visible patches in light grey."
        )
    ]
    for number in range(settings.pictures):
        caption = f"Reconstruction of clip {number + 1}"
        parts.append(_picture(work_dir, f"reconstruction-{number}.jpg", caption))
    return parts


def _pixels_note(work_dir: Path) -> str:
    """Return what the target of the pretraining run says about the pixels that it draws."""
    cfg = Config.fromfile(str(work_dir / "pretrain" / Path(PRETRAIN_CONFIG).name))
    note = MODELS.build(cfg.model.target).pixels_note
    return f" ({note})" if note else ""


def _picture(work_dir: Path, name: str, caption: str) -> Picture:
    return Picture((work_dir / "pictures" / name).read_bytes(), caption)


def _loss_parts(work_dir: Path) -> list[ReportPart]:
    pretraining = {"pretraining": read_curve(work_dir / "pretrain")}
    finetuning = {
        f"from {name}": read_curve(work_dir / f"finetune-{init}") for init, name in INITS.items()
    }
    return [
        Chart(figure_svg(loss_curves(pretraining)), "Pretraining: error of the hidden patches."),
        Chart(figure_svg(loss_curves(finetuning)), "Fine-tuning: the detector's total loss."),
    ]


def _times(results: Sequence[StepResult]) -> Table:
    rows = [
        [done.step.title, f"{done.seconds:.0f} s" + (", in an earlier run" if done.skipped else "")]
        for done in results
    ]
    return Table(
        ["step", "time"],
        rows,
        "The two fine-tunings run side by side on half of the cores each, and so do the two "
        "evaluations.",
    )


def _provenance(settings: DemoSettings, results: Sequence[StepResult]) -> list[ReportPart]:
    versions = [f"drivemim {drivemim.__version__}", f"Python {platform.python_version()}"]
    packages = ("torch", "numpy", *(name for pair in OPENMMLAB.values() for name in pair), *OTHERS)
    versions += [
        f"{name} {version}" for name in packages if (version := installed_version(name)) is not None
    ]
    return [
        Text("Commands, which can also be run alone:"),
        Code("\n".join(f"python {shlex.join(done.step.command)}" for done in results)),
        Text("Settings:"),
        Code("\n".join(f"{name} = {value}" for name, value in asdict(settings).items())),
        Text("Versions: " + ", ".join(versions) + f". {platform.platform()}."),
    ]
