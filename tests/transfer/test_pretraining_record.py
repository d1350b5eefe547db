"""Exports record the data of their run, even if index and weights change before the export."""

import numpy as np
import pytest
import torch
from seen_data import index_of, write_frames

from drivemim.compat import read_checkpoint
from drivemim.config.loading import load_config
from drivemim.data.index.frame_index import FrameIndex
from drivemim.training.autocast import mixed_precision
from drivemim.training.run import train
from drivemim.transfer.exporting import export_backbone
from drivemim.transfer.exposure import Exposure, read_record
from drivemim.transfer.frames_seen import KnownFrames
from drivemim.transfer.pretraining_record import checkpoint_record
from drivemim.transfer.recipe import SETTINGS

SPLITS = {"train": {"a": 6, "b": 4}, "val": {"c": 5}}


@pytest.fixture
def place(tmp_path):
    write_frames(tmp_path / "data", SPLITS)
    index_of(tmp_path / "data", tmp_path / "train.arrow", "train")
    index_of(tmp_path / "data", tmp_path / "all.arrow", "train", "val")
    index_of(tmp_path / "data", tmp_path / "evaluated.arrow", "train", "val")
    return tmp_path


@pytest.fixture
def run(repository, place):
    """Train on an index, and return the checkpoint."""

    def pretrain(name, index, iterations=2, resume=None, amp=False, **options):
        dataset = {"_delete_": True, "type": "ClipDataset", "index": str(place / index),
                   "image_size": (64, 96)}  # fmt: skip
        config = place / f"{name}.py"
        config.write_text(
            f"_base_ = {str(repository / 'tests/toys/configs/vit.py')!r}\n"
            f"train_dataloader = dict(dataset={dataset!r})\n"
        )
        length = {"train_cfg.max_iters": iterations}
        if "param_scheduler" not in options:
            length["param_scheduler.0.end"] = iterations
        options = {**length, **options}
        folder = place / f"{name}-pretraining-record"
        train(config, work_dir=folder, options=options, resume=resume, amp=amp)
        return folder / f"iter_{iterations}.pth"

    return pretrain


def export(checkpoint, out):
    export_backbone(checkpoint, out)
    return out, out.with_suffix(".md").read_text()


def exposure(place, path, split="val"):
    index = FrameIndex.open(place / "evaluated.arrow")
    rows = np.flatnonzero(np.isin(index.frames.scene, index.scene_rows(split)))
    return read_record(path).exposure(KnownFrames(index, rows))


def test_a_detector_with_an_encoder_is_not_a_pretraining_run(repository, tmp_path, monkeypatch):
    """The file is trusted, so the types in its config are not checked."""
    cfg = load_config(repository / "configs" / "detection" / "dino_resnet50_nuscenes.py")
    assert {"encoder", "backbone"} <= cfg.model.keys()
    path = tmp_path / "detector.pth"
    monkeypatch.setenv("DRIVEMIM_TRUST_CHECKPOINT", str(path))
    assert checkpoint_record({"cfg": cfg.pretty_text}, str(path)) is None


@pytest.mark.parametrize("start", ["export", "checkpoint"])
def test_a_run_that_starts_from_another_saw_its_frames(place, run, start):
    first = run("first", "all.arrow")
    if start == "export":
        first, _ = export(first, place / "first.safetensors")
    second = run("second", "train.arrow", load_from=str(first))
    first.unlink()
    out, card = export(second, place / "second.safetensors")
    assert f"| started from | {first}, which started from random initialisation |" in card
    for path in (out, second):
        assert exposure(place, path) == Exposure(frames=5, images=5, boxes=0)
        assert read_record(path).started_from == str(first)
        assert read_record(path).remarks() == []


def test_a_run_that_starts_from_external_weights_is_unknown(place, run):
    state = read_checkpoint(run("first", "train.arrow"))["state_dict"]
    weights = {key: value for key, value in state.items() if key.startswith("encoder.backbone.")}
    weights = weights or {key: value for key, value in state.items() if key.startswith("encoder.")}
    names = {key.removeprefix("encoder."): value for key, value in weights.items()}
    external = place / "external.pth"
    torch.save({"state_dict": names}, external)
    out, card = export(run("next", "train.arrow", load_from=str(external)), place / "x.safetensors")
    assert exposure(place, out) == Exposure(frames=5, images=None, boxes=None)
    (line,) = read_record(out).remarks()
    assert line == f"its pretraining started from {external}; its data is unknown"
    assert "random initialisation" not in card


