"""Unrolled differentiation with a loss on how well conditioned the inner problem is."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from metaviz.config.quantities import Quantity, register_quantity
from metaviz.meta.estimators.base import Case, MetaStep
from metaviz.meta.estimators.unrolled import Unrolled
from metaviz.meta.inner import Descent, Graph, Step
from metaviz.meta.jacobian import residual_jacobian
from metaviz.meta.learner import Learner

FLOOR = 1e-12
Subset = Literal["head", "all"]
_HEAD = slice(-2, None)
"""Weights and biases of the last layer among the tensors of a network."""


CONDITION_LOSS = register_quantity(
    Quantity("condition_loss", "Condition loss, mean over the inner steps", better="smaller")
)


def spread_of_curvature(jacobian: Tensor, rank: int | None = None) -> Tensor:
    """Return the variance of log10 of the eigenvalues of G = J J', shape (tasks,).

    Shapes: jacobian (tasks, residuals, weights), whose rank is at most `rank`. Eigenvalues below
    1e-12 of the largest are raised to it; those that are zero because there are fewer weights than
    residuals do not count. Zero where all are equal; scaling the residuals changes nothing. The
    eigenvalues are the squares of J's singular values: G itself would lose those below the
    rounding error of the largest.
    """
    singular = torch.linalg.svdvals(jacobian)[:, :rank]
    lowest = FLOOR**0.5 * singular[:, :1].detach().clamp_min(torch.finfo(jacobian.dtype).tiny)
    return (2 * torch.maximum(singular, lowest).log10()).var(dim=1, correction=0)


class Conditioned(Unrolled, rowwise=True):
    """L_Q(phi^K) + gamma mean_k spread(phi^k), by reverse mode through all steps.

    The residuals of the inner problem are the outputs minus the targets, or for classes the
    softmax minus the one-hot label, seen in an orthonormal basis of the N - 1 directions in which
    it can move. J is their derivative with respect to the last layer's weights, or to all; only
    eigenvalues count that these weights can make other than zero.
    Reconstructed from the abstract of Hiller et al. 2022: the exact form is not verified.
    """

    def __init__(self, weight: float, subset: Subset) -> None:
        """Take gamma, and with respect to which weights the residuals are differentiated."""
        super().__init__()
        self.weight = weight
        self.subset = subset

    def __call__(self, case: Case) -> MetaStep:
        """Return the gradient of query loss plus condition loss, averaged over tasks."""
        rule, support = case.rule, case.context.tasks.support
        trained = self.trains(rule)
        inside = case.with_leaves(trained)
        state = rule.start(inside.meta, support)
        rows, spread = self._spread(inside, rule.point(inside.meta, state))
        spreads, seen = [spread], list[Step]()
        for k in range(case.context.steps):
            state, step = inside.step(state, k, Graph.SECOND_ORDER)
            seen.append(step)
            spreads.append(self._spread(inside, rule.point(inside.meta, state))[1])
        descent = Descent(state, rule.point(inside.meta, state), tuple(seen))
        end = self._end(inside, descent)
        spread = torch.stack(spreads).mean(0)
        extra = rows * len(spreads)
        gradients = inside.differentiate(end.objective + self.weight * spread.mean(), trained)
        result = self._finish(case, descent, end, gradients)
        return replace(
            result,
            readings={**result.readings, CONDITION_LOSS.id: spread.detach()},
            gradient_evaluations=result.gradient_evaluations + extra,
            hessian_vector_products=result.hessian_vector_products + extra,
        )

    def _spread(self, case: Case, point: Tensor) -> tuple[int, Tensor]:
        """Return the number of residuals, each of which costs a gradient, and the spread."""
        batch, learner = case.context.tasks.support.at(0), case.context.learner
        outputs = case.outputs(point, batch)
        jacobian = learner.adapted(residual_jacobian(outputs, batch.y, point))
        if self.subset == "head":
            jacobian = jacobian[:, :, -sum(learner.net.layout.sizes[_HEAD]) :]
        classes = None if batch.y.is_floating_point() else outputs.shape[2]
        return jacobian.shape[1], spread_of_curvature(jacobian, self._rank(learner, classes))

    def _rank(self, learner: Learner, classes: int | None) -> int:
        """Return what the rank of J cannot exceed, however many residuals there are.

        The same change of all classes' scores moves no softmax, so that the directions of the
        head's weights for one class do not count.
        """
        layout = learner.net.layout
        chosen = _HEAD if self.subset == "head" else slice(None)
        sizes = zip(layout.shapes[chosen], layout.sizes[chosen], strict=True)
        weights = sum(size for (name, _), size in sizes if name not in learner.held)
        return weights - (sum(layout.sizes[_HEAD]) // classes if classes else 0)
