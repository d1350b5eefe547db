"""The public functions of ``import drivemim``, and the example of its docstring."""

import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmdet.models.backbones import ResNet
from shipped_configs import STUDIES

import drivemim
from drivemim.config.building import build_model
from drivemim.config.loading import load_config
from drivemim.config.shipped import configs_folder, find_config
from drivemim.errors import CheckpointError, ConfigError
from drivemim.town import generate_town
from drivemim.transfer.export_metadata import one_frame
from drivemim.transfer.pretrained_backbone import PretrainedBackbone

SHORT = {
    "train_cfg.max_iters": 2,
    "param_scheduler.0.end": 1,
    "param_scheduler.1.begin": 1,
    "param_scheduler.1.end": 2,
}


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    root = tmp_path_factory.mktemp("api") / "town"
    return generate_town(root, scenes=2, seconds=1.0, sweep_rate=2.0, image_size=(192, 320), seed=3)


@pytest.fixture(scope="module")
def five_lines(town, tmp_path_factory):
    """Run the five lines of the package's docstring on a town."""
    folder = tmp_path_factory.mktemp("five")
    index = drivemim.build_index("nuscenes", town, version="v1.0-mini", out=folder / "t.arrow")
    run = drivemim.pretrain(
        "vit_micro_town", index=index, work_dir=folder / "run_five_lines", seed=5, options=SHORT
    )
    drivemim.export_backbone(run.checkpoint, folder / "vit.safetensors")
    return index, run, folder / "vit.safetensors"


def test_importing_the_package_takes_under_0_2_seconds_and_imports_no_framework():
    code = (
        "import time; begin = time.perf_counter(); import drivemim, sys; "
        "print(time.perf_counter() - begin, [m for m in ('torch', 'mmengine', 'mmdet', 'cv2') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, modules = done.stdout.strip().split(" ", 1)
    assert modules == "[]"
    assert float(seconds) < 0.2


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'pretrian'"):
        _ = drivemim.pretrian
    assert {"pretrain", "masking", "load_backbone"} <= set(dir(drivemim))


@pytest.mark.parametrize("name", [n for n in drivemim.__all__ if n != "__version__"])
def test_every_public_name_is_documented(name):
    assert len(inspect.getdoc(getattr(drivemim, name)).splitlines()) > 1


def test_a_run_has_its_checkpoint_and_iteration(five_lines):
    index, run, _ = five_lines
    assert run.checkpoint == run.work_dir / "iter_2.pth"
    assert run.iteration == 2
    record = torch.load(run.checkpoint, weights_only=False)["meta"]
    assert record["seed"] == 5
    assert record["pretraining"]["data"][0]["index"] == str(index.path)


def test_a_run_shorter_than_the_log_interval_prints_its_last_loss(five_lines):
    (scalars,) = five_lines[1].work_dir.glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [2]


def test_the_repr_of_an_index_has_its_size(five_lines):
    index = five_lines[0]
    assert repr(index) == (
        f"<FrameIndex {index.path}: 2 scenes, {len(index.samples)} samples, {len(index.frames)} "
        f"frames of 6 cameras, {len(index.boxes)} boxes>"
    )


def test_resume_of_a_complete_run_trains_nothing(five_lines):
    index, run, _ = five_lines
    before = run.checkpoint.stat().st_mtime_ns
    again = drivemim.pretrain(
        "vit_micro_town", index=index.path, work_dir=run.work_dir, resume=True, options=SHORT
    )
    assert again.checkpoint == run.checkpoint
    assert again.iteration == 2
    assert run.checkpoint.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda d, run: d.export_backbone(run, "x.safetensors"),
         "export_backbone: checkpoint must be str or Path, not PretrainingRun"),
        (lambda d, run: d.pretrain("vit_micro_town", options=["a=1"]),
         "pretrain: options must be Mapping or None, not list"),
        (lambda d, run: d.load_backbone(None), "load_backbone: path must be str or Path, not None"),
        (lambda d, run: d.pretrain("vit_micro_town", max_iters=20), "'max_iters'"),
        (lambda d, run: d.load_backbone("x", tolerance="1"), "tolerance must be float, not str"),
    ],
)  # fmt: skip
def test_arguments_of_another_type_are_named(five_lines, call, named):
    with pytest.raises(TypeError, match=named):
        call(drivemim, five_lines[1])


def test_an_index_is_not_a_config(five_lines):
    index, run, export = five_lines
    with pytest.raises(
        TypeError, match="pretrain: config must be str or Path or None, not FrameIndex"
    ):
        drivemim.pretrain(index)
    with pytest.raises(TypeError, match="pretrain: too many positional arguments"):
        drivemim.pretrain(index, "vit_micro_town")
    with pytest.raises(ConfigError, match="iter_2.pth is a checkpoint, not a config; the conf"):
        drivemim.evaluate(run.checkpoint, "atss_vit_micro_town")
    for path, what in ((index.path, "an index"), (export, "an exported backbone")):
        with pytest.raises(ConfigError, match=f"is {what}, not a config"):
            drivemim.train(path)


