"""Pictures of what was learned: small arrays that are stored with a run and drawn."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from metaviz.meta.context import Context, Meta
from metaviz.meta.inner import inner_points
from metaviz.meta.jacobian import residual_jacobian
from metaviz.meta.modes import ModeFactors
from metaviz.meta.rules import InnerRule
from metaviz.meta.tasks import Batch

Arrays = dict[str, np.ndarray]
Linear = Callable[[Tensor], Tensor]
Summary = list[tuple[str, str, float]]
"""Rows of (layer, quantity, value)."""

SMALL = 2000
"""Networks of up to so many weights are shown whole."""
IMAGE = 256
FACTOR_IMAGE = 64
SAMPLED = 200
_SLICE_SMALL = 20_000
_MANY = 1_000_000
_FLOOR = 1e-12
_LARGEST_SVD = 1024


def labelled(kind: str, summary: Summary, arrays: Arrays) -> Arrays:
    """Return arrays with their kind and summary; what is known of a whole P is summed up too."""
    summary = [*summary, *_of_whole(arrays)]
    layers, quantities, values = zip(*summary, strict=True) if summary else ((), (), ())
    return {
        "geometry": np.array(kind),
        "summary_layer": np.array(layers, dtype=np.str_),
        "summary_quantity": np.array(quantities, dtype=np.str_),
        "summary_value": np.array(values, dtype=np.float64),
        **arrays,
    }


def _of_whole(arrays: Arrays) -> Summary:
    if "spectrum" not in arrays:
        return []
    sizes = arrays["spectrum"]
    last = len(arrays.get("condition_plain", ())) - 1
    ends = () if last < 0 else (("k = 0", 0), (f"k = {last}", -1))
    return [
        ("all", "largest eigenvalue magnitude of P", float(sizes[0])),
        ("all", "smallest eigenvalue magnitude of P", float(sizes[-1])),
        *(
            ("all", f"condition number {text}, {when}", float(arrays[key][place]))
            for when, place in ends
            for key, text in (("condition_plain", "without P"), ("condition_shaped", "with P"))
        ),
    ]


def half(values: Tensor) -> np.ndarray:
    """Return an array of half precision; what it cannot hold becomes its largest number."""
    most = float(np.finfo(np.float16).max)
    return values.detach().double().cpu().clamp(-most, most).numpy().astype(np.float16)


def pooled(matrix: Tensor, most: int) -> Tensor:
    """Return a matrix of at most `most` rows and columns, keeping each block's largest entry."""
    for axis in (0, 1):
        size = matrix.shape[axis]
        if size > most:
            width = -(-size // most)
            missing = -size % width
            moved = matrix.movedim(axis, 0)
            padded = torch.cat([moved, moved.new_zeros(missing, moved.shape[1])])
            blocks = padded.reshape(-1, width, moved.shape[1])
            high, low = blocks.amax(1), blocks.amin(1)
            matrix = torch.where(high >= -low, high, low).movedim(0, axis)
    return matrix


def sampled_rows(values: Sequence[Tensor]) -> np.ndarray:
    """Return up to 200 evenly spaced entries of each vector, as rows padded with NaN."""
    rows = np.full((len(values), SAMPLED), np.nan, dtype=np.float16)
    for row, vector in zip(rows, values, strict=True):
        places = torch.linspace(0, len(vector) - 1, min(SAMPLED, len(vector))).round().long()
        row[: len(places)] = half(vector.flatten()[places.to(vector.device)])
    return rows


def of_factors(factors: dict[str, Tensor]) -> tuple[Arrays, Summary]:
    """Return images of matrices (diagonals as one row) and numbers that describe them."""
    arrays: Arrays = {"factor_names": np.array(list(factors))}
    summary: Summary = []
    for number, (name, factor) in enumerate(factors.items()):
        matrix = factor.detach() if factor.dim() > 1 else factor.detach().unsqueeze(0)
        arrays[f"factor_{number}"] = half(pooled(matrix, FACTOR_IMAGE))
        if factor.dim() > 1 and len(factor) > _LARGEST_SVD:
            summary.append((name, "largest magnitude of an entry", float(matrix.abs().max())))
            continue
        sizes = torch.linalg.svdvals(matrix) if factor.dim() > 1 else matrix[0].abs()
        summary += [
            (name, "largest singular value", float(sizes.max())),
            (name, "smallest singular value", float(sizes.min())),
        ]
    return arrays, summary


def of_preconditioner(
    context: Context, weights: Tensor, dense: Tensor, maps: Sequence[Linear], spectrum: Tensor
) -> Arrays:
    """Return P itself and what it does to the condition of the inner problem, for small nets.

    `weights` (K+1, P) are those of the plain network along the first task's path, `maps` are P at
    each of them: functions from vectors (n, P) to P times them. `dense` is the first as a matrix,
    `spectrum` holds its eigenvalues. The condition number is that of the Gauss-Newton Hessian of
    the first task on the directions that its support set determines, the largest over the smallest
    magnitude of an eigenvalue of J P J', where J is the derivative of the residuals; without
    residuals it is left out.
    """
    plain, shaped = [], []
    support = context.tasks.support[:1]
    measured = zip(weights, maps, strict=True) if context.learner.has_residuals else ()
    for point, apply in measured:
        leaf = point.detach().unsqueeze(0).requires_grad_()
        jacobian = residual_jacobian(context.learner.outputs(leaf, support), support.y, leaf)
        rows = context.learner.adapted(jacobian.detach()[0])
        plain.append(_condition(rows @ rows.mT))
        shaped.append(_condition(rows @ apply(rows).detach().mT))
    return {
        "dense": half(pooled(dense.detach().float(), IMAGE)),
        "dense_size": np.array(len(dense)),
        "dense_names": np.array([name for name, _ in context.learner.net.layout.shapes]),
        "dense_sizes": np.array(context.learner.net.layout.sizes),
        "spectrum": spectrum.detach().abs().sort(descending=True).values.float().cpu().numpy(),
        **(
            {
                "condition_plain": np.array(plain, dtype=np.float32),
                "condition_shaped": np.array(shaped, dtype=np.float32),
            }
            if plain
            else {}
        ),
    }


def of_constant(
    rule: InnerRule, context: Context, meta: Meta, apply: Linear, spectrum: Tensor
) -> Arrays:
    """Return the picture of the same P at every point, for small nets."""
    path = inner_points(rule, context, meta)[:, 0]
    return _of_one(context, path, apply, spectrum)


def of_merged(
    rule: InnerRule,
    context: Context,
    meta: Meta,
    merge: Linear,
    spectrum: Tensor,
    mask: Tensor | float = 1.0,
) -> Arrays:
    """Return the picture of a rule that adapts factors of the network's weights.

    `merge` maps points (n, P) to weights of the plain network (n, P) and is affine with the linear
    part D. A step along `mask` times the gradient then moves the weights by P = D diag(mask) D'.
    """

    def apply(vectors: Tensor) -> Tensor:
        leaf = torch.zeros_like(vectors).requires_grad_()
        (back,) = torch.autograd.grad(merge(leaf), leaf, vectors)
        return merge(mask * back) - merge(torch.zeros_like(vectors[:1]))

    return _of_one(context, merge(inner_points(rule, context, meta)[:, 0]), apply, spectrum)


def _of_one(context: Context, weights: Tensor, apply: Linear, spectrum: Tensor) -> Arrays:
    size = weights.shape[1]
    if size > SMALL:
        return {}
    dense = apply(torch.eye(size, dtype=weights.dtype, device=weights.device)).mT
    return of_preconditioner(context, weights, dense, [apply] * len(weights), spectrum)


def of_mode_factors(
    rule: InnerRule,
    context: Context,
    meta: Meta,
    plan: ModeFactors,
    factors: Tensor,
    *,
    gram: bool = False,
    later: Sequence[Tensor] = (),
) -> Arrays:
    """Return the picture of a rule whose preconditioner is made of mode factors.

    `later` are the first task's factors from the second step on, where they adapt too.
    """
    images, summary = of_factors(plan.named(factors))
    whole: Arrays = {}
    if plan.layout.size <= SMALL:
        path = inner_points(rule, context, meta)[:, 0]
        used = [factors, *(later or [factors] * (len(path) - 1))]
        maps = [partial(plan, one, gram=gram) for one in used]
        dense = maps[0](torch.eye(plan.layout.size).to(factors)).mT
        spectrum = plan.spectrum(factors, gram=gram)
        whole = of_preconditioner(context, path, dense, maps, spectrum)
    return labelled("factors", summary, {**images, **whole})


@torch.no_grad()
def _condition(matrix: Tensor) -> float:
    if not torch.isfinite(matrix).all():
        return math.nan
    values = torch.linalg.eigvals(matrix.double()).abs()
    return float(values.max() / values.min().clamp_min(_FLOOR * values.max()))


def slices(rule: InnerRule, context: Context, meta: Meta) -> Arrays:
    """Return the loss of the first task along its adaptation, on a line and on a plane.

    The line runs from phi^0 (t = 0) to phi^K (t = 1); the plane is spanned by the two principal
    directions of phi^0, ..., phi^K around phi^0, and only small networks with K >= 2 and several
    weights have one.
    """
    points = inner_points(rule, context, meta)[:, 0]
    origin, away = points[0], points[-1] - points[0]
    if not away.any() or not torch.isfinite(points).all():
        return {}
    small = len(origin) <= _SLICE_SMALL
    t = torch.linspace(-0.5, 1.5, 41 if small else 13, dtype=origin.dtype, device=origin.device)
    line = origin + t[:, None] * away
    first = context.tasks[:1]
    steps = (points - origin) @ away / away.square().sum()
    arrays = {
        "slice": np.array("loss"),
        "line_t": t.cpu().numpy(),
        "line_path": steps.cpu().numpy(),
        "path_support": _losses(rule, context, meta, points, first.support),
        "line_support": _losses(rule, context, meta, line, first.support),
        "line_query": _losses(rule, context, meta, line, first.query),
    }
    planar = small and min(len(points) - 1, len(origin)) > 1
    return {**arrays, **(_plane(rule, context, meta, points) if planar else {})}


def _plane(rule: InnerRule, context: Context, meta: Meta, points: Tensor) -> Arrays:
    moved = points - points[0]
    _, sizes, directions = torch.linalg.svd(moved, full_matrices=False)
    axes = directions[:2]
    path = moved @ axes.mT
    low, high = path.min(0).values, path.max(0).values
    margin = 0.4 * (high - low).clamp_min(0.1 * float((high - low).max()))
    grid = [
        torch.linspace(float(a), float(b), 15, dtype=points.dtype, device=points.device)
        for a, b in zip(low - margin, high + margin, strict=True)
    ]
    u, v = torch.meshgrid(*grid, indexing="ij")
    every = points[0] + torch.stack([u, v], -1).reshape(-1, 2) @ axes
    losses = _losses(rule, context, meta, every, context.tasks[:1].support)
    shares = sizes.square() / sizes.square().sum()
    return {
        "plane_u": grid[0].cpu().numpy(),
        "plane_v": grid[1].cpu().numpy(),
        "plane_support": losses.reshape(15, 15),
        "plane_path": path.cpu().numpy(),
        "plane_explained": shares[:2].cpu().numpy(),
    }


@torch.no_grad()
def _losses(
    rule: InnerRule, context: Context, meta: Meta, points: Tensor, batch: Batch
) -> np.ndarray:
    """Return the loss of one task at many points, as if each were a task."""
    found: list[Tensor] = []
    for some in points.split(64 if points.shape[1] < _MANY else 1):
        alike = batch.repeated(len(some))
        found.append(context.learner.losses(rule.decode(meta, some), alike))
    return torch.cat(found).cpu().numpy()
