"""Masked image modelling over clips."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from drivemim.clips import Clips
from drivemim.masking.base import clip_generators
from drivemim.models.cells import (
    cells_to_image,
    choose_cells,
    grid_of,
    image_to_cells,
    put_cells,
)
from drivemim.models.encoders.base import MaskedFeatures, uncounted
from drivemim.models.guides.base import Guide, error_map
from drivemim.registry import MASKS, MODELS


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """What was hidden, and what the model made of it.

    Attributes:
        mask_BTNhw: bool, True = hidden.
        images_BTNHWC: uint8 BGR, the clip's images with the hidden cells of valid frames filled
            in by the model.
        errors_BTNhw: float, error of each hidden cell; 0 where visible or invalid.
    """

    mask_BTNhw: Tensor
    images_BTNHWC: Tensor
    errors_BTNhw: Tensor


@MODELS.register_module()
class MaskedPretrainer(BaseModel):
    """Hide cells, encode what is left, predict what was hidden.

    Args:
        encoder: config of a ``MaskedEncoder``.
        decoder: config of a decoder, without ``encoder``.
        target: config of a target.
        masking: config of a mask strategy.
        data_preprocessor: config of a ``ClipPreprocessor``.
        guide: config of a ``Guide``, without ``encoder``; for strategies that follow one.
        init_cfg: MMEngine's.
    """

    def __init__(
        self,
        *,
        encoder: dict[str, Any],
        decoder: dict[str, Any],
        target: dict[str, Any],
        masking: dict[str, Any],
        data_preprocessor: dict[str, Any],
        guide: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor), init_cfg)
        self.encoder = MODELS.build(encoder)
        self.decoder = MODELS.build({"encoder": self.encoder, **decoder})
        self.target = MODELS.build(target)
        self.masking = MASKS.build(masking)
        channels = self.target.channels(self.encoder.mask_stride)
        self.head = nn.Linear(self.decoder.out_channels, channels)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        # Last, so that the other parts begin alike with and without it.
        self.guide: Guide | None = (
            None if guide is None else MODELS.build({"encoder": self.encoder, **guide})
        )

    def forward(
        self, clips: Clips, mode: Literal["loss", "predict", "tensor"] = "tensor"
    ) -> dict[str, Tensor] | Reconstruction | tuple[Tensor, ...]:
        """MMEngine's entry: losses, reconstructions, or the backbone's maps of every frame.

        Raises:
            ValueError: if the images are not a whole number of cells.
        """
        if mode == "loss":
            return self.loss(clips)
        if mode == "predict":
            return self.predict(clips)
        images_BTNCHW = self.data_preprocessor.normalize(clips.images_BTNHWC)
        maps: tuple[Tensor, ...] = self.encoder(images_BTNCHW.flatten(0, 2))
        return maps

    def mask(self, clips: Clips, guide_BTNhw: Tensor | None = None) -> Tensor:
        """Draw each clip's mask from its own seed: bool (B, T, N, h, w), True = hidden.

        Args:
            clips: what is masked.
            guide_BTNhw: what the strategy follows; None asks the guide, if there is one.
        """
        grid = grid_of(clips.image_size, self.encoder.mask_stride)
        if guide_BTNhw is None and self.guide is not None:
            guide_BTNhw = self._guide(self.data_preprocessor.normalize(clips.images_BTNHWC))
        following = {} if guide_BTNhw is None else {"guide_BTNhw": guide_BTNhw.detach()}
        mask_BTNhw: Tensor = self.masking(clips, grid, clip_generators(clips), **following)
        return mask_BTNhw

    def _guide(self, images_BTNCHW: Tensor) -> Tensor | None:
        """The guide's map of whole clips, with the gradient of its own weights."""
        if self.guide is None:
            return None
        H, W = images_BTNCHW.shape[-2:]
        guide_BTNhw: Tensor = self.guide(images_BTNCHW, grid_of((H, W), self.encoder.mask_stride))
        return guide_BTNhw

    def encode(
        self, images_BTNCHW: Tensor, mask_BTNhw: Tensor, valid_BTN: Tensor
    ) -> MaskedFeatures:
        """Features of the visible patches of every frame; zero in invalid frames.

        Batch statistics never see invalid frames: they are not encoded. A batch without any valid
        frame is encoded whole, to keep every gradient defined, and is not counted.
        """
        any_valid = bool(valid_BTN.any())
        if not any_valid or bool(valid_BTN.all()):
            with nullcontext() if any_valid else uncounted(self.encoder):
                features = self.encoder.forward_masked(
                    images_BTNCHW.flatten(0, 2), mask_BTNhw.flatten(0, 2)
                )
            return MaskedFeatures(
                tokens=features.tokens.unflatten(0, valid_BTN.shape),
                maps=tuple(each.unflatten(0, valid_BTN.shape) for each in features.maps),
            )
        features = self.encoder.forward_masked(images_BTNCHW[valid_BTN], mask_BTNhw[valid_BTN])
        most = int((~mask_BTNhw).flatten(-2).sum(dim=-1).max())
        tokens_VKD = features.tokens
        tokens_BTNKD = tokens_VKD.new_zeros(*valid_BTN.shape, most, tokens_VKD.shape[2])
        tokens_BTNKD[valid_BTN, : tokens_VKD.shape[1]] = tokens_VKD
        return MaskedFeatures(
            tokens=tokens_BTNKD, maps=tuple(_spread(each, valid_BTN) for each in features.maps)
        )

    def decode(self, features: MaskedFeatures, mask_BTNhw: Tensor, clips: Clips) -> Tensor:
        """Predictions (B, T, N, J, P) for the hidden cells."""
        predictions: Tensor = self.head(self.decoder(features, mask_BTNhw, clips))
        return predictions

    def loss(self, clips: Clips) -> dict[str, Tensor]:
        """The loss to train on, the guide's if it learns, and the share of cells hidden."""
        images_BTNCHW = self.data_preprocessor.normalize(clips.images_BTNHWC)
        if self.guide is not None and self.training:
            self.guide.follow(self.encoder)
        guide_BTNhw = self._guide(images_BTNCHW)
        mask_BTNhw = self.mask(clips, guide_BTNhw)
        features = self.encode(images_BTNCHW, mask_BTNhw, clips.valid_BTN)
        predictions_BTNJP = self.decode(features, mask_BTNhw, clips)
        targets_BTNJP = self.target(images_BTNCHW, mask_BTNhw)
        present_XJ = choose_cells(mask_BTNhw.flatten(0, 2)).present_XK
        weights_BTNJ = None if present_XJ is None else present_XJ.view(targets_BTNJP.shape[:4])
        loss = self.target.loss(predictions_BTNJP, targets_BTNJP, clips.valid_BTN, weights_BTNJ)
        losses = {"loss": loss, "hidden_share": mask_BTNhw.float().mean()}
        if self.guide is not None and guide_BTNhw is not None:
            errors_BTNJ = self.target.errors(predictions_BTNJP.detach(), targets_BTNJP)
            errors_BTNhw = error_map(errors_BTNJ, mask_BTNhw)
            guided = self.guide.loss(guide_BTNhw, errors_BTNhw, mask_BTNhw, clips.valid_BTN)
            losses |= {} if guided is None else {"loss_guide": guided}
        return losses

    @torch.no_grad()
    def predict(self, clips: Clips) -> Reconstruction:
        """Fill in what is hidden, with each cell's true brightness and contrast."""
        mask_BTNhw = self.mask(clips)
        images_BTNCHW = self.data_preprocessor.normalize(clips.images_BTNHWC)
        features = self.encode(images_BTNCHW, mask_BTNhw, clips.valid_BTN)
        predictions_BTNJP = self.decode(features, mask_BTNhw, clips)
        errors_BTNJ = self.target.errors(predictions_BTNJP, self.target(images_BTNCHW, mask_BTNhw))
        pixels_BTNJP = self.target.to_pixels(predictions_BTNJP, images_BTNCHW, mask_BTNhw)

        stride = self.encoder.mask_stride
        grid = grid_of(clips.image_size, stride)
        hidden = choose_cells(mask_BTNhw.flatten(0, 2))
        cells_XLP = image_to_cells(images_BTNCHW.flatten(0, 2), stride)
        filled_XLP = put_cells(cells_XLP, hidden, pixels_BTNJP.flatten(0, 2))
        filled_XCHW = cells_to_image(filled_XLP, grid, stride)
        images = self.data_preprocessor.restore(filled_XCHW.reshape(images_BTNCHW.shape))

        invalid = ~clips.valid_BTN[..., None, None]
        return Reconstruction(
            mask_BTNhw=mask_BTNhw,
            images_BTNHWC=torch.where(invalid[..., None], clips.images_BTNHWC, images),
            errors_BTNhw=error_map(errors_BTNJ, mask_BTNhw).masked_fill(invalid, 0.0),
        )


def _spread(values_VCHW: Tensor, valid_BTN: Tensor) -> Tensor:
    """Values of the valid frames at their places among all frames, zero elsewhere."""
    values_BTNCHW = values_VCHW.new_zeros(*valid_BTN.shape, *values_VCHW.shape[1:])
    values_BTNCHW[valid_BTN] = values_VCHW
    return values_BTNCHW