def test_an_index_that_is_built_again_after_training_changes_nothing(place, run):
    checkpoint = run("one", "all.arrow")
    index_of(place / "data", place / "all.arrow", "train")
    out, _ = export(checkpoint, place / "one.safetensors")
    assert exposure(place, out) == Exposure(frames=5, images=5, boxes=0)
    (place / "all.arrow").unlink()
    assert exposure(place, checkpoint).images == 5


def test_a_checkpoint_without_a_record_is_unknown_and_says_so(place, run):
    checkpoint = run("one", "all.arrow")
    content = read_checkpoint(checkpoint)
    del content["meta"]["pretraining"]
    torch.save(content, checkpoint)
    out, card = export(checkpoint, place / "one.safetensors")
    assert "the frames that were seen are unknown; its checkpoint has no record" in card
    for path in (out, checkpoint):
        assert exposure(place, path).images is None
        (line,) = read_record(path).remarks()
        assert "the index may have changed since" in line


def test_a_resumed_run_on_other_data_saw_both(place, run, capsys):
    first = run("one", "all.arrow")
    capsys.readouterr()
    out = run("one", "train.arrow", iterations=4, resume=first)
    told = capsys.readouterr().out
    assert f"{first}: The run goes on with other data or settings: frames of" in told
    assert f"frames of {place / 'all.arrow'} before, of {place / 'train.arrow'} now." in told
    path, card = export(out, place / "both.safetensors")
    data = card.partition("## Data")[2].partition("## Recipe")[0]
    assert data.index(f"| index | {place / 'train.arrow'} |") < data.index(
        f"Data of the earlier {first}:\n\n| | |\n|---|---|\n| index | {place / 'all.arrow'} |"
    )
    limits = card.partition("## Limits")[2]
    for index in ("all.arrow", "train.arrow"):
        assert f"- {index}: time of day and weather are not recorded." in limits
    assert exposure(place, out) == Exposure(frames=5, images=5, boxes=0)
    assert exposure(place, out, "train").images == 10
    capsys.readouterr()
    same = run("one", "train.arrow", iterations=6, resume=out)
    assert "other data or settings" not in capsys.readouterr().out
    assert read_record(same) == read_record(out)


def test_changed_settings_of_a_resumed_run_are_named(place, run, capsys, monkeypatch):
    monkeypatch.chdir(place)
    first = run("one", "train.arrow")
    capsys.readouterr()
    dataset = "train_dataloader.dataset"
    options = {f"{dataset}.drop_incomplete": True, f"{dataset}.image_size": (64, 64),
               "train_dataloader.batch_size": 3, "model.masking": {
                   "_delete_": True, "type": "BlockMask", "mask_ratio": 0.5}}  # fmt: skip
    out = run("one", "train.arrow", iterations=4, resume=first, **options)
    told = capsys.readouterr().out
    assert "drop_incomplete=False before, True now" in told
    assert "image_size=[64, 96] before, [64, 64] now" in told
    assert "masking={'mask_ratio': 0.5, 'type': 'RandomMask'} before" in told or "masking=" in told
    _, card = export(out, place / "x.safetensors")
    # 2 iterations of 4 images, and 2 of 3.
    assert "| clips seen | 14 |" in card
    assert "| frames seen, missing ones included | 14 |" in card
    assert "| masks | BlockMask(mask_ratio=0.5); before: RandomMask(" in card
    # The same index by another path is the same data.
    same = {f"{dataset}.index": "train.arrow", f"{dataset}.scenes": ["a", "b"]}
    again = run("one", "train.arrow", iterations=6, resume=out, **{**options, **same})
    assert "other data or settings" not in capsys.readouterr().out
    assert read_record(again) == read_record(out)


OTHER = {
    "model.target": {"_delete_": True, "type": "PooledPixels", "size": 8},
    "optim_wrapper.clip_grad": None,
}
CONSTANT = {"param_scheduler": []}


def recipe_rows(card):
    lines = card.partition("## Recipe")[2].partition("## ")[0].splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return {cell[0]: cell[1] for cell in cells if len(cell) == 2}


