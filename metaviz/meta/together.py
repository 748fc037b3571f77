"""One meta-step for several runs of one method: seeds become another leading axis.

The tasks of all runs lie one after another in one batch, and each task has the meta-parameters of
its run as a row of its own. Rows do not meet anywhere: the derivative of the mean over all tasks
with respect to a run's rows is what that run alone would find, but for rounding.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from metaviz.meta.context import Meta
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.sharding import has_rows

_COPIES = 3
"""How often a batch's rows are in memory: themselves, their gradients, and these weighted."""


def rows_of(metas: Sequence[Meta], sizes: Sequence[int]) -> Meta:
    """Return the meta-parameters of runs with so many tasks each, one row per task.

    Shapes: groups (P,) of every run give (tasks of all runs, P).
    """
    return {
        name: torch.cat(
            [meta[name].detach().expand(size, -1) for meta, size in zip(metas, sizes, strict=True)]
        )
        for name in metas[0]
    }


def rows_bytes(meta: Meta) -> int:
    """Return the memory that rows take beside the parts of a batch; none where there are none."""
    return _COPIES * sum(value.nbytes for value in meta.values() if has_rows(value))


def parted(step: MetaStep, sizes: Sequence[int]) -> list[MetaStep]:
    """Return the meta-step of each run out of that of all; runs have so many tasks each.

    The mean over a run's own tasks weighs each of them more than the mean over all does.
    """
    total = sum(sizes)
    spans = [slice(*span) for span in pairwise(accumulate(sizes, initial=0))]

    def part(span: slice, size: int) -> MetaStep:
        def own(values: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value[span] for name, value in values.items()}

        return replace(
            step,
            gradients={
                name: value[span].sum(0) * (total / size) for name, value in step.gradients.items()
            },
            readings=own(step.readings),
            support_loss=step.support_loss[:, span],
            gradient_norm=step.gradient_norm[:, span],
            warnings=own(step.warnings),
        )

    return [part(span, size) for span, size in zip(spans, sizes, strict=True)]
