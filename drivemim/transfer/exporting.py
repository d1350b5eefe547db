"""Transfer of a pretrained backbone to a detector or pretrainer, in a verified, portable file.

``OUT.safetensors`` holds the weights under the backbone's own names. Its metadata key ``drivemim``
holds, as JSON, what is needed to use them correctly. ``OUT.pth`` beside it is for plain
MMDetection: ``init_cfg=dict(type='Pretrained', checkpoint='OUT.pth')`` of the backbone. ``OUT.md``
is the model card.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from drivemim.checkpoint_kinds import (
    check_weights,
    classify,
    describe_mismatch,
    describe_missing,
)
from drivemim.compat import read_checkpoint
from drivemim.errors import CheckpointError, ConfigError
from drivemim.files import ensure_writable, write_bytes
from drivemim.models.encoders.vit import ViT
from drivemim.transfer.export_metadata import describe_export, one_frame, pretrainer_of
from drivemim.transfer.external_checkpoint import add_batch_counts, describe_names, extract_backbone
from drivemim.transfer.external_vit import final_norm_advice, fit_vit
from drivemim.transfer.feature_check import compare_features, fixed_image, level_numbers
from drivemim.transfer.model_card import (
    check_card_path,
    check_card_results,
    read_card_results,
    render_card,
)
from drivemim.transfer.name_matching import describe_differences
from drivemim.transfer.run_checkpoints import checkpoint_in, weights_of
from drivemim.transfer.weights_file import METADATA_KEY, read_weights

EXPORT = "backbone.safetensors"
"""Default file name of an export, which is written beside its checkpoint."""


def export_backbone(
    checkpoint: str | Path,
    out: str | Path,
    *,
    config: str | Path | None = None,
    ema: bool = False,
    input_size: tuple[int, int] | None = None,
    metrics: Sequence[str] = (),
) -> dict[str, Any]:
    """Write a pretraining checkpoint's backbone as ``out``, with a plain ``.pth`` and a model card.

    Args:
        checkpoint: checkpoint of a pretraining run, or the run's folder for its newest one.
        out: file ending in ``.safetensors``.
        config: config of the run; by default the one inside the checkpoint.
        ema: take the averaged weights that MMEngine's ``EMAHook`` keeps.
        input_size: height and width, pixels, at which the features are recorded; by default the
            ``image_size`` of the run's training data.
        metrics: results for the card, one ``NAME=FILE.json`` each.

    Returns:
        The metadata written: architecture, normalisation, input size, strides, source, data,
        recipe, version and fingerprint.

    Raises:
        FileNotFoundError: if there is no such checkpoint, or no such file of ``metrics``.
        ConfigError: if ``out`` does not end in ``.safetensors``, the ``.pth`` would replace the
            checkpoint, the card would replace a page of another kind, the results are of other
            weights, or the config cannot be used.
        DataError: if a file of ``metrics`` is not JSON with numbers.
        CheckpointError: if the checkpoint is damaged, of another model, or lacks requested weights.
    """
    out, checkpoint = Path(out), checkpoint_in(Path(checkpoint))
    _check_files(checkpoint, out)
    results = read_card_results(metrics)
    check_card_results(results, checkpoint)
    content = read_checkpoint(checkpoint)
    pretrainer, cfg = pretrainer_of(content, checkpoint, config)
    weights = weights_of(content, checkpoint, ema=ema)
    if mismatch := describe_mismatch(pretrainer.state_dict(), weights):
        source = "the config inside it" if config is None else config
        fix = "take another checkpoint" if config is None else "leave --config out"
        raise CheckpointError(
            f"{checkpoint} does not have the weights of the model in {source}; {fix}, or give the "
            f"config of its training run with --config. Tensors: {mismatch}"
        )
    check_weights(checkpoint, weights, pretrainer.state_dict())
    pretrainer.load_state_dict(weights)
    pretrainer.eval()
    # If the user gives the config, the checkpoint may lack ``meta``; the metadata then says less.
    meta = content.get("meta") or {}
    metadata = describe_export(pretrainer, cfg, meta, checkpoint, input_size)
    metadata["source"]["ema"] = ema
    backbone: nn.Module = pretrainer.encoder.backbone  # type: ignore[assignment, union-attr]  # built
    state = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in backbone.state_dict().items()
    }
    if out.exists():
        print_log(f"{out} is replaced")
    _write(out, state, metadata, render_card(out.stem, metadata, results))
    return metadata


def _check_files(checkpoint: Path, out: Path) -> None:
    """Refuse a missing checkpoint, and an ``out`` that has another suffix or would replace a file.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ConfigError: if ``out`` has another suffix, or a file to be written would replace the
            checkpoint or a page that is not a model card.
    """
    _check_order(checkpoint, out)
    if out.suffix != ".safetensors":
        raise ConfigError(f"{out} must end in .safetensors (a .pth is written beside it)")
    plain, card = out.with_suffix(".pth"), out.with_suffix(".md")
    if plain.resolve() == checkpoint.resolve():
        raise ConfigError(
            f"{plain}, written beside {out}, would replace the checkpoint; rename one"
        )
    for path in (out, plain, card):
        ensure_writable(path)
    check_card_path(card)


def _check_order(checkpoint: Path, out: Path) -> None:
    """Refuse a missing checkpoint, and say if the two paths seem swapped."""
    if checkpoint.suffix == ".safetensors" and out.suffix != ".safetensors":
        raise ConfigError(
            f"{checkpoint} is named like an export, and the first argument is the checkpoint of a "
            f"pretraining run (iter_*.pth); it and {out} seem swapped: CHECKPOINT comes before OUT"
        )
    if not checkpoint.is_file():
        raise FileNotFoundError(describe_missing("checkpoint", checkpoint))


def _write(out: Path, state: dict[str, Tensor], metadata: dict[str, Any], page: str) -> None:
    """Write the three files of an export, each completely or not at all."""
    encoded = {METADATA_KEY: json.dumps(metadata), "format": "pt"}
    buffer = io.BytesIO()
    torch.save({"state_dict": state, "meta": {METADATA_KEY: metadata}}, buffer)
    write_bytes(out, safetensors.torch.save(state, metadata=encoded))
    write_bytes(out.with_suffix(".pth"), buffer.getbuffer())
    write_bytes(out.with_suffix(".md"), page.encode())


def read_export(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read an exported backbone: its weights by name, and its metadata.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is damaged, or was not written by :func:`export_backbone`.
    """
    content, metadata = read_weights(path)
    if metadata is None:
        raise CheckpointError(
            f"{path} was not written by drivemim export, so its normalisation is unknown; "
            "export a pretraining checkpoint, or use MMDetection's init_cfg for other weights"
        )
    return content.get("state_dict", {}), metadata


