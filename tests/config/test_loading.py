import copy
import json

import pytest

from drivemim.config.loading import config_errors, dicts_in, load_config
from drivemim.config.nested import short_type
from drivemim.errors import CheckpointError, ConfigError
from drivemim.training.probing import probe_backbone
from drivemim.training.run import evaluate, train


@pytest.fixture
def toy(repository):
    return repository / "tests" / "toys" / "configs" / "toy.py"


@pytest.fixture
def write(tmp_path, toy):
    def write(*lines):
        path = tmp_path / "mine.py"
        path.write_text("\n".join([f"_base_ = {str(toy)!r}", *lines]))
        return path

    return write


def message(function, *args, **kwargs):
    with pytest.raises(ConfigError) as error:
        function(*args, **kwargs)
    return str(error.value)


def test_a_good_config_and_its_helpers_pass(write):
    path = write("width = 8", "model = dict(encoder=dict(channels=width))", "load_from = None")
    cfg = load_config(path, {"randomness.seed": 3, "env_cfg.resource_limit": 100})
    assert (cfg.model.encoder.channels, cfg.randomness.seed) == (8, 3)


def test_missing_config_names_its_neighbour(toy):
    assert message(load_config, toy.with_name("toi.py")) == (
        f"there is no config {toy.with_name('toi.py')}; did you mean 'toy.py'?"
    )


def test_a_config_with_a_syntax_error_is_named_with_the_line(tmp_path):
    (tmp_path / "mine.py").write_text("a = 1\nb = (\n")
    found = message(load_config, tmp_path / "mine.py")
    assert found.startswith(f"{tmp_path / 'mine.py'} cannot be read: SyntaxError: line 2: ")


def test_missing_base_is_named(tmp_path):
    (tmp_path / "mine.py").write_text("_base_ = './gone.py'")
    assert "gone.py" in message(load_config, tmp_path / "mine.py")


def test_misspelt_top_level_key(write):
    path = write("optim_wraper = dict(accumulative_counts=2)")
    assert message(load_config, path) == (
        f"{path}: nothing reads the key 'optim_wraper'; did you mean 'optim_wrapper'?"
    )


@pytest.mark.parametrize(
    ("line", "section", "key", "nearest"),
    [
        ("train_dataloader = dict(batchsize=2)", "train_dataloader", "batchsize", "batch_size"),
        ("randomness = dict(sead=2)", "randomness", "sead", "seed"),
        ("env_cfg = dict(cudnn_bench=True)", "env_cfg", "cudnn_bench", "cudnn_benchmark"),
    ],
)
def test_misspelt_key_of_a_dict_without_type(write, line, section, key, nearest):
    assert message(load_config, write(line)).endswith(
        f": {section} has no key '{key}'; did you mean '{nearest}'?"
    )


def test_a_section_of_a_wrong_kind_is_named(write):
    path = write("test_dataloader = 3")
    assert message(load_config, path) == (
        f"{path}: test_dataloader=3: test_dataloader must be a dict, or None"
    )
    found = message(load_config, write("env_cfg = None"))
    assert found.endswith(": env_cfg=None: env_cfg must be a dict")


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("trian_cfg.max_iters", "the config has no key 'trian_cfg'; did you mean 'train_cfg'?"),
        ("train_dataloader.batch", "train_dataloader has no key 'batch'"),
        ("default_hooks.loger.interval", "default_hooks has no key 'loger'; did you mean 'logger'"),
        ("custom_hooks.7.iteration", "custom_hooks is a list of 1, '7' is not a position in it"),
    ],
)
def test_option_that_nothing_reads(toy, option, complaint):
    assert f"--cfg-options {option}: {complaint}" in message(load_config, toy, {option: 1})


PRETRAIN = "configs/pretrain/vit_base_object_nuscenes.py"
CLIPS = "train_dataloader.dataset"


