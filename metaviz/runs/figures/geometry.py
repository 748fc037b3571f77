"""Figures of learned geometries for papers, drawn by matplotlib in the light theme."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from metaviz.charts.thinning import has_logarithms
from metaviz.runs.analysis.geometry import (
    MapHistory,
    View,
    factor,
    gate,
    geometry_pictures,
    map_history,
    mask,
    numbers,
    parts,
    rate_histograms,
    shows,
    slope_ranges,
    span,
    tensor_spans,
    without_diagonal,
)
from metaviz.runs.figures.base import (
    Page,
    _literal,
    _scales,
    blank,
    quiet_matplotlib,
    whole_steps,
)
from metaviz.runs.model.events import Pictured
from metaviz.runs.model.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE = "#0072B2", "#D55E00"
_NARROWEST_CM = 12.0
_ROW_CM = 0.55
_MOST_NAMES = 24
_SQUARE = 3


def mirror_figure(
    record: Record, evaluation: int, coordinate: int, page: Page | None = None
) -> "Figure | None":
    """Draw the slopes of a mirror map over training, and the map of one row of that picture.

    Returns None where the run has no map.
    """
    history = map_history(record)
    if history is None:
        return None
    page = page or Page(width_cm=20.0)
    columns = 2 if page.width_cm >= _NARROWEST_CM else 1
    figure, panels = blank(page, 2, columns=columns, height_cm=8.0 * (3 - columns))
    with _sized(page):
        _draw_slopes(figure, panels[0], history)
        panels[0].axvline(evaluation + 0.5, color="0.2", linestyle="--", linewidth=0.8)
        panels[0].axhline(coordinate + 0.5, color="0.2", linestyle="--", linewidth=0.8)
        _draw_curve(panels[1], history, evaluation, coordinate)
        figure.suptitle(_title(record, int(history.steps[evaluation])))
    return figure


def geometry_figure(
    record: Record,
    evaluation: int,
    what: View,
    page: Page | None = None,
    *,
    part: int = 0,
    log: bool = False,
    diagonal: bool = True,
) -> "Figure | None":
    """Draw one view of a learned geometry; `part` is a tensor or layer, -1 all of them.

    Returns None where the picture of that evaluation has no such view.
    """
    drawn = geometry_pictures(record)
    if not drawn or not shows(drawn[evaluation], what):
        return None
    picture = drawn[evaluation] if diagonal else without_diagonal(drawn[evaluation])
    rows = len(parts(picture, what)) if what == "rates" and part < 0 else 0
    rows = len(slope_ranges(picture).tensors) if what == "slopes" else rows
    page = page or Page()
    figure, axes = blank(page, height_cm=max(9.0, 2.5 + _ROW_CM * rows))
    with _sized(page):
        if what == "rates":
            _draw_rates(axes, picture, part, log=log)
        else:
            _VIEWS[what](figure, axes, picture, part)
        axes.set_title(_title(record, picture.step), fontsize="medium")
    return figure


@contextmanager
def _sized(page: Page) -> Iterator[None]:
    """Draw colour bars, which are made late, in the page's font size too."""
    with quiet_matplotlib() as mpl, mpl.rc_context({"font.size": page.font_pt}):
        yield


def _title(record: Record, step: int) -> str:
    return f"{_literal(record.label)}, meta-step {step}"


def _diverging(middle: float, half_span: float) -> dict[str, Any]:
    return {"cmap": "RdBu_r", "vmin": middle - half_span, "vmax": middle + half_span}


def _draw_slopes(figure: "Figure", axes: "Axes", history: MapHistory) -> None:
    count = len(history.steps)
    rows = len(history.coordinates)
    image = axes.imshow(
        history.slopes.T,
        aspect="auto",
        interpolation="nearest",
        extent=(0, count, rows, 0),
        **_diverging(1.0, history.half_span()),
    )
    axes.grid(visible=False)
    places = np.unique(np.linspace(0, count - 1, min(count, 5)).astype(int))
    axes.set_xticks(places + 0.5, [str(history.steps[place]) for place in places])
    spans = history.spans()
    for _, start, _ in spans[1:]:
        axes.axhline(start, color="0.5", linewidth=0.6)
    shown: list[tuple[float, str]] = []
    for name, start, stop in sorted(spans, key=lambda span: span[1] - span[2]):
        middle = (start + stop) / 2
        if all(abs(middle - other) * _MOST_NAMES >= rows for other, _ in shown):
            shown.append((middle, _literal(name)))
    axes.set_yticks([place for place, _ in shown], [name for _, name in shown])
    sampled = history.sampled_text()
    axes.set_xlabel(f"meta-step\n({sampled})" if sampled else "meta-step")
    figure.colorbar(image, ax=axes, label=r"slope $\partial g(z)_i / \partial z_i$", extend="both")


