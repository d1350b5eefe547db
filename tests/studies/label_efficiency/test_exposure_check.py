"""Initialisations whose pretraining saw evaluation images or more labels are refused or marked."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from in_process import run_script
from seen_data import index_of, metadata_of, write_backbone, write_frames

from drivemim.errors import ConfigError
from studies.label_efficiency.exposure_check import (
    InitNotes,
    all_sentences,
    check_exposure,
    shown_name,
)
from studies.label_efficiency.inputs import prepare_inputs
from studies.label_efficiency.results import headline, report, scores_of, write_results
from studies.label_efficiency.settings import Initialisation

from .conftest import CONFIG, SCENES, link_configs

METRIC = "drivemim/mAP50"


@pytest.fixture
def place(tmp_path, repository):
    """A repository with labelled frames of which no two are alike."""
    link_configs(tmp_path, repository)
    write_frames(tmp_path / "data", SCENES)
    index_of(tmp_path / "data", tmp_path / "data" / "index.arrow", "train", "val")
    return tmp_path


@pytest.fixture
def check(place, make_study):
    """Notes on ``tried``, whose backbones record this; fractions 100 and 10 %, seeds 0, 1."""

    def run(*metadata, **changes):
        for seed, each in enumerate(metadata):
            write_backbone(place / f"tried-{seed}.safetensors", each)
        file = "tried-{seed}.safetensors" if len(metadata) > 1 else "tried-0.safetensors"
        initialisations = (Initialisation.parse("random"), Initialisation.parse(f"tried={file}"))
        study = make_study(initialisations=initialisations, **changes)
        return check_exposure(study, prepare_inputs(study, place), place)

    return run


@pytest.fixture
def saw(place):
    """Return the record of a pretraining on an index of these splits and folders."""

    def record(*splits, folders=(), masking="RandomMask", **part):
        path = place / f"{'-'.join(splits)}.arrow"
        roots = [place / "data" / name for name in folders]
        index_of(place / "data", path, *splits, roots=roots)
        return metadata_of({"index": str(path), **part}, masking=masking)

    return record


def test_a_pretraining_on_train_without_boxes_has_no_notes(check, saw):
    assert check(saw("train")) == {"tried": InitNotes()}


def test_boxes_of_more_labels_than_the_fraction_are_refused(check, saw):
    # 10 % of 20 frames are 2; pretraining read the boxes of all 20.
    message = (
        r"--init tried: its pretraining read the annotated boxes of 20 of the 20 frames of --train "
        r"train, of which a run with 10 % of the labels has 2 \(read by ObjectMask\).*"
        r"--fractions.*--allow-boxes-read"
    )
    with pytest.raises(ConfigError, match=message):
        check(saw("train", masking="ObjectMask"))
    notes = check(saw("train", masking="ObjectMask"), allow_boxes_read=True)
    assert notes["tried"] == InitNotes(
        marks="†",
        sentences=(
            "its pretraining read the annotated boxes of 20 of the 20 frames of train, more labels "
            "than its row says",
        ),
    )


def test_boxes_of_no_more_labels_than_the_fraction_are_reported_and_not_marked(check, saw):
    whole = InitNotes(
        sentences=("its pretraining read the annotated boxes of 20 of the 20 frames of train",)
    )
    assert check(saw("train", masking="ObjectMask"), fractions=(1.0,))["tried"] == whole
    # Sequence c has 4 of the 20 frames: as many as a fifth of them, and more than 15 %.
    part = saw("train", masking="ObjectMask", scenes=["c"])
    (line,) = check(part, fractions=(1.0, 0.2))["tried"].sentences
    assert "boxes of 4 of the 20 frames of train" in line
    with pytest.raises(ConfigError, match="boxes of 4 .* with 15 % of the labels has 3"):
        check(part, fractions=(1.0, 0.15))


def test_every_backbone_of_an_initialisation_is_checked(check, saw):
    plain = saw("train")
    with pytest.raises(ConfigError, match="read by ObjectMask"):
        check(plain, saw("train", masking="ObjectMask"))


def test_images_of_val_make_a_study_transductive(check, saw):
    # In the pretraining's index they are a folder without labels, as CamVid's once were.
    metadata = saw("train", folders=["d"], masking="RandomMask")
    with pytest.raises(ConfigError, match=r"saw 10 of the 10 images of --val val;.*--transductive"):
        check(metadata)
    with pytest.raises(ConfigError, match="images of --val val"):
        check(metadata, allow_boxes_read=True)
    assert check(metadata, transductive=True)["tried"] == InitNotes(
        marks="‡",
        sentences=(
            "transductive, its pretraining saw 10 of the 10 images of val, on which it is "
            "evaluated",
        ),
    )


def test_boxes_of_val_need_both_options(check, saw):
    metadata = saw("val", masking="ObjectMask")
    with pytest.raises(ConfigError, match="boxes of 10 of the 10 frames of --val val"):
        check(metadata, transductive=True)
    notes = check(metadata, transductive=True, allow_boxes_read=True)["tried"]
    assert notes.marks == "†‡"
    assert "boxes of 10 of the 10 frames of val, more labels" in notes.sentences[0]


def test_the_most_that_any_backbone_read_is_marked(check, saw):
    """One backbone read more boxes of train, and the other those of val."""
    notes = check(
        saw("train", masking="ObjectMask"), saw("val", masking="ObjectMask"),
        transductive=True, allow_boxes_read=True, fractions=(1.0,),
    )["tried"]  # fmt: skip
    assert notes.marks == "†‡"
    assert notes.sentences[0] == (
        "its pretraining read the annotated boxes of 20 of the 20 frames of train and 10 of the 10 "
        "frames of val, more labels than its row says"
    )


def test_boxes_without_labels_do_not_count_as_labels(check, saw):
    moving = saw("train", masking="ObjectMask", boxes="MotionBoxes", num_frames=2)
    assert check(moving) == {"tried": InitNotes()}
    boxes = {"type": "PseudoLabelBoxes", "file": "results.json"}
    notes = check(saw("train", masking="ObjectMask", boxes=boxes))["tried"]
    assert notes.marks == ""
    assert "of a detector (PseudoLabelBoxes)" in notes.sentences[0]


def test_unknown_facts_are_reported_in_one_line(check, saw):
    assert check(None)["tried"].sentences == (
        "it is not an export of DriveMIM, so the data of its pretraining is unknown",
    )
    older = saw("train")
    del older["data"][0]["seen"]
    with pytest.raises(ConfigError, match=r"unknown whether .* images of --val val: .*older exp"):
        check(older)
    notes = check(older, transductive=True)["tried"]
    assert notes.marks == "‡"
    assert "older export" in notes.sentences[0]
    assert "may have seen images of val" in notes.sentences[1]
    older["recipe"] = {"masks_use_boxes": True}
    with pytest.raises(ConfigError, match="boxes of an unknown number of the 20 frames"):
        check(older, transductive=True)
    assert check(older, allow_boxes_read=True, transductive=True)["tried"].marks == "†‡"


def test_random_initialisation_alone_has_nothing_to_check(place, make_study):
    study = make_study(initialisations=(Initialisation.parse("random"),))
    assert check_exposure(study, prepare_inputs(study, place), place) == {}


def test_marks_are_in_all_tables_sentences_and_plots(place, make_study):
    study = make_study(
        initialisations=(Initialisation.parse("random"), Initialisation.parse("good=good.pth"))
    )
    (place / "good.pth").touch()
    inputs = prepare_inputs(study, place)
    notes = {"good": InitNotes(marks="†", sentences=("it read boxes", "it is fine"))}
    assert shown_name("random", notes) == "random"
    assert all_sentences(notes) == ["good†: it read boxes.", "good†: it is fine."]
    values = {"random": 0.2, "good": 0.3}
    results = {run: {METRIC: values[run.init.name] + run.fraction / 10} for run in study.runs}
    text = report(study, inputs, results, notes)
    assert "| random | good† | good† - random |" in text
    assert "| good† needs (over seeds) |" in text
    assert text.endswith("- good†: it read boxes.\n- good†: it is fine.\n")
    assert headline(study, inputs, scores_of(study, results, METRIC), notes).startswith("- good† ")
    files = write_results(study, inputs, results, place, notes)
    assert (place / files[1]).read_text() == text
    document = json.loads((place / files[0]).read_text())
    sentences = ["it read boxes", "it is fine"]
    assert document["notes"] == {"good": {"marks": "†", "sentences": sentences}}
    assert document["settings"]["transductive"] is False
    unmarked = report(replace(study), inputs, results)
    assert "†" not in unmarked


def run_tool(place, *options):
    return run_script(
        "tools/label_efficiency.py", CONFIG, "--train", "train",
        "--index", place / "data/index.arrow", "--val", "val", "--iterations", "2",
        "--init", "random", "--init", f"tried={place / 'tried-0.safetensors'}",
        "--fractions", "0.1", "--seeds", "0", "--work-dir", place / "work", *options,
    )  # fmt: skip


@pytest.mark.slow
def test_the_tool_refuses_before_it_trains_anything(place, saw):
    write_backbone(place / "tried-0.safetensors", saw("train", "val", masking="ObjectMask"))
    done = run_tool(place)
    assert done.stderr.startswith("ConfigError: --init tried: its pretraining saw 10 of the 10")
    done = run_tool(place, "--transductive")
    assert done.stderr.startswith("ConfigError: --init tried: its pretraining read the annotated")
    done = run_tool(place, "--transductive", "--allow-boxes-read")
    # With the option, the next check fails: the file has no weights.
    assert done.stderr.startswith("CheckpointError: --init tried: ")
    assert [path.name for path in Path(place / "work").iterdir()] == ["inputs"]