def test_an_array_is_not_a_tensor(five_lines):
    with pytest.raises(TypeError, match="images are a ndarray, not a tensor .*torch.from_numpy"):
        drivemim.load_backbone(five_lines[2])(np.zeros((1, 3, 64, 64), np.uint8))


def test_a_replaced_export_is_named(five_lines, tmp_path, capsys):
    for _ in range(2):
        drivemim.export_backbone(five_lines[1].checkpoint, tmp_path / "again.safetensors")
    assert capsys.readouterr().out.count("again.safetensors is replaced") == 1


def test_an_index_that_is_missing_or_given_twice(five_lines, tmp_path):
    path = str(five_lines[0].path)
    with pytest.raises(FileNotFoundError, match=r"is a folder, not an index; it holds .*t\.arrow"):
        drivemim.pretrain("vit_micro_town", index=five_lines[0].path.parent)
    options = {"train_dataloader.dataset.index": "other.arrow"}
    with pytest.raises(ConfigError, match=r"other\.arrow: give one"):
        drivemim.pretrain("vit_micro_town", index=path, work_dir=tmp_path / "x", options=options)
    with pytest.raises(ConfigError, match="kind='frames' has no option 'output'"):
        drivemim.build_index("frames", tmp_path, output="q.arrow")
    with pytest.raises(ValueError, match="rate is '10'; use a number"):
        drivemim.build_index("frames", tmp_path, rate="10", out=tmp_path / "q.arrow")


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((192, 320, 3), r"channels come last, use permute\(2, 0, 1\)"),
        ((2, 192, 320, 3), r"channels come last, use permute\(0, 3, 1, 2\)"),
        ((1, 1, 192, 320), r"expected \(B, 3, H, W\) in RGB$"),
    ],
)
def test_an_image_of_a_wrong_shape_gets_a_hint_for_its_shape(five_lines, shape, hint):
    with pytest.raises(ValueError, match=hint):
        drivemim.load_backbone(five_lines[2])(torch.zeros(shape))


def test_a_detector_config_is_refused():
    with pytest.raises(ConfigError, match=r"for a detector, use drivemim train"):
        drivemim.pretrain("atss_vit_micro_town")


def test_several_indices_cannot_be_replaced_by_one(five_lines):
    with pytest.raises(ConfigError, match=r"has 4 indices .*datasets\.0\.index"):
        drivemim.pretrain(STUDIES / "pretrain" / "vit_micro_real_frames.py", index=five_lines[0])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (
            ("nuscene", "d"),
            "kind='nuscene' is not one of frames, rig, nuscenes, nuimages; did you mean",
        ),
        (("nuscenes", "d"), "needs version"),
        (("frames", "d", "v1.0-mini"), "folders of frames have no version"),
        (("nuscenes", ["a", "b"], "v1.0-mini"), "takes one root, not 2"),
    ],
)
def test_wrong_arguments_of_an_index_are_named(arguments, named):
    kind, root, *version = arguments
    with pytest.raises(ConfigError, match=named):
        drivemim.build_index(kind, root, version=version[0] if version else None)


def test_the_backbone_normalises_as_the_pretrainer_does(five_lines):
    _, run, export = five_lines
    backbone = drivemim.load_backbone(export)
    assert not backbone.training
    cfg = load_config("vit_micro_town")
    pretrainer = build_model(cfg, "vit_micro_town", "drivemim")
    pretrainer.load_state_dict(torch.load(run.checkpoint, weights_only=False)["state_dict"])
    pretrainer.eval()
    bgr = np.random.default_rng(0).integers(0, 256, (192, 320, 3), dtype=np.uint8)
    with torch.no_grad():
        clips = pretrainer.data_preprocessor(one_frame(torch.from_numpy(bgr)))["clips"]
        (wanted,) = pretrainer(clips, mode="tensor")
        rgb = torch.from_numpy(bgr[..., ::-1].copy()).permute(2, 0, 1)
        (found,) = backbone(rgb)
        (scaled,) = backbone(rgb[None].double() / 255)
    assert found.shape == (1, 128, 12, 20)
    assert backbone.strides == [16]
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(scaled, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("images", "named"),
    [
        (torch.zeros(1, 192, 320, 3, dtype=torch.uint8), r"expected \(B, 3, H, W\)"),
        (torch.full((1, 3, 32, 32), 255.0), r"must be in \[0, 1\]"),
        (torch.full((1, 3, 32, 32), float("nan")), r"must be in \[0, 1\]"),
        (
            torch.zeros(1, 3, 32, 32, dtype=torch.int64),
            r"expected uint8 \(0 to 255\) or floating",
        ),
    ],
)
def test_images_that_would_be_misread_are_refused(five_lines, images, named):
    with pytest.raises(ValueError, match=named):
        drivemim.load_backbone(five_lines[2])(images)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_batch_without_images_has_empty_features(five_lines, dtype):
    (found,) = drivemim.load_backbone(five_lines[2])(torch.zeros(0, 3, 64, 64, dtype=dtype))
    assert found.shape == (0, 128, 4, 4)