def _draw_curve(axes: "Axes", history: MapHistory, evaluation: int, row: int) -> None:
    point = history.point(evaluation, row)
    axes.set(xlabel="dual variable $z_i$", ylabel="weight $g(z)_i$")
    if point is None:
        return
    ends = np.array(point.range())
    counts, edges = point.histogram()
    low, high = point.heights()
    tallest = 0.2 * (high - low) / max(1, counts.max())
    axes.bar(edges[:-1], counts * tallest, np.diff(edges), low, align="edge", color="0.8")
    axes.plot(ends, ends, color="0.5", linestyle="--", linewidth=0.8, label=point.identity_text())
    axes.plot(ends, point.at(ends), color="k", label="map")
    axes.plot(point.adapted, point.at(point.adapted), ".", color=_ORANGE, label="adapted")
    axes.plot(point.start, point.at(point.start), "o", color=_BLUE, label="start")
    axes.set(xlim=tuple(ends), ylim=(low, high))
    name = _literal(f"{history.layers[row]}, weight {history.coordinates[row]}")
    axes.set_title(f"{name}\nslope {point.slope:.4g}", fontsize="medium")
    axes.legend(fontsize="small", frameon=False)


def _draw_rates(axes: "Axes", picture: Pictured, part: int, *, log: bool) -> None:
    counted = rate_histograms(picture, log=log)
    chosen = range(len(counted.tensors)) if part < 0 else [part]
    left, width = counted.edges[:-1], np.diff(counted.edges)
    for row, place in enumerate(chosen):
        above, below = counted.positive[place], counted.negative[place]
        tallest = max(1, (above + below).max()) / 0.8 if part < 0 else 1
        base = np.full(len(left), -float(row))
        axes.bar(left, above / tallest, width, base, align="edge", color=_BLUE)
        axes.bar(left, below / tallest, width, base + above / tallest, align="edge", color=_ORANGE)
        text = f"{100 * counted.negative_share[place]:.3g} % negative"
        if part < 0:
            beside = axes.get_yaxis_transform()
            axes.text(1.01, 0.4 - row, text, va="center", fontsize="small", transform=beside)
        else:
            axes.text(1, 1, text, ha="right", va="top", transform=axes.transAxes)
    if part < 0:
        names = [_literal(name) for name in counted.tensors]
        axes.set_yticks([0.4 - row for row in chosen], names)
    else:
        axes.set_ylabel(f"weights sampled of {_literal(counted.tensors[part])}")
    axes.set_xlabel(r"magnitude of the step size, $\log_{10}$" if log else "step size of a weight")


def _draw_matrix(
    figure: "Figure", axes: "Axes", values: np.ndarray, meaning: str, extent: float | None = None
) -> None:
    rows, columns = values.shape
    half_span = span(values)
    square = max(rows, columns) <= _SQUARE * min(rows, columns)
    image = axes.imshow(
        values,
        aspect="equal" if square else "auto",
        interpolation="nearest",
        extent=(0, extent or columns, extent or rows, 0),
        **_diverging(0.0, half_span),
    )
    axes.grid(visible=False)
    beyond = bool((np.abs(values) > half_span).any())
    figure.colorbar(image, ax=axes, label=meaning, extend="both" if beyond else "neither")


def _draw_factor(figure: "Figure", axes: "Axes", picture: Pictured, part: int) -> None:
    values = factor(picture, part)
    _draw_matrix(figure, axes, values, f"entry of {_literal(parts(picture, 'factors')[part])}")
    if len(values) == 1:
        axes.set(xlabel="entry of the diagonal", yticks=[])
    else:
        axes.set(xlabel="column", ylabel="row")


