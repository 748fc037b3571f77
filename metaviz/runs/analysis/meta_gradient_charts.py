"""The expansion of meta-gradients, the implicit prior, and accuracy against K, as charts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaviz.charts.contours import contours
from metaviz.charts.values import (
    Axis,
    Band,
    Bars,
    Chart,
    HeatMap,
    Lines,
    Mark,
    Panels,
    Region,
    Scatter,
    Series,
)
from metaviz.runs.analysis.optimality import has_tables, point_of, risk_of
from metaviz.runs.analysis.playground_charts import inner_problems
from metaviz.runs.model.record import Record
from metaviz.runs.model.theory import Expanded, ExpandedOverTraining, MeasuredAccuracy
from metaviz.theory.expansion import MAML, METHODS, coefficients, fit_products
from metaviz.theory.playground import ellipse
from metaviz.theory.prior import effective_dimension, gradient_envelope, precisions_of

_DRAWS, _TAILS = 200, (2.5, 97.5)
_MUCH = 0.1
_FLOOR, _ROUNDING = 1e-17, 1e-9
_MOST_K, _NUMBERED, _DOTTED, _PLANE = 60, 6, 60, 2
_GRID, _LEVELS = 64, 12


@dataclass(frozen=True)
class InnerQuadratic:
    """The support loss of a run's first task around its start theta, up to second order.

    Without a Hessian (d, d) only its eigenvalues are known. Shapes: values (d,), rising; gradient
    and theta (d,).
    """

    values: np.ndarray
    rate: float
    steps: int
    hessian: np.ndarray | None = None
    gradient: np.ndarray | None = None
    theta: np.ndarray | None = None


def inner_quadratic(record: Record, measured: MeasuredAccuracy | None) -> InnerQuadratic | None:
    """Return what is known of a run's inner loss: by its matrices, its tables, or measured."""
    shared = record.config.get("shared", {})
    rate, steps = float(shared.get("inner_lr") or 0.1), int(shared.get("inner_steps") or 1)
    quadratic = inner_problems([record])
    if quadratic:
        loop = quadratic[0].problem
        hessian, theta = np.array(loop.loss.hessian), np.array(loop.start)
        gradient = loop.loss.gradient(theta)
        values = np.linalg.eigvalsh(hessian)
        return InnerQuadratic(values, rate, steps, hessian, gradient, theta)
    if has_tables(record):
        picture = next(
            one for one in reversed(record.pictures) if "optimality_tables" in one.arrays
        )
        risk, omega = risk_of(picture), point_of(picture)
        thetas = np.repeat(omega[None], len(risk.tables), axis=0)
        hessian, gradient = risk.hessians(thetas)[0], risk.gradients(thetas)[0]
        values = np.linalg.eigvalsh(hessian)
        return InnerQuadratic(values, rate, steps, hessian, gradient, omega)
    if measured is not None and measured.run == record.id:
        values = measured.spectrum[::-1]
        return InnerQuadratic(values, measured.rate, measured.own_steps, measured.matrix)
    return None


def prior_charts(inner: InnerQuadratic, measured: MeasuredAccuracy | None) -> Panels:
    """Show the prior that K steps stand for, and where it was measured the accuracy against K.

    Raises: NoAnswerError where the steps stand for no prior.
    """
    precisions = precisions_of(inner.values, inner.rate, inner.steps)
    charts: list[Chart] = []
    if inner.hessian is not None:
        charts.append(_precision(inner, inner.hessian))
    charts += [_spectrum(inner, precisions), _dimensions(inner)]
    if inner.theta is not None and len(inner.values) == _PLANE:
        charts.append(_ellipse(inner))
    if measured is not None:
        charts.append(accuracy_chart(measured))
    return Panels(id="prior", charts=tuple(charts), columns=2 + len(charts) % 2)


