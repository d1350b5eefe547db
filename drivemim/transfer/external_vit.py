"""Convert other projects' vision transformers to weights of ``drivemim.ViT``.

Names of MAE, timm, DeiT, DINO (v1), MoCo v3 and mmpretrain are understood. Parts that would change
the features are refused by name. Positions are compared with those of the ViT.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from drivemim.checkpoint_kinds import check_weights
from drivemim.errors import CheckpointError
from drivemim.models.encoders.vit import ViT
from drivemim.models.layers import grid_positions
from drivemim.transfer.external_checkpoint import ExternalWeights

# Patterns of names in files, and the names of ``drivemim.ViT``.
_RENAMINGS = tuple(
    (re.compile(old), new)
    for old, new in (
        (r"^patch_embed\.projection\.", "patch_embed.proj."),  # mmpretrain's names from here on
        (r"^layers\.(\d+)\.", r"blocks.\1."),
        (r"^(blocks\.\d+)\.ln([12])\.", r"\1.norm\2."),
        (r"^(blocks\.\d+)\.ffn\.layers\.0\.0\.", r"\1.mlp.fc1."),
        (r"^(blocks\.\d+)\.ffn\.layers\.1\.", r"\1.mlp.fc2."),
        (r"^(ln1|norm1)\.", "norm."),
    )
)
# Parts that change the features and that ``drivemim.ViT`` does not have, and their tensors' names.
_REFUSED = (
    ("LayerScale", re.compile(r"(^|\.)(ls[12]\.|gamma_?[12](\.|$))")),
    ("register tokens", re.compile(r"^(register_tokens?|reg_token)")),
    ("relative positions", re.compile(r"rel_pos|relative_position")),
    ("rotary positions", re.compile(r"(^|\.)rope")),
    ("a norm of queries and keys", re.compile(r"\.attn\.[qk]_norm\.")),
    ("a gated MLP", re.compile(r"\.mlp\.(w12|w3|fc1_g)\.|\.ffn\.(w12|w3)\.")),
    ("a norm before the blocks", re.compile(r"^(norm_pre|pre_norm)\.")),
)
_TOKENS = ("cls_token", "dist_token")
# Decoders and mask tokens of masked autoencoders, and mmpretrain's norm of the mean over patches.
_NOT_ENCODER = re.compile(r"^(decoder[._]|mask_token$|masked_embed$|ln2\.)")
# Largest difference of fixed positions from their formula: half precision differs less, learned
# positions differ by 0.5.
_TOLERANCE = 2e-3


def fit_vit(
    external: ExternalWeights, vit: ViT, path: str | Path
) -> tuple[ExternalWeights, dict[str, Tensor], str]:
    """Rename another project's vision transformer and fit its positions.

    Args:
        external: weights of the vision transformer.
        vit: model to fill.
        path: path of the file, for messages.

    Returns:
        The weights used, under the names of ``drivemim.ViT``; the tensors to load, with positions
        of patches only; and notes for the log.

    Raises:
        CheckpointError: if it has a part that ``drivemim.ViT`` lacks, two names for one layer, or
            positions that do not fit.
    """
    for part, pattern in _REFUSED:
        if names := [external.names[name] for name in external.weights if pattern.search(name)]:
            raise CheckpointError(
                f"{path} has {part} ({len(names)} tensors, {names[0]} the first), which "
                "drivemim.ViT does not have: without them its features would be wrong. Take a ViT "
                "without them, such as MAE's, timm's, DeiT's or DINO's (v1)"
            )
    tokens = [name for name in _TOKENS if name in external.weights]
    positions = external.weights.get("pos_embed")
    new_names: dict[str, str] = {}
    for name in external.weights:
        if name not in tokens and name != "pos_embed" and not _NOT_ENCODER.search(name):
            new_names[name] = _rename(name)
    if positions is not None and vit.position_grid is not None:
        new_names["pos_embed"] = "pos_embed"
    renamed = external.renamed(new_names)
    if len(renamed.weights) < len(new_names):
        twice = next(new for new, count in Counter(new_names.values()).items() if count > 1)
        names = [external.names[old] for old, new in new_names.items() if new == twice]
        raise CheckpointError(
            f"{path} has two names for one layer: {' and '.join(names)} are both {twice}; save the "
            "weights of one model only"
        )
    weights, notes = dict(renamed.weights), []
    if tokens:
        notes.append(f"{' and '.join(tokens)} dropped: patches no longer attend to it")
    if positions is None:
        notes.append("no positions in the file; those of drivemim.ViT are taken")
    else:
        fitted, note = _fit_positions(positions, len(tokens), vit, path)
        weights |= fitted
        notes.append(note)
    notes.append(
        "the file does not give the number of attention heads; the config's "
        f"num_heads={vit.num_heads} is used"
    )
    return renamed, weights, "; ".join(notes)


def _rename(name: str) -> str:
    for pattern, new in _RENAMINGS:
        name = pattern.sub(new, name)
    return name


def _fit_positions(
    positions: Tensor, tokens: int, vit: ViT, path: str | Path
) -> tuple[dict[str, Tensor], str]:
    """Convert the positions of a file for the ViT.

    Args:
        positions: (1, tokens and patches, D), learned or fixed.
        tokens: number of class and distillation tokens, which come before the patches.
        vit: model to fill.
        path: path of the file, for messages.

    Returns:
        ``pos_embed`` of the patches for a ViT with learned positions, nothing for one with fixed
        positions; and a note for the log.

    Raises:
        CheckpointError: if the positions are not those of the ViT.
    """
    check_weights(path, {"pos_embed": positions}, {"pos_embed": torch.zeros(0)})
    table_XD = positions.detach().float().flatten(0, -2)
    if table_XD.shape[1] != vit.embed_dims:
        raise CheckpointError(
            f"{path} has positions of {table_XD.shape[1]} channels, here embed_dims is "
            f"{vit.embed_dims}"
        )
    # Tokens may or may not have a position: the table is tried without their rows, and whole.
    tables = [table_XD[skip:] for skip in sorted({tokens, 0}, reverse=True)]
    fixed = next((known for table in tables for known in _fixed(table)), None)
    if fixed is not None:
        kind, grid = fixed
    else:
        kind, grid = "learned", _learned_grid(tables, vit, path)
    table_LD = next(table for table in tables if len(table) == grid[0] * grid[1])
    size = f"{grid[0]} x {grid[1]}"
    if vit.position_grid is None and kind == "columns first":
        return {}, f"the fixed positions in the file ({size}) are drivemim.ViT's own"
    if vit.position_grid is None:
        why = "learned" if kind == "learned" else (
            "fixed, but with the row in the first half of the channels, where drivemim.ViT has the "
            "column"
        )  # fmt: skip
        raise CheckpointError(
            f"{path} has positions ({size}) that are {why}; set position='learned', "
            f"position_grid={grid} in the config of the ViT, which takes them over"
        )
    if vit.position_grid != grid:
        raise CheckpointError(
            f"{path} has positions of {size} patches, here position_grid is {vit.position_grid}; "
            f"set position_grid={grid}: images of any size are accepted all the same"
        )
    return {"pos_embed": table_LD[None].clone()}, (
        f"{'learned' if kind == 'learned' else 'fixed'} positions ({size}) taken over"
    )


def _fixed(table_LD: Tensor) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield kind and grid of positions if they are fixed sine-cosine ones.

    The kind is ``columns first`` if the first half of the channels encodes the column, like in
    ``drivemim.ViT`` and MAE; ``rows first`` if it encodes the row.
    """
    count, dims = table_LD.shape
    if dims % 4:  # a sine and a cosine for each of row and column
        return
    for rows in (rows for rows in range(1, count + 1) if count % rows == 0):
        grid = (rows, count // rows)
        positions_LD = grid_positions(grid, dims, device=table_LD.device, dtype=table_LD.dtype)
        columns, rows_half = positions_LD.chunk(2, dim=1)
        swapped_LD = torch.cat([rows_half, columns], dim=1)
        for kind, expected_LD in (("columns first", positions_LD), ("rows first", swapped_LD)):
            if (table_LD - expected_LD).abs().max() < _TOLERANCE:
                yield kind, grid


def _learned_grid(tables: list[Tensor], vit: ViT, path: str | Path) -> tuple[int, int]:
    """Return rows and columns of learned positions: the ViT's, or those of a square image.

    Args:
        tables: the positions without and with the rows of tokens, the likelier first.
        vit: model to fill.
        path: path of the file, for messages.

    Raises:
        CheckpointError: if their number fits neither.
    """
    own = vit.position_grid
    for table_LD in tables:
        if own is not None and len(table_LD) == own[0] * own[1]:
            return own
        side = round(len(table_LD) ** 0.5)
        if side * side == len(table_LD) > 0:
            return side, side
    raise CheckpointError(
        f"{path} has learned positions of {len(tables[0])} patches, not those of a square image; "
        "set position='learned' and position_grid=(ROWS, COLUMNS) in the config of the ViT"
    )


def final_norm_advice(weights: Mapping[str, Tensor], left_out: tuple[str, ...]) -> str:
    """Return advice for a file of a classifier that has ``fc_norm`` instead of ``norm``.

    Such a classifier normalises the mean over patches, not each patch.

    Args:
        weights: weights under the names of ``drivemim.ViT``.
        left_out: names in the file that are not part of the backbone.

    Returns:
        A sentence for the end of a message; empty for other models.
    """
    if "norm.weight" in weights or not any("fc_norm." in name for name in left_out):
        return ""
    return ". It normalises the mean over patches (fc_norm) and no patch: set final_norm=False"
