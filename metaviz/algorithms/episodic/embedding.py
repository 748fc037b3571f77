"""What methods without an inner loop share: embeddings of support and query sets."""

from collections.abc import Callable

import torch
from torch import Tensor

from metaviz.meta.context import Context, Meta
from metaviz.meta.tasks import Batch
from metaviz.nets.layout import Weights
from metaviz.nets.normalisation import Norm


def embedded(
    context: Context,
    meta: Meta,
    batch: Batch,
    *,
    together: bool,
    weights: Weights | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the embeddings of the support set and of a batch, each (tasks, n, d).

    Where a network normalises by a batch, that is each set apart, or both in one call. Tasks may
    have weights of their own instead of the meta-learned ones.
    """
    support, net = context.tasks.support, context.learner.net
    if weights is None:
        weights = meta["init"].expand(len(support), -1)
    if batch is support:
        both = net.features(weights, support.x)
        return both, both
    if batch.beside is not None or not together:
        asked = net.features(weights, batch.x, batch.beside)
        return net.features(weights, support.x), asked
    both = net.features(weights, torch.cat([support.x, batch.x], 1))
    count = support.x.shape[1]
    return both[:, :count], both[:, count:]


def in_sets(
    norm: Norm | None,
    known: Tensor,
    asked: Tensor,
    function: Callable[[Tensor, int | None], Tensor],
    *,
    together: bool,
) -> tuple[Tensor, Tensor]:
    """Apply a module that normalises as the network does to support and asked examples.

    The function takes examples (tasks, n, ...) and how many of them count in statistics, None for
    all: each set apart, both `together`, or both with the statistics of the support set.
    """
    if norm is not None and norm.statistics == "batch" and not together:
        return function(known, None), function(asked, None)
    count = known.shape[1]
    by_support = norm is not None and norm.statistics == "support"
    both = function(torch.cat([known, asked], 1), count if by_support else None)
    return both[:, :count], both[:, count:]


def rows(flat: Tensor) -> Tensor:
    """Return meta-parameters of a group with a tasks axis, (1 or tasks, P)."""
    return flat if flat.dim() > 1 else flat.unsqueeze(0)
