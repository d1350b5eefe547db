"""Target: features that a teacher computes from the whole image.

Papers: data2vec (https://arxiv.org/abs/2202.03555), whose teacher is a moving average of the
encoder; MAE-Lite (https://arxiv.org/abs/2205.14443) and SALT (https://arxiv.org/abs/2509.24317),
whose teachers are frozen.

Letters: P numbers of a patch.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name all of PyTorch's users know

from drivemim.errors import ConfigError
from drivemim.models.layers import update_average
from drivemim.models.patches import PatchMask
from drivemim.models.targets.reconstruction_target import ReconstructionTarget, hidden_patches
from drivemim.registry import MODELS

# Side, in patches, of the image on which a teacher is tried to find the channels of its maps.
_TRIAL_GRID = 4


@MODELS.register_module()
class FeatureTarget(ReconstructionTarget):
    """Target and loss: the teacher's features of each patch.

    All of the teacher's maps are predicted. A map that is finer than the patches is averaged over
    each patch. In a coarser map, several patches have the features of one position. The channels
    of a patch are scaled to mean 0 and variance 1 in each map, so a model that predicts only zeros
    has a loss of 1.

    The teacher sees images with the normalisation of the pretraining. Every training step also runs
    the teacher on the whole images, without masks.

    Args:
        encoder: encoder under training.
        teacher: config of the teacher, a backbone that returns a tuple of maps, such as a ``ViT``
            with ``out_indices``; None for a copy of ``encoder``.
        checkpoint: weights of a frozen teacher, from ``drivemim export`` or any file that
            ``--init`` reads. A resumed run has them in its own checkpoint.
        momentum: for a teacher that is an exponential moving average of the encoder instead: weight
            of the old average at each training step, in [0, 1).
        weight: factor of the loss.

    Raises:
        ConfigError: if not exactly one of ``checkpoint`` and ``momentum`` is given, ``momentum`` is
            out of range, or ``teacher`` has other parameters than the encoder that it averages.
    """

    name = "features"
    pixels_note = "features are predicted, not pixels: hidden patches are grey"
    updates: Tensor

    def __init__(
        self,
        *,
        encoder: Any,
        teacher: dict[str, Any] | None = None,
        checkpoint: str | None = None,
        momentum: float | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__(weight=weight)
        if (checkpoint is None) == (momentum is None):
            raise ConfigError(
                "FeatureTarget: give either checkpoint=WEIGHTS for a frozen teacher, or "
                "momentum=0.996 for a moving average of the encoder"
            )
        if momentum is not None and not 0 <= momentum < 1:
            raise ConfigError(f"FeatureTarget: momentum={momentum} must be in [0, 1)")
        # Forked, so that a teacher does not change the random initialisation of other parts.
        with torch.random.fork_rng(devices=[]):
            built: nn.Module = copy.deepcopy(encoder) if teacher is None else MODELS.build(teacher)
        self.teacher = built.requires_grad_(False)
        self.teacher.eval()  # not in the line above: MMDetection's ResNet returns None
        self.checkpoint = checkpoint
        self.momentum = momentum
        self.has_weights = momentum is not None
        """Whether the teacher can be used: it is a moving average, or its weights are loaded."""
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.register_load_state_dict_post_hook(_note_weights)  # type: ignore[no-untyped-call]
        if momentum is not None:
            self._check_same(encoder)
        self._num_channels = self._count_channels(encoder.mask_patch_size)

    def _check_same(self, encoder: nn.Module) -> None:
        shapes = [
            {name: tuple(each.shape) for name, each in module.state_dict().items()}
            for module in (self.teacher, encoder)
        ]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                "FeatureTarget: with momentum, the teacher needs the encoder's architecture, but "
                "its tensors differ; leave teacher out, or change only its out_indices"
            )

    @torch.no_grad()
    def _count_channels(self, patch_size: int) -> int:
        """Return the sum of the channels of the teacher's maps, from a trial with a small image."""
        side = _TRIAL_GRID * patch_size
        image_1CHW = torch.zeros(1, 3, side, side)
        return sum(each.shape[1] for each in self.teacher(image_1CHW))

    def train(self, mode: bool = True) -> FeatureTarget:
        """Set the mode; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def ema_update(self, encoder: nn.Module) -> None:
        """Update the moving average; a frozen teacher does not change."""
        if self.momentum is not None:
            update_average(self.teacher, encoder, self.updates, self.momentum)

    def channels(self, mask_patch_size: int) -> int:
        """Return P, the channels of all of the teacher's maps together."""
        return self._num_channels

    @torch.no_grad()
    def forward(self, images_BTNCHW: Tensor, mask: PatchMask) -> Tensor:
        """Compute the targets of the hidden patches, see ``ReconstructionTarget``.

        Raises:
            ConfigError: if a frozen teacher's weights have not been loaded.
        """
        if not self.has_weights:
            raise ConfigError(
                f"FeatureTarget: the teacher has no weights yet; drivemim train loads "
                f"{self.checkpoint} when a run begins, and the weights are in its checkpoints"
            )
        maps_XPhw = []
        for each_XCHW in self.teacher(images_BTNCHW.flatten(0, 2)):
            map_XChw = F.adaptive_avg_pool2d(each_XCHW.float(), mask.grid)
            channels_last = map_XChw.movedim(1, -1)
            normalized = F.layer_norm(channels_last, channels_last.shape[-1:])
            maps_XPhw.append(normalized.movedim(-1, 1))
        map_XPhw = torch.cat(maps_XPhw, dim=1)
        return hidden_patches(map_XPhw.reshape(*images_BTNCHW.shape[:3], *map_XPhw.shape[1:]), mask)

    def to_pixels(
        self, predictions_BTNJP: Tensor, images_BTNCHW: Tensor, mask: PatchMask
    ) -> Tensor:
        """Return the mean colour of normalised images, which is grey, for each hidden patch."""
        count = images_BTNCHW.shape[3] * mask.patch_size**2
        return images_BTNCHW.new_zeros(*predictions_BTNJP.shape[:-1], count)


def _note_weights(target: FeatureTarget, incompatible_keys: Any) -> None:
    """Note that a checkpoint had all of the teacher's weights."""
    if not any("teacher." in key for key in incompatible_keys.missing_keys):
        target.has_weights = True
