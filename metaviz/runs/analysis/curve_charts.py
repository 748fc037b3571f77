"""Charts of curves: over training, over the inner steps, and of groups of runs compared."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from metaviz.charts.shapes import shapes_of
from metaviz.charts.stored import fan_chart, paths_chart, slice_charts
from metaviz.charts.thinning import has_logarithms, thin, thin_band
from metaviz.charts.values import Axis, Band, Lines, Mark, Panels, Paths, Region, Series
from metaviz.config.quantities import unit_of
from metaviz.runs.analysis.comparison import (
    AXES,
    MOST_DASHED,
    ComparisonView,
    GroupCurve,
    comparison_caption,
    measure_title,
    why_no_curve,
)
from metaviz.runs.analysis.curves import (
    AXIS_TITLES,
    QUANTITY_TITLES,
    InnerCurve,
    InnerQuantity,
    InnerView,
    TrainingCurve,
    TrainingView,
    band_alpha,
    beyond_trained,
    has_positive,
    inner_caption,
    inner_curves,
    judged_by_returns,
    training_caption,
    training_curves,
)
from metaviz.runs.analysis.evaluated_curves import evaluation_chart
from metaviz.runs.analysis.needs import INNER_LOOP
from metaviz.runs.analysis.per_cent import as_shown
from metaviz.runs.analysis.smoothing import Smoother
from metaviz.runs.model.events import Pictured
from metaviz.runs.model.record import Record
from metaviz.runs.model.statistics import leaving, range_with_bands, robust_range
from metaviz.runs.model.styles import ends

_OF_TASKS = {"predictions": "truth", "paths": "goals"}
"""Arrays that draw single tasks, each with another that has one row for each of them."""
_FEW, _TWO = 4, 2
_QUANTILE_POINTS = 500
_MANY_STEPS = 40
_UNEQUAL = 3
_BAND_POINTS = 100
_FEWEST_POINTS, _ALL_POINTS = 200, 45_000
_MOST_DOTS, _DOT = 41, 5.0


def training_chart(
    records: Sequence[Record],
    view: TrainingView,
    smoother: Smoother | None = None,
    *,
    message: str = "",
) -> Lines:
    """Show losses before and after adaptation over training, of evaluations or of batches.

    The message is shown where no run has recorded the quantity.
    """
    if not view.batches:
        return evaluation_chart(records, view, message)
    curves = training_curves(records, view, smoother)
    crowded = len(curves) > _FEW
    series: list[Series] = []
    bands = []
    for curve in curves:
        series += _before_and_after(curve, view, crowded=crowded)
        if view.show_pre and curve.has_pre and not crowded:
            gap = curve.x, curve.post, curve.pre
            bands.append(Band(f"{curve.run} gap", *gap, curve.style.role, 0.07))
    title = QUANTITY_TITLES[view.quantity]
    unit = unit_of(view.quantity)
    texts = [f"{curve.label}: {title} {unit * curve.last:.4g}" for curve in curves]
    shown, limits = _batch_range(curves, view, crowded=crowded)
    told = [training_caption(curves, view, crowded=crowded), *leaving(shown, limits)]
    chart = Lines(
        id="training",
        x=Axis(AXIS_TITLES[view.axis], log=view.log_x),
        y=Axis(
            f"{title}, batch mean",
            log=view.log_y,
            limits=limits,
        ),
        series=tuple(series),
        bands=tuple(bands),
        right=ends((curve.style, curve.post) for curve in curves),
        caption="; ".join(filter(None, told)),
        spoken="; ".join(texts) or "Nothing recorded yet.",
        message="" if curves else message,
    )
    return as_shown(chart, view.quantity)


def _batch_range(
    curves: Sequence[TrainingCurve], view: TrainingView, *, crowded: bool
) -> tuple[list[np.ndarray], tuple[float, float] | None]:
    """Return all that is drawn, raw curves as well, and a range that shows the bulk of it."""
    shown = [curve.post for curve in curves]
    shown += [curve.pre for curve in curves if view.show_pre and curve.has_pre]
    if view.show_raw and view.smoothing > 0 and not crowded:
        shown += [curve.post_raw for curve in curves]
    # Every few points are enough for quantiles, and this is done at every redraw.
    sparse = [values[:: max(1, len(values) // _QUANTILE_POINTS)] for values in shown]
    return sparse, robust_range(sparse, log=view.log_y) if view.robust else None


def _before_and_after(curve: TrainingCurve, view: TrainingView, *, crowded: bool) -> list[Series]:
    role, dash = curve.style.role, curve.style.dash
    found = []
    if view.show_raw and view.smoothing > 0 and not crowded:
        found.append(Series(f"{curve.run} raw", curve.x, curve.post_raw, role=role, alpha=0.18))
    if view.show_pre and curve.has_pre:
        name = f"{curve.run} pre"
        found.append(Series(name, curve.x, curve.pre, role=role, dash=dash, alpha=0.5))
    wide = 1.0 if crowded else 2.0
    name = f"{curve.run} post"
    return [*found, Series(name, curve.x, curve.post, curve.label, role, dash, wide)]


def inner_chart(
    records: Sequence[Record],
    view: InnerView,
    *,
    labelled: bool = True,
    shaded: bool = False,
    message: str = "",
) -> Lines:
    """Show a quantity against the inner step, with dots or `shaded` beyond the trained steps.

    Unless `labelled`, another chart beside this one names the runs.
    """
    curves = inner_curves(records, view)
    log = view.log_y and has_logarithms([curve.mean for curve in curves])
    last = [len(curve.k) - 1 for curve in curves if len(curve.k) > 1]
    end = max(last, default=0)
    trained = sorted({c.trained_steps for c in curves if 0 < c.trained_steps <= end})
    marks = tuple(Mark(f"K {k}", k, label=f"trained K = {k}") for k in trained if not shaded)
    beyond = beyond_trained(curves) if shaded else []
    caption = inner_caption(curves, view, dotted=bool(marks), shaded=bool(beyond))
    left_out = INNER_LOOP.left_out(records).removesuffix(".")
    title = QUANTITY_TITLES[view.quantity]
    chart = Lines(
        id=f"inner-{view.quantity}",
        # Linear for the steps that all runs with an inner loop take, logarithmic beyond.
        x=Axis(
            "inner step k",
            whole=True,
            knee=min(last) if last and not shaded and end > _UNEQUAL * min(last) else None,
        ),
        y=Axis(
            title if labelled else title.removeprefix("support "),
            log=log,
            limits=inner_limits(curves, replace(view, log_y=log)),
        ),
        series=tuple(_inner_series(one, labelled=labelled, dotted=not shaded) for one in curves),
        bands=tuple(_inner_band(c, len(curves)) for c in curves if view.show_interval),
        marks=marks,
        regions=tuple(Region(f"beyond {a}", a, b) for a, b in beyond),
        right=ends((curve.style, curve.mean) for curve in curves),
        caption="; ".join(filter(None, [caption, left_out])) if labelled and curves else "",
        message="" if curves else message,
    )
    return as_shown(chart, view.quantity)


def _inner_series(curve: InnerCurve, *, labelled: bool, dotted: bool) -> Series:
    dots = 5.0 if dotted and len(curve.k) <= _MANY_STEPS else 0.0
    label, style = curve.label if labelled else "", curve.style
    return Series(
        curve.run,
        curve.k,
        curve.mean,
        label,
        style.role,
        style.dash,
        2.0,
        dots=dots,
        marker=style.marker,
    )


def _inner_band(curve: InnerCurve, runs: int) -> Band:
    """Return the 95 % interval, one of several, as a band that a logarithmic axis can show."""
    with np.errstate(invalid="ignore"):  # a run that diverged
        low, high = curve.mean - curve.ci95, curve.mean + curve.ci95
    if np.nanmin(curve.mean) > 0:
        low = np.maximum(low, np.nanmin(curve.mean) * 1e-2)
    return Band(curve.run, curve.k, low, high, curve.style.role, band_alpha(runs))


def inner_limits(curves: Sequence[InnerCurve], view: InnerView) -> tuple[float, float] | None:
    """Return a range that holds every mean, and bands as far as they do not dwarf the means."""
    means = np.concatenate([np.empty(0), *(curve.mean for curve in curves)])
    spread = np.concatenate([np.empty(0), *(curve.ci95 for curve in curves)])
    known = np.isfinite(means)
    means, spread = means[known], np.where(np.isfinite(spread), spread, 0)[known]
    if not means.size:
        return None
    spread = spread if view.show_interval else 0 * means
    low, high = means.min(), means.max()
    if view.log_y:
        if not low > 0:
            return None
        bottom = max((means - spread).min(), low / 3)
        return float(bottom * 0.95), float(min((means + spread).max(), 2 * high) * 1.05)
    room = (high - low) or abs(high) or 1.0
    bottom, top = max((means - spread).min(), low - room), min((means + spread).max(), high + room)
    return float(bottom - room / 20), float(top + room / 20)


def inner_charts(
    records: Sequence[Record], views: Sequence[InnerView] = (), *, shaded: bool = False
) -> Panels:
    """Show the inner loop at the last evaluation, one panel for each view."""
    chosen = views or usual_inner_views(records)
    charts = (
        inner_chart(records, view, labelled=not place, shaded=shaded)
        for place, view in enumerate(chosen)
    )
    return Panels(id="inner", charts=tuple(charts), columns=len(chosen))


def usual_inner_views(records: Sequence[Record]) -> list[InnerView]:
    """Return support loss, query loss and gradient norm, and accuracy where there is one.

    Returns take the place of losses where all runs have them.
    """
    known = [record.evaluations[-1] for record in records if record.evaluations]
    names: list[InnerQuantity] = ["support_loss", "query_loss", "gradient_norm"]
    if judged_by_returns(records):
        names = ["support_return", "query_return", "gradient_norm"]
    elif any("query_accuracy" in evaluation.curves for evaluation in known):
        names.append("query_accuracy")
    return [InnerView(quantity=name, log_y=has_positive(name)) for name in names]


def convergence_charts(
    records: Sequence[Record],
    around: tuple[Lines, Paths | None] | None = None,
    views: Sequence[InnerView] = (InnerView("support_loss"), InnerView("gradient_norm")),
) -> Panels:
    """Show support loss and gradient norm against k, and the loss around one adaptation."""
    curves = inner_charts(records, views, shaded=True)
    slices = tuple(chart for chart in around or () if chart is not None)
    return replace(curves, id="convergence", charts=(*curves.charts, *slices), columns=2)


def loss_slice(record: Record, label: str, at: int = -1) -> tuple[Lines, Paths | None] | None:
    """Return the charts of the slice stored at an evaluation, or None where there is none."""
    found = _picture(record, "slice", at)
    if found is None:
        return None
    return slice_charts(found.arrays, f"{label}, meta-step {found.step}")


def fan(record: Record, task: int = 0, at: int = -1) -> Lines | Paths | None:
    """Return predictions on one task of a run, or trajectories, or None where none are drawn."""
    found = next(filter(None, (_picture(record, name, at) for name in _OF_TASKS)), None)
    if found is None:
        return None
    trained = record.evaluations[-1].trained_steps if record.evaluations else 0
    title = f"{record.label}, meta-step {found.step}"
    make = fan_chart if "predictions" in found.arrays else paths_chart
    return make(found.arrays, task, title=title, trained=trained)


def fan_tasks(record: Record) -> int:
    """Return on how many tasks a run's predictions or trajectories are drawn."""
    for name, each in _OF_TASKS.items():
        found = _picture(record, name, -1)
        if found is not None:
            return len(found.arrays[each])
    return 0


