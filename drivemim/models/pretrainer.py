"""Masked image modelling over clips.

Letters: P numbers of a patch, F channels of the decoder.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name all of PyTorch's users know

from drivemim.clips import Clips, patch_grid
from drivemim.errors import ConfigError
from drivemim.masking.strategy import clip_generators
from drivemim.models.encoders.masked_encoder import MaskedFeatures, check_encoder
from drivemim.models.layers import initialize
from drivemim.models.patches import (
    PatchMask,
    gather_patches,
    patchify,
    scatter_patches,
    scatter_rows,
    unpatchify,
)
from drivemim.models.targets.object_weights import ObjectWeights
from drivemim.models.targets.reconstruction_target import ReconstructionTarget
from drivemim.models.teachers.masking_teacher import MaskingTeacher, scatter_errors
from drivemim.registry import MASKS, MODELS


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """A mask, the model's reconstruction, and its errors.

    Attributes:
        mask_BTNhw: bool, True = hidden.
        images_BTNHWC: uint8 BGR, the clip's images; the model has filled in the hidden patches of
            valid frames.
        errors_BTNhw: float, error of each hidden patch; 0 in visible patches and invalid frames.
        pixels_note: the target's explanation of the pixels of hidden patches; may be empty.
    """

    mask_BTNhw: Tensor
    images_BTNHWC: Tensor
    errors_BTNhw: Tensor
    pixels_note: str = ""

    def cpu(self) -> Reconstruction:
        """Copy to the CPU, where pictures are drawn."""
        return replace(
            self,
            mask_BTNhw=self.mask_BTNhw.cpu(),
            images_BTNHWC=self.images_BTNHWC.cpu(),
            errors_BTNhw=self.errors_BTNhw.cpu(),
        )


@MODELS.register_module()
class MaskedPretrainer(BaseModel):
    """Hide patches, encode the visible ones, and predict the hidden ones.

    Args:
        encoder: config of a ``MaskedEncoder``.
        decoder: config of a decoder, without ``encoder``.
        target: config of a target.
        masking: config of a mask strategy.
        data_preprocessor: config of a ``ClipPreprocessor``.
        teacher: config of a ``MaskingTeacher``, without ``encoder``; for guided strategies.
        auxiliary: configs of further targets, such as ``LidarTarget``, which is predicted for
            hidden and visible patches; their losses are added.
        patch_weights: config of ``ObjectWeights``, for the loss of ``target``; None weights all
            hidden patches equally.
        init_cfg: see MMEngine.

    Attributes:
        weights_changed: whether the weights may have changed since the last training step. Moving
            averages are updated only then. ``drivemim train`` sets it to False between two updates
            if gradients are accumulated.

    Raises:
        ConfigError: if the encoder is not a ``MaskedEncoder``, the decoder cannot predict auxiliary
            targets, or two auxiliary targets have the same name.
    """

    def __init__(
        self,
        *,
        encoder: dict[str, Any],
        decoder: dict[str, Any],
        target: dict[str, Any],
        masking: dict[str, Any],
        data_preprocessor: dict[str, Any],
        teacher: dict[str, Any] | None = None,
        auxiliary: Sequence[dict[str, Any]] = (),
        patch_weights: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor), init_cfg)
        self.weights_changed = True
        self.encoder = MODELS.build(encoder)
        check_encoder(self.encoder)
        self.decoder = MODELS.build({"encoder": self.encoder, **decoder})
        self.target: ReconstructionTarget = _build_target(target, self.encoder)
        self.masking = MASKS.build(masking)
        self.patch_weights: ObjectWeights | None = (
            None if patch_weights is None else MODELS.build(patch_weights)
        )
        channels = self.target.channels(self.encoder.mask_patch_size)
        self.head = nn.Linear(self.decoder.out_channels, channels)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        # Built last, so that a teacher does not change the random initialisation of other parts.
        self.teacher: MaskingTeacher | None = (
            None if teacher is None else MODELS.build({"encoder": self.encoder, **teacher})
        )
        # Forked, so that auxiliary targets do not change the random initialisation of other parts.
        with torch.random.fork_rng(devices=[]):
            targets = [_build_target(each, self.encoder) for each in auxiliary]
            self.auxiliary = nn.ModuleList(targets)
            self.auxiliary_heads = nn.ModuleList(
                nn.Linear(self.decoder.out_channels, each.channels(self.encoder.mask_patch_size))
                for each in targets
            )
            self.auxiliary_heads.apply(initialize)
        self._check_auxiliary([each.name for each in targets])

    def _check_auxiliary(self, names: list[str]) -> None:
        if names and not hasattr(self.decoder, "all_patches"):
            raise ConfigError(
                f"auxiliary targets ({', '.join(names)}) are predicted for visible patches too, "
                f"which {type(self.decoder).__name__} does not do; use a PyramidDecoder"
            )
        if len(set(names)) < len(names):
            raise ConfigError(f"auxiliary targets {', '.join(names)}: two have the same name")

    def forward(
        self, clips: Clips, mode: Literal["loss", "predict", "tensor"] = "tensor"
    ) -> dict[str, Tensor] | Reconstruction | tuple[Tensor, ...]:
        """Return losses, reconstructions, or the backbone's maps of every frame (MMEngine's modes).

        Raises:
            ConfigError: if the image size is not a multiple of the patch size.
        """
        if mode == "loss":
            return self.loss(clips)
        if mode == "predict":
            return self.predict(clips)
        images_BTNCHW = self.data_preprocessor.normalize(clips.images_BTNHWC)
        maps: tuple[Tensor, ...] = self.encoder(images_BTNCHW.flatten(0, 2))
        return maps

    def mask(self, clips: Clips, teacher_map_BTNhw: Tensor | None = None) -> Tensor:
        """Draw each clip's mask from its own seed: bool (B, T, N, h, w), True = hidden.

        Args:
            clips: clips to mask.
            teacher_map_BTNhw: map for a guided strategy; None calls the teacher, if there is one.
        """
        grid = patch_grid(clips.image_size, self.encoder.mask_patch_size)
        if teacher_map_BTNhw is None and self.teacher is not None:
            teacher_map_BTNhw = self._teacher_map(
                self.data_preprocessor.normalize(clips.images_BTNHWC)
            )
        teacher_argument = (
            {} if teacher_map_BTNhw is None else {"teacher_map_BTNhw": teacher_map_BTNhw.detach()}
        )
        mask_BTNhw: Tensor = self.masking(clips, grid, clip_generators(clips), **teacher_argument)
        return mask_BTNhw

    def _teacher_map(self, images_BTNCHW: Tensor) -> Tensor | None:
        """Compute the teacher's map of whole clips, with gradients for its own weights."""
        if self.teacher is None:
            return None
        H, W = images_BTNCHW.shape[-2:]
        teacher_map_BTNhw: Tensor = self.teacher(
            images_BTNCHW, patch_grid((H, W), self.encoder.mask_patch_size)
        )
        return teacher_map_BTNhw

    def patch_mask(self, mask_BTNhw: Tensor, clips: Clips) -> PatchMask:
        """List the visible and hidden patches of a mask, for the other methods.

        Args:
            mask_BTNhw: bool, True = hidden; result of ``mask``.
            clips: clips to mask.
        """
        return PatchMask.from_tensor(mask_BTNhw, self.encoder.mask_patch_size, clips.valid_BTN)

    def encode(self, images_BTNCHW: Tensor, mask: PatchMask) -> MaskedFeatures:
        """Encode the visible patches of every frame; features are zero in invalid frames.

        Invalid frames are not encoded, so they never enter batch statistics. If no frame of the
        batch is valid, all frames are encoded, so that every gradient is defined. Then too, they do
        not enter batch statistics.
        """
        images_XCHW, rows_V = images_BTNCHW.flatten(0, 2), mask.valid_rows
        if rows_V is None:
            features: MaskedFeatures = self.encoder.forward_masked(images_XCHW, mask)
            return features
        features = self.encoder.forward_masked(images_XCHW[rows_V], mask.select_valid())
        tokens_VKD = features.tokens_XKD
        missing = mask.visible.length - tokens_VKD.shape[1]
        return MaskedFeatures(
            tokens_XKD=scatter_rows(
                F.pad(tokens_VKD, (0, 0, 0, missing)), rows_V, len(images_XCHW)
            ),
            maps_XCHW=tuple(
                scatter_rows(each, rows_V, len(images_XCHW)) for each in features.maps_XCHW
            ),
        )

    def decode(self, features: MaskedFeatures, mask: PatchMask, clips: Clips) -> Tensor:
        """Predict (B, T, N, J, P) for the hidden patches."""
        predictions: Tensor = self.head(self.decoder(features, mask, clips))
        return predictions

    def _decode_all(
        self, features: MaskedFeatures, images_BTNCHW: Tensor, mask: PatchMask, clips: Clips
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Predict the hidden patches, and compute the losses of auxiliary targets."""
        if not self.auxiliary:
            return self.decode(features, mask, clips), {}
        vectors_XLF = self.decoder.all_patches(features, mask, clips).flatten(0, 2)
        hidden_XJF = gather_patches(vectors_XLF, mask.hidden)
        predictions_XJP = self.head(hidden_XJF)
        losses = {}
        target: Any
        for target, head in zip(self.auxiliary, self.auxiliary_heads, strict=True):
            loss = target.auxiliary_loss(head(vectors_XLF), images_BTNCHW, clips, mask)
            losses[f"loss_{target.name}"] = loss
        return predictions_XJP.reshape(*clips.shape, *predictions_XJP.shape[1:]), losses

    def loss(self, clips: Clips) -> dict[str, Tensor]:
        """Compute the losses of the target, the auxiliary targets and the teacher.

        Returns:
            Losses by name, and ``mask_ratio``, the hidden fraction of the patches, which is logged.
        """
        images_BTNCHW = self.data_preprocessor.normalize(clips.images_BTNHWC)
        if self.training and self.weights_changed:
            for each in (self.teacher, self.target, *self.auxiliary):
                if each is not None:
                    each.ema_update(self.encoder)
        teacher_map_BTNhw = self._teacher_map(images_BTNCHW)
        mask_BTNhw = self.mask(clips, teacher_map_BTNhw)
        mask = self.patch_mask(mask_BTNhw, clips)
        features = self.encode(images_BTNCHW, mask)
        predictions_BTNJP, auxiliary_losses = self._decode_all(features, images_BTNCHW, mask, clips)
        targets_BTNJP = self.target(images_BTNCHW, mask)
        weights_BTNJ = self._weights(mask, clips)
        loss = self.target.loss(predictions_BTNJP, targets_BTNJP, clips.valid_BTN, weights_BTNJ)
        losses = {"loss": loss, "mask_ratio": mask_BTNhw.float().mean(), **auxiliary_losses}
        if self.teacher is not None and teacher_map_BTNhw is not None:
            errors_BTNJ = self.target.errors(predictions_BTNJP.detach(), targets_BTNJP)
            errors_BTNhw = scatter_errors(errors_BTNJ, mask)
            teacher_loss = self.teacher.loss(
                teacher_map_BTNhw, errors_BTNhw, mask_BTNhw, clips.valid_BTN
            )
            losses |= {} if teacher_loss is None else {"loss_teacher": teacher_loss}
        return losses

    def _weights(self, mask: PatchMask, clips: Clips) -> Tensor | None:
        """Return the weight of each hidden patch in the loss, 0 for padding; None if all are 1."""
        present_BTNJ = mask.hidden_present(clips.shape)
        if self.patch_weights is None:
            return present_BTNJ
        weights_BTNhw: Tensor = self.patch_weights(clips, mask.grid)
        weights_XL1 = weights_BTNhw.flatten(0, 2).flatten(1)[..., None]
        weights_BTNJ = gather_patches(weights_XL1, mask.hidden)[..., 0].reshape(*clips.shape, -1)
        return weights_BTNJ if present_BTNJ is None else weights_BTNJ * present_BTNJ

    @torch.no_grad()
    def predict(self, clips: Clips) -> Reconstruction:
        """Fill in the hidden patches with the model's predictions."""
        mask_BTNhw = self.mask(clips)
        mask = self.patch_mask(mask_BTNhw, clips)
        images_BTNCHW = self.data_preprocessor.normalize(clips.images_BTNHWC)
        predictions_BTNJP = self.decode(self.encode(images_BTNCHW, mask), mask, clips)
        errors_BTNJ = self.target.errors(predictions_BTNJP, self.target(images_BTNCHW, mask))
        pixels_BTNJP = self.target.to_pixels(predictions_BTNJP, images_BTNCHW, mask)

        patches_XLP = patchify(images_BTNCHW.flatten(0, 2), mask.patch_size)
        filled_XLP = scatter_patches(patches_XLP, mask.hidden, pixels_BTNJP.flatten(0, 2))
        filled_XCHW = unpatchify(filled_XLP, mask.grid, mask.patch_size)
        images = self.data_preprocessor.restore(filled_XCHW.reshape(images_BTNCHW.shape))

        invalid = ~clips.valid_BTN[..., None, None]
        return Reconstruction(
            mask_BTNhw=mask_BTNhw,
            images_BTNHWC=torch.where(invalid[..., None], clips.images_BTNHWC, images),
            errors_BTNhw=scatter_errors(errors_BTNJ, mask).masked_fill(invalid, 0.0),
            pixels_note=self.target.pixels_note,
        )


def _build_target(target: Mapping[str, Any], encoder: nn.Module) -> Any:
    """Build a target; one that needs the encoder, such as ``FeatureTarget``, gets it.

    Args:
        target: config of a target.
        encoder: encoder of the pretrainer.
    """
    cls = MODELS.get(target["type"]) if isinstance(target["type"], str) else target["type"]
    takes_encoder = cls is not None and "encoder" in inspect.signature(cls).parameters
    return MODELS.build({**({"encoder": encoder} if takes_encoder else {}), **target})