def prior_text(inner: InnerQuadratic, measured: MeasuredAccuracy | None) -> str:
    """Say what the prior and the envelopes assume, with the numbers checked."""
    precisions = precisions_of(inner.values, inner.rate, inner.steps)
    most = float(np.abs(1 - inner.rate * inner.values).max())
    dimension = effective_dimension(inner.values, inner.rate, inner.steps)
    words = [
        f"K = {inner.steps}, α = {inner.rate:.3g}: effective dimension {dimension:.4g} of "
        f"{len(inner.values)}. Exact where the support loss is quadratic; h are the eigenvalues "
        "of its Gauss-Newton Hessian.",
        f"|1 − α h| ≤ 1 for all eigenvalues h: {_verdict(most <= 1 + _ROUNDING)} "
        f"(largest {most:.3g}).",
        f"No precision below 0: {_verdict(bool((precisions >= 0).all()))} "
        f"(smallest {precisions.min():.3g}).",
    ]
    if measured is not None:
        low, high = measured.curvatures
        step = measured.rate * (high + measured.strength)
        words.append(
            f"Accuracy: mean of {len(measured.apart)} tasks at meta-step {measured.step}. "
            f"Envelopes need a convex support loss: {_verdict(low >= -_ROUNDING)} "
            f"(least h {low:.3g}); and α (h + λ) ≤ 1: {_verdict(step <= 1 + _ROUNDING)} "
            f"({step:.3g}), λ = 1/(α K) = {measured.strength:.3g}. Cost: K gradients and, for "
            "the unrolled meta-gradient, K Hessian-vector products."
        )
    return "\n".join(words)


def accuracy_chart(measured: MeasuredAccuracy) -> Lines:
    """Show distance, residual and errors of meta-gradients against K, with their envelopes."""
    steps = measured.steps.astype(float)
    rows = {
        "distance": ("distance |φᴷ − φ̄|", measured.distance, "method-0"),
        "residual": ("inner gradient", measured.residual, "method-1"),
        "unrolled": ("error, unrolled", measured.unrolled, "method-2"),
        "implicit": ("error, implicit", measured.implicit, "method-3"),
    }
    series = [
        Series(name, steps, _shown(values.mean(0)), label, role, width=1.5, dots=6)
        for name, (label, values, role) in rows.items()
    ]
    apart = float(measured.apart.mean())
    bound = gradient_envelope(steps) / measured.rate * apart
    slowest = max(abs(1 - measured.rate * (h + measured.strength)) for h in measured.curvatures)
    series.append(
        Series("envelope", steps, _shown(bound), "bound on the gradient", "method-1", "dash")
    )
    line = _shown(slowest**steps * apart)
    series.append(Series("geometric", steps, line, "slowest direction", "method-0", "dash"))
    return Lines(
        id="accuracy",
        title="Accuracy against K",
        x=Axis("inner steps K", log=True),
        y=Axis("size", log=True),
        series=tuple(series),
    )


def expansion_charts(found: Expanded) -> Panels:
    """Show fitted coefficients against the step size, at the run's own, and what they explain."""
    charts = (_ratios(found), _explained(found), _bars(found))
    return Panels(id="expansion", charts=charts, columns=3)


def expansion_text(found: Expanded) -> str:
    """Say what the expansion explains at the run's step size, and what it assumes."""
    at = _own(found)
    shares = {
        method: fit_products(
            method, found.count, float(found.rates[at]), found.products[method][at].sum(0)
        ).share
        for method in METHODS
    }
    told = [f"{max(0.0, share):.0%} of {METHODS[method]}'s" for method, share in shares.items()]
    products = found.products[MAML][at].sum(0)
    cosine = float(_cosine(products))
    holds = all(share > 1 - _MUCH for share in shares.values())
    return (
        f"At meta-step {found.step} and your α = {found.rate:.3g} the expansion explains "
        f"{told[0]}, {told[1]} and {told[2]} gradient, over {found.orderings} orderings of "
        f"{found.count} minibatches. Small α k |H|, as the expansion assumes: {_verdict(holds)}.\n"
        f"cos(AvgGrad, AvgGradInner) = {cosine:.2f}: descent along −AvgGradInner makes "
        "gradients of minibatches more alike, where AvgGrad does not outweigh it."
    )


