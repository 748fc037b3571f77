"""Residuals of the inner problem and their derivative with respect to the weights."""

import torch
from torch import Tensor


def residual_jacobian(outputs: Tensor, targets: Tensor, point: Tensor) -> Tensor:
    """Return d residuals / d point, shape (tasks, residuals, P), differentiable."""
    residuals = _residuals(outputs, targets)
    rows = [
        torch.autograd.grad(residuals[:, row].sum(), point, create_graph=True)[0]
        for row in range(residuals.shape[1])
    ]
    return torch.stack(rows, dim=1)


def _residuals(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the residuals (tasks, r) of outputs (tasks, n, d)."""
    if targets.is_floating_point():
        return (outputs - targets).flatten(1)
    ways = outputs.shape[2]
    off = torch.softmax(outputs, 2) - torch.nn.functional.one_hot(targets, ways).to(outputs)
    return (off @ _contrasts(ways).to(outputs)).flatten(1)


def _contrasts(ways: int) -> Tensor:
    """Return an orthonormal basis (ways, ways - 1) of the vectors that sum to zero."""
    centred = torch.eye(ways, dtype=torch.float64) - 1 / ways
    vectors: Tensor = torch.linalg.eigh(centred)[1]
    return vectors[:, 1:]