def test_settings_that_the_base_leaves_out_can_be_set(repository):
    """The base says ``augment=dict()``: which settings there are, the class that reads it knows."""
    options = {
        f"{CLIPS}.augment.crop": (0.2, 1.0),
        f"{CLIPS}.class_map": {},
        "optim_wrapper.clip_grad.norm_type": 1.0,
        "env_cfg.dist_cfg.timeout": 60,
    }
    cfg = load_config(repository / PRETRAIN, options)
    assert cfg.train_dataloader.dataset.augment == {"crop": (0.2, 1.0)}
    assert cfg.optim_wrapper.clip_grad == {"max_norm": 1.0, "norm_type": 1.0}
    detector = repository / "configs/detection/retinanet_resnet50_nuscenes.py"
    data = "train_dataloader.dataset.dataset"
    cfg = load_config(detector, {f"{data}.filters.min_area": 9, "model.test_cfg.nms_pre": 7})
    assert cfg.train_dataloader.dataset.dataset.filters.min_area == 9


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        (f"{CLIPS}.augment.corp", f"{CLIPS}.augment has no key 'corp'; did you mean 'crop'?"),
        ("optim_wrapper.clip_grad.maxnorm", "has no key 'maxnorm'; did you mean 'max_norm'?"),
    ],
)
def test_settings_that_no_class_reads(repository, option, complaint):
    assert complaint in message(load_config, repository / PRETRAIN, {option: 1})


def test_an_option_inside_none_makes_it_a_dict(write):
    path = write("custom = dict(type='A', augment=None)", "visualizer = dict(type='B', a=custom)")
    cfg = load_config(path, {"visualizer.a.augment.crop": (0.2, 1.0)})
    assert cfg.visualizer.a.augment == {"crop": (0.2, 1.0)}


def test_options_that_cannot_be_merged_are_one_line(toy):
    found = message(load_config, toy, {"log_level.deep.key": 1})
    assert found.startswith(f"--cfg-options of {toy}: ")
    assert "log_level" in found or "deep" in found


def test_options_that_another_argument_decides_change_nothing(toy, tmp_path):
    found = message(train, toy, work_dir=tmp_path / "run", options={"launcher": "pytorch"})
    assert "give --launcher" in found
    key = "val_dataloader.dataset.index"
    found = message(evaluate, toy, tmp_path / "x.pth", options={key: "other.arrow"})
    assert found.endswith("would change nothing; set test_dataloader.dataset.index")


@pytest.mark.parametrize(
    ("option", "fix"),
    [
        ("width", "model.encoder.channels"),
        ("warmup", "param_scheduler.0.end, param_scheduler.1.begin"),
        ("max_iters", "train_cfg.max_iters"),  # not the scheduler's: the name says which
        ("pipeline.0.type", "train_dataloader.dataset.pipeline.0.type"),
        ("spare", "the key that it went into"),
    ],
)
def test_an_option_comes_too_late_for_a_variable(write, option, fix):
    path = write(
        "width, warmup, max_iters, spare, pipeline = 8, 76, 77, 78, [dict(type='A')]",
        "model = dict(encoder=dict(channels=width))",
        "train_cfg = dict(max_iters=max_iters)",
        "param_scheduler = [dict(end=warmup), dict(begin=warmup, end=max_iters)]",
        "train_dataloader = dict(dataset=dict(pipeline=pipeline))",
        "log_level = 'INFO' if spare else 'DEBUG'",
    )
    assert message(load_config, path, {option: 1}) == (
        f"--cfg-options {option}: '{option.partition('.')[0]}' is a variable of {path}, which has "
        f"been read, so that changing it would change nothing; set {fix}"
    )


