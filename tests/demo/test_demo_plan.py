"""Consistency of the demo's plan."""

from dataclasses import replace
from pathlib import Path

import pytest

from drivemim.config.loading import load_config
from drivemim.config.option_values import parse_value
from town_demo.demo_plan import DEFAULT_WORK_DIR, PRETRAIN_CONFIG, DemoSettings, plan_demo
from workflow.commands import two_phase_schedule


def steps_of(settings, work_dir=DEFAULT_WORK_DIR):
    return {step.name: step for group in plan_demo(settings, work_dir) for step in group}


def options_of(step):
    at = step.command.index("--cfg-options") + 1
    pairs = (option.partition("=") for option in step.command[at:])
    return {key: parse_value(text) for key, _, text in pairs}


def test_order_and_side_by_side():
    names = [[step.name for step in group] for group in plan_demo(DemoSettings())]
    assert names == [
        ["town"],
        ["index"],
        ["pretrain"],
        ["export"],
        ["finetune-pretrained", "finetune-random"],
        ["test-pretrained", "test-random"],
        ["pictures"],
    ]


def test_every_script_config_and_source_is_there(repository):
    for step in steps_of(DemoSettings()).values():
        assert (repository / step.command[0]).is_file()
        for argument in step.command[1:]:
            if argument.startswith("configs/"):
                assert (repository / argument).is_file()
        for source in step.reads:
            assert (repository / source).exists(), source


def test_the_two_initialisations_differ_in_the_backbone_and_nothing_else():
    steps = steps_of(DemoSettings())
    pretrained, random = (steps[f"finetune-{init}"] for init in ("pretrained", "random"))
    extra = set(pretrained.command) - set(random.command)
    assert extra == {
        "work_dirs/demo/finetune-pretrained",
        "backbone_checkpoint=work_dirs/demo/backbone.safetensors",
    }
    assert set(random.command) - set(pretrained.command) == {"work_dirs/demo/finetune-random"}


def test_every_input_of_a_step_is_written_by_an_earlier_one():
    written = set()
    for group in plan_demo(DemoSettings()):
        for step in group:
            for argument in step.command:
                path = Path(argument.split("=")[-1])
                if path.suffix in (".pth", ".safetensors") and path not in step.writes:
                    made_here = path == Path("work_dirs/demo/backbone.safetensors")
                    assert path in written or (made_here and step.name == "export")
        written.update(path for step in group for path in step.writes)


def test_a_stale_step_removes_only_its_own_output():
    steps = steps_of(DemoSettings())
    folders = {name: step.folder for name, step in steps.items() if step.folder}
    # A training would go on from any checkpoint there; of fewer pictures, the others would stay.
    assert folders == {
        name: DEFAULT_WORK_DIR / name
        for name in ("pretrain", "finetune-pretrained", "finetune-random", "pictures")
    }
    removed = [
        path for step in steps.values() for path in ((step.folder,) if step.folder else step.writes)
    ]
    for path in removed:
        assert [each for each in removed if each.is_relative_to(path)] == [path]


def innermost(dataset):
    """The data set that reads the index: detection data are wrapped, clips are not."""
    return innermost(dataset.dataset) if "dataset" in dataset else dataset


def test_options_are_known_to_the_configs(repository, monkeypatch):
    monkeypatch.chdir(repository)
    settings = replace(DemoSettings(), pretrain_iterations=120, finetune_iterations=60)
    steps = steps_of(settings, Path("/elsewhere"))
    for name, length in (("pretrain", 120), ("finetune-pretrained", 60), ("finetune-random", 60)):
        step = steps[name]
        config = load_config(step.command[1], options_of(step))
        assert config.train_cfg.max_iters == length
        warmup, cosine = config.param_scheduler
        assert warmup.end == cosine.begin == length // 12
        assert cosine.end == length
        assert innermost(config.train_dataloader.dataset).index == "/elsewhere/town.arrow"
    tested = load_config(steps["test-random"].command[1], options_of(steps["test-random"]))
    assert tested.test_dataloader.dataset.index == "/elsewhere/town.arrow"


@pytest.mark.parametrize(
    ("iterations", "warm_up"), [(3400, 283), (500, 41), (400, 33), (6, 2), (3, 2), (2, 1)]
)
def test_the_warm_up_lasts_a_twelfth(iterations, warm_up):
    """The published numbers of the demo and the label studies were measured with such warm-ups."""
    assert two_phase_schedule(iterations)[:4] == (
        f"train_cfg.max_iters={iterations}", f"param_scheduler.0.end={warm_up}",
        f"param_scheduler.1.begin={warm_up}", f"param_scheduler.1.end={iterations}",
    )  # fmt: skip


def test_default_folder_is_where_the_configs_look(repository):
    for name in ("pretrain", "finetune-random"):
        config = load_config(repository / steps_of(DemoSettings())[name].command[1])
        assert innermost(config.train_dataloader.dataset).index == f"{DEFAULT_WORK_DIR}/town.arrow"


def test_configs_described_as_reading_no_boxes_read_none(repository):
    """The title says "without labels", so no mask may follow annotated boxes."""
    (step,) = (step for step in steps_of(DemoSettings()).values() if step.name == "pretrain")
    assert "without labels" in step.title
    config = load_config(repository / PRETRAIN_CONFIG)
    assert config.model.masking.type == "RandomMask"
    assert config.model.get("teacher") is None
