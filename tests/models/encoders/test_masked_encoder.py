"""What an encoder of one's own needs."""

import pytest
import torch

from drivemim.errors import ConfigError
from drivemim.models import MaskedPretrainer
from drivemim.models.patches import PatchMask


def test_attributes_an_encoder_lacks_are_named() -> None:
    class Bare(torch.nn.Module):
        mask_patch_size = 16

        def forward_masked(self, images: torch.Tensor, mask: PatchMask) -> None: ...

    preprocessor = {"type": "ClipPreprocessor", "mean": [0.0] * 3, "std": [1.0] * 3}
    parts: dict[str, dict[str, str]] = {"decoder": {}, "target": {}, "masking": {}}
    with pytest.raises(ConfigError) as error:
        MaskedPretrainer(encoder={"type": Bare}, data_preprocessor=preprocessor, **parts)
    assert str(error.value) == (
        "model.encoder: Bare lacks patch_channels, stages, backbone; an encoder needs the "
        "attributes mask_patch_size, patch_channels, stages, backbone and the method "
        "forward_masked, see drivemim.models.MaskedEncoder and docs/guides/pretraining.md"
    )
