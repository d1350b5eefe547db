"""Contents that read_checkpoint rebuilds or refuses; other tests use the files of ``hostile``."""

import argparse
import io
import os
import pathlib
import pickle
from collections import OrderedDict

import hostile
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from drivemim.compat import patch_checkpoint_loader, read_checkpoint
from drivemim.errors import CheckpointError
from drivemim.trust import VARIABLE

PLAIN = {
    "order": np.arange(6, dtype=">i4").reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "empty": np.zeros((0, 4), np.float32),
    "words": np.array(["a", "bcd"]),
    "flags": np.array([True, False]),
    "scalar": np.float64(3.5),
    "truth": np.bool_(True),
    "word": np.str_("ab"),
}


def saved(path, content):
    torch.save(content, path)
    return path


def test_numpy_values_come_back_as_they_were(tmp_path):
    found = read_checkpoint(saved(tmp_path / "x.pth", PLAIN))
    assert list(found) == list(PLAIN)
    for name, value in pickle.loads(pickle.dumps(PLAIN)).items():
        assert np.asarray(found[name]).dtype == np.asarray(value).dtype, name
        np.testing.assert_array_equal(found[name], value)
    found["order"][0, 0] = 7  # the array is writable, like one from ``pickle.loads``


def test_log_histories_can_be_continued(tmp_path):
    history = HistoryBuffer([4.0, 1.0, 3.0], [1, 1, 2], max_length=3)
    found = read_checkpoint(saved(tmp_path / "x.pth", {"loss": history}))["loss"]
    assert type(found) is HistoryBuffer
    np.testing.assert_array_equal(found.data, [[4, 1, 3], [1, 1, 2]])
    found.update(6.0)
    assert found.data[0].tolist() == [1, 3, 6]
    assert found.statistics("max") == 6
    assert found.mean() == pytest.approx((1 + 3 + 6) / 4)  # MMEngine divides by the counts
    for part in found.data:
        assert type(part) is np.ndarray


def test_configs_and_arguments_of_other_projects_come_back(tmp_path):
    content = {
        "config": ConfigDict(a=1, b=dict(c=[ConfigDict(d=2)])),
        "args": argparse.Namespace(lr=0.1, output_dir=pathlib.Path("runs/1")),
        "state_dict": OrderedDict(weight=torch.ones(2)),
    }
    found = read_checkpoint(saved(tmp_path / "x.pth", content))
    assert found["config"] == {"a": 1, "b": {"c": [{"d": 2}]}}
    assert type(found["config"]) is dict
    assert found["args"] == argparse.Namespace(lr=0.1, output_dir="runs/1")
    assert torch.equal(found["state_dict"]["weight"], torch.ones(2))


def test_loaded_weights_are_saved_under_usual_names(tmp_path):
    content = {**PLAIN, "loss": HistoryBuffer([1.0], [1]), "args": argparse.Namespace(lr=1)}
    again = io.BytesIO()
    torch.save(read_checkpoint(saved(tmp_path / "x.pth", content)), again)
    assert b"drivemim" not in again.getvalue()
    again.seek(0)
    found = torch.load(again, weights_only=False)
    assert type(found["order"]) is np.ndarray
    np.testing.assert_array_equal(found["order"], PLAIN["order"])


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (hostile.system_call, r"x\.pth holds more than weights and plain values: posix\.system\."),
        (hostile.old_system_call, r"plain values: posix\.system\."),
        (hostile.getattr_eval, r"plain values: builtins\.getattr\(\.\.\., '__self__'\)"),
    ],
)
def test_hostile_files_are_refused_by_their_content(tmp_path, make, named):
    path, marker = tmp_path / "x.pth", tmp_path / "marker"
    make(path, marker)
    # Check the file itself: an unsafe reader runs its code.
    torch.load(path, weights_only=False)
    assert marker.exists()
    marker.unlink()
    with pytest.raises(CheckpointError, match=named) as error:
        read_checkpoint(path)
    assert f"--trust-checkpoint {path} (or {VARIABLE}={path})" in str(error.value)
    assert not marker.exists()