def test_an_exported_resnet_has_the_features_of_mmdetections_resnet(repository, tmp_path):
    """MMDetection's ResNet loads the ``.pth`` file beside the export."""
    config = repository / "tests" / "toys" / "configs" / "resnet.py"
    run = drivemim.pretrain(config, work_dir=tmp_path / "run_resnet_api")
    metadata = drivemim.export_backbone(run.checkpoint, tmp_path / "resnet.safetensors")
    backbone = drivemim.load_backbone(tmp_path / "resnet.safetensors")
    assert type(backbone.backbone).__module__ == "mmdet.models.backbones.resnet"
    plain = ResNet(
        **{key: value for key, value in metadata["architecture"].items() if key != "type"}
    )
    plain.load_state_dict(torch.load(tmp_path / "resnet.pth", weights_only=False)["state_dict"])
    plain.eval()
    images = torch.randint(0, 256, (2, 3, *metadata["input_size"]), dtype=torch.uint8)
    normalization = metadata["normalization"]
    mean, std = (torch.tensor(normalization[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        wanted = plain((images.float() - mean) / std)
        found = backbone(images)
    assert [images.shape[-1] // each.shape[-1] for each in found] == backbone.strides
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_a_vit_needs_no_mmdetection(five_lines):
    code = (
        "import sys; sys.modules['mmdet'] = None; import drivemim, torch; "
        f"print(drivemim.load_backbone({str(five_lines[2])!r})(torch.zeros(3, 192, 320))[0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "torch.Size([1, 128, 12, 20])", done.stderr


@pytest.mark.parametrize("bgr_to_rgb", [True, False])
def test_channels_reach_the_backbone_in_its_own_order(bgr_to_rgb):
    """A backbone whose pretraining kept OpenCV's order gets blue, green, red."""
    normalization = {"mean": [1.0, 2.0, 3.0], "std": [1.0, 2.0, 4.0], "bgr_to_rgb": bgr_to_rgb}
    module = PretrainedBackbone(Identity(), {"strides": [1], "normalization": normalization})
    red, green, blue = 10.0, 20.0, 30.0
    rgb = torch.tensor([red, green, blue]).to(torch.uint8).view(3, 1, 1)
    first, second, third = (red, green, blue) if bgr_to_rgb else (blue, green, red)
    wanted = [first - 1, (second - 2) / 2, (third - 3) / 4]
    assert module(rgb)[0].flatten().tolist() == wanted


class Identity(torch.nn.Module):
    """Backbone whose only feature map is its input."""

    def forward(self, images):
        return [images]


def test_a_file_whose_weights_were_changed_is_refused(five_lines, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(five_lines[2], "pt") as file:
        metadata = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    state["norm.weight"] *= 1.01
    save_file(state, tmp_path / "changed.safetensors", metadata)
    with pytest.raises(CheckpointError, match="features are not those recorded"):
        drivemim.load_backbone(tmp_path / "changed.safetensors")


def test_a_file_that_lacks_a_tensor_is_named_without_a_detector(five_lines, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(five_lines[2], "pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        del state["norm.weight"]
        save_file(state, tmp_path / "less.safetensors", file.metadata())
    with pytest.raises(CheckpointError, match="tensors do not fit the ViT that its") as error:
        drivemim.load_backbone(tmp_path / "less.safetensors")
    assert "norm.weight" in str(error.value)
    assert "detector" not in str(error.value)


def test_shipped_configs_are_found_by_unique_names():
    configs = [c for c in configs_folder().rglob("*.py") if "_base_" not in c.parts]
    assert len({config.stem for config in configs}) == len(configs)
    assert find_config("vit_base_nuscenes").name == "vit_base_nuscenes.py"
    with pytest.raises(ConfigError, match="did you mean 'vit_base_nuscenes'"):
        find_config("vit_bse_nuscenes")
    with pytest.raises(ConfigError, match="there are resnet50_frames, resnet50_mae_nuscenes, "):
        find_config("resnet50")
    with pytest.raises(ConfigError, match="there is no config configs/pretrain/x.py"):
        find_config("configs/pretrain/x.py")
