"""Logistic regression on the few examples of each task, solved to the end."""

from dataclasses import dataclass

import torch
from torch import Tensor

_MOST_STEPS = 100
_HALVINGS = 50
_SUFFICIENT = 1e-4
_TOLERANCE = 1e-10
"""Largest entry of the gradient at the solution, relative to that at the start."""


@dataclass(frozen=True)
class Solution:
    """The minimiser W = coefficients' z, one row per class, as a combination of the examples.

    Shapes: coefficients (tasks, S, N), float64; steps is the number of Newton steps.
    """

    coefficients: Tensor
    steps: int

    def weights(self, z: Tensor) -> Tensor:
        """Return W (tasks, N, d) of the examples z (tasks, S, d) that it was solved for."""
        return self.coefficients.mT @ z.double()


def solve(z: Tensor, y: Tensor, ways: int, ridge: float, offset: Tensor | None = None) -> Solution:
    """Minimise mean_i CE(W z_i + offset_i, y_i) + ridge / 2 |W|² for every task.

    The minimiser lies in the span of the examples, so that Newton's method works in as many
    coordinates as there are examples, whatever d is. Steps are halved until the objective falls
    enough; it is strictly convex for ridge > 0.
    Shapes: z (tasks, S, d), y (tasks, S), offset (tasks, S, N); all is computed in float64.
    """
    z = z.double()
    tasks, examples, _ = z.shape
    target = torch.nn.functional.one_hot(y, ways).double()
    fixed = torch.zeros_like(target) if offset is None else offset.double()
    values, vectors = torch.linalg.eigh(z @ z.mT)
    rows = vectors * values.clamp_min(0).sqrt().unsqueeze(1)
    problem = _Problem(rows, target, fixed, ridge)
    point = rows.new_zeros(tasks, examples, ways)
    gradient = problem.gradient(point)
    enough = _TOLERANCE * gradient.abs().amax((1, 2))
    steps = 0
    while steps < _MOST_STEPS and bool((gradient.abs().amax((1, 2)) > enough).any()):
        moved = problem.line_search(point, gradient, problem.newton(point, gradient))
        if torch.equal(moved, point):  # no task gains any more: rounding is all that is left
            break
        point, steps = moved, steps + 1
        gradient = problem.gradient(point)
    wrong = torch.softmax(problem.logits(point), 2) - target
    return Solution(-wrong / (examples * ridge), steps)


@dataclass(frozen=True)
class _Problem:
    """The objective in coordinates in which examples are rows; points are (tasks, S, N)."""

    rows: Tensor
    target: Tensor
    fixed: Tensor
    ridge: float

    def logits(self, point: Tensor) -> Tensor:
        return self.fixed + self.rows @ point

    def objective(self, point: Tensor) -> Tensor:
        logs = torch.log_softmax(self.logits(point), 2)
        loss = -(logs * self.target).sum(2).mean(1)
        return loss + self.ridge / 2 * (point * point).sum((1, 2))

    def gradient(self, point: Tensor) -> Tensor:
        wrong = torch.softmax(self.logits(point), 2) - self.target
        return self.rows.mT @ wrong / self.rows.shape[1] + self.ridge * point

    def newton(self, point: Tensor, gradient: Tensor) -> Tensor:
        """Return minus the inverse Hessian times the gradient."""
        tasks, size, ways = point.shape
        p = torch.softmax(self.logits(point), 2)
        spread = torch.diag_embed(p) - p.unsqueeze(3) * p.unsqueeze(2)  # (tasks, S, N, N)
        hessian = torch.einsum("tia,tib,tinm->tanbm", self.rows, self.rows, spread)
        flat = hessian.reshape(tasks, size * ways, size * ways) / self.rows.shape[1]
        flat.diagonal(dim1=1, dim2=2).add_(self.ridge)
        direction: Tensor = torch.linalg.solve(flat, -gradient.reshape(tasks, -1, 1))
        return direction.view_as(point)

    def line_search(self, point: Tensor, gradient: Tensor, direction: Tensor) -> Tensor:
        """Return the point after the longest of 1, 1/2, .. of a step that gains enough by task."""
        before = self.objective(point)
        slope = (gradient * direction).sum((1, 2))
        share = torch.ones_like(before)
        for _ in range(_HALVINGS):
            reached = point + share.view(-1, 1, 1) * direction
            short = self.objective(reached) > before + _SUFFICIENT * share * slope
            if not bool(short.any()):
                return reached
            share = torch.where(short, share / 2, share)
        return torch.where(short.view(-1, 1, 1), point, reached)
