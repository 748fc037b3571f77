"""Options of image problems that say what their networks are, and how these normalise."""

from typing import Any, Literal, Protocol

import numpy as np

from metaviz.config.cells import IMAGE_CELL, IMAGE_OPERATIONS
from metaviz.config.options import Options, option
from metaviz.config.run_config import Shared
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.normalisation import Statistics
from metaviz.nets.spec import NetSpec, net_spec

USUAL_CELLS = 3
DRAWN_SIDE = 28
POOLINGS = {
    "max": "max-pooling",
    "stride": "stride 2",
    "twice": "max-pooling twice",
    "mean": "max-pooling and mean",
}
"""The values of `pooling` in words."""
CELL = option(
    None,
    "Cell",
    "Blocks of two operations that are added, with | between, of a network of cells: 0 is what the "
    "cell before gave, 1 what the one before that gave, 2 the first block of the same cell. "
    f"Operations: {', '.join(IMAGE_OPERATIONS)}. Empty: {IMAGE_CELL}.",
    operations=IMAGE_OPERATIONS,
)
CELLS = option(
    None, "Number of cells", f"Maps are halved between them. Empty: {USUAL_CELLS}.", ge=1, le=20
)
DRAWN_BACKBONE = option(
    None,
    "Network",
    "Conv4: four blocks of one convolution. Cells: equal cells, whose blocks an option writes down "
    "and a search finds. Empty: Conv4.",
    labels={"conv4": "Conv4", "cells": "cells"},
)
DRAWN_SIDE_OPTION = option(
    None,
    "Side",
    "Drawings are averaged to this side: a half of it takes a fifth of the time. Empty: 28.",
    labels={"14": "14 pixels", "28": "28 pixels"},
)
DRAWN_HELD_OUT = option(
    None,
    "Evaluate on",
    "Characters of the evaluation tasks while training. Keep the test characters for the end: what "
    "is chosen by looking at them is no longer held out. Empty: test.",
    labels={"validation": "validation", "test": "test"},
)
"""Options that families of drawings share. Each puts them where its stored columns are."""


class DrawnNetwork(Protocol):
    """What the options of drawings have in common."""

    backbone: Literal["conv4", "cells"] | None
    side: Literal["14", "28"] | None


def drawn_side(options: DrawnNetwork) -> int:
    """Return the side of drawings in pixels."""
    return int(options.side or DRAWN_SIDE)


def averaged(images: np.ndarray, side: int) -> np.ndarray:
    """Return 8-bit drawings (..., 28, 28) averaged to a side that divides theirs."""
    if side == images.shape[-1]:
        return images
    places = images.shape[-1] // side
    shape = (*images.shape[:-2], side, places, side, places)
    found: np.ndarray = np.rint(images.reshape(shape).mean((-3, -1))).astype(np.uint8)
    return found


def statistics_option() -> Any:
    """Declare `norm`."""
    return option(
        "batch",
        "Normalisation",
        "Batch: BatchNorm by the statistics of the examples at hand, so that the predictions of a "
        "task's query examples depend on each other (transductive). Support: query examples are "
        "normalised by the statistics of their task's support set. Group: GroupNorm, each example "
        "by itself in 8 groups of channels.",
        labels={"batch": "batch statistics", "support": "support statistics", "group": "GroupNorm"},
    )


def affine_option() -> Any:
    """Declare `norm_affine`."""
    return option(
        "both",
        "Scale and shift",
        "Normalised channels are multiplied by γ and shifted by β, or shifted alone as in MAML's "
        "official code.",
        labels={"both": "γ and β", "beta": "β only"},
    )


def adapted_option() -> Any:
    """Declare `norm_adapted`."""
    return option(
        True,
        "Adapt γ and β",
        "Whether inner steps change γ and β, as in PyTorch ports of MAML. Off: they are "
        "meta-learned but the same for every task, as in MAML's official code; not for methods "
        "that learn from what adaptation changes, like Reptile.",
    )


def eps_option() -> Any:
    """Declare `norm_eps`."""
    return option(
        1e-5,
        "ε of the normalisation",
        "Added to variances: 1e-5 is PyTorch's, 1e-3 that of MAML's official code.",
        gt=0,
        le=1,
        log=True,
    )


def spec_of(backbone: str, options: Options, shared: Shared, **own: Any) -> NetSpec:
    """Describe a network of images; `own` are its own options and the images' channels and side."""
    norm = options.model_dump(include={"norm", "norm_affine", "norm_adapted", "norm_eps"})
    return net_spec(backbone, ways=shared.ways, **own, **norm)


def conv4_spec(options: Options, shared: Shared, in_channels: int, image: int) -> NetSpec:
    """Describe Conv4 with the channels and the pooling of the options."""
    own = options.model_dump(include={"channels", "pooling"})
    return spec_of("conv4", options, shared, **own, in_channels=in_channels, image=image)


def cells_spec(options: Options, shared: Shared, in_channels: int, image: int) -> NetSpec:
    """Describe a network of cells with the channels of the options."""
    own = options.model_dump(include={"channels", "cell", "cells"})
    own |= {"cell": own["cell"] or IMAGE_CELL, "cells": own["cells"] or USUAL_CELLS}
    return spec_of("cells", options, shared, **own, in_channels=in_channels, image=image)


def drawn_spec(options: Any, shared: Shared) -> NetSpec:
    """Describe the network of a family of drawings."""
    spec = cells_spec if options.backbone == "cells" else conv4_spec
    return spec(options, shared, 1, drawn_side(options))


def paired(support: Batch, query: Batch, norm: Statistics) -> TaskBatch:
    """Return tasks; where the support set's statistics normalise, it stands beside the queries."""
    tasks = TaskBatch(support, query)
    return tasks.beside_support() if norm == "support" else tasks