def test_an_inherited_variable_that_is_set_anew_changes_nothing(write, tmp_path):
    base = write(
        "channels, warmup = 8, 3",
        "model = dict(encoder=dict(channels=channels))",
        "param_scheduler = [dict(end=warmup)]",
    ).rename(tmp_path / "base.py")

    def child(line):
        path = tmp_path / "child.py"
        path.write_text(f"_base_ = {str(base)!r}\n{line}\n")
        return path

    late = "is inherited, and the lines that read it have been read: this changes nothing; set"
    path = child("channels = 4")
    assert message(load_config, path) == f"{path}: 'channels' {late} model.encoder.channels"
    path = child("warmup = 4")
    assert message(load_config, path) == f"{path}: 'warmup' {late} the key that it went into"
    dumped = tmp_path / "child.json"
    dumped.write_text(json.dumps({**load_config(base).to_dict(), "channels": 4}))
    assert load_config(dumped).model.encoder.channels == 8
    read = child("channels = 4\nmodel = dict(encoder=dict(channels=channels))")
    assert load_config(read).model.encoder.channels == 4


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            {"model.encoder.chanels": 4},
            "ToyEncoder has no argument 'chanels'; did you mean 'channels'?",
        ),
        (
            {"model.encoder.type": "ToyEncodr"},
            "there is no model of type 'ToyEncodr'; did you mean 'ToyEncoder'?",
        ),
        (
            {"train_cfg.max_iter": 4},
            "IterBasedTrainLoop has no argument 'max_iter'; did you mean 'max_iters'?",
        ),
        (
            {"train_dataloader.dataset.dataset.image_sise": (8, 8)},
            "ToyClips has no argument 'image_sise'; did you mean 'image_size'?",
        ),
        (
            {"optim_wrapper.optimizer.weight_decai": 0.1},
            "AdamW has no argument 'weight_decai'; did you mean 'weight_decay'?",
        ),
        (
            {"optim_wrapper.accumulativ_counts": 2},
            "OptimWrapper has no argument 'accumulativ_counts'; "
            "did you mean 'accumulative_counts'?",
        ),
        (
            {"custom_hooks.0.type": "EMAHok"},
            "there is no hook of type 'EMAHok'; did you mean 'EMAHook'?",
        ),
        (
            {"default_hooks.checkpoint.intervall": 2},
            "AtomicCheckpoint has no argument 'intervall'; did you mean 'interval'?",
        ),
        (
            {"train_dataloader.collate_fn.type": "drivemim.collate_clip"},
            "there is no function of type 'drivemim.collate_clip'; "
            "did you mean 'drivemim.collate_clips'?",
        ),
        (
            {"optim_wrapper.optimizer.lr": -1.0},
            "AdamW cannot be built: Invalid learning rate: -1.0",
        ),
        ({"model.encoder.type": None}, "a dict in the config lacks its key 'type'"),
    ],
)
def test_misspelt_argument_or_type_is_one_line(toy, tmp_path, options, complaint):
    found = message(train, toy, work_dir=tmp_path / "run", options=options)
    assert complaint in found
    assert "\n" not in found


def test_other_type_errors_keep_their_traceback():
    with pytest.raises(TypeError, match="unsupported operand"), config_errors():
        len(1 + "1")


def test_checkpoint_between_two_updates_is_refused(toy, tmp_path):
    found = message(
        train, toy, work_dir=tmp_path / "run", options={"optim_wrapper.accumulative_counts": 3}
    )
    assert found == (
        "default_hooks.checkpoint.interval=4 is not a multiple of "
        "optim_wrapper.accumulative_counts=3: a resumed run would lose gradients; use 6"
    )


def test_an_end_between_two_updates_is_refused(toy, tmp_path):
    options = {
        "optim_wrapper.accumulative_counts": 3,
        "default_hooks.checkpoint.interval": 3,
        "train_cfg.max_iters": 8,
    }
    assert message(train, toy, work_dir=tmp_path / "run", options=options) == (
        "train_cfg.max_iters=8 is not a multiple of optim_wrapper.accumulative_counts=3: "
        "a resumed run would lose gradients; use 9"
    )


