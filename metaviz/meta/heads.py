"""Classifiers for a few examples on features that somebody else has learned."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from metaviz.meta.logistic import solve
from metaviz.meta.vectors import class_means, squared_distances, unit

HeadName = Literal["un", "l2n", "cl2n", "cosine", "logistic"]
HEADS: tuple[HeadName, ...] = get_args(HeadName)


@dataclass(frozen=True)
class Heads:
    """Turns features of a support set into logits of other examples.

    un: minus the squared distance to the mean of each class. l2n: the same with features of
    length 1. cl2n: first the mean feature of the training classes is subtracted. cosine: `scale`
    times the cosine with the mean of each class. logistic: the linear classifier, with a bias, of
    least mean cross-entropy + ridge / 2 |W|², solved to the end.
    Source: un, l2n and cl2n: Wang et al. 2019, arXiv:1911.04623. cosine and logistic: Chen et al.
    2019, arXiv:1904.04232, Baseline++ and Baseline. Deviation: there both are trained by 100 steps
    of gradient descent; here one is the mean of its class, the other the minimum.
    """

    scale: float = 10.0
    ridge: float = 0.001

    def logits(
        self,
        head: HeadName,
        known: Tensor,
        y: Tensor,
        asked: Tensor,
        ways: int,
        centre: Tensor | None = None,
    ) -> Tensor:
        """Return logits (tasks, n, ways).

        Shapes: known (tasks, S, d) with classes y (tasks, S); asked (tasks, n, d); centre (d,),
        zero where there is none.
        """
        if head == "logistic":
            known, asked = (torch.cat([z, torch.ones_like(z[..., :1])], 2) for z in (known, asked))
            weights = solve(known, y, ways, self.ridge).weights(known)
            return (asked.double() @ weights.mT).to(asked.dtype)
        known, asked = (transformed(head, z, centre) for z in (known, asked))
        means = class_means(known, y, ways)
        if head == "cosine":
            return self.scale * unit(asked) @ unit(means).mT
        return -squared_distances(asked, means)


def transformed(head: HeadName, z: Tensor, centre: Tensor | None = None) -> Tensor:
    """Return features (..., d) as a head that compares them with class means takes them."""
    if head == "cl2n" and centre is not None:
        z = z - centre
    return z if head in {"un", "cosine"} else unit(z)
