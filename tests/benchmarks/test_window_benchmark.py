"""Time and memory of a ViT with and without windows."""

import re
from multiprocessing.pool import ThreadPool
from types import SimpleNamespace

import pytest
import torch

from benchmarks import window_benchmark as benchmark


def test_there_is_a_row_for_each_kind_of_attention(monkeypatch, capsys):
    # Use a thread for each row: a process takes seconds to start.
    monkeypatch.setattr(benchmark, "get_context", lambda _: SimpleNamespace(Pool=ThreadPool))
    command = ["--arch", "micro", "--sizes", "192x192", "--window", "4", "--device", "cpu"]
    assert benchmark.main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| image | attention | fused | GFLOP forward | CPU time, s | GiB ")
    rows = [re.split(r" *\| *", line)[1:-1] for line in lines[4:]]
    assert [row[:3] for row in rows] == [
        ["192x192", "global", "yes"], ["192x192", "windows of 4", "yes"],
        ["192x192", "global", "no"], ["192x192", "windows of 4", "no"],
    ]  # fmt: skip
    assert all(float(row[4]) > 0 and float(row[5]) >= 0 for row in rows)


def test_operations_of_attention_by_hand():
    """The micro ViT has 6 blocks of 128 channels, 4 of them global; 12 x 12 patches.

    Scores and weighted sums of all pairs of patches need 2 x 2 x 144 x 144 x 128 operations.
    """
    setting = {"size": (192, 192), "fused": True, "backward": False, "device": "cpu"}
    whole, _, _ = benchmark.measure("micro", window=None, **setting)
    windows, _, _ = benchmark.measure("micro", window=4, **setting)
    with_windows = 144 * 16  # pairs of patches in nine windows of 16
    saved = 2 * 2 * 128 * (144 * 144 - with_windows)
    blocks_with_windows = 6 - 4
    assert (whole - windows) * 1e9 == pytest.approx(blocks_with_windows * saved)


@pytest.mark.parametrize("text", ["448", "448x", "448x800x3", "448X800", "highxwide"])
def test_other_sizes_are_refused(text, capsys):
    with pytest.raises(SystemExit) as stopped:
        benchmark.main(["--sizes", text])
    assert stopped.value.code == 2
    assert f"{text!r} is not HEIGHTxWIDTH, such as 448x800" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["100x800", "448x0"])
def test_sizes_without_whole_patches_are_refused(text, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--sizes", text])
    assert f"{text}: height and width must be multiples of 16" in capsys.readouterr().err


def test_an_unknown_architecture_is_refused(capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--arch", "huge"])
    assert "'huge' (choose from" in capsys.readouterr().err


def test_cuda_is_measured_after_a_warm_up(monkeypatch):
    """The peak is that of the second step alone, and the time that of PyTorch's own timer."""
    steps, resets = [], []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: resets.append(len(steps)))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: len(steps) * 2**30)
    timer = SimpleNamespace(timeit=lambda number: SimpleNamespace(mean=0.25))
    monkeypatch.setattr(benchmark, "Timer", lambda statement, globals: timer)
    cost = benchmark._cost(lambda: steps.append(1), torch.nn.Identity(), "cuda")
    assert (resets, len(steps)) == ([1], 2)
    assert cost == (0.25, 1.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_a_gpu_is_refused(capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--device", "cuda"])
    assert "--device cuda: PyTorch finds no GPU" in capsys.readouterr().err