def draws_tasks(record: Record) -> bool:
    """Return whether a run's problem draws what is predicted or done in some tasks."""
    return any(name in one.arrays for one in record.pictures for name in _OF_TASKS)


def without_slider(chart: Lines | Paths) -> Lines | Paths:
    """Return a chart for a file: without what only a slider shows; of paths, the last step."""
    if isinstance(chart, Paths):
        last = chart.slider.count - 1 if chart.slider else 0
        shown = shapes_of(chart, last).series
        return replace(chart, paths=tuple(shown), slider=None)
    fixed = tuple(one for one in chart.series if one.y.ndim == 1)
    return replace(chart, series=fixed, slider=None)


def _picture(record: Record, name: str, at: int) -> Pictured | None:
    """Return what was drawn at an evaluation, or the last before it that is kept."""
    drawn = [picture for picture in record.pictures if name in picture.arrays]
    count = len(record.evaluations)
    if not drawn or not count or at == -1:
        return drawn[-1] if drawn else None
    step = record.evaluations[max(-count, min(at, count - 1))].step
    return next((picture for picture in reversed(drawn) if picture.step <= step), drawn[0])


def comparison_chart(
    curves: Sequence[GroupCurve],
    view: ComparisonView,
    *,
    pixels: int = 1000,
    span: tuple[float, float] | None = None,
    message: str = "",
) -> Lines:
    """Show one line and one band for each group, thinned to pixels; `span` is the visible x."""
    points = max(_FEWEST_POINTS, min(2 * pixels, _ALL_POINTS // max(1, len(curves))))
    series: list[Series] = []
    bands = []
    for place, one in enumerate(curves):
        role, curve = one.style.role, one.curve
        for number, run in enumerate(one.samples if view.members else ()):
            seen = _seen(span, run.x)
            x, y = thin(run.x[seen], run.y[seen], points // 2)
            series.append(Series(f"{place} run {number}", x, y, role=role, alpha=0.35))
        seen = _seen(span, curve.x)
        x, y = thin(curve.x[seen], curve.mean[seen], points)
        wide = 2.0 if len(curves) <= MOST_DASHED else 1.0
        dots = _DOT if len(curve.x) <= _MOST_DOTS else 0.0
        drawn = Series(f"{place}", x, y, one.legend, role, one.style.dash, wide, dots=dots)
        series.append(replace(drawn, marker=one.style.marker))
        if np.isfinite(curve.low).any():
            edges = thin_band(curve.x[seen], curve.low[seen], curve.high[seen], _BAND_POINTS)
            bands.append(Band(f"{place} band", *edges, role, band_alpha(len(curves))))
    limits, unit = _comparison_limits(curves, view), unit_of(view.measure)
    chart = Lines(
        id="comparison",
        x=Axis(AXES[view.axis], log=view.log_x),
        y=Axis(measure_title(view, curves).partition(",")[0], log=view.log_y, limits=limits),
        series=tuple(series),
        bands=tuple(bands),
        right=ends((one.style, one.curve.mean) for one in curves),
        caption=comparison_caption(curves, view, limits),
        spoken="; ".join(f"{one.legend}: {unit * one.final()[0]:.4g}" for one in curves),
        message=why_no_curve(curves, view) if curves else message,
    )
    return as_shown(chart, view.measure)


def _comparison_limits(
    curves: Sequence[GroupCurve], view: ComparisonView
) -> tuple[float, float] | None:
    """Return what is shown of y; some hundred points of a curve suffice.

    Intervals from two runs, twelve times as wide as their standard error, do not count.
    """
    if not view.robust:
        return None
    means, edges = [], []
    for one in curves:
        curve = one.curve
        few = slice(None, None, max(1, len(curve.mean) // _QUANTILE_POINTS))
        means.append(curve.mean[few])
        told = (curve.n[few] > _TWO) | (one.band != "ci95")
        edges += [np.where(told, side[few], np.nan) for side in (curve.low, curve.high)]
    return range_with_bands(means, edges, log=view.log_y)


def _seen(span: tuple[float, float] | None, x: np.ndarray) -> slice:
    """Return the points in the shown range, and one more on each side."""
    if span is None:
        return slice(None)
    low, high = np.searchsorted(x, span)
    return slice(max(0, int(low) - 1), int(high) + 1)
