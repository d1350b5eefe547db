"""Every initial checkpoint is loaded into its detector before the first run."""

from pathlib import Path

import pytest
import torch
from in_process import run_script

from drivemim.config.building import build_model
from drivemim.config.loading import load_config
from drivemim.errors import CheckpointError, ConfigError
from studies.label_efficiency.initial_checkpoints import check_checkpoints
from studies.label_efficiency.settings import Initialisation

from .conftest import CONFIG


@pytest.fixture(scope="module")
def weights(repository):
    """Those of the backbone that the study's detector has."""
    return build_model(load_config(repository / CONFIG), CONFIG).backbone.state_dict()


@pytest.fixture
def check(place, make_study, weights):
    """Check the initial checkpoints of a study whose second one has these weights."""

    def run(content, **changes):
        torch.save(content, place / "tried-1.pth")
        torch.save({"state_dict": weights}, place / "tried-0.pth")
        initialisations = (
            Initialisation.parse("random"),
            Initialisation.parse("tried=tried-{seed}.pth"),
        )
        check_checkpoints(make_study(initialisations=initialisations, **changes), place)

    return run


def test_a_backbone_that_fits_passes_silently(check, weights, recwarn):
    check({"state_dict": weights})
    assert not recwarn.list


def test_every_file_of_an_initialisation_is_loaded_and_the_initialisation_is_named(check, weights):
    name = next(iter(weights))
    with pytest.raises(
        CheckpointError, match=rf"--init tried: .*tried-1\.pth does not fit .*{name}"
    ):
        check({"state_dict": {**weights, name: weights[name][:1]}})
    with pytest.raises(CheckpointError, match=r"--init tried: .*tried-1\.pth"):
        check({"state_dict": {}})


def test_a_pretraining_checkpoint_is_sent_to_the_export(check, weights):
    trained = {f"encoder.backbone.{name}": value for name, value in weights.items()}
    with pytest.raises(CheckpointError, match=r"--init tried: .*drivemim export"):
        check({"state_dict": trained | {"decoder.mask_token": torch.zeros(1)}})


def test_options_change_the_detector_that_has_to_fit(check, weights):
    with pytest.raises(CheckpointError, match="--init tried: .*missing"):
        check({"state_dict": weights}, options=("model.backbone.depth=12",))
    with pytest.raises(ConfigError, match=r"atss_vit_micro_jitter_labels_camvid\.py: .*depht"):
        check({"state_dict": weights}, options=("model.backbone.depht=12",))


def test_random_initialisation_alone_needs_no_detector(place, make_study):
    config = Path("configs/detection/none.py")
    check_checkpoints(
        make_study(config=config, initialisations=(Initialisation.parse("random"),)), place
    )


def test_the_tool_refuses_before_it_trains_anything(place):
    torch.save({"state_dict": {"other.weight": torch.zeros(1)}}, place / "wrong.pth")
    done = run_script(
        "tools/label_efficiency.py", CONFIG, "--train", "train",
        "--index", place / "data/index.arrow", "--val", "val", "--iterations", "2",
        "--init", "random", "--init", f"wrong={place / 'wrong.pth'}",
        "--fractions", "1", "--seeds", "0", "--work-dir", place / "work",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("CheckpointError: --init wrong: ")
    assert [path.name for path in (place / "work").iterdir()] == ["inputs"]