class Held:
    """Class of a user, which no checkpoint may contain."""


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Held(), r"test_unpickling\.Held"),
        (np.array([Held()], dtype=object), r"test_unpickling\.Held"),
        (np.array([1, None], dtype=object), r"numpy\.dtype\('O8'\) is not a plain type"),
        (
            np.zeros(1, dtype=[("a", "f4"), ("b", "i8")]),
            r"numpy\.dtype\('V12'\) is not a plain type",
        ),
        (hostile.Call(getattr, "text", "upper"), r"builtins\.getattr\(\.\.\., 'upper'\)"),
        (hostile.Call(getattr, HistoryBuffer, "__init__"), r"getattr\(\.\.\., '__init__'\)"),
        (hostile.Call(HistoryBuffer, [1.0], [1]), "HistoryBuffer is called"),
        (hostile.Call(argparse.Namespace), r"argparse\.Namespace is called"),
        (hostile.Call(np.ndarray, (2,)), r"numpy\.ndarray is built without its numbers"),
        (hostile.Call(ConfigDict, ["a"]), "ConfigDict of something else"),
        (hostile.Call(eval, "1 + 1"), r"builtins\.eval"),
    ],
)
def test_objects_other_than_plain_values_are_named(tmp_path, value, named):
    with pytest.raises(CheckpointError, match=rf"plain values: .*{named}"):
        read_checkpoint(saved(tmp_path / "x.pth", {"state_dict": {}, "value": value}))


@pytest.mark.parametrize("size", [7, 9])
def test_a_scalars_bytes_are_counted(tmp_path, size):
    function, (kind, _) = np.float64(1).__reduce__()
    value = hostile.Call(function, kind, b"\1" * size)
    with pytest.raises(CheckpointError, match=f"a numpy scalar of float64 in {size} bytes"):
        read_checkpoint(saved(tmp_path / "x.pth", {"value": value}))


def test_only_the_file_that_is_named_is_trusted(tmp_path, monkeypatch):
    marker = tmp_path / "marker"
    for name in ("one.pth", "two.pth"):
        hostile.system_call(tmp_path / name, marker, {"epoch": 3})
    monkeypatch.setenv(VARIABLE, os.pathsep.join(["gone.pth", str(tmp_path / "one.pth")]))
    with pytest.raises(CheckpointError, match=r"two\.pth holds more"):
        read_checkpoint(tmp_path / "two.pth")
    assert not marker.exists()
    assert read_checkpoint(tmp_path / "one.pth")["epoch"] == 3
    assert marker.exists()


def test_mmengine_reads_downloads_as_safely(tmp_path, monkeypatch):
    """``torch.hub`` itself would run the code in them."""
    patch_checkpoint_loader()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    marker = tmp_path / "marker"
    hostile.system_call(tmp_path / "bad.pth", marker)
    saved(tmp_path / "good.pth", {"weight": torch.ones(2), "meta": {"config": "1 / 0"}})
    from mmengine.runner import checkpoint

    with pytest.raises(CheckpointError, match=r"cache/hub/checkpoints/bad\.pth holds more"):
        checkpoint.load_from_http((tmp_path / "bad.pth").as_uri())
    assert not marker.exists()
    found = checkpoint.load_from_http((tmp_path / "good.pth").as_uri())
    assert torch.equal(found["weight"], torch.ones(2))
    assert found["meta"] == {}  # MMEngine would run the config in it
    with pytest.raises(CheckpointError, match=r"s3://a/b\.pth: copy the file to this machine"):
        CheckpointLoader.load_checkpoint("s3://a/b.pth")


def test_a_newer_pickle_is_refused_too(tmp_path):
    marker = tmp_path / "marker"
    hostile.system_call(tmp_path / "x.pth", marker)
    content = {"extra": hostile.Call(os.system, f"touch {marker}")}
    torch.save(content, tmp_path / "x.pth", pickle_protocol=pickle.HIGHEST_PROTOCOL)
    with pytest.raises(CheckpointError, match=r"plain values: posix\.system\."):
        read_checkpoint(tmp_path / "x.pth")
    assert not marker.exists()
