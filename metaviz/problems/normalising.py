"""Options of image problems that say how their networks normalise."""

from typing import Any

from metaviz.config.options import Options, option
from metaviz.config.run_config import Shared
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.normalisation import Statistics
from metaviz.nets.spec import NetSpec, net_spec


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


def paired(support: Batch, query: Batch, norm: Statistics) -> TaskBatch:
    """Return tasks; where the support set's statistics normalise, it stands beside the queries."""
    tasks = TaskBatch(support, query)
    return tasks.beside_support() if norm == "support" else tasks
