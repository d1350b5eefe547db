"""Initial weights: every config key that names them loads all tensors or none."""

import pytest
import torch
from mmengine.config import Config

from drivemim.compat import read_checkpoint
from drivemim.errors import CheckpointError, ConfigError
from drivemim.models.encoders.vit import ViT
from drivemim.models.layers import grid_positions
from drivemim.training.probing import probe_backbone
from drivemim.training.run import train
from drivemim.transfer.exporting import export_backbone, read_export
from drivemim.transfer.initial_weights import load_initial_weights, take_initial_weights

STILL = {"optim_wrapper.optimizer.lr": 0.0, "train_cfg.max_iters": 2}


@pytest.fixture(scope="module")
def configs(repository):
    return repository / "tests" / "toys" / "configs"


@pytest.fixture(scope="module")
def run(configs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    train(configs / "vit.py", work_dir=folder)
    export_backbone(folder / "iter_2.pth", folder / "vit.safetensors")
    return folder


def mae_of(vit):
    """A ViT's weights as MAE's official files have them, with values of their own."""
    state = {name: torch.randn(value.shape) * 0.02 for name, value in vit.state_dict().items()}
    table = grid_positions((14, 14), vit.embed_dims, device="cpu", dtype=torch.float32)
    token = torch.zeros(1, 1, vit.embed_dims)
    positions = torch.cat([token, table[None]], dim=1)
    decoder = {"decoder_embed.weight": torch.zeros(8, vit.embed_dims)}
    return {"model": {"cls_token": token, "pos_embed": positions, **state, **decoder}}


@pytest.fixture(scope="module")
def mae(tmp_path_factory):
    path = tmp_path_factory.mktemp("mae") / "mae.pth"
    torch.save(mae_of(ViT(embed_dims=16, depth=3, num_heads=2, patch_size=8)), path)
    return path


def started(configs, name, folder, **options):
    """Return the encoder's weights after a run with a learning rate of zero."""
    train(configs / f"{name}.py", work_dir=folder, options={**STILL, **options})
    state = read_checkpoint(folder / "iter_2.pth")["state_dict"]
    return {name[8:]: value for name, value in state.items() if name.startswith("encoder.")}


def by_load_from(path):
    return {"load_from": str(path)}


def by_init_cfg(path):
    return {"model.encoder.init_cfg": {"type": "Pretrained", "checkpoint": str(path)}}


@pytest.mark.parametrize("how", [by_load_from, by_init_cfg])
@pytest.mark.parametrize("source", ["export", "mae"])
def test_pretraining_starts_from_the_given_weights(configs, run, mae, tmp_path, how, source):
    path = run / "vit.safetensors" if source == "export" else mae
    found = started(configs, "vit", tmp_path, **how(path))
    expected = read_export(path)[0] if source == "export" else read_checkpoint(path)["model"]
    assert found
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_a_whole_pretraining_run_is_gone_on_from(configs, run, tmp_path):
    folder = tmp_path / "run"
    started(configs, "vit", folder, load_from=str(run / "iter_2.pth"))
    log = next(folder.rglob("*.log")).read_text()
    assert "These are the trained weights; to start from the averaged ones" in log
    old, new = (read_checkpoint(path / "iter_2.pth") for path in (run, folder))
    trained = {name[7:]: value for name, value in old["ema_state_dict"].items()
               if name.startswith("module.")}  # fmt: skip
    for name, value in new["state_dict"].items():
        torch.testing.assert_close(value, trained[name], msg=name)
    with pytest.raises(CheckpointError, match="of another model than the config's Masked.*missing"):
        started(configs, "vit", tmp_path / "other", load_from=str(run / "iter_2.pth"),
                **{"model.decoder.depth": 2})  # fmt: skip
    with pytest.raises(CheckpointError, match="is of a pretraining run; export its backbone"):
        started(configs, "vit", tmp_path / "other", **by_init_cfg(run / "iter_2.pth"))


@pytest.mark.parametrize("how", [by_load_from, by_init_cfg])
def test_weights_that_do_not_fit_stop_the_run_before_the_first_iteration(
    configs, run, tmp_path, how
):
    others = {"stem.weight": torch.zeros(3), "layer1.0.conv1.weight": torch.zeros(3)}
    torch.save(others, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"does not fit the pretrainer's ViT: .*missing 40 "):
        started(configs, "vit", tmp_path / "run", **how(tmp_path / "other.pth"))
    state = read_export(run / "vit.safetensors")[0]
    state["blocks.1.mlp.fc1.weight"] = torch.zeros(3)
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match=r"misshapen 1 \(blocks.1.mlp.fc1.weight \(3,\) for"):
        started(configs, "vit", tmp_path / "run", **how(tmp_path / "part.pth"))
    with pytest.raises(FileNotFoundError, match="none.pth"):
        started(configs, "vit", tmp_path / "run", **how(tmp_path / "none.pth"))
    assert not list(tmp_path.rglob("iter_*.pth"))


