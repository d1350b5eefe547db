"""What a file is, where weights were asked for."""

import gzip
import io

import pytest
import safetensors.torch
import torch

from drivemim.checkpoint_kinds import check_finite, is_export, kind_of, unwrapped
from drivemim.compat import read_checkpoint
from drivemim.engine.weights_file import read_weights
from drivemim.errors import CheckpointError

WEIGHTS = {"weight": torch.arange(6.0)}


def _zip():
    buffer = io.BytesIO()
    torch.save({"state_dict": WEIGHTS}, buffer)
    return buffer.getvalue()


# 8 bytes, the length of the header in them; the header; 6 numbers of 4 bytes.
TENSORS = safetensors.torch.save(WEIGHTS)
FILES = {
    "empty": (b"", "is empty"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 345\n",
                "is a git-lfs pointer, not the file itself; run `git lfs pull`"),
    "page": (b"\n<!DOCTYPE html>\n<html><head>", "is an HTML page, not a checkpoint: the download"),
    "page without doctype": (b"<html lang='en'>", "is an HTML page, not a checkpoint"),
    "error of a store": (b"\xef\xbb\xbf<?xml version='1.0'?><Error>", "is an XML page, not a"),
    "text": ("Größe".encode() + b"\nAccess denied", "is a text that begins with 'Größe'"),
    "text of many bytes": ("ö".encode() * 600, "is a text that begins with 'ö"),
    "cut zip": (_zip()[:-30], f"is cut short: its {len(_zip()) - 30} bytes are the beginning of a"),
    "begun zip": (_zip()[:100], "is cut short: its 100 bytes are"),
    "cut tensors": (TENSORS[:-4], f"is cut short: it has {len(TENSORS) - 4} bytes of "
                    f"{len(TENSORS)}"),
    "cut header": (TENSORS[:20], "is cut short: it has 20 bytes;"),
    "gzip": (gzip.compress(_zip()), "is compressed with gzip"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_none_is_named_for_what_it_is(tmp_path, name, suffix):
    content, message = FILES[name]
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        read_weights(path)
    assert str(error.value).startswith(f"{path} {message}")
    assert "weights_only" not in str(error.value)
    if suffix == ".pth":
        with pytest.raises(CheckpointError) as error:
            read_checkpoint(path)
        assert str(error.value).startswith(f"{path} {message}")


def test_the_other_format_is_named(tmp_path):
    (tmp_path / "a.pth").write_bytes(TENSORS)
    with pytest.raises(CheckpointError, match="is a safetensors file, and one of torch.save"):
        read_weights(tmp_path / "a.pth")
    (tmp_path / "a.safetensors").write_bytes(_zip())
    with pytest.raises(CheckpointError, match="is a file of torch.save; name it .pth"):
        read_weights(tmp_path / "a.safetensors")
    with pytest.raises(FileNotFoundError, match="that is a folder, name a file in it"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("new", [True, False])
def test_files_that_are_what_was_asked_for(tmp_path, new):
    torch.save(WEIGHTS, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
    assert torch.equal(read_weights(tmp_path / "a.pth")[0]["weight"], WEIGHTS["weight"])
    (tmp_path / "a.safetensors").write_bytes(TENSORS)
    state = read_weights(tmp_path / "a.safetensors")[0]["state_dict"]
    assert torch.equal(state["weight"], WEIGHTS["weight"])


def test_kinds_of_content():
    weight = torch.zeros(1)
    detector = {"state_dict": {"module.backbone.a": weight, "module.encoder.b": weight}}
    assert kind_of(detector).startswith("a detector's checkpoint; tools/test.py")
    pretraining = {"state_dict": {"encoder.backbone.a": weight, "decoder.b": weight}}
    assert kind_of(pretraining).startswith("a pretraining run's checkpoint; export its backbone")
    assert kind_of({"state_dict": {}, "meta": {"drivemim": {}}}).startswith("an exported backbone")
    for others in ({"conv1.weight": weight}, {"epoch": 3, "model": {"blocks.0.a": weight}}):
        assert kind_of(others).startswith("weights of another model")
    for content in ({}, None, [], {"state_dict": []}, {"state_dict": {}, "meta": None}):
        assert kind_of(content) == "no checkpoint: it has no weights"


def test_names_without_wrappers():
    assert unwrapped({"module.model.a": 1, "module.model.b._orig_mod.c": 2}) == {"a": 1, "b.c": 2}
    # A part of that name is no wrapper.
    assert unwrapped({"module.a": 1, "b": 2}) == {"module.a": 1, "b": 2}
    assert unwrapped({}) == {}


def test_numbers_that_are_none():
    broken = {f"layer{number}.weight": torch.tensor([1.0, float("nan")]) for number in range(9)}
    fine = {"a": torch.ones(2), "count": torch.tensor(3), "steps": 4, "none": torch.zeros(0)}
    check_finite("x.pth", fine)
    with pytest.raises(CheckpointError) as error:
        check_finite("x.pth", fine | broken)
    assert str(error.value).startswith("x.pth holds numbers that are NaN or infinite in 9 (layer0.")
    assert "layer7.weight and 1 more)" in str(error.value)


@pytest.mark.parametrize(("name", "content", "message"), [
    ("faster_rcnn.py", "_base_ = './other.py'\n",
     "is a config, not a checkpoint; two arguments may be swapped"),
    ("empty.py", "", "is a config, not a checkpoint; two arguments may be swapped"),
    ("metrics.json", "{}", "is a .json file, not a checkpoint; two arguments may be swapped"),
    ("notes.txt", "<html>", "is a .txt file, not a checkpoint; two arguments may be swapped"),
    ("config", "model = dict()\n", "is a text that begins with 'model = dict()', not a checkpoint: "
     "give the checkpoint's path, or repeat the download if this is what it left"),
])  # fmt: skip
def test_a_users_own_text_is_never_to_be_deleted(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError) as error:
        read_weights(tmp_path / name)
    assert str(error.value) == f"{tmp_path / name} {message}"


def test_exports_are_told_from_other_files(tmp_path):
    files = {
        "export.safetensors": safetensors.torch.save(WEIGHTS, metadata={"drivemim": "{}"}),
        "other.safetensors": safetensors.torch.save(WEIGHTS, metadata={"format": "pt"}),
        "plain.safetensors": TENSORS,
        "cut.safetensors": safetensors.torch.save(WEIGHTS, metadata={"drivemim": "{}"})[:-1],
        "run.pth": _zip(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert [name for name in files if is_export(tmp_path / name)] == ["export.safetensors"]
    assert not is_export(tmp_path / "gone.safetensors")