def test_other_settings_of_a_resumed_run_are_named_with_their_part(place, run, capsys):
    first = run("one", "train.arrow", **CONSTANT)
    capsys.readouterr()
    same = run("one", "train.arrow", iterations=4, resume=first, **CONSTANT)
    assert "goes on with other" not in capsys.readouterr().out
    out = run("one", "train.arrow", iterations=6, resume=same, amp=True, **OTHER, **CONSTANT)
    told = capsys.readouterr().out
    amp = mixed_precision({})["type"]  # depends on the device
    assert (
        f"{same}: The run goes on with other settings: model.target={{'type': 'NormalizedPixels'}} "
        "before, {'size': 8, 'type': 'PooledPixels'} now; "
        f"optim_wrapper.type=OptimWrapper before, {amp} now; " in told
    )
    assert "optim_wrapper.clip_grad={'max_norm': 1.0} before, None now" in told
    assert "param_scheduler" not in told.partition("other settings")[2].partition("Model cards")[0]
    _, card = export(out, place / "two.safetensors")
    rows = recipe_rows(card)
    assert rows["target"] == f"PooledPixels(size=8); before: NormalizedPixels() ({same})"
    assert rows["optimizer wrapper (precision)"] == f"{amp}; before: OptimWrapper ({same})"
    now, _, before = rows["settings of the wrapper"].partition("; before: ")
    assert "clip_grad=None" in now
    assert "clip_grad=dict(max_norm=1.0)" in before
    assert before.endswith(f" ({same})")
    assert rows["decoder"] == "ClipDecoder(depth=1, embed_dims=16, num_heads=2)"
    # The data are the same, and are named once.
    assert card.count("| index |") == 1
    assert rows["started from"] == "random initialisation"

    back = run("one", "train.arrow", iterations=8, resume=out, **CONSTANT)
    weights, card = export(back, place / "three.safetensors")
    rows = recipe_rows(card)
    assert rows["target"] == f"NormalizedPixels(); before: PooledPixels(size=8) ({out})"
    assert rows["optimizer wrapper (precision)"] == f"OptimWrapper; before: {amp} ({out})"
    # Weights that another run starts from keep the settings of all their parts.
    _, card = export(run("next", "train.arrow", load_from=str(weights)), place / "four.safetensors")
    assert (
        recipe_rows(card)["target"] == f"NormalizedPixels(); before: PooledPixels(size=8) ({out})"
    )


def test_a_longer_schedule_is_named_and_the_earlier_one_kept(place, run, capsys):
    first = run("one", "train.arrow")
    capsys.readouterr()
    out = run("one", "train.arrow", iterations=4, resume=first)
    assert "other settings: param_scheduler.0.end=2 before, 4 now. " in capsys.readouterr().out
    _, card = export(out, place / "two.safetensors")
    now, _, before = recipe_rows(card)["schedule"].partition("; before: ")
    assert now == "CosineAnnealingLR(begin=0, by_epoch=False, end=4, eta_min_ratio=0.01)"
    assert before == now.replace("end=4", "end=2") + f" ({first})"


def test_records_of_older_versions_have_the_settings_of_their_config(place, run, capsys):
    """Such records have no settings, and the keys of their images have another format."""
    first = run("one", "train.arrow", **CONSTANT)
    content = read_checkpoint(first)
    record = content["meta"]["pretraining"]
    for key in SETTINGS:
        del record["recipe"][key]
    seen = record["data"][0]["seen"]
    seen["pictures"] = seen.pop("contents")
    torch.save(content, first)
    capsys.readouterr()
    changed = {"optim_wrapper.clip_grad": None, **CONSTANT}
    out = run("one", "train.arrow", iterations=4, resume=first, **changed)
    told = capsys.readouterr().out
    assert "other data" not in told
    assert "settings: optim_wrapper.clip_grad={'max_norm': 1.0} before, None now. " in told
    _, card = export(out, place / "two.safetensors")
    assert (
        f"max_norm=1.0), constructor=LayerDecay, paramwise_cfg=dict(decay_rate=0.8)) ({first})"
        in (recipe_rows(card)["settings of the wrapper"])
    )
    # Other frames are noticed by their number.
    capsys.readouterr()
    run("one", "all.arrow", iterations=6, resume=out, **changed)
    assert "other data or settings: frames of" in capsys.readouterr().out
