from pathlib import Path

import pytest
import torch
from seen_data import write_frames

from benchmarks.step_benchmark import main, single_frames, step_cost
from drivemim import build_index


def test_single_frames_have_the_requested_size() -> None:
    clips = single_frames(3, (224, 320), torch.device("cpu"))
    assert clips.shape == (3, 1, 1)
    assert clips.image_size == (224, 320)
    assert clips.boxes_BTNM4.shape[:3] == (3, 1, 1)


def test_flops_by_hand(repository: Path) -> None:
    config = repository / "configs/pretrain/vit_micro_town.py"
    cost = step_cost(str(config), frames=2, repeats=0, device=torch.device("cpu"))
    # 192x320 pixels: 240 patches, 180 hidden. Six vectors of 64 channels make 768 numbers each.
    assert cost.gflops["heads"] == pytest.approx(2 * 180 * 6 * 64 * 768 / 1e9)
    # 60 visible patches: embedding, six blocks of 12 D x D maps, attention of 60 with 60.
    embedding, blocks = 60 * 768 * 128, 6 * 60 * 12 * 128**2
    attention = 6 * 2 * 60 * 60 * 128
    encoder = 2 * (embedding + blocks + attention) / 1e9
    assert cost.gflops["encoder"] == pytest.approx(encoder, rel=1e-6)
    parts = ("encoder", "decoder", "heads")
    assert cost.gflops["total"] == pytest.approx(sum(cost.gflops[part] for part in parts))
    assert cost.milliseconds != cost.milliseconds  # NaN: nothing was timed


def test_a_guide_is_not_counted_as_encoder(repository: Path) -> None:
    plain, guided = (
        step_cost(
            str(repository / f"tools/studies/configs/pretrain/vit_micro_{name}_town.py"),
            frames=1, repeats=0, device=torch.device("cpu"),
        )
        for name in ("random", "attention_guided")
    )  # fmt: skip
    assert plain.gflops["teachers"] == 0
    assert guided.gflops["teachers"] > 0
    assert guided.gflops["encoder"] == pytest.approx(plain.gflops["encoder"])


@pytest.mark.parametrize("name", ["features", "average"])
def test_a_target_with_a_teacher_by_hand(repository: Path, name: str) -> None:
    """The teacher encodes all 240 patches; the rest is as without it."""
    plain, taught = (
        step_cost(str(repository / each), frames=2, repeats=0, device=torch.device("cpu"))
        for each in (
            "configs/pretrain/vit_micro_town.py",
            f"tools/studies/configs/pretrain/vit_micro_{name}_town.py",
        )
    )
    embedding, blocks = 240 * 768 * 128, 6 * 240 * 12 * 128**2
    attention = 6 * 2 * 240 * 240 * 128
    teacher = 2 * (embedding + blocks + attention) / 1e9
    assert taught.gflops["teachers"] == pytest.approx(teacher, rel=1e-6)
    # Three maps of 128 channels are predicted, for all patches if they are an auxiliary target.
    own, patches = (0.0, 180) if name == "features" else (plain.gflops["heads"], 240)
    head = 2 * patches * 6 * 64 * 3 * 128 / 1e9
    assert taught.gflops["heads"] == pytest.approx(own + head, rel=1e-6)
    for part in ("encoder", "decoder"):
        assert taught.gflops[part] == pytest.approx(plain.gflops[part], rel=1e-6)


def test_loading_is_measured_on_the_configs_own_data(repository: Path, tmp_path: Path) -> None:
    write_frames(tmp_path / "d", {"train": {"a": 6}})
    index = build_index("frames", tmp_path / "d", out=tmp_path / "d.arrow")
    cost = step_cost(
        "vit_micro_frames",
        frames=2, repeats=2, device=torch.device("cpu"), index=str(index.path),
    )  # fmt: skip
    assert cost.loading > 0
    assert cost.milliseconds > 0
    wanted = 1000 / (cost.loading + cost.milliseconds)
    assert cost.frames_per_second == pytest.approx(wanted)


def test_a_detector_is_refused_before_the_first_is_measured(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="atss_vit_micro_town is not a pretraining config"):
        main(["vit_micro_town", "atss_vit_micro_town", "--frames", "2", "--repeats", "1"])
    assert capsys.readouterr().out == ""


def test_a_missing_config_is_one_line() -> None:
    with pytest.raises(SystemExit, match="ConfigError: there is no config gone"):
        main(["gone"])