def load_export(
    model: nn.Module,
    path: str | Path,
    *,
    architecture: Mapping[str, Any] | None = None,
    tolerance: float = 1e-3,
) -> str:
    """Load an exported backbone into a model, and verify that its features are unchanged.

    Args:
        model: detector with ``backbone`` and ``data_preprocessor``, or a pretrainer.
        path: file written by :func:`export_backbone`.
        architecture: config of the model's backbone, to name differences.
        tolerance: largest difference of features, as a fraction of their root mean square.

    Returns:
        A line for the log.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if any name or shape differs, or the model's normalisation and backbone
            give other features of the fixed image than the pretrainer did.
    """
    state, metadata = read_export(path)
    return load_export_content(
        model, path, state, metadata, architecture=architecture, tolerance=tolerance
    )


def load_export_content(
    model: nn.Module,
    path: str | Path,
    state: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    *,
    architecture: Mapping[str, Any] | None = None,
    tolerance: float = 1e-3,
) -> str:
    """Load an export that was read already, and verify the features, like :func:`load_export`.

    Args:
        model: detector with ``backbone`` and ``data_preprocessor``, or a pretrainer.
        path: path of the export, for messages.
        state: weights, from :func:`read_export`.
        metadata: metadata, from :func:`read_export`.
        architecture: config of the model's backbone, to name differences.
        tolerance: largest difference of features, as a fraction of their root mean square.

    Returns:
        A line for the log.

    Raises:
        CheckpointError: if the export does not fit, or the features differ.
    """
    backbone = fill_backbone(model, path, state, metadata["architecture"], architecture or {})
    size = (metadata["input_size"][0], metadata["input_size"][1])
    maps, levels = _features(model, fixed_image(size))
    if lines := compare_features(metadata["fingerprint"], maps, levels, tolerance):
        normalization = metadata["normalization"]
        differences = describe_differences(metadata["architecture"], architecture or {}, backbone)
        raise CheckpointError(
            f"{path}: this {_kind(model)}'s features are not the pretrainer's "
            f"({'; '.join(lines)}). "
            f"It was trained with {normalization}; set these in model.data_preprocessor"
            + (f". Exported architecture: {differences}" if differences else "")
        )
    return f"Loaded all {len(state)} tensors of {path}; features equal the pretrainer's"


def load_weights(
    model: nn.Module,
    path: str | Path,
    *,
    architecture: Mapping[str, Any] | None = None,
    prefix: str = "",
) -> str:
    """Load the backbone of an export, or of any other checkpoint, strictly into a model.

    In a checkpoint that is not an export, only names, shapes and positions can be checked. Its
    normalisation and features are unknown, as the lines for the log say.

    Args:
        model: detector with ``backbone`` and ``data_preprocessor``, or a pretrainer.
        path: an export, or any file that ``external_checkpoint.extract_backbone`` reads.
        architecture: config of the model's backbone, to name differences.
        prefix: prefix of the names to take, if the file is known to have one.

    Returns:
        Lines for the log.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is damaged, is a pretraining run's own checkpoint, or does not fit.
    """
    return load_content(model, path, *read_weights(path), architecture=architecture, prefix=prefix)


