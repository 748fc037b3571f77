"""A chart in a sentence, for screen readers and for whoever asks what is there."""

from functools import singledispatch

import numpy as np

from metaviz.charts.values import (
    Bars,
    Chart,
    Graph,
    HeatMap,
    Histogram,
    ImageGrid,
    Lines,
    Panels,
    Parallel,
    Paths,
    Scatter,
    Series,
    Table,
    VectorField,
)

_MOST = 12


def described(chart: Chart) -> str:
    """Say what a chart shows now: its own words where it has some, or else its numbers."""
    told = chart.spoken or chart.message or _told(chart)
    return f"{chart.title}: {told}" if chart.title and not chart.spoken else told


@singledispatch
def _told(chart: Chart) -> str:
    return f"{type(chart).__name__} without a description."


@_told.register(Lines)
@_told.register(Scatter)
def _lines(chart: Lines | Scatter) -> str:
    named = [one for one in chart.series if one.label and np.isfinite(one.y).any()]
    if not named:
        return _spread("points", [one.y for one in chart.series])
    return _joined([f"{one.label} {_last(one)}" for one in named])


@_told.register
def _bars(chart: Bars) -> str:
    values = chart.series[0].y if chart.series else np.empty(0)
    pairs = zip(chart.names, values, strict=False)
    return _joined([f"{name} {value:.4g}" for name, value in pairs]) or "no bars"


@_told.register
def _heat_map(chart: HeatMap) -> str:
    rows, columns = chart.values.shape
    return _spread(f"{rows} × {columns} cells", [chart.values])


@_told.register
def _histogram(chart: Histogram) -> str:
    return f"{len(chart.parts)} distributions from {chart.edges[0]:.4g} to {chart.edges[-1]:.4g}"


@_told.register
def _images(chart: ImageGrid) -> str:
    return f"{sum(image is not None for image in chart.images)} images, {len(chart.wrong)} wrong"


@_told.register
def _paths(chart: Paths) -> str:
    ends = [f"{one.label or one.name} ends at {_last(one)}" for one in chart.paths if len(one.x)]
    return _joined(ends) or "no paths"


@_told.register
def _graph(chart: Graph) -> str:
    return f"{len(chart.names)} nodes, {len(chart.edges)} edges"


@_told.register
def _field(chart: VectorField) -> str:
    return f"{chart.u.size} arrows"


@_told.register
def _table(chart: Table) -> str:
    return f"{len(chart.rows)} rows: {', '.join(chart.header)}"


@_told.register
def _parallel(chart: Parallel) -> str:
    return f"{len(chart.series)} runs over {', '.join(axis.title for axis in chart.axes)}"


@_told.register
def _panels(chart: Panels) -> str:
    return _joined([described(panel) for panel in chart.charts]) or "nothing"


def _last(one: Series) -> str:
    """Write the last number that is there; of several curves at places of a slider, of all."""
    known = one.y[np.isfinite(one.y)]
    return f"{known[-1]:.4g}" if known.size else "without a number"


def _spread(what: str, values: list[np.ndarray]) -> str:
    known = np.concatenate([np.empty(0), *(one[np.isfinite(one)].ravel() for one in values)])
    if not known.size:
        return f"{what}, none with a number"
    return f"{what}, from {known.min():.4g} to {known.max():.4g}"


def _joined(parts: list[str]) -> str:
    more = [f"and {len(parts) - _MOST} more"] if len(parts) > _MOST else []
    return "; ".join([*parts[:_MOST], *more])
