"""What is read off a meta-step: means over its tasks, in one transfer from the device."""

from dataclasses import dataclass

import numpy as np
import torch

from metaviz.meta.estimators.base import MetaStep


@dataclass(frozen=True)
class Means:
    """What a run records of a meta-step.

    `values` are means over tasks by column, and the norm of the meta-gradient; `half` is the
    query loss after adaptation that half of the tasks exceed, None where it is not known.
    Shapes: support_loss (K+1,) or shorter, gradient_norm (K,) or shorter, both float32.
    """

    values: dict[str, float]
    half: float | None
    support_loss: np.ndarray
    gradient_norm: np.ndarray


def means(result: MetaStep) -> Means:
    """Read a meta-step: few operations, because a small network's take no longer than these."""
    gradients = list(result.gradients.values())
    whole = gradients[0] if len(gradients) == 1 else torch.cat(gradients)
    norm = torch.linalg.vector_norm(whole)
    after = result.readings.get("post_query_loss")
    curves = [result.support_loss.to(norm), result.gradient_norm.to(norm)]
    if result.readings:
        curves.insert(0, torch.stack(list(result.readings.values())).to(norm))
    numbers = [norm.view(1), torch.cat(curves).mean(1)]
    if after is not None:
        numbers.append(after.median().to(norm).view(1))
    found = torch.cat(numbers).tolist()
    names = ["meta_gradient_norm", *result.readings]
    first, last = len(names), len(names) + len(result.support_loss)
    return Means(
        dict(zip(names, found, strict=False)),
        None if after is None else found[-1],
        np.array(found[first:last], np.float32),
        np.array(found[last : last + len(result.gradient_norm)], np.float32),
    )