def load_content(
    model: nn.Module,
    path: str | Path,
    content: Any,
    metadata: Mapping[str, Any] | None,
    *,
    architecture: Mapping[str, Any] | None = None,
    prefix: str = "",
) -> str:
    """Load weights from a file that was read already, like :func:`load_weights`.

    Args:
        model: detector with ``backbone`` and ``data_preprocessor``, or a pretrainer.
        path: path of the file, for messages.
        content: from :func:`~drivemim.transfer.weights_file.read_weights`.
        metadata: from the same; None if the file is not an export.
        architecture: config of the model's backbone, to name differences.
        prefix: prefix of the names to take, if the file is known to have one.

    Returns:
        Lines for the log.

    Raises:
        CheckpointError: if the file is a pretraining run's own checkpoint, or does not fit.
    """
    if metadata is not None:
        state = content.get("state_dict", {})
        return load_export_content(model, path, state, metadata, architecture=architecture)
    external = extract_backbone(content, path, prefix)
    backbone, notes = backbone_of(model), ""
    if isinstance(backbone, ViT):
        external, state, notes = fit_vit(external, backbone, path)
    else:
        state = add_batch_counts(external.weights, backbone.state_dict())
    fill_backbone(model, path, state, {}, {}, external.left_out)
    groups = sorted({_group(name) for name in external.left_out})
    under = f". They lie under '{external.container}' in the file" if external.container else ""
    table = describe_names(external.names)
    of_detector = classify(content) == "detector"
    kind = "a detector's checkpoint" if of_detector else "not an export of DriveMIM"
    return (
        f"Loaded all {len(state)} tensors of the backbone of {path}, which is {kind}. The file "
        "does not say how images were normalised, and has no features to compare with: check that "
        f"model.data_preprocessor is what {'the detector' if of_detector else 'the backbone'} was "
        f"trained with{under}"
        + (f". {notes[0].upper()}{notes[1:]}" if notes else "")
        + (f". Names in the file -> here: {table}" if table else "")
        + (f". Left out: {len(external.left_out)} tensors of {', '.join(groups)}" if groups else "")
    )


def backbone_of(model: nn.Module) -> nn.Module:
    """Return the backbone of a detector or a pretrainer."""
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        backbone = model.encoder.backbone  # type: ignore[union-attr]  # nn.Module's __getattr__
    return backbone  # type: ignore[return-value]  # nn.Module's __getattr__


def _kind(model: nn.Module) -> str:
    """Return the word for a model in messages."""
    return "detector" if hasattr(model, "backbone") else "pretrainer"


def _group(name: str) -> str:
    """Return the part of a model that a name in a file belongs to."""
    return name.removeprefix("module.").partition(".")[0]


def fill_backbone(
    model: nn.Module,
    path: str | Path,
    state: Mapping[str, Tensor],
    exported: Mapping[str, Any],
    configured: Mapping[str, Any],
    left_out: tuple[str, ...] = (),
) -> nn.Module:
    """Load all weights, or none, into a model's backbone, and return the backbone.

    Args:
        model: detector or pretrainer.
        path: path of the file, for messages.
        state: weights by the backbone's names.
        exported: config of the export's backbone; empty if the file is not an export.
        configured: config of the model's backbone; empty if unknown.
        left_out: names in the file that are not part of the backbone.

    Raises:
        CheckpointError: if a name, shape or type differs, or a weight is not finite.
    """
    backbone = backbone_of(model)
    if mismatch := describe_mismatch(backbone.state_dict(), state):
        differences = describe_differences(exported, configured, backbone) if exported else ""
        raise CheckpointError(
            f"{path} does not fit the {_kind(model)}'s {type(backbone).__name__}: "
            + (f"in the export {differences}" if differences else "its tensors differ")
            + final_norm_advice(state, left_out)
            + f". Give the {_kind(model)} the backbone of the file, or take another file. "
            f"Tensors: {mismatch}"
        )
    check_weights(path, state, backbone.state_dict())
    backbone.load_state_dict(state, strict=True)
    return backbone


@torch.no_grad()
def _features(model: Any, image_HWC: Tensor) -> tuple[list[Tensor], list[int]]:
    """Compute maps of an image with float32 CPU copies of the model's preprocessor and backbone.

    Returns:
        The maps, and their :func:`level_numbers`.
    """
    if _kind(model) == "pretrainer":
        copied = copy.deepcopy(model).to("cpu", torch.float32)
        copied.eval()
        clips = copied.data_preprocessor(one_frame(image_HWC), False)["clips"]
        maps = list(copied(clips, mode="tensor"))
        return maps, level_numbers(copied.encoder.backbone, maps)
    preprocessor = copy.deepcopy(model.data_preprocessor).to("cpu")
    backbone = copy.deepcopy(model.backbone).to("cpu", torch.float32)
    backbone.eval()  # not chained: MMDetection's ResNet returns None
    batch = {"inputs": [image_HWC.permute(2, 0, 1).contiguous()], "data_samples": None}
    height, width = image_HWC.shape[:2]
    images_1CHW = preprocessor(batch, training=False)["inputs"][..., :height, :width]
    # A detector's ViT with window attention has other features than the pretrainer, so they are
    # compared with full attention.
    with getattr(backbone, "full_attention", nullcontext)():
        maps = list(backbone(images_1CHW.float()))
    return maps, level_numbers(backbone, maps)
