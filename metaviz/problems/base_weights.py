"""Weights of base classes for features of which nobody has kept the classifier."""

import torch
from torch import Tensor
from torch.nn import functional

RIDGE = 1e-4
_STEPS = 100
_TOLERANCE = 1e-7


def base_weights(z: Tensor, y: Tensor, classes: int, ridge: float = RIDGE) -> Tensor:
    """Return W (C, d), least in mean CE(W z + b, y) + ridge / 2 |W, b|², up to a tolerance.

    By at most 100 iterations of L-BFGS with a strong Wolfe line search, from zero.
    Shapes: z (n, d), y (n,).
    """
    ones = z.new_ones(len(z), 1)
    inputs = torch.cat([z, ones], 1)
    weights = z.new_zeros(classes, inputs.shape[1]).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weights],
        max_iter=_STEPS,
        tolerance_grad=_TOLERANCE,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(inputs @ weights.mT, y)
        loss = loss + ridge / 2 * weights.square().sum()
        torch.autograd.backward(loss)
        return loss

    optimizer.step(closure)
    return weights.detach()[:, :-1].contiguous()
