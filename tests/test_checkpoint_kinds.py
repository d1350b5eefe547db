"""Recognition of files that are given as weights."""

import gzip
import io
import tempfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from drivemim.checkpoint_kinds import (
    check_finite,
    check_optimizer,
    check_weights,
    describe_file,
    describe_mismatch,
    kind_of,
    unwrapped,
)
from drivemim.compat import read_checkpoint
from drivemim.errors import CheckpointError
from drivemim.transfer.weights_file import read_weights

WEIGHTS = {"weight": torch.arange(6.0)}


def _zip():
    buffer = io.BytesIO()
    torch.save({"state_dict": WEIGHTS}, buffer)
    return buffer.getvalue()


# A safetensors file: 8 bytes with the length of the header; the header; 6 numbers of 4 bytes.
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
    "index": (b"ARROW1\0\0" + bytes(64), "is an index of a data set, not a checkpoint; two"),
    "gzip": (gzip.compress(_zip()), "is compressed with gzip"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", FILES)
def test_files_other_than_checkpoints_are_described(tmp_path, name, suffix):
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


def test_a_suffix_that_does_not_fit_the_format_is_named(tmp_path):
    (tmp_path / "a.pth").write_bytes(TENSORS)
    with pytest.raises(CheckpointError, match="is a safetensors file; a file of torch.save"):
        read_weights(tmp_path / "a.pth")
    (tmp_path / "a.safetensors").write_bytes(_zip())
    with pytest.raises(CheckpointError, match="is a file of torch.save; name it .pth"):
        read_weights(tmp_path / "a.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no checkpoint at .*, which is a folder"):
        read_checkpoint(tmp_path)


def test_a_missing_file_suggests_the_nearest_name(tmp_path):
    for name in ("iter_30.pth", "vit_base.safetensors", "log.json"):
        (tmp_path / name).write_bytes(b"0")
    names = {"iter_31.pth": "iter_30.pth", "vit_bse.safetensors": "vit_base.safetensors"}
    for name, near in names.items():
        with pytest.raises(FileNotFoundError, match=rf"no weights file at .*'{near}'\?$"):
            read_weights(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*log\.pth$"):
        read_checkpoint(tmp_path / "log.pth")


@pytest.mark.parametrize("new", [True, False])
def test_files_of_the_expected_kind(tmp_path, new):
    torch.save(WEIGHTS, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
    assert torch.equal(read_weights(tmp_path / "a.pth")[0]["weight"], WEIGHTS["weight"])
    (tmp_path / "a.safetensors").write_bytes(TENSORS)
    state = read_weights(tmp_path / "a.safetensors")[0]["state_dict"]
    assert torch.equal(state["weight"], WEIGHTS["weight"])


def test_kinds_of_content():
    weight = torch.zeros(1)
    detector = {"state_dict": {"module.backbone.a": weight, "module.encoder.b": weight}}
    assert kind_of(detector).startswith("a detector's checkpoint; drivemim test")
    pretraining = {"state_dict": {"encoder.backbone.a": weight, "decoder.b": weight}}
    assert kind_of(pretraining).startswith("a pretraining run's checkpoint; export its backbone")
    assert kind_of({"state_dict": {}, "meta": {"drivemim": {}}}).startswith("an exported backbone")
    for others in ({"conv1.weight": weight}, {"epoch": 3, "model": {"blocks.0.a": weight}}):
        assert kind_of(others).startswith("weights of another model")
    for content in ({}, None, [], {"state_dict": []}, {"state_dict": {}, "meta": None}):
        assert kind_of(content) == "not a checkpoint: it has no weights"


def test_names_without_wrappers():
    assert unwrapped({"module.model.a": 1, "module.model.b._orig_mod.c": 2}) == {"a": 1, "b.c": 2}
    # A prefix that not all names have is no wrapper.
    assert unwrapped({"module.a": 1, "b": 2}) == {"module.a": 1, "b": 2}
    assert unwrapped({}) == {}


def test_weights_that_are_nan_or_infinite_are_named():
    broken = {f"layer{number}.weight": torch.tensor([1.0, float("nan")]) for number in range(9)}
    fine = {"a": torch.ones(2), "count": torch.tensor(3), "steps": 4, "none": torch.zeros(0)}
    check_finite("x.pth", fine)
    with pytest.raises(CheckpointError) as error:
        check_finite("x.pth", fine | broken)
    assert str(error.value).startswith("x.pth holds numbers that are NaN or infinite in 9 (layer0.")
    assert "layer4.weight and 4 more)" in str(error.value)


def test_differences_name_five_tensors_of_each_kind_and_a_file_has_all(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    wanted = {f"a{number}": torch.zeros(2) for number in range(6)} | {"b": torch.zeros(2)}
    offered = {f"c{number}": torch.zeros(2) for number in range(5)} | {"b": torch.zeros(3)}
    text, _, place = describe_mismatch(wanted, offered).rpartition("; all names are in ")
    assert text == (
        "missing 6 (a0, a1, a2, a3, a4 and 1 more); unexpected 5 (c0, c1, c2, c3, c4); "
        "misshapen 1 (b (3,) for (2,))"
    )
    lines = Path(place).read_text().splitlines()
    assert lines == [
        *(f"missing a{number}" for number in range(6)),
        *(f"unexpected c{number}" for number in range(5)),
        "misshapen b (3,) for (2,)",
    ]
    assert describe_mismatch(wanted, offered).endswith(place)
    assert [str(path) for path in tmp_path.iterdir()] == [place]
    del wanted["a5"]  # now five names of each kind are all names: no file is written
    assert "all names" not in describe_mismatch(wanted, offered)
    assert describe_mismatch(wanted, wanted) == ""
    # The text is short for any number of names.
    many = {f"layer{number}.weight": torch.zeros(2) for number in range(1000)}
    assert len(describe_mismatch(many, {}).partition("; all names")[0]) < 120
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert "all names" not in describe_mismatch(many, {})


MODEL = {"weight": torch.zeros(2), "count": torch.tensor(0)}
OF_OTHER_TYPES = {
    "weight: int8": torch.ones(2, dtype=torch.int8),
    "weight: bool": torch.ones(2, dtype=torch.bool),
    "weight: complex64": torch.ones(2, dtype=torch.complex64),
    "weight: float8_e4m3fn": torch.ones(2).to(torch.float8_e4m3fn),
    "weight: float8_e5m2": torch.ones(2).to(torch.float8_e5m2),
    "weight: float32, sparse_coo": torch.ones(2).to_sparse(),
    "weight: float32, without values (meta)": torch.ones(2, device="meta"),
    "weight: str": "x",
    "weight: NoneType": None,
}


@pytest.mark.parametrize("named", OF_OTHER_TYPES)
def test_values_that_cannot_fill_a_model_are_named_with_their_type(named):
    weights = {"weight": OF_OTHER_TYPES[named], "count": torch.tensor(3)}
    with pytest.raises(CheckpointError) as error:
        check_weights("x.pth", weights, MODEL)
    assert str(error.value).startswith(
        f"x.pth holds values that cannot fill a model in 1 ({named}); save the weights as dense"
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_of_any_precision_fill_a_model(dtype):
    # If all tensors of a file were converted to half precision, so were the counts.
    weights = {"weight": torch.ones(2, dtype=dtype), "count": torch.tensor(3, dtype=dtype)}
    check_weights("x.pth", weights, MODEL)
    # Names that the model lacks may have any value.
    check_weights("x.pth", {**weights, "steps": torch.tensor(5), "note": "x"}, MODEL)
    with pytest.raises(CheckpointError, match=r"NaN or infinite in 1 \(weight\)"):
        check_weights("x.pth", {"weight": torch.tensor([1.0, float("nan")])}, MODEL)


def test_an_optimizers_state_that_is_not_finite_is_named():
    nan = torch.tensor([1.0, float("nan")])
    fine = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2)}},
            "param_groups": [{"lr": 0.1, "params": [0]}]}  # fmt: skip
    for state in (None, {}, fine, {"state": {0: {"quantised": torch.ones(2, dtype=torch.int8)}}}):
        check_optimizer("x.pth", state)
    with pytest.raises(CheckpointError) as error:
        check_optimizer("x.pth", {**fine, "state": {0: {"exp_avg": nan}, 1: {"exp_avg_sq": nan}}})
    assert str(error.value).startswith(
        "x.pth has an optimizer whose state is NaN or infinite in 2 (optimizer.state.0.exp_avg, "
        "optimizer.state.1.exp_avg_sq): its first step would destroy the weights. Resume from an "
        "earlier checkpoint"
    )
    # States of several optimizers by name, lists of tensors, sparse tensors and 8-bit floats.
    for state, name in (
        ({"generator": {"state": {0: {"a": nan}}}}, "optimizer.generator.state.0.a"),
        ({"state": {"old_dirs": [torch.ones(2), nan]}}, "optimizer.state.old_dirs.1"),
        ({"state": {0: {"a": nan.to_sparse()}}}, "optimizer.state.0.a"),
        ({"state": {0: {"a": nan.to(torch.float8_e4m3fn)}}}, "optimizer.state.0.a"),
        ({"state": {0: {"a": torch.tensor(float("inf"))}}}, "optimizer.state.0.a"),
    ):
        with pytest.raises(CheckpointError, match=rf"in 1 \({name}\)"):
            check_optimizer("x.pth", state)


def test_an_export_instead_of_a_checkpoint_is_refused_with_a_hint(tmp_path):
    path = tmp_path / "backbone.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {"drivemim": "{}"})
    found = describe_file(path, wanted="torch")
    assert found.startswith("is an exported backbone; a detector takes it as backbone_checkpoint")
    assert "trained from it first" in found
    assert "trained from it first" in kind_of({"state_dict": {}, "meta": {"drivemim": {}}})
    safetensors.torch.save_file({"a": torch.zeros(1)}, path)
    assert describe_file(path, wanted="torch").startswith("is a safetensors file")
