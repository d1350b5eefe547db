"""Layer-wise learning-rate decay: lower learning rates for earlier layers of a backbone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from drivemim.errors import ConfigError
from drivemim.registry import OPTIM_WRAPPER_CONSTRUCTORS
from drivemim.training.bare_model import bare_model


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecay(DefaultOptimWrapperConstructor):
    """Set the learning rate of backbone layer ``i`` of ``L`` to ``lr * decay_rate ** (L - 1 - i)``.

    ``L`` is the encoder's ``num_layers``. Its ``layer_of(name)`` returns the layer of a parameter,
    from 0, the patch embedding, to ``L - 1``, the final norm (as in BEiT,
    https://arxiv.org/abs/2106.08254). In MMDetection's ResNets, the stem is layer 0 and the stages
    are the other layers. Everything outside the encoder has the full learning rate. Parameters with
    at most one dimension (norms, biases, scales) have no weight decay.

    Args:
        optim_wrapper_cfg: same as MMEngine's.
        paramwise_cfg: ``decay_rate`` in (0, 1]; 1 keeps all learning rates equal. Use schedulers
            with relative ends (``eta_min_ratio``), which keep the ratios between layers.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        paramwise_cfg = dict(paramwise_cfg or {"decay_rate": 1.0})
        rate = paramwise_cfg.get("decay_rate")
        if set(paramwise_cfg) != {"decay_rate"} or not 0 < float(rate or 0) <= 1:
            raise ConfigError(
                f"LayerDecay takes paramwise_cfg=dict(decay_rate=number in (0, 1]), "
                f"not {paramwise_cfg}"
            )
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        if isinstance(self.base_lr, bool) or not isinstance(self.base_lr, (int, float)):
            raise ConfigError(
                f"LayerDecay needs a number as optim_wrapper.optimizer.lr, not {self.base_lr!r}"
            )

    def add_params(self, params: list[dict[str, Any]], module: nn.Module, **kwargs: Any) -> None:
        """Append one group per (learning rate, weight decay), in order of appearance."""
        model = bare_model(module)
        prefix, encoder = _encoder(model)
        decay_rate = float(self.paramwise_cfg["decay_rate"])
        layer_of, num_layers = _layers(encoder) if decay_rate < 1 else (None, 0)
        groups: dict[tuple[float, float], dict[str, Any]] = {}
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            scale = 1.0
            if layer_of is not None and name.startswith(prefix):
                scale = decay_rate ** (num_layers - 1 - layer_of(name.removeprefix(prefix)))
            weight_decay = 0.0 if parameter.ndim <= 1 else float(self.base_wd or 0.0)
            group = groups.setdefault(
                (scale, weight_decay),
                {"params": [], "lr": self.base_lr * scale, "weight_decay": weight_decay},
            )
            group["params"].append(parameter)
        params.extend(groups.values())


def _encoder(model: nn.Module) -> tuple[str, Any]:
    """Return the prefix of the names of an encoder's parameters, and the encoder."""
    # A detector may have both: the encoder of a DETR follows its backbone, and has no decay.
    for prefix in ("backbone", "encoder"):
        if isinstance(encoder := getattr(model, prefix, None), nn.Module):
            return f"{prefix}.", encoder
    raise ConfigError(f"LayerDecay finds neither encoder nor backbone in {type(model).__name__}")


def _layers(encoder: Any) -> tuple[Callable[[str], int], int]:
    """Return a function from a parameter's name to its layer, and the number of layers."""
    if hasattr(encoder, "layer_of"):
        return encoder.layer_of, int(encoder.num_layers)
    if stages := list(getattr(encoder, "res_layers", [])):

        def stage_of(name: str) -> int:
            part = name.partition(".")[0]
            return stages.index(part) + 1 if part in stages else 0

        return stage_of, len(stages) + 1
    raise ConfigError(
        f"LayerDecay needs an encoder that knows its layers (drivemim.ViT, or MMDetection's "
        f"ResNet); {type(encoder).__name__} has no layer_of: use decay_rate=1"
    )
