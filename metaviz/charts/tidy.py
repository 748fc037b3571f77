"""Charts as rows of a tidy table: one row for each point, cell, node or word."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np

from metaviz.charts.values import (
    Band,
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


@dataclass(frozen=True)
class TidyRow:
    """What one row of `charts.csv` says of a chart; `docs/tables.md` explains every field."""

    item: str
    number: int
    place: int | None = None
    x: float | None = None
    y: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    label: str = ""
    part: str = ""


def tidy_rows(chart: Chart) -> Iterator[TidyRow]:
    """Yield the rows of a chart, those of panels with the id of the panel as their part."""
    if isinstance(chart, Panels):
        for panel in chart.charts:
            for row in _rows(panel):
                yield replace(row, part=panel.id)
    else:
        yield from _rows(chart)


@singledispatch
def _rows(chart: Chart) -> Iterator[TidyRow]:
    raise TypeError(f"{type(chart).__name__} has no rows.")


@_rows.register
def _lines(chart: Lines) -> Iterator[TidyRow]:
    yield from _of_series(chart.series)
    yield from _of_bands(chart.bands)


@_rows.register
def _scatter(chart: Scatter) -> Iterator[TidyRow]:
    yield from _of_series(chart.series)


@_rows.register
def _bars(chart: Bars) -> Iterator[TidyRow]:
    for row in _of_series(chart.series):
        at = int(row.x or 0)
        yield replace(row, label=chart.names[at] if at < len(chart.names) else row.label)


@_rows.register
def _parallel(chart: Parallel) -> Iterator[TidyRow]:
    for row in _of_series(chart.series):
        yield replace(row, label=chart.axes[row.number].title)


@_rows.register
def _paths(chart: Paths) -> Iterator[TidyRow]:
    yield from _of_series(chart.paths)
    for number, ((i, j), height) in enumerate(np.ndenumerate(chart.heights)):
        u, v = float(chart.u[i]), float(chart.v[j])
        yield TidyRow("heights", number, x=u, y=v, value=float(height))


@_rows.register
def _heat_map(chart: HeatMap) -> Iterator[TidyRow]:
    groups = {row: name for name, a, b in chart.spans for row in range(a, b)}
    for number, ((row, column), value) in enumerate(np.ndenumerate(chart.values)):
        label = chart.columns[column] if column < len(chart.columns) else ""
        item = groups.get(row, "cell")
        x, y = float(column), float(row)
        yield TidyRow(item, number, x=x, y=y, value=float(value), label=label)


@_rows.register
def _histogram(chart: Histogram) -> Iterator[TidyRow]:
    for part in chart.parts:
        for number, ((row, one), count) in enumerate(np.ndenumerate(part.y)):
            low, high = float(chart.edges[one]), float(chart.edges[one + 1])
            point = TidyRow(part.name, number, y=float(row), value=float(count))
            yield replace(point, low=low, high=high, label=chart.rows[row])


@_rows.register
def _images(chart: ImageGrid) -> Iterator[TidyRow]:
    for number, image in enumerate(chart.images):
        if image is not None:
            row, column = divmod(number, chart.columns)
            below = chart.below[number] if number < len(chart.below) else ""
            share = chart.shares[number] if number < len(chart.shares) else None
            x, y = float(column), float(row)
            yield TidyRow("image", number, x=x, y=y, value=share, label=below)


@_rows.register
def _graph(chart: Graph) -> Iterator[TidyRow]:
    states: Sequence[tuple[int | None, Sequence[str]]] = (
        list(enumerate(chart.states)) if chart.states else [(None, chart.roles)]
    )
    for place, roles in states:
        for number, (name, (x, y)) in enumerate(
            zip(chart.names, chart.places.tolist(), strict=True)
        ):
            value = _color_of(roles[number]) if roles else None
            yield TidyRow("node", number, place, float(x), float(y), value, label=name)
    for number, (start, end) in enumerate(chart.edges):
        yield TidyRow("edge", number, x=float(start), y=float(end))


@_rows.register
def _field(chart: VectorField) -> Iterator[TidyRow]:
    for item, values in (("u", chart.u), ("v", chart.v)):
        ends = zip(chart.px.tolist(), chart.py.tolist(), values.tolist(), strict=True)
        for number, (x, y, value) in enumerate(ends):
            yield TidyRow(item, number, x=x, y=y, value=value)


@_rows.register
def _table(chart: Table) -> Iterator[TidyRow]:
    for number, cells in enumerate(chart.rows):
        for name, text in zip(chart.header, cells, strict=True):
            yield TidyRow(name, number, label=text)


def _of_series(series: Iterable[Series]) -> Iterator[TidyRow]:
    for one in series:
        heights = one.y if one.y.ndim > 1 else one.y[None]
        places = np.broadcast_to(one.x, heights.shape)
        ends = [None if end is None else end.tolist() for end in (one.low, one.high)]
        for place, (x, y) in enumerate(zip(places.tolist(), heights.tolist(), strict=True)):
            at = place if one.y.ndim > 1 else None
            for number, (along, height) in enumerate(zip(x, y, strict=True)):
                low, high = (None if end is None else float(end[number]) for end in ends)
                point = TidyRow(one.name, number, at, float(along), float(height))
                yield replace(point, low=low, high=high, label=one.label)


def _of_bands(bands: Iterable[Band]) -> Iterator[TidyRow]:
    for one in bands:
        ends = zip(one.x.tolist(), one.low.tolist(), one.high.tolist(), strict=True)
        for number, (x, low, high) in enumerate(ends):
            yield TidyRow(one.name, number, x=x, low=low, high=high)


def _color_of(role: str) -> float | None:
    """Return the number of a node's colour from 1, None for a grey one."""
    _, _, number = role.partition("method-")
    return float(number) + 1 if number.isdigit() else None
