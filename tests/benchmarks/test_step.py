from pathlib import Path

import pytest
import torch

from benchmarks.step import single_frames, step_cost


def test_single_frames_are_of_the_size_asked_for() -> None:
    clips = single_frames(3, (224, 320), torch.device("cpu"))
    assert clips.shape == (3, 1, 1)
    assert clips.image_size == (224, 320)
    assert clips.boxes_BTNM4.shape[:3] == (3, 1, 1)


def test_flops_by_hand(repository: Path) -> None:
    config = repository / "configs/pretrain/vit_micro_town.py"
    cost = step_cost(str(config), frames=2, repeats=0, device=torch.device("cpu"))
    # 192x320 pixels: 240 patches, 180 hidden. Six vectors of 64 channels make 768 numbers each.
    assert cost.gflops["head"] == pytest.approx(2 * 180 * 6 * 64 * 768 / 1e9)
    # 60 visible patches: embedding, six blocks of 12 D x D maps, attention of 60 with 60.
    embedding, blocks = 60 * 768 * 128, 6 * 60 * 12 * 128**2
    attention = 6 * 2 * 60 * 60 * 128
    encoder = 2 * (embedding + blocks + attention) / 1e9
    assert cost.gflops["encoder"] == pytest.approx(encoder, rel=1e-6)
    parts = ("encoder", "decoder", "head")
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
    assert plain.gflops["guide"] == 0
    assert guided.gflops["guide"] > 0
    assert guided.gflops["encoder"] == pytest.approx(plain.gflops["encoder"])