def test_an_export_is_verified_in_pretraining_too(configs, run, tmp_path):
    with pytest.raises(
        CheckpointError, match="this pretrainer's features are not the pretrainer's"
    ):
        started(configs, "vit", tmp_path, **by_load_from(run / "vit.safetensors"),
                **{"model.data_preprocessor.mean": [0.0, 0.0, 0.0]})  # fmt: skip


def torchvision_resnet50():
    """Names and shapes of ``torchvision.models.resnet50``: 25,557,032 weights."""
    state = {"conv1.weight": torch.randn(64, 3, 7, 7) * 0.02}

    def norm(name, channels):
        for kind in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{kind}"] = torch.rand(channels)
        state[f"{name}.num_batches_tracked"] = torch.tensor(0)

    norm("bn1", 64)
    before = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            shapes = (width, before, 1), (width, width, 3), (4 * width, width, 1)
            for number, (out, inner, side) in enumerate(shapes, start=1):
                state[f"{name}.conv{number}.weight"] = torch.randn(out, inner, side, side) * 0.02
                norm(f"{name}.bn{number}", out)
            if block == 0:
                weight = torch.randn(4 * width, before, 1, 1) * 0.02
                state[f"{name}.downsample.0.weight"] = weight
                norm(f"{name}.downsample.1", 4 * width)
            before = 4 * width
    state |= {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    counted = sum(value.numel() for name, value in state.items() if not name.endswith(buffers))
    assert counted == 25_557_032
    return state


def test_pretraining_starts_from_torchvisions_resnet50(configs, tmp_path):
    torch.manual_seed(0)
    state = torchvision_resnet50()
    torch.save(state, tmp_path / "resnet50.pth")
    init = {"type": "Pretrained", "checkpoint": str(tmp_path / "resnet50.pth")}
    size = {"model.encoder.backbone.depth": 50, "model.encoder.backbone.base_channels": 64}
    for number, how in enumerate(({"load_from": init["checkpoint"]},
                                  {"model.encoder.backbone.init_cfg": init},
                                  {"model.encoder.init_cfg": [init]})):  # fmt: skip
        cfg = Config.fromfile(configs / "resnet.py")
        cfg.merge_from_dict({**size, **how})
        start = take_initial_weights(cfg)
        assert (start["checkpoint"], cfg.get("load_from")) == (init["checkpoint"], None)
        if number == 0:
            found = started(configs, "resnet", tmp_path / "run", **size, **how)
            for name, value in state.items():
                if not name.startswith("fc.") and "running" not in name and "num" not in name:
                    torch.testing.assert_close(found[f"backbone.{name}"], value, msg=name)


def test_a_vit_base_of_mae_fits(tmp_path):
    vit = ViT(arch="base")
    content = {"model": {name: value.half() for name, value in mae_of(vit)["model"].items()}}
    torch.save(content, tmp_path / "mae_pretrain_vit_base.pth")
    model = torch.nn.Module()
    model.backbone = vit
    assert "Loaded all 148 tensors" in load_initial_weights(
        model, tmp_path / "mae_pretrain_vit_base.pth"
    )
    torch.testing.assert_close(vit.norm.weight, content["model"]["norm.weight"].float())


def test_a_detectors_vit_is_loaded_strictly_by_init_cfg_too(mae):
    cfg = Config({"model": {"backbone": {"type": "drivemim.ViT"}}})
    init = {"type": "Pretrained", "checkpoint": str(mae), "prefix": "backbone."}
    cfg.model.backbone.init_cfg = [{"type": "Constant"}, init]
    assert take_initial_weights(cfg) == {
        "checkpoint": str(mae),
        "prefix": "backbone.",
        "whole": False,
    }
    assert cfg.model.backbone.init_cfg == [{"type": "Constant"}]
    # MMDetection's own names for what it downloads stay with MMEngine, and so do other backbones.
    for backbone in ({"type": "ResNet", "init_cfg": {"type": "Pretrained",
                                                     "checkpoint": "torchvision://resnet50"}},
                     {"type": "SwinTransformer", "init_cfg": init}):  # fmt: skip
        cfg.model.backbone = backbone
        assert take_initial_weights(cfg) is None
        assert cfg.model.backbone == backbone


def test_two_keys_with_initial_weights_are_refused(configs, mae, tmp_path):
    with pytest.raises(ConfigError, match="load_from and model.encoder.init_cfg both name weights"):
        started(configs, "vit", tmp_path, **by_load_from(mae), **by_init_cfg(mae))


def test_a_detectors_checkpoint_that_fits_nowhere_is_refused(configs, run, tmp_path):
    options = {"model.backbone.init_cfg": None, "load_from": str(run / "iter_2.pth")}
    with pytest.raises(CheckpointError, match="another model than the config's RetinaNet. It is a"):
        train(configs / "detector.py", work_dir=tmp_path / "one", options=options)
    train(configs / "detector.py", work_dir=tmp_path / "two",
          options={"model.backbone.init_cfg": None})  # fmt: skip
    train(configs / "detector.py", work_dir=tmp_path / "three",
          options={"model.backbone.init_cfg": None,
                   "model.bbox_head.anchor_generator.ratios": [0.5, 1.0],
                   "load_from": str(tmp_path / "two" / "iter_2.pth")})  # fmt: skip
    log = next((tmp_path / "three").glob("*/*.log")).read_text()
    assert "tensors are loaded; misshapen 4 (bbox_head.retina_cls.weight (18, 8, 3, 3) for" in log


def test_the_log_names_a_detectors_checkpoint(tmp_path):
    vit = ViT(embed_dims=16, depth=3, num_heads=2, patch_size=8)
    weights = {f"backbone.{name}": value for name, value in vit.state_dict().items()}
    path = tmp_path / "iter_9.pth"
    torch.save({"state_dict": {**weights, "bbox_head.weight": torch.zeros(2)}, "meta": {}}, path)
    model = torch.nn.Module()
    model.backbone = vit
    count = len(weights)
    assert load_initial_weights(model, path, whole=True).startswith(
        f"Loaded all {count} tensors of the backbone of {path}, which is a detector's checkpoint. "
        "The file does not say how images were normalised, and has no features to compare with: "
        "check that model.data_preprocessor is what the detector was trained with. They lie under "
        "'state_dict' in the file. No positions in the file; those of drivemim.ViT are taken; the "
        "file does not give the number of attention heads; the config's num_heads=2 is used"
    )


def test_a_resumed_run_needs_no_initial_weights(configs, mae, tmp_path):
    folder = tmp_path / "run"
    started(configs, "vit", folder, **by_load_from(mae))
    options = {**STILL, **by_load_from(tmp_path / "gone.pth"), "train_cfg.max_iters": 3,
               "param_scheduler.0.end": 3}  # fmt: skip
    train(configs / "vit.py", work_dir=folder, resume="newest", options=options)


def test_probing_loads_the_configs_initial_weights(configs, mae, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="does not fit the pretrainer's ViT"):
        probe_backbone(configs / "vit.py", index="none.arrow", train="a", val="b",
                       options=by_init_cfg(tmp_path / "bad.pth"))  # fmt: skip
