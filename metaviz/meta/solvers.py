"""Linear systems A x = b, one per task, with A known by its products alone.

Every array is (tasks, P); one product with A is one Hessian-vector product per task.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

LinearMap = Callable[[Tensor], Tensor]

_ROUNDING = 4.0
"""A residual this many rounding errors long counts as zero."""


@dataclass(frozen=True)
class Solution:
    """An approximate solution.

    Shapes: x (tasks, P); residual (tasks,) is ||b - A x|| / ||b||, 0 where b = 0; each mask in
    `warnings` (tasks,) says for which tasks its sentence holds.
    """

    x: Tensor
    residual: Tensor
    products: int
    warnings: dict[str, Tensor] = field(default_factory=dict)


_GROWTH = 2
"""Terms that grow this often in a row belong to a diverging series."""

INDEFINITE = (
    "The linear system is not positive definite (p'Ap <= 0), so conjugate gradients stopped early; "
    "use a larger prox weight or the Gauss-Newton operator"
)
DIVERGING = (
    "The Neumann series diverges (its terms grow), so its sum is not the implicit gradient; "
    "use a larger prox weight or the Richardson variant"
)
UNSTABLE = (
    "Richardson's iteration diverges: the linear system is not positive definite; "
    "use a larger prox weight"
)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=1, keepdim=True)


def _ratio(numerator: Tensor, denominator: Tensor, where: Tensor) -> Tensor:
    safe = torch.where(where, denominator, torch.ones_like(denominator))
    return torch.where(where, numerator / safe, torch.zeros_like(numerator))


def _relative(residual: Tensor, b: Tensor) -> Tensor:
    size = b.norm(dim=1, keepdim=True)
    return _ratio(residual.norm(dim=1, keepdim=True), size, size > 0).squeeze(1)


def conjugate_gradient(operator: LinearMap, b: Tensor, iterations: int) -> Solution:
    """Solve A x = b for symmetric positive definite A, from x = 0, one system per task.

    Where p'Ap <= 0 a task stops at its current iterate (at b itself if it has none), and is
    flagged. Source: Rajeswaran et al. 2019, algorithm 2. Deviation: a fixed iteration count for
    all tasks, finished tasks standing still, so that they run as one batch.
    """
    x, residual, direction = torch.zeros_like(b), b, b
    squared = _dot(b, b)
    tiny = (_ROUNDING * torch.finfo(b.dtype).eps) ** 2 * squared
    active = squared > 0
    indefinite = torch.zeros_like(active)
    for iteration in range(iterations):
        image = operator(direction)
        curvature = _dot(direction, image)
        bent = active & (curvature <= 0)
        indefinite |= bent
        active = active & ~bent
        if iteration == 0:
            x, residual = torch.where(bent, b, x), torch.where(bent, b - image, residual)
        length = _ratio(squared, curvature, active)
        x, residual = x + length * direction, residual - length * image
        following = _dot(residual, residual)
        active = active & (following > tiny)
        direction = residual + _ratio(following, squared, active) * direction
        squared = following
    return Solution(x, _relative(residual, b), iterations, {INDEFINITE: indefinite.squeeze(1)})


def largest_eigenvalue(operator: LinearMap, start: Tensor, iterations: int) -> Tensor:
    """Estimate the largest eigenvalue of a symmetric A that `start` can feel, shape (tasks, 1).

    Lanczos' method with full reorthogonalisation: exact once `iterations` reaches the number of
    distinct eigenvalues, and from below before; far ahead of power iteration at equal cost.
    """
    size = start.norm(dim=1, keepdim=True)
    floor = torch.finfo(start.dtype).eps ** 0.5
    basis: list[Tensor] = []
    vector = _ratio(start, size.expand_as(start), (size > 0).expand_as(start))
    scale = torch.zeros_like(size)
    diagonal, beside = [], []
    for _ in range(iterations):
        image = operator(vector)
        basis.append(vector)
        diagonal.append(_dot(vector, image))
        scale = torch.maximum(scale, image.norm(dim=1, keepdim=True))
        for _repeat in range(2):
            for known in basis:
                image = image - _dot(known, image) * known
        length = image.norm(dim=1, keepdim=True)
        new = length > floor * scale
        beside.append(torch.where(new, length, torch.zeros_like(length)))
        vector = _ratio(image, length.expand_as(image), new.expand_as(image))
    tridiagonal = torch.diag_embed(torch.cat(diagonal, 1))
    if iterations > 1:
        edge = torch.cat(beside[:-1], 1)
        tridiagonal = tridiagonal + torch.diag_embed(edge, 1) + torch.diag_embed(edge, -1)
    eigenvalues: Tensor = torch.linalg.eigvalsh(tridiagonal)
    return eigenvalues[:, -1:]


def power_series(operator: LinearMap, first: Tensor, terms: int, *, stop: bool = False) -> Solution:
    """Sum A^j b for j = 0..terms, which tends to (I - A)^-1 b where the spectral radius is below 1.

    A task whose terms grow twice in a row is flagged as diverging; with `stop` it keeps the sum
    from before they grew.
    """
    total = term = first
    kept = total
    size = first.norm(dim=1, keepdim=True)
    grown = torch.zeros_like(size, dtype=torch.int)
    diverging = torch.zeros_like(size, dtype=torch.bool)
    for _ in range(terms):
        term = operator(term)
        length = term.norm(dim=1, keepdim=True)
        grown = torch.where(length > size, grown + 1, torch.zeros_like(grown))
        kept = torch.where(grown > 0, kept, total + term)
        diverging |= grown >= _GROWTH
        total, size = total + term, length
    if stop:
        total = torch.where(diverging, kept, total)
    residual = _relative(first - total + operator(total), first)
    return Solution(total, residual, terms + 1, {DIVERGING: diverging.squeeze(1)})


def richardson(
    operator: LinearMap, b: Tensor, iterations: int, rate: Tensor | None = None
) -> Solution:
    """Iterate x <- x + eta (b - A x) from x = eta b.

    eta = 1 / lambda_max(A), estimated by Lanczos' method, unless `rate` gives it, shape (tasks, 1).
    Converges for symmetric positive definite A; a task whose residual grows is flagged.
    """
    products = iterations + 1
    if rate is None:
        steps = min(10, b.shape[1])
        largest = largest_eigenvalue(operator, b, steps)
        rate = _ratio(torch.ones_like(largest), largest, largest > 0)
        products += steps
    x = rate * b
    residual = b - operator(x)
    before = residual.norm(dim=1)
    for _ in range(iterations):
        x = x + rate * residual
        residual = b - operator(x)
    grown = residual.norm(dim=1) > before * (1 + 1e-6)
    return Solution(x, _relative(residual, b), products, {UNSTABLE: grown})
