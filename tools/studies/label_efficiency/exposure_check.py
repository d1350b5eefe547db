"""Checks of the backbones' pretraining: did it see the study's labels or validation images?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drivemim.transfer.exposure import (
    Exposure,
    PretrainingRecord,
    check_boxes,
    check_images,
    read_record,
    unknown_frames,
)
from drivemim.transfer.frames_seen import KnownFrames
from studies.label_efficiency.inputs import LabelCount, StudyInputs, open_splits
from studies.label_efficiency.settings import LabelStudy, Run

BOXES_MARK, TRANSDUCTIVE_MARK = "†", "‡"


@dataclass(frozen=True, kw_only=True)
class InitNotes:
    """Remarks that must accompany an initialisation's results.

    Attributes:
        marks: marks after its name in tables and plots; empty for none.
        sentences: remarks below the tables and plots; those that explain the marks come first.
    """

    marks: str = ""
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Backbone:
    """What the pretraining of a backbone saw.

    Attributes:
        record: data of the pretraining, as recorded in the backbone's file.
        in_train: how much of the training split the pretraining saw.
        in_val: how much of the validation split the pretraining saw.
    """

    record: PretrainingRecord
    in_train: Exposure
    in_val: Exposure


def check_exposure(
    study: LabelStudy, inputs: StudyInputs, repository: Path
) -> dict[str, InitNotes]:
    """Refuse or mark initialisations whose pretraining saw more data than the study's tables state.

    An initialisation is refused at a label fraction if its pretraining read annotated boxes of
    more frames than the fraction has, or any boxes of ``val``; ``allow_boxes_read`` allows both.
    One whose pretraining saw images of ``val``, or does not record which images it saw, is refused
    unless the study is ``transductive``. Weights of other projects have no record of images; they
    are not refused.

    Args:
        study: settings of the study.
        inputs: files and subset sizes of the study.
        repository: folder that paths are relative to.

    Returns:
        Notes by name, for all initialisations with a backbone file.

    Raises:
        CheckpointError: if a backbone is damaged.
        ConfigError: if an initialisation is refused.
    """
    if not any(init.backbone for init in study.initialisations):
        return {}
    train, val = (KnownFrames(each.index, each.rows) for each in open_splits(study, repository))
    backbones_by_init: dict[str, dict[Path, _Backbone]] = {}
    for run in study.runs:
        if run.backbone is None:
            continue
        backbones = backbones_by_init.setdefault(run.init.name, {})
        if run.backbone not in backbones:
            record = read_record(repository / run.backbone)
            backbones[run.backbone] = _Backbone(
                record=record, in_train=record.exposure(train), in_val=record.exposure(val)
            )
        _check(study, run, backbones[run.backbone], inputs.counts[run.fraction, run.seed])
    return {
        name: _notes(study, inputs, list(backbones.values()))
        for name, backbones in backbones_by_init.items()
    }


def shown_name(name: str, notes: Mapping[str, InitNotes]) -> str:
    """Return the name of an initialisation with its marks."""
    return name + notes[name].marks if name in notes else name


def all_sentences(notes: Mapping[str, InitNotes]) -> list[str]:
    """Return the remarks of all initialisations, each with its name."""
    return [
        f"{shown_name(name, notes)}: {line}." for name in notes for line in notes[name].sentences
    ]


def _check(study: LabelStudy, run: Run, backbone: _Backbone, count: LabelCount) -> None:
    what, val = f"--init {run.init.name}", f"--val {study.val}"
    check_images(what, val, backbone.in_val, transductive=study.transductive)
    if study.allow_boxes_read:
        return
    labels = (
        f"--train {study.train}, of which a run with {100 * run.fraction:g} % of the labels has"
    )
    check_boxes(
        what, backbone.record, f"{labels} {count.frames}", backbone.in_train,
        max_read=count.frames,
        fix="evaluate it at a label fraction with as many frames (--fractions), ",
    )  # fmt: skip
    check_boxes(what, backbone.record, val, backbone.in_val, max_read=0, fix="")


def _notes(study: LabelStudy, inputs: StudyInputs, backbones: Sequence[_Backbone]) -> InitNotes:
    """Return the marks and remarks of an initialisation with these backbones."""
    smallest_subset = min(count.frames for count in inputs.counts.values())
    marks, lines = "", []
    box_readers = [backbone for backbone in backbones if backbone.record.annotated]
    if box_readers:
        # Backbones of one initialisation may differ: report the one that read the most boxes.
        in_train, in_val = (
            max((getattr(backbone, name) for backbone in box_readers), key=_max_frames_read)
            for name in ("in_train", "in_val")
        )
        too_many = _max_frames_read(in_train) > smallest_subset or _max_frames_read(in_val) > 0
        marks += BOXES_MARK * too_many
        lines.append(
            _boxes_read(study, in_train, in_val) + ", more labels than its row says" * too_many
        )
    most_seen = max(backbones, key=lambda backbone: backbone.in_val.images or 0).in_val
    if most_seen.images:
        marks += TRANSDUCTIVE_MARK
        lines.append(
            f"transductive, its pretraining saw {most_seen.images} of the {most_seen.frames} "
            f"images of {study.val}, on which it is evaluated"
        )
    elif any(
        backbone.in_val.images is None and backbone.in_val.unrecorded for backbone in backbones
    ):
        marks += TRANSDUCTIVE_MARK
    for backbone in backbones:
        lines += backbone.record.remarks()
        lines += unknown_frames(backbone.record, study.val, backbone.in_val)
    return InitNotes(marks=marks, sentences=tuple(dict.fromkeys(lines)))


def _boxes_read(study: LabelStudy, in_train: Exposure, in_val: Exposure) -> str:
    """Return the remark on the boxes that a pretraining read."""
    counts = [
        f"{'an unknown number' if each.boxes is None else each.boxes} of the {each.frames} frames "
        f"of {split}"
        for each, split in ((in_train, study.train), (in_val, study.val))
        if each.boxes != 0 and not each.boxes_unknown_by_initial_weights
    ]
    where = " and ".join(counts) or "frames of other data"
    return f"its pretraining read the annotated boxes of {where}"


def _max_frames_read(exposure: Exposure) -> float:
    """Return the largest possible number of frames whose boxes were read.

    It is inf if the number is unknown. It is 0 if the recorded pretraining read no boxes and only
    the weights that it started from may have.
    """
    if exposure.boxes_unknown_by_initial_weights:
        return 0
    return float("inf") if exposure.boxes is None else exposure.boxes