def over_training_charts(found: ExpandedOverTraining) -> Panels:
    """Show fitted coefficients, what they explain and cos(a, b) over meta-steps."""
    steps = found.steps.astype(float)
    axis = Axis("meta-step")
    ratios, bands, shares = [], [], []
    for at, method in enumerate(METHODS):
        products, role, label = found.products[method], f"method-{at}", METHODS[method]
        middle, low, high = intervals(found, method)
        ratios.append(Series(method, steps, middle, label, role, width=1.5, dots=6))
        bands.append(Band(method, steps, low, high, role))
        explained = [
            fit_products(method, found.count, found.rate, row).share for row in products.sum(1)
        ]
        values = np.clip(np.array(explained), 0.0, 1.0)
        shares.append(Series(method, steps, values, label, role, width=1.5, dots=6))
    cosine = _cosine(found.products[MAML].sum(1))
    alike = Series("cosine", steps, cosine, "cos(a, b)", "method-3", width=1.5, dots=6)
    charts = (
        Lines(
            id="expansion-ratios-over-training",
            title=f"c₁ at α = {found.rate:.3g}, 95 % over tasks",
            x=axis,
            y=Axis("c₁ fitted / predicted", limits=_ratio_limits(ratios, bands)),
            series=tuple(ratios),
            bands=tuple(bands),
            marks=(Mark("one", 1.0, "y", role="foreground"),),
        ),
        Lines(
            id="expansion-explained-over-training",
            title="Share explained",
            x=axis,
            y=Axis("share", limits=(-0.03, 1.03)),
            series=tuple(shares),
        ),
        Lines(
            id="expansion-cosine-over-training",
            title="AvgGrad and AvgGradInner",
            x=axis,
            y=Axis("cosine", limits=(-1.05, 1.05)),
            series=(alike,),
            marks=(Mark("zero", 0.0, "y", role="grid"),),
        ),
    )
    return Panels(id="expansion-over-training", charts=charts, columns=3)


def _ratio_limits(ratios: Sequence[Series], bands: Sequence[Band]) -> tuple[float, float]:
    """Return limits in sight of which are 0, 1 and all lines, and intervals from -1 to 2."""
    lines = np.concatenate([one.y for one in ratios])
    edges = np.concatenate([np.r_[one.low, one.high] for one in bands]).clip(-1.0, 2.0)
    every = np.concatenate([lines, edges])
    every = every[np.isfinite(every)]
    return min(-0.05, float(every.min(initial=0))), max(1.1, float(every.max(initial=0)) * 1.05)


def over_training_text(found: ExpandedOverTraining) -> str:
    """Say where the weights come from, and what first and last of them tell."""
    stored = len(found.steps) - found.retaken
    cosine = _cosine(found.products[MAML].sum(1))
    shares = [
        fit_products(MAML, found.count, found.rate, row).share
        for row in found.products[MAML].sum(1)[[0, -1]]
    ]
    first, last = (f"{max(0.0, share):.0%}" for share in shares)
    return (
        f"From meta-step {found.steps[0]} to {found.steps[-1]} of {found.label}, at its own step "
        f"size and on the same tasks, the expansion explains {first} and then {last} of MAML's "
        f"gradient; cos(AvgGrad, AvgGradInner) goes from {cosine[0]:.2f} to {cosine[-1]:.2f}.\n"
        f"{found.retaken} of these meta-steps were taken again from the seed, {stored} are "
        "checkpoints."
    )


def _cosine(products: np.ndarray) -> np.ndarray:
    """Return cos(a, b) of products (..., 6); 0 where one of them is zero."""
    length = np.sqrt(products[..., 2] * products[..., 4])
    found: np.ndarray = np.divide(
        products[..., 3], length, out=np.zeros(np.shape(length)), where=length > 0
    )
    return found


