"""The figure and the table of compared groups, with the numbers that the window shows."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from metaviz.runs.analysis.alignment import BAND_TIPS, BANDS, thin_band
from metaviz.runs.analysis.comparison import (
    AXES,
    ComparisonView,
    GroupCurve,
    has_several,
    measure_title,
)
from metaviz.runs.analysis.curves import band_alpha
from metaviz.runs.figures.base import (
    _DASH,
    _POINTS,
    Page,
    _Key,
    _legend_cm,
    _legend_outside,
    _literal,
    _scales,
    blank,
)
from metaviz.runs.model.statistics import has_logarithms, range_with_bands, thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEADER = ("group", "measure", "axis", "x", "mean", "low", "high", "n", "interval")
Cell = str | int | float


def comparison_figure(
    curves: Sequence[GroupCurve], view: ComparisonView, page: Page | None = None
) -> "Figure":
    """Draw one line and one band per group."""
    page = page or Page()
    keys = [_Key(_literal(one.legend), one.style.color, one.style.dash) for one in curves]
    figure, axes = blank(page, height_cm=min(10.0, 0.7 * page.width_cm) + _legend_cm(keys, page))
    for one in curves:
        _draw(axes, one, view, alpha=band_alpha(len(curves)))
    axes.set(xlabel=AXES[view.axis], ylabel=measure_title(view, curves))
    means = [one.curve.mean for one in curves]
    log_y = view.log_y and has_logarithms(means)
    _scales(axes, log_x=view.log_x, log_y=log_y)
    edges = [edge for one in curves for edge in (one.curve.low, one.curve.high)]
    limits = range_with_bands(means, edges, log=log_y) if view.robust and curves else None
    if limits:
        axes.set_ylim(*limits)
    _legend_outside(figure, axes, keys, page, caption(curves, view))
    return figure


def caption(curves: Sequence[GroupCurve], view: ComparisonView) -> str:
    """Say what lines and bands are, naming the interval."""
    if not has_several(curves):
        return "one run per line"
    where = "while two runs have data" if view.partly else "where all runs have data"
    return f"line: mean over runs, {where}; band {BANDS[view.band]}: {BAND_TIPS[view.band]}"


def comparison_rows(
    curves: Iterable[GroupCurve], view: ComparisonView
) -> Iterable[tuple[Cell, ...]]:
    """Yield the rows of `comparison.csv` under HEADER; low and high are NaN where n < 2."""
    for one in curves:
        columns = (one.curve.x, one.curve.mean, one.curve.low, one.curve.high, one.curve.n)
        for x, mean, low, high, n in zip(*(c.tolist() for c in columns), strict=True):
            yield one.group.label, view.measure, view.axis, x, mean, low, high, n, view.band


def _draw(axes: "Axes", one: GroupCurve, view: ComparisonView, *, alpha: float) -> None:
    color, curve = one.style.color, one.curve
    if view.members:
        for run in one.samples:
            axes.plot(*thin(run.x, run.y, _POINTS), color=color, alpha=0.3, linewidth=0.5)
    look = {"color": color, "linestyle": _DASH[one.style.dash]}
    axes.plot(*thin(curve.x, curve.mean, _POINTS), **look, linewidth=1.4)
    axes.fill_between(
        *thin_band(curve.x, curve.low, curve.high, _POINTS), color=color, alpha=alpha, linewidth=0
    )
