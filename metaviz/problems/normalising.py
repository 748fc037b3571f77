"""Options of image problems that say how their networks normalise."""

from typing import Any

from metaviz.config.options import Options, option
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.normalisation import Statistics


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


def norm_options(options: Options) -> dict[str, Any]:
    """Return the options declared by the functions of this module, as networks take them."""
    return options.model_dump(include={"norm", "norm_affine", "norm_adapted", "norm_eps"})


def paired(support: Batch, query: Batch, norm: Statistics) -> TaskBatch:
    """Return tasks; where the support set's statistics normalise, it stands beside the queries."""
    tasks = TaskBatch(support, query)
    return tasks.beside_support() if norm == "support" else tasks
