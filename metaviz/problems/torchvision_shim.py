"""The only module that imports torchvision."""

import importlib
import sys
from functools import cache
from types import ModuleType

import torch

from metaviz.files.archives import DataError

NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision() -> ModuleType:
    """Import torchvision, also where its compiled half does not fit the installed torch.

    A torchvision built for CUDA next to a torch without it fails to load its operators, goes on,
    and then trips over the two that it describes unconditionally. Declaring their signatures is
    enough for data sets and transforms; calling the operators still fails with their own error.

    Raises: DataError if torchvision is not installed.
    """
    try:
        return importlib.import_module("torchvision")
    except ImportError as error:
        raise DataError("the package torchvision is not installed; install it first") from error
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declare_operators()
    return importlib.import_module("torchvision")


def import_transforms() -> ModuleType:
    """Import the functions of torchvision's transforms v2, which takes a few seconds once.

    Raises: DataError if torchvision is not installed.
    """
    import_torchvision()
    return importlib.import_module("torchvision.transforms.v2.functional")


@cache
def _declare_operators() -> torch.library.Library:
    """Declare the operators once; the cache keeps the library, which must outlive their use."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + NMS)
    return library