def _draw_dense(figure: "Figure", axes: "Axes", picture: Pictured, part: int) -> None:
    del part
    values = numbers(picture, "dense")
    size = float(picture.arrays.get("dense_size", len(values)))
    pooled = ", largest of each cell" if size > len(values) else ""
    _draw_matrix(figure, axes, values, f"entry of $P${pooled}", size)
    axes.set(xlabel="weight", ylabel="weight")
    named = [span for span in tensor_spans(picture) if (span[2] - span[1]) * _MOST_NAMES >= size]
    if named:
        axes.set_yticks([(a + b) / 2 for _, a, b in named], [_literal(name) for name, *_ in named])
        axes.set_ylabel("")


def _draw_mask(figure: "Figure", axes: "Axes", picture: Pictured, part: int) -> None:
    del figure
    values = mask(picture, part)
    axes.bar(np.arange(len(values)), values, color=_BLUE)
    name = _literal(parts(picture, "masks")[part])
    axes.set(xlabel=f"unit of {name}", ylabel="probability that it adapts", ylim=(0, 1))


def _draw_gates(figure: "Figure", axes: "Axes", picture: Pictured, part: int) -> None:
    del figure
    shown = gate(picture, part)
    color, k = (_BLUE, _ORANGE)[part], shown.k
    low, lower, median, upper, high = shown.quantiles.T
    axes.plot(k, median, color=color, marker="o", markersize=3, label=shown.name)
    axes.fill_between(k, low, high, color=color, alpha=0.15, lw=0)
    axes.fill_between(k, lower, upper, color=color, alpha=0.3, lw=0)
    if np.isfinite(shown.plain):
        axes.axhline(shown.plain, color="0.5", linestyle="--", label="gradient descent")
    axes.set(xlabel="inner step k", ylabel=shown.name)
    whole_steps(axes)
    axes.legend(
        fontsize="small", frameon=False, title="median; bands: 50 and 90 %", title_fontsize="small"
    )


def _draw_slope_ranges(figure: "Figure", axes: "Axes", picture: Pictured, part: int) -> None:
    del figure, part
    ranges = slope_ranges(picture)
    rows = np.arange(len(ranges.tensors))
    axes.axvline(1.0, color="0.5", linestyle="--", label="gradient descent")
    axes.hlines(rows, ranges.smallest, ranges.largest, color=_BLUE, label="smallest to largest")
    axes.plot(ranges.mean, rows, "o", color=_ORANGE, markersize=4, label="mean")
    axes.set_yticks(rows, [_literal(name) for name in ranges.tensors])
    axes.invert_yaxis()
    axes.set_xlabel(r"slope $\partial g(z)_i / \partial z_i$ at the start")
    axes.legend(fontsize="small", frameon=False)


def _draw_spectrum(figure: "Figure", axes: "Axes", picture: Pictured, part: int) -> None:
    del figure, part
    values = numbers(picture, "spectrum")
    axes.plot(np.arange(1, len(values) + 1), values, color=_BLUE)
    axes.set(xlabel="rank", ylabel="magnitude of the eigenvalue of $P$")
    _scales(axes, log_y=has_logarithms([values]))


def _draw_condition(figure: "Figure", axes: "Axes", picture: Pictured, part: int) -> None:
    del figure, part
    shown = []
    for key, text, color, dash in (
        ("condition_plain", "without P", _BLUE, "-"),
        ("condition_shaped", "with P", _ORANGE, "--"),
    ):
        values = numbers(picture, key)
        axes.plot(
            np.arange(len(values)), values, dash, color=color, marker="o", markersize=3, label=text
        )
        shown.append(values)
    axes.set(xlabel="inner step k", ylabel="condition number")
    whole_steps(axes)
    _scales(axes, log_y=has_logarithms(shown))
    axes.legend(fontsize="small", frameon=False)


_VIEWS: "dict[View, Callable[[Figure, Axes, Pictured, int], None]]" = {
    "factors": _draw_factor,
    "dense": _draw_dense,
    "masks": _draw_mask,
    "gates": _draw_gates,
    "slopes": _draw_slope_ranges,
    "spectrum": _draw_spectrum,
    "condition": _draw_condition,
}
