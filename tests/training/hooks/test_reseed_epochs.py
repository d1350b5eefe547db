"""Random numbers of a run that is resumed after an epoch: those of an uninterrupted run."""

import torch

from drivemim.training.run import train


def options(epochs):
    return {
        "train_cfg": dict(_delete_=True, type="EpochBasedTrainLoop", max_epochs=epochs),
        "param_scheduler": None,
        "default_hooks.checkpoint.by_epoch": True,
        "default_hooks.checkpoint.interval": 1,
        "train_dataloader.sampler": dict(_delete_=True, type="DefaultSampler", shuffle=True),
        "log_processor.by_epoch": True,
    }


def test_the_first_batch_after_a_resume_is_augmented_as_in_an_unbroken_run(repository, tmp_path):
    """The toy data set draws random images when it loads them, without a seed of their own."""
    toy = repository / "tests" / "toys" / "configs" / "toy.py"
    train(toy, work_dir=tmp_path / "whole", options=options(2))
    train(toy, work_dir=tmp_path / "cut", options=options(1))
    train(toy, work_dir=tmp_path / "cut", resume="newest", options=options(2))
    expected, found = (
        torch.load(tmp_path / run / "epoch_2.pth", weights_only=False)["state_dict"]
        for run in ("whole", "cut")
    )
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