def intervals(found: Expanded | ExpandedOverTraining, method: str) -> np.ndarray:
    """Return fitted c1 over c1 with its 95 % interval over tasks, shape (3, places).

    The interval is of 200 bootstrap draws of tasks, whose products are added up anew.
    """
    products = found.products[method]
    generator = np.random.default_rng(0)
    tasks = products.shape[1]
    chosen = generator.integers(0, tasks, (_DRAWS, tasks))
    c1 = coefficients(method, found.count)[1]
    rows = []
    for rate, of_tasks in zip(found.rates.tolist(), products, strict=True):
        fits = [
            fit_products(method, found.count, rate, of_tasks[draw].sum(0)).c1 / c1
            for draw in (slice(None), *chosen)
        ]
        rows.append([fits[0], *np.nanpercentile(fits[1:], _TAILS)])
    return np.array(rows).T


def _ratios(found: Expanded) -> Lines:
    series, bands = [], []
    for at, method in enumerate(METHODS):
        middle, low, high = intervals(found, method)
        role = f"method-{at}"
        series.append(Series(method, found.rates, middle, METHODS[method], role, width=1.5, dots=6))
        bands.append(Band(method, found.rates, low, high, role))
    return Lines(
        id="expansion-ratios",
        title="c₁, 95 % over tasks",
        x=Axis("step size α", log=True),
        y=Axis("c₁ fitted / predicted"),
        series=tuple(series),
        bands=tuple(bands),
        marks=(Mark("one", 1.0, "y", role="foreground"), _own_mark(found)),
        regions=_failing(found),
    )


def _explained(found: Expanded) -> Lines:
    series = []
    for at, method in enumerate(METHODS):
        shares = [
            fit_products(method, found.count, rate, products.sum(0)).share
            for rate, products in zip(found.rates.tolist(), found.products[method], strict=True)
        ]
        values = np.clip(np.array(shares), 0.0, 1.0)
        label = METHODS[method]
        series.append(Series(method, found.rates, values, label, f"method-{at}", width=1.5, dots=6))
    return Lines(
        id="expansion-explained",
        title="Share explained",
        x=Axis("step size α", log=True),
        y=Axis("share", limits=(-0.03, 1.03)),
        series=tuple(series),
        marks=(_own_mark(found),),
    )


def _bars(found: Expanded) -> Bars:
    at = _own(found)
    rate = float(found.rates[at])
    fits = [
        fit_products(method, found.count, rate, found.products[method][at].sum(0))
        for method in METHODS
    ]
    c1 = np.array([coefficients(method, found.count)[1] for method in METHODS])
    places = np.arange(float(len(METHODS)))
    c0 = np.array([one.c0 for one in fits])
    rows = {
        "c0": ("c₀ predicted", c0, "muted"),
        "joint c0": ("c₀ fitted", np.array([one.joint_c0 for one in fits]), "method-0"),
        "c1": ("c₁ predicted", c1, "grid"),
        "joint c1": ("c₁ fitted", np.array([one.joint_c1 for one in fits]), "method-1"),
    }
    return Bars(
        id="expansion-bars",
        title=f"At your α = {rate:.3g}",
        y=Axis("coefficient"),
        names=tuple(METHODS[method] for method in METHODS),
        series=tuple(
            Series(name, places, values, label, role)
            for name, (label, values, role) in rows.items()
        ),
    )


def _failing(found: Expanded) -> tuple[Region, ...]:
    """Return where the remainder of MAML is above a tenth of what c1 contributes."""
    c1 = coefficients(MAML, found.count)[1]
    for rate, products in zip(found.rates.tolist(), found.products[MAML], strict=True):
        summed = products.sum(0)
        left = fit_products(MAML, found.count, rate, summed).remainder * rate**2
        if left > _MUCH * rate * c1 * float(np.sqrt(summed[4])):
            return (Region("beyond", rate, float(found.rates[-1]), role="error", alpha=0.08),)
    return ()


def _own(found: Expanded) -> int:
    return int(np.abs(found.rates - found.rate).argmin())


def _own_mark(found: Expanded) -> Mark:
    return Mark("own", found.rate, label="your α", role="accent", dash="solid")


def _precision(inner: InnerQuadratic, hessian: np.ndarray) -> HeatMap:
    values, axes = np.linalg.eigh(hessian)
    matrix = (axes * precisions_of(values, inner.rate, inner.steps)) @ axes.T
    level = float(np.abs(matrix).max()) or 1.0
    return HeatMap(
        id="precision",
        title="Prior's precision Λ",
        x=Axis(whole=True),
        y=Axis(whole=True),
        values=matrix,
        levels=(-level, level),
        meaning="entry of Λ",
        square=True,
        numbers=len(matrix) <= _NUMBERED,
    )


