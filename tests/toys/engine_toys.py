"""A fast pretrainer, data and hooks that use every source of randomness."""

import os
import signal
import subprocess
import sys

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import nn
from torch.utils.data import Dataset

from drivemim.clips import Clips
from drivemim.registry import DATASETS, HOOKS, METRICS, MODELS
from drivemim.transfer.export_metadata import one_frame


@DATASETS.register_module()
class ToyClips(Dataset):
    def __init__(self, size=50, image_size=(16, 16)):
        self.size, self.image_size = size, tuple(image_size)

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        image = np.random.randint(0, 256, (*self.image_size, 3), dtype=np.uint8)
        clip = one_frame(torch.from_numpy(image))
        return Clips(**{**vars(clip), "tokens": (((f"frame-{index}",),),)})


@MODELS.register_module()
class ToyPreprocessor(BaseDataPreprocessor):
    def __init__(self, mean, std, bgr_to_rgb=True):
        super().__init__()
        self.mean, self.std, self.bgr_to_rgb = mean, std, bgr_to_rgb

    def forward(self, data, training=False):
        return {"clips": data}

    def normalize(self, images_BTNHWC):
        images = images_BTNHWC.flip(-1) if self.bgr_to_rgb else images_BTNHWC
        images = (images - torch.tensor(self.mean)) / torch.tensor(self.std)
        return images.movedim(-1, -3).float()


@MODELS.register_module()
class ToyEncoder(nn.Module):
    def __init__(self, channels=4, batch_norm=True):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 4, stride=4)
        self.norm = nn.BatchNorm2d(channels) if batch_norm else nn.Identity()

    @property
    def backbone(self):
        return self

    def forward(self, images):
        return (self.norm(self.stem(images)),)


@MODELS.register_module()
class ToyPretrainer(BaseModel):
    def __init__(self, encoder, data_preprocessor, dropout=0.5, poison=None):
        super().__init__(data_preprocessor)
        self.encoder = MODELS.build(encoder)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.encoder.stem.out_channels, 3)
        self.poison = poison

    def forward(self, clips, mode="tensor"):
        images = self.data_preprocessor.normalize(clips.images_BTNHWC).flatten(0, 2)
        maps = self.encoder(images)
        if mode == "tensor":
            return maps
        if mode == "predict":
            return [{"value": float(self.head.weight.sum())}] * len(images)
        predictions = self.head(self.dropout(maps[0].mean(dim=(2, 3))))
        loss = (predictions - images[..., 8:].mean(dim=(2, 3))).square().mean()
        if self.poison and self.poison in str(clips.tokens):
            loss = loss * float("nan")
        return {"loss": loss}


@HOOKS.register_module()
class Die(Hook):
    """Kill this process after ``iteration`` iterations, after any checkpoint of that iteration."""

    priority = 100

    def __init__(self, iteration=None):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module()
class SendSignal(Hook):
    """Send a signal to this process.

    Args:
        name: name of the signal; None sends none.
        iteration: iteration at which the signal is sent.
        place: "train" (after the iteration), "val" (in the validation after it) or "begin" (before
            training).
        group: send it to all processes of the group, also data loader workers, like a terminal.
        rank: rank that sends the signal.
        times: number of signals.
    """

    priority = 1

    def __init__(self, name=None, iteration=0, place="train", group=False, rank=0, times=1):
        self.number = name and signal.Signals[name]
        self.iteration, self.place, self.group, self.rank = iteration, place, group, rank
        self.times = times

    def send(self, runner, place, iteration):
        wanted = (self.place, self.iteration, self.rank)
        if self.number and wanted == (place, iteration, runner.rank):
            target = -os.getpgid(0) if self.group else os.getpid()
            for _ in range(self.times):
                # Sent by another process: PyTorch ignores signals of workers from their parent.
                code = f"import os; os.kill({target}, {int(self.number)})"
                subprocess.run([sys.executable, "-c", code], start_new_session=True, check=True)

    def before_train(self, runner):
        self.send(runner, "begin", runner.iter)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.send(runner, "train", runner.iter + 1)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if batch_idx == 1:
            self.send(runner, "val", runner.iter)


@METRICS.register_module()
class MeanValue(BaseMetric):
    """Mean of the values that a toy model predicts."""

    def process(self, data_batch, data_samples):
        self.results.extend(sample["value"] for sample in data_samples)

    def compute_metrics(self, results):
        return {"value": sum(results) / len(results)}


@DATASETS.register_module()
class ToyDetection(Dataset):
    """Images with one box each, packed like items of MMDetection's data sets."""

    metainfo = {"classes": ("pedestrian", "vehicle")}

    def __init__(self, size=4):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        from mmdet.structures import DetDataSample
        from mmengine.structures import InstanceData

        draw = np.random.default_rng(index)
        image = torch.from_numpy(draw.integers(0, 256, (3, 64, 96), dtype=np.uint8))
        shape = {"img_shape": (64, 96), "ori_shape": (64, 96), "scale_factor": (1.0, 1.0)}
        sample = DetDataSample(metainfo={**shape, "img_id": index, "frame_token": f"box-{index}"})
        box = torch.tensor([[8.0 + index, 8.0, 56.0, 48.0]])
        sample.gt_instances = InstanceData(bboxes=box, labels=torch.tensor([index % 2]))
        return {"inputs": image, "data_samples": sample}


@METRICS.register_module()
class CountImages(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.extend(sample["frame_token"] for sample in data_samples)

    def compute_metrics(self, results):
        return {"images": float(len(results))}
