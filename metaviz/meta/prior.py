"""The Gaussian prior that a few gradient steps stand for."""

import torch
from torch import Tensor


def implicit_prior(hessian: Tensor, rate: float, steps: int) -> Tensor:
    """Return the precision L of the prior N(theta, L^-1) whose MAP point gradient descent reaches.

    For a quadratic loss with this Hessian, `steps` steps of size `rate` from theta end at
    argmin L_S(phi) + 1/2 ||phi - theta||^2_L with L = H ((I - rate H)^-K - I)^-1; a flat direction
    gets 1/(rate K). Shapes: (d, d). Where rate times an eigenvalue is above 1 and K is odd, L is
    not positive and there is no such prior. Source: Santos 1996; Grant et al. 2018.
    """
    values, vectors = torch.linalg.eigh(hessian)
    flat = values.abs() < torch.finfo(values.dtype).eps * values.abs().max().clamp_min(1)
    safe = torch.where(flat, 1.0, values)
    growth = (1 - rate * safe) ** -float(steps) - 1
    precision = torch.where(flat, 1 / (rate * steps), safe / growth)
    found: Tensor = (vectors * precision) @ vectors.mT
    return found