def _spectrum(inner: InnerQuadratic, precisions: np.ndarray) -> Lines:
    order = np.arange(1.0, len(inner.values) + 1)
    dots = 6.0 if len(order) <= _DOTTED else 0.0
    # Smaller ones are rounding.
    sizes = np.where(inner.values > 1e-12 * inner.values.max(), inner.values, np.nan)
    return Lines(
        id="spectrum",
        title="By direction",
        x=Axis("eigen-direction", whole=True),
        y=Axis("eigenvalue", log=True),
        series=(
            Series("hessian", order, sizes[::-1], "Hessian h", "method-0", dots=dots),
            Series("precision", order, _shown(precisions[::-1]), "Λ", "method-1", dots=dots),
        ),
    )


def _dimensions(inner: InnerQuadratic) -> Lines:
    steps = np.arange(0, max(2 * inner.steps, _MOST_K) + 1)
    values = [effective_dimension(inner.values, inner.rate, int(k)) for k in steps]
    return Lines(
        id="dimension",
        title="Effective dimension",
        x=Axis("inner steps K", whole=True),
        y=Axis("directions learnt"),
        series=(Series("dimension", steps * 1.0, np.array(values), "", "method-0", width=2),),
        marks=(Mark("K", float(inner.steps), role="accent", dash="solid"),),
    )


def _ellipse(inner: InnerQuadratic) -> Scatter:
    """Show the prior around theta, the path of descent and the contours of the support loss."""
    theta, hessian = np.asarray(inner.theta), np.asarray(inner.hessian)
    gradient = np.asarray(inner.gradient)
    points, at = [theta], theta
    for _ in range(min(inner.steps, _MOST_K)):
        at = at - inner.rate * (gradient + hessian @ (at - theta))
        points.append(at)
    path = np.array(points)
    series = [_points("path", path, "φᵏ", "method-0", width=2, dots=5)]
    values, axes = np.linalg.eigh(hessian)
    precisions = precisions_of(values, inner.rate, inner.steps)
    reached = path
    if (precisions > 0).all():
        (a, b), (c, d) = ((axes / precisions) @ axes.T).tolist()
        around = ellipse(((a, b), (c, d)), theta)
        series.append(_points("prior", around, "prior, 1 std", "method-3", width=1.5))
        reached = np.concatenate([path, around])
    middle = (reached.max(0) + reached.min(0)) / 2
    reach = 0.6 * float(np.ptp(reached, 0).max()) or 1.0
    u, v = (np.linspace(one - reach, one + reach, _GRID) for one in middle)
    apart = np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1) - theta
    heights = apart @ gradient + ((apart @ hessian) * apart).sum(-1) / 2
    low, high = float(heights.min()), float(heights.max())
    levels = low + (high - low) * ((np.arange(_LEVELS) + 0.5) / _LEVELS) ** 2
    x, y = contours(u, v, heights, levels)
    series.insert(0, Series("contours", x, y, role="muted", alpha=0.45))
    series.append(Series("theta", theta[:1], theta[1:], "θ", "foreground", width=0, dots=10))
    return Scatter(
        id="ellipse",
        title="Prior and inner path",
        x=Axis("φ₁", limits=(float(u[0]), float(u[-1]))),
        y=Axis("φ₂", limits=(float(v[0]), float(v[-1]))),
        series=tuple(series),
    )


def _points(
    name: str, points: np.ndarray, label: str, role: str, width: float = 1.0, dots: float = 0.0
) -> Series:
    return Series(name, points[:, 0], points[:, 1], label, role, width=width, dots=dots)


def _verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold here"


def _shown(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return values for a logarithmic axis: what is not above 0 leaves a gap."""
    numbers = np.asarray(values, dtype=float)
    return np.where(numbers > _FLOOR, numbers, np.nan)
