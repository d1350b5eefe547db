from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import BaseDataElement

from drivemim.clips import Clips
from drivemim.errors import NonFiniteLossError
from drivemim.training.hooks.stop_on_non_finite_loss import StopOnNonFiniteLoss, frame_tokens
from drivemim.training.run import train
from drivemim.transfer.export_metadata import one_frame


def clip(token):
    frame = one_frame(torch.zeros(4, 4, 3, dtype=torch.uint8))
    return Clips(**{**vars(frame), "tokens": (((token,),),)})


def test_tokens_of_clips_and_of_detection_batches():
    assert frame_tokens(Clips.cat([clip("a"), clip(""), clip("b")])) == ["a", "b"]
    samples = [
        BaseDataElement(metainfo={"frame_token": "c", "img_path": "c.jpg"}),
        BaseDataElement(metainfo={"img_path": "d.jpg"}),
    ]
    assert frame_tokens({"inputs": [torch.zeros(1)], "data_samples": samples}) == ["c", "d.jpg"]
    assert frame_tokens([]) == []


def test_a_nan_loss_stops_the_run_before_a_checkpoint_and_names_the_frames(repository, tmp_path):
    config = repository / "tests" / "toys" / "configs" / "toy.py"
    options = {"train_dataloader.dataset.dataset.size": 5, "default_hooks.checkpoint.interval": 1}
    whole = train(config, work_dir=tmp_path / "fine", options=options)
    assert whole.iter == 12
    with pytest.raises(NonFiniteLossError) as error:
        train(config, work_dir=tmp_path / "lost", options={**options, "model.poison": "frame-3"})
    text = str(error.value)
    iteration = int(text.split("iteration ")[1].split(":")[0])
    assert "'loss': nan" in text
    assert "frame-3" in text
    saved = {path.name for path in (tmp_path / "lost").glob("iter_*.pth")}
    assert f"iter_{iteration}.pth" not in saved


def test_every_loss_is_checked():
    """The loss of the reconstruction may be finite where that of a teacher is not."""
    hook, runner = StopOnNonFiniteLoss(), SimpleNamespace(iter=6)
    fine = {"loss": torch.tensor(1.0), "mask_ratio": torch.tensor(torch.nan)}
    hook.after_train_iter(runner, 0, clip("a"), fine)
    hook.after_train_iter(runner, 0, clip("a"), None)
    with pytest.raises(NonFiniteLossError, match=r"iteration 7: .*'loss_teacher': inf.* frames a"):
        hook.after_train_iter(
            runner, 0, clip("a"), {**fine, "loss_teacher": torch.tensor(torch.inf)}
        )
