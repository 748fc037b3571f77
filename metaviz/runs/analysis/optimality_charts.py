"""Global optimality of linear models as charts, and the example of stationary points."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from metaviz.charts.contours import contours
from metaviz.charts.values import Axis, Chart, Lines, Mark, Panels, Scatter, Series
from metaviz.runs.analysis.optimality import RADII, History, Judged, WhatIf, example, last_by_width
from metaviz.runs.model.record import Record
from metaviz.theory.linear import Minimiser, stationary_points
from metaviz.theory.optimality import optimality

_GRID, _LEVELS = 64, 12
_REACH, _FARTHEST, _FINE = 2.5, 12.0, 601
_FLAT = 1e-3
_FLOOR = 1e-17


def optimality_charts(
    found: History, place: int, records: Sequence[Record], change: WhatIf | None = None
) -> Panels:
    """Show gap and bounds over meta-steps, against R, against width, and for two weights L."""
    charts: list[Chart] = [
        over_steps(found, place),
        over_radii(found.judged[place]),
        over_width(records, change),
    ]
    if found.risk.features.shape[1] == 2:  # noqa: PLR2004 - a plane
        charts.append(plane(found, place))
    return Panels(id="optimality", charts=tuple(charts), columns=2)


def over_steps(found: History, place: int) -> Lines:
    """Show gap, eps and the smallest bound over meta-steps."""
    steps = np.array([one.step for one in found.judged], dtype=float)
    rows = {
        "gap": ("gap", [one.found.gap for one in found.judged]),
        "epsilon": ("ε = |∇L|", [one.found.epsilon for one in found.judged]),
        "bound": ("bound, best R", [one.found.bound.min() for one in found.judged]),
    }
    if all(one.found.corollary is not None for one in found.judged):
        bounds = [one.found.corollary.bound.min() for one in found.judged]  # type: ignore[union-attr]
        rows["corollary"] = ("Corollary 1", bounds)
    return Lines(
        id="over-steps",
        x=Axis("meta-step", whole=True),
        y=Axis("gap, ε", log=True),
        series=tuple(
            Series(name, steps, _shown(values), label, f"method-{at}", width=1.5, dots=5)
            for at, (name, (label, values)) in enumerate(rows.items())
        ),
        marks=(Mark("place", float(steps[place]), role="accent", dash="solid"),),
    )


def over_radii(judged: Judged) -> Lines:
    """Show the bound and its two parts against R, and the gap that they bound."""
    found = judged.found
    rows = {
        "bound": ("bound", found.bound),
        "first": ("R ε", found.radii * found.epsilon),
        "second": ("|w| inf(R)", found.w_norm * found.approximation),
    }
    series = [
        Series(name, found.radii, _shown(values), label, f"method-{at + 2}", width=1.5)
        for at, (name, (label, values)) in enumerate(rows.items())
    ]
    gap = np.full(2, found.gap)
    ends = np.array([found.radii[0], found.radii[-1]])
    series.append(Series("gap", ends, _shown(gap), "gap", "method-0", width=2))
    return Lines(
        id="over-radii",
        x=Axis(f"R, at meta-step {judged.step}", log=True),
        y=Axis("bound", log=True),
        series=tuple(series),
    )


def over_width(records: Sequence[Record], change: WhatIf | None = None) -> Lines:
    """Show what the shown runs came to against their number of features."""
    rows = list(last_by_width(records, change))
    widths = np.array([width for width, _, _ in rows], dtype=float)
    values = {
        "least": ("L(θ*)", [least for _, least, _ in rows]),
        "gap": ("gap", [one.found.gap for _, _, one in rows]),
        "bound": ("bound, best R", [one.found.bound.min() for _, _, one in rows]),
        "second": (
            "its |w| inf",
            [one.found.w_norm * one.found.approximation[one.found.best] for _, _, one in rows],
        ),
    }
    roles = {"least": "foreground", "gap": "method-0", "bound": "method-2", "second": "method-4"}
    return Lines(
        id="over-width",
        x=Axis("number of features, last evaluations", whole=True),
        y=Axis("L, gap", log=True),
        series=tuple(
            Series(name, widths, _shown(numbers), label, roles[name], width=1.5, dots=7)
            for name, (label, numbers) in values.items()
        ),
    )


def plane(found: History, place: int) -> Scatter:
    """Show L over two weights, the path of the run and the minimiser."""
    path = np.array([one.omega for one in found.judged])
    star, now = found.least.theta, path[place : place + 1]
    points = np.concatenate([path, star[None]])
    middle, reach = (points.max(0) + points.min(0)) / 2, 0.75 * float(np.ptp(points, 0).max())
    reach = max(reach, 0.5)
    u, v = (np.linspace(at - reach, at + reach, _GRID) for at in middle)
    heights = found.risk.values(np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1))
    floor, top = float(heights.min()), float(heights.max())
    levels = floor + (top - floor) * ((np.arange(_LEVELS) + 0.5) / _LEVELS) ** 2
    x, y = contours(u, v, heights, levels)
    series = (
        Series("contours", x, y, role="muted", alpha=0.45),
        Series("path", path[:, 0], path[:, 1], "ω over meta-steps", "method-0", width=2, dots=5),
        Series("now", now[:, 0], now[:, 1], role="accent", width=0, dots=11),
        Series("star", star[:1], star[1:], "θ*", "method-1", width=0, dots=11),
    )
    ends = [(float(one[0]), float(one[-1])) for one in (u, v)]
    return Scatter(
        id="plane",
        x=Axis("ω₁", limits=ends[0]),
        y=Axis("ω₂", limits=ends[1]),
        series=series,
    )


def example_charts(rate: float) -> Panels:
    """Show L, the adapted parameters and the Jacobian of adaptation of the teaching example."""
    risk = example(rate)
    points = _stationary(rate)
    reach = max(_REACH, 1.4 * float(np.abs(points).max(initial=0.0)))
    theta = np.linspace(-reach, reach, _FINE)
    kinds = {
        "minima": [at for at in points if risk.hessian(np.array([at]))[0, 0] > 0],
        "maxima": [at for at in points if risk.hessian(np.array([at]))[0, 0] <= 0],
    }
    roles = {"minima": "method-2", "maxima": "error"}
    labels = {"minima": "minimum", "maxima": "stationary, not optimal"}
    dots = [
        Series(
            kind, np.array(places), risk.values(np.array(places)[:, None]), labels[kind],
            roles[kind], width=0, dots=10,
        )
        for kind, places in kinds.items()
        if places
    ]  # fmt: skip
    marks = tuple(
        Mark(f"{kind} {at}", at, role=roles[kind]) for kind, ats in kinds.items() for at in ats
    )
    adapted, jacobians = risk.adapted(theta[:, None]), risk.jacobians(theta[:, None])
    shifted, slopes = (
        tuple(
            Series(f"task {at + 1}", theta, values[:, at].ravel(), label, f"method-{at}", dash)
            for at, (label, dash) in enumerate(names)
        )
        for values, names in (
            (adapted, (("task 1", "solid"), ("task 2", "dash"))),
            (jacobians, (("", "solid"), ("", "dash"))),
        )
    )
    zero = (Mark("zero", 0.0, "y", role="foreground", dash="solid"),)
    x, plain = Axis("θ", limits=(-reach, reach)), Axis(limits=(-reach, reach))
    value = Series("L", theta, risk.values(theta[:, None]), "L(θ)", "foreground", width=2)
    charts = (
        Scatter(id="example-L", x=plain, y=Axis("L(θ)"), series=(value, *dots), marks=marks),
        Lines(
            id="example-T", x=plain, y=Axis("θ − η R′(θ)"), series=shifted, marks=marks
        ),
        Lines(
            id="example-J", x=x, y=Axis("1 − η R″(θ)"), series=slopes,
            marks=(*marks, *zero),
        ),
    )  # fmt: skip
    return Panels(id="example", charts=charts, share_x=True)


def example_text(rate: float) -> str:
    """Name the stationary points of the example that are not optimal, with gap and bound."""
    risk = example(rate)
    points = _stationary(rate)
    values = risk.values(points[:, None])
    best = int(values.argmin())
    least = Minimiser(points[best : best + 1], float(values[best]), agree=False)
    minima = int((values < least.value + 1e-9).sum())
    words = [f"η = {rate:.2f}: {minima} global {'minimum' if minima == 1 else 'minima'}, "
             f"L = {least.value:.4f}."]  # fmt: skip
    for at in points[values > least.value + 1e-9]:
        found = optimality(risk, np.array([at]), RADII, least)
        slope = float(np.abs(risk.jacobians(np.array([at]))).min())
        why = ": the Jacobian of adaptation vanishes there" if slope < _FLAT else ""
        words.append(
            f"θ = {at:.3f} is stationary (ε = {found.epsilon:.0e}) but {found.gap:.4f} above it; "
            f"the bound says ≤ {found.bound.min():.3f}{why}."
        )
    if len(words) == 1:
        words.append("No other stationary point: here ε = 0 means optimal. Try η = 4.")
    return "\n".join(words)


@lru_cache(maxsize=8)
def _stationary(rate: float) -> np.ndarray:
    return stationary_points(example(rate), _FARTHEST)


def _shown(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return values for a logarithmic axis: rounding and what is not above 0 leaves a gap."""
    numbers = np.asarray(values, dtype=float)
    return np.where(numbers > _FLOOR, numbers, np.nan)
