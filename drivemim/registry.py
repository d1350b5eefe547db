"""Registries of DriveMIM, children of MMEngine's, so that ``type='drivemim.X'`` works anywhere.

MMEngine imports this module when a config uses the ``drivemim`` scope. It imports a registry's
``locations`` at the first lookup. Importing this module may not import ``mmdet`` or ``mmcv.ops``,
so that a machine without compiled MMCV can still pretrain a ViT.
"""

import importlib
from typing import Any

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import (
    EVALUATOR,
    LOOPS,
    MODEL_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    RUNNERS,
    VISUALIZERS,
    WEIGHT_INITIALIZERS,
    Registry,
)
from mmengine.registry import FUNCTIONS as MMENGINE_FUNCTIONS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOG_PROCESSORS as MMENGINE_LOG_PROCESSORS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISBACKENDS as MMENGINE_VISBACKENDS


def _child(name: str, parent: Registry, location: str) -> Registry:
    return Registry(name, parent=parent, scope="drivemim", locations=[location])


MODELS = _child("model", MMENGINE_MODELS, "drivemim.models")
TASK_UTILS = _child("task util", MMENGINE_TASK_UTILS, "drivemim.models")
DATASETS = _child("dataset", MMENGINE_DATASETS, "drivemim.data")
TRANSFORMS = _child("transform", MMENGINE_TRANSFORMS, "drivemim.data")
FUNCTIONS = _child("function", MMENGINE_FUNCTIONS, "drivemim.data")
DATA_SAMPLERS = _child("data sampler", MMENGINE_DATA_SAMPLERS, "drivemim.data")
METRICS = _child("metric", MMENGINE_METRICS, "drivemim.evaluation")
HOOKS = _child("hook", MMENGINE_HOOKS, "drivemim.training")
VISBACKENDS = _child("vis_backend", MMENGINE_VISBACKENDS, "drivemim.training")
LOG_PROCESSORS = _child("log processor", MMENGINE_LOG_PROCESSORS, "drivemim.training")
OPTIM_WRAPPERS = _child("optim_wrapper", MMENGINE_OPTIM_WRAPPERS, "drivemim.training")
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    "optimizer wrapper constructor", MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, "drivemim.training"
)
# Without these empty registries, MMEngine would warn each time that it looks up one of its own
# classes in the scope ``drivemim``.
for _parent in (EVALUATOR, LOOPS, MODEL_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS,
                RUNNERS, VISUALIZERS, WEIGHT_INITIALIZERS):  # fmt: skip
    Registry(_parent.name, parent=_parent, scope="drivemim", locations=["drivemim.training"])

MASKS = Registry("mask", scope="drivemim", locations=["drivemim.masking"])
BOX_SOURCES = Registry("box source", scope="drivemim", locations=["drivemim.data"])

_EARLIER_NAMES = {"DetectedBoxes": "PseudoLabelBoxes", "LargeCellMask": "CoarsePatchMask"}
"""Former name of a class -> its name today."""


def current_name(name: str) -> str:
    """Return today's name of a class that the config of an older checkpoint or export names."""
    scope, dot, short = name.rpartition(".")
    return f"{scope}{dot}{_EARLIER_NAMES.get(short, short)}"


def registered_class(registry: Registry, name: str) -> Any:
    """Return the class of a name from the family of a registry; None if no registry has it.

    A name with a scope, such as ``mmdet.ResNet``, is looked up in the registry of that scope. A
    name without one is looked up in the registry and its parents. Unlike ``Registry.get``, this
    never imports the module ``a.b`` for an unknown name ``a.b.C``.
    """
    scope, _, plain = name.rpartition(".")
    if scope == "mmdet":  # This import makes MMDetection's registries children of MMEngine's.
        importlib.import_module("mmdet.registry")
    above = [registry]
    while above[-1].parent is not None:
        above.append(above[-1].parent)
    below = [above[-1]]
    while below:
        here = below.pop()
        if here.scope == scope or (not scope and here in above):
            here.import_from_location()
            if plain in here.module_dict:
                return here.module_dict[plain]
        below += here.children.values()
    return None
