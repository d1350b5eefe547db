"""Pictures of reconstructions, and checkpoints that cannot be used for them."""

import copy

import pytest
import safetensors.torch
import torch

from drivemim.errors import CheckpointError, ConfigError
from drivemim.visualization.reconstructions import draw_reconstructions

WEIGHTS = {"norm.weight": torch.ones(4)}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_an_export_has_no_decoder(repository, tmp_path, suffix):
    path = tmp_path / f"backbone{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": WEIGHTS, "meta": {"drivemim": {"version": "1"}}}, path)
    else:
        safetensors.torch.save_file(WEIGHTS, path, metadata={"drivemim": "{}"})
    config = repository / "configs" / "pretrain" / "vit_micro_town.py"
    with pytest.raises(CheckpointError) as error:
        draw_reconstructions(config, path, tmp_path / "pictures")
    assert str(error.value) == (
        f"{path} is an exported backbone without a decoder; give the run's iter_*.pth"
    )


@pytest.mark.parametrize(
    ("number", "message"),
    [({"count": 0}, "--clips 0 must be 1 or more"), ({"seed": -1}, r"--seed -1 must be in \[0, ")],
)
def test_numbers_out_of_range_are_named(repository, tmp_path, number, message):
    config = repository / "configs" / "pretrain" / "vit_micro_town.py"
    with pytest.raises(ConfigError, match=message):
        draw_reconstructions(config, tmp_path / "iter_1.pth", tmp_path / "pictures", **number)
    assert list(tmp_path.iterdir()) == []


def test_options_of_the_caller_are_not_changed(repository, tmp_path):
    """MMEngine removes ``_delete_`` from the dicts that it merges."""
    safetensors.torch.save_file(WEIGHTS, tmp_path / "b.safetensors", metadata={"drivemim": "{}"})
    masking = {"_delete_": True, "type": "drivemim.RandomMask", "mask_ratio": 0.5}
    options = {"model": {"masking": masking}}
    given = copy.deepcopy(options)
    config = repository / "configs" / "pretrain" / "vit_micro_town.py"
    with pytest.raises(CheckpointError):
        draw_reconstructions(config, tmp_path / "b.safetensors", tmp_path / "p", options=given)
    assert given == options
