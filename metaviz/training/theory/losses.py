"""The loss of one task as a function of a network's flat weights, with plain arrays outside."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metaviz.meta.estimators.implicit import curvature_at
from metaviz.meta.learner import Learner
from metaviz.meta.tasks import Batch


@dataclass(frozen=True)
class TaskLoss:
    """A loss in float64 on the CPU; points have shape (P,). Weights that are held do not move."""

    learner: Learner
    batch: Batch

    def value(self, point: np.ndarray) -> float:
        """Return the loss."""
        with torch.no_grad():
            return float(self.learner.losses(_row(point), self.batch)[0])

    def gradient(self, point: np.ndarray) -> np.ndarray:
        """Return the gradient."""
        leaf = _row(point).requires_grad_()
        return self._slope(leaf).detach()[0].numpy()

    def product(self, point: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Return the Hessian times a vector."""
        return self._products(_row(point), _row(vector))[0].numpy()

    def hessian(self, point: np.ndarray) -> np.ndarray:
        """Return the Hessian, every row of it as a task of one batch."""
        size = len(point)
        alike = TaskLoss(self.learner, self.batch.repeated(size))
        rows = alike._products(_row(point).expand(size, -1), torch.eye(size, dtype=torch.float64))
        matrix = rows.numpy()
        return np.asarray((matrix + matrix.T) / 2)

    def gauss_newton(self, point: np.ndarray) -> np.ndarray:
        """Return the Gauss-Newton Hessian, which has no negative eigenvalue."""
        size = len(point)
        rows = _row(point).expand(size, -1).clone()
        support = self.batch.repeated(size)
        _, product = curvature_at(self.learner, rows, support, gauss_newton=True)
        matrix = self.learner.adapted(product(torch.eye(size, dtype=torch.float64))).numpy()
        return np.asarray((matrix + matrix.T) / 2)

    def _products(self, points: Tensor, vectors: Tensor) -> Tensor:
        leaf = points.clone().requires_grad_()
        (products,) = torch.autograd.grad((self._slope(leaf) * vectors).sum(), leaf)
        return self.learner.adapted(products)

    def _slope(self, leaf: Tensor) -> Tensor:
        loss = self.learner.losses(leaf, self.batch).sum()
        (slope,) = torch.autograd.grad(loss, leaf, create_graph=True)
        return self.learner.adapted(slope)


def _row(point: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(point, dtype=np.float64)).unsqueeze(0)