@pytest.mark.parametrize(("options", "said"), [
    ({"train_cfg.dynamic_intervals": [(4, 6), (8, 3)]}, "train_cfg.dynamic_intervals.1.1=3"),
    ({"default_hooks.checkpoint.save_begin": 3}, "default_hooks.checkpoint.save_begin=3"),
])  # fmt: skip
def test_other_checkpoints_between_two_updates_are_refused(toy, tmp_path, options, said):
    options = {
        "optim_wrapper.accumulative_counts": 2,
        "default_hooks.checkpoint.save_best": "value",
        "train_cfg.val_interval": 4,
        **options,
    }
    assert message(train, toy, work_dir=tmp_path / "run", options=options) == (
        f"{said} is not a multiple of optim_wrapper.accumulative_counts=2: a resumed run would "
        "lose gradients; use 4"
    )


def test_the_best_of_epochs_is_between_no_updates(toy, tmp_path):
    """``val_interval`` counts epochs; the run is refused later, for its iterations per epoch."""
    options = {
        "train_cfg": {"_delete_": True, "type": "EpochBasedTrainLoop", "max_epochs": 2,
                      "val_interval": 1},
        "train_dataloader.sampler": {"_delete_": True, "type": "DefaultSampler", "shuffle": True},
        "param_scheduler": None,
        "optim_wrapper.accumulative_counts": 2,
        "default_hooks.checkpoint.save_best": "value",
        "default_hooks.checkpoint.rule": "greater",
        "val_dataloader": {"batch_size": 4, "num_workers": 0, "dataset": {"type": "ToyClips"},
                           "sampler": {"type": "DefaultSampler", "shuffle": False},
                           "collate_fn": {"type": "drivemim.collate_clips"}},
        "val_evaluator": {"type": "MeanValue"},
        "val_cfg": {"type": "ValLoop"},
    }  # fmt: skip
    assert message(train, toy, work_dir=tmp_path / "run", options=options).startswith(
        "optim_wrapper.accumulative_counts=2 does not divide the 13 iterations of an epoch"
    )


def test_a_config_without_training_data_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text("model = dict(type='ToyPretrainer')")
    assert "has no train_dataloader" in message(train, tmp_path / "mine.py", work_dir=tmp_path)


def test_dicts_are_found_outer_ones_first():
    inner, last = {"type": "b.Inner"}, {"type": "Last"}
    outer = {"type": "Outer", "list": [1, (inner,)], "rest": {"deep": last}}
    assert list(dicts_in([outer])) == [outer, inner, {"deep": last}, last]
    assert [short_type(each) for each in (outer, inner, {})] == ["Outer", "Inner", "None"]
    assert list(dicts_in(None)) == list(dicts_in("type")) == []


NESTED = {
    "train_cfg": {"_delete_": True, "type": "EpochBasedTrainLoop", "max_epochs": 1},
    "custom_hooks": [{"type": "EMAHook"}],
    "optim_wrapper.optimizer": {"_delete_": True, "type": "SGD", "lr": 0.1},
}


def test_options_of_the_caller_are_not_changed(toy, tmp_path):
    """MMEngine removes ``_delete_`` from the dicts that it merges, and keeps their lists."""
    given = copy.deepcopy(NESTED)
    config = load_config(toy, given)
    config.custom_hooks[0]["momentum"] = 0.5
    assert (given, config.train_cfg.max_epochs) == (NESTED, 1)
    stopped = {**NESTED, "train_dataloader": None}
    given = copy.deepcopy(stopped)
    for run in (
        lambda: train(toy, work_dir=tmp_path, options=given),
        lambda: evaluate(toy, tmp_path / "gone.pth", work_dir=tmp_path, options=given),
        lambda: probe_backbone(
            toy.with_name("detector.py"), None, index="", train="", val="", options=given
        ),
    ):
        with pytest.raises((CheckpointError, ConfigError)):
            run()
        assert given == stopped
