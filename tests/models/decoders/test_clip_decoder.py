from types import SimpleNamespace

import numpy as np
import torch

from drivemim.clips import Clips
from drivemim.models import ClipDecoder
from drivemim.models.decoders.clip_decoder import DecoderBlock
from drivemim.models.encoders.masked_encoder import MaskedFeatures
from drivemim.models.patches import PatchMask


def test_hidden_patches_come_in_row_major_order(clips: Clips, mask: torch.Tensor) -> None:
    encoder = SimpleNamespace(patch_channels=8, stages=())
    decoder = ClipDecoder(encoder=encoder, embed_dims=24, depth=2, num_heads=2)
    visible = MaskedFeatures(tokens_XKD=torch.randn(8, 2, 8))
    with torch.no_grad():
        # Without content, only positions are left: equal visible features, no attention, no MLP.
        for block in decoder.blocks:
            block.proj.weight.zero_()
            block.mlp.fc2.weight.zero_()
    positions = decoder._positions(clips, (2, 3))
    out = decoder(visible, PatchMask.from_tensor(mask, 16, clips.valid_BTN), clips)
    rows = mask[1, 0, 1].flatten().nonzero()[:, 0]
    torch.testing.assert_close(out[1, 0, 1], decoder.norm(positions[5][rows] + decoder.mask_token))


def test_block_by_hand() -> None:
    torch.manual_seed(0)
    block = DecoderBlock(8, 2, 1.0).double()
    tokens = torch.randn(1, 5, 8).double()
    use = torch.tensor([[True, False, True]])
    out = block(tokens, 3, use, hidden_only=False).detach().numpy()[0]
    only = block(tokens, 3, use, hidden_only=True).detach().numpy()[0]

    w = {name: value.detach().numpy() for name, value in block.named_parameters()}
    x = tokens.numpy()[0]

    def norm(rows: np.ndarray) -> np.ndarray:
        centred = rows - rows.mean(axis=1, keepdims=True)
        return centred / np.sqrt(centred.var(axis=1, keepdims=True) + 1e-6)

    def linear(rows: np.ndarray, name: str) -> np.ndarray:
        return rows @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    n = norm(x)
    queries, both = linear(n, "queries"), linear(n[[0, 2]], "keys_values")
    mixed = np.zeros((5, 8))
    for head in (slice(0, 4), slice(4, 8)):
        scores = queries[:, head] @ both[:, :8][:, head].T / 2.0
        weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        mixed[:, head] = weights @ both[:, 8:][:, head]
    x = x + linear(mixed, "proj")
    inner = torch.nn.functional.gelu(torch.from_numpy(linear(norm(x), "mlp.fc1"))).numpy()
    expected = x + linear(inner, "mlp.fc2")
    np.testing.assert_allclose(out, expected)
    np.testing.assert_allclose(only, expected[3:])
