"""Whole iterations of two variants, side by side."""

import re
from types import SimpleNamespace

import pytest
from colour_frames import write_colour_frames

from benchmarks import end_to_end_benchmark as benchmark
from drivemim.errors import ConfigError


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return write_colour_frames(tmp_path_factory.mktemp("frames"))


def test_variants_take_turns_and_are_compared_with_the_first(
    index, repository, monkeypatch, capsys
):
    measured, rates = [], iter([12.0, 24.0, 30.0, 60.0, 20.0, 36.0])  # of the two variants in turns

    def time_iterations(config, *, options, count):
        measured.append(options["train_dataloader.batch_size"])
        assert count == 40
        return SimpleNamespace(frames_per_second=next(rates), waiting=0.1)

    monkeypatch.setattr(benchmark, "time_iterations", time_iterations)
    config = "configs/pretrain/vit_micro_frames.py train_dataloader.batch_size="
    monkeypatch.chdir(repository)
    assert benchmark.main([f"{config}6", f"{config}3", "--index", str(index)]) == 0
    assert measured == [6, 3] * 3
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert first.endswith("batch_size=6 | 20.0 | 12.0 to 30.0 | 1.00 | 10% |")
    assert second.endswith("batch_size=3 | 36.0 | 24.0 to 60.0 | 1.80 | 10% |")


def test_the_benchmark_measures_a_real_run(index, capsys):
    size = "train_dataloader.dataset.image_size=(32,32) train_dataloader.num_workers=0"
    variant = f"vit_micro_frames {size} train_dataloader.persistent_workers=False"
    assert (
        benchmark.main([variant, "--index", str(index), "--iterations", "3", "--rounds", "1"]) == 0
    )
    row = capsys.readouterr().out.splitlines()[-1]
    rate, waiting = re.search(
        r"\| ([\d.]+) \| [\d.]+ to [\d.]+ \| 1.00 \| (\d+)% \|$", row
    ).groups()
    assert 0 < float(rate) < 1e5
    assert 0 <= int(waiting) <= 100


def test_quotes_keep_spaces(index, tmp_path):
    copy = tmp_path / "two words" / "index.arrow"
    copy.parent.mkdir()
    copy.write_bytes(index.read_bytes())
    variant = benchmark.parse_variant(
        f"vit_micro_frames 'train_dataloader.dataset.index={copy}' train_dataloader.batch_size=3",
        None,
    )
    assert variant.config == "vit_micro_frames"
    assert variant.options == {
        "train_dataloader.dataset.index": str(copy), "train_dataloader.batch_size": 3
    }  # fmt: skip


def test_mistakes_are_named(capsys):
    with pytest.raises(ConfigError, match="'lr' is not KEY=VALUE"):
        benchmark.parse_variant("vit_micro_frames lr", None)
    for text in ("vit_micro_frames 'a=1", "", " "):
        with pytest.raises(ConfigError, match="is not CONFIG"):
            benchmark.parse_variant(text, None)
    with pytest.raises(SystemExit, match="ConfigError: there is no config gone"):
        benchmark.main(["gone"])
    with pytest.raises(SystemExit, match="atss_vit_micro_town is not a pretraining config"):
        benchmark.main(["atss_vit_micro_town", "--index", "town.arrow"])
