"""Turns the arrays that runs store beside their evaluations into charts, old ones for ever."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from metaviz.charts.shapes import cut
from metaviz.charts.thinning import has_logarithms
from metaviz.charts.values import (
    BLUE,
    ORANGE,
    Axis,
    Band,
    Bars,
    Chart,
    HeatMap,
    Histogram,
    Lines,
    Paths,
    Series,
    Slider,
)

Arrays = Mapping[str, np.ndarray]
_KIND_TITLES: dict[str, dict[str, str]] = {
    "layers": {"factors": "Transforms T"},
    "warps": {"factors": "Warps T"},
    "map": {"dense": "Jacobian of the map"},
}
_FAMILIES = ("a sinusoid", "a line")
_GATES = ("forget gate", "input gate")
_BINS, _VISITED_BINS = 40, 30
_MATRIX_QUANTILE = 0.999
_MANY = 60
_SQUARE = 3
_NEAR = 1.5
_HISTOGRAM_SHARE = 0.2


def fan_chart(arrays: Arrays, task: int = 0, *, title: str = "", trained: int = 0) -> Lines:
    """Show truth, support points and predictions of one task; its slider is the inner step."""
    x, place = arrays["x"], min(task, len(arrays["truth"]) - 1)
    predicted = arrays["predictions"][place]
    last = len(predicted) - 1
    steps = sorted({0, min(1, last), min(trained, last), last})
    shares = np.linspace(0, 1, len(steps)).tolist()
    kinds = arrays.get("family", ())
    kind = f" ({_FAMILIES[int(kinds[place] > 0)]})" if place < len(kinds) else ""
    label = f"truth{kind}"
    series = [Series("truth", x, arrays["truth"][place], label, "foreground", "dash", 1.5)]
    for step, share in zip(steps, shares, strict=True):
        text = f"k = {step}{' (trained K)' if step == trained else ''}"
        series.append(Series(f"k{step}", x, predicted[step], text, f"ramp-{share:.4g}", width=1.2))
    points = arrays["support_x"][place], arrays["support_y"][place]
    room = 0.02 * float(x[-1] - x[0])
    return Lines(
        id="fan",
        title=title,
        x=Axis("x", limits=(float(x[0]) - room, float(x[-1]) + room)),
        y=Axis("y"),
        slider=Slider("inner step k", last + 1, min(trained, last)),
        series=(
            *series,
            Series("chosen", x, predicted, "chosen k = {}", "accent", width=3.0),
            Series("support", *points, "support points", "foreground", width=0, dots=8.0),
        ),
    )


def paths_chart(arrays: Arrays, task: int = 0, *, title: str = "", trained: int = 0) -> Paths:
    """Show how a policy walks in one task after each inner step; its slider is the inner step.

    What was walked after fewer steps is faint.
    """
    place = min(task, len(arrays["goals"]) - 1)
    walked = arrays["paths"][:, place].astype(np.float32)
    count, last = len(walked), len(walked) - 1
    # All trajectories of a step are one line with gaps.
    joined = np.pad(walked, ((0, 0), (0, 0), (0, 1), (0, 0)), constant_values=np.nan)
    joined = joined.reshape(count, -1, 2)
    x, y = joined[..., 0], joined[..., 1]
    later = np.arange(count)[:, None] > np.arange(last)
    earlier = [
        Series(
            f"k{step}",
            np.where(later[:, step, None], x[step], np.nan),
            np.where(later[:, step, None], y[step], np.nan),
            label=f"k = {step}",
            role=f"ramp-{step / max(1, last):.4g}",
            alpha=0.4,
        )
        for step in range(last)
    ]
    (across, up), means = arrays["goals"][place], arrays["path_returns"][:, place].mean(1)
    told = " → ".join(f"{mean:.1f}".replace("-", "−") for mean in means)
    return Paths(
        id="paths",
        title=title,
        x=Axis("x"),
        y=Axis("y"),
        slider=Slider("inner step k", count, min(trained, last)),
        caption=f"return {told}",
        paths=(
            *earlier,
            Series("chosen", x, y, "chosen k = {}", "accent", width=1.6),
            _dot("start", 0.0, 0.0, "start", "foreground", 9.0),
            _dot("goal", float(across), float(up), "goal", ORANGE, 14.0),
        ),
    )


def _dot(name: str, x: float, y: float, label: str, role: str, size: float) -> Series:
    return Series(name, np.array([x]), np.array([y]), label, role, width=0, dots=size)


def slice_charts(arrays: Arrays, title: str = "") -> tuple[Lines, Paths | None]:
    """Show the loss of one task along the line from phi^0 (t = 0) to phi^K (t = 1), and on a plane.

    The plane is None where none was stored. Its colours are logarithms where losses are positive.
    """
    t, path = arrays["line_t"], arrays["line_path"]
    # Runs of earlier versions have the loss on the line alone.
    on_path = arrays.get("path_support", np.full(len(path), np.nan))
    line = Lines(
        id="loss-line",
        title=title,
        x=Axis("φ⁰ (0) to φᴷ (1)"),
        y=Axis("loss of one task"),
        series=(
            Series("support", t, arrays["line_support"], "support", "foreground", width=2.0),
            Series("query", t, arrays["line_query"], "query", "muted", "dash", 2.0),
            Series("k", path, on_path, "support loss at φᵏ", "accent", width=0, dots=6.0),
        ),
    )
    if "plane_support" not in arrays:
        return line, None
    plane, steps, shares = (arrays[f"plane_{n}"] for n in ("support", "path", "explained"))
    positive = bool(plane.size and (plane > 0).all())
    low, high = float(np.nanmin(plane)), float(np.nanmax(plane))
    across, up = steps.T
    along = Series(
        "path",
        across,
        up,
        label=f"support loss {low:.2g} (dark) to {high:.2g}",
        role="#ffffff",
        width=1.5,
        dots=6.0,
    )
    start = replace(along, name="start", label="from φ⁰", x=across[:1], y=up[:1], dots=12.0)
    start = replace(start, width=0.0, marker="s")
    return line, Paths(
        id="loss-plane",
        x=Axis(f"1st direction of the path ({100 * shares[0]:.0f} %)"),
        y=Axis(f"2nd ({100 * shares[1]:.1f} %)"),
        u=arrays["plane_u"],
        v=arrays["plane_v"],
        heights=np.log10(plane) if positive else plane,
        meaning="log₁₀ support loss" if positive else "support loss",
        paths=(along, start),
    )


def views_of(kind: str, names: set[str]) -> dict[str, str]:
    """Return the views that arrays of these names can fill, with their titles."""
    own = _KIND_TITLES.get(kind, {})
    return {name: own.get(name, view.title) for name, view in _VIEWS.items() if view.key in names}


def shows(arrays: Arrays, view: str) -> bool:
    """Return whether a picture holds what a view needs."""
    return view in _VIEWS and _VIEWS[view].key in arrays


def parts(arrays: Arrays, view: str) -> tuple[str, ...]:
    """Return the names of the tensors, factors or masks of a view; none where it is one whole."""
    if view == "gates":
        return _GATES
    key = _VIEWS[view].parts if view in _VIEWS else ""
    return tuple(str(name) for name in arrays.get(key, np.empty(0)))


def geometry_chart(
    arrays: Arrays,
    view: str,
    part: int = 0,
    *,
    title: str = "",
    log: bool = False,
    diagonal: bool = True,
) -> Chart:
    """Show one view of a learned geometry; `part` is a tensor or layer, -1 all of them."""
    chart = _rates(arrays, part, log=log) if view == "rates" else _VIEWS[view].draw(arrays, part)
    if isinstance(chart, HeatMap) and not diagonal:
        rows, columns = chart.values.shape
        if rows == columns > 1:
            chart = _matrix(np.where(np.eye(rows, dtype=bool), 0, chart.values), chart)
    return replace(chart, title=title, spoken=f"{_VIEWS[view].title}: {chart.spoken}")


def numbers(arrays: Arrays, name: str) -> np.ndarray:
    """Return an array of a picture in double precision."""
    return np.asarray(arrays[name], dtype=float)


def summary(arrays: Arrays) -> list[tuple[str, str, float]]:
    """Return layer, quantity and value of each line of a picture's summary."""
    names = ("summary_layer", "summary_quantity", "summary_value")
    if not all(name in arrays for name in names):
        return []
    return [
        (str(layer), str(quantity), float(value))
        for layer, quantity, value in zip(*(arrays[name] for name in names), strict=True)
    ]


def span(values: np.ndarray) -> float:
    """Return half the span of a colour scale around 0: one in a thousand entries exceeds it.

    A single outlier would otherwise make the rest of a large matrix look empty.
    """
    known = np.abs(values[np.isfinite(values) & (values != 0)])
    return float(np.quantile(known, _MATRIX_QUANTILE, method="higher")) if known.size else 1.0


def _rates(arrays: Arrays, part: int, *, log: bool = False) -> Histogram:
    """Count step sizes over common bins; zeros, which have no logarithm, are not in those."""
    rates, tensors = numbers(arrays, "rates"), parts(arrays, "rates")
    with np.errstate(divide="ignore", invalid="ignore"):
        placed = np.log10(np.abs(rates)) if log else rates
    known, below = np.isfinite(placed), rates < 0
    edges = _edges(placed[known], split=not log)
    single = part >= 0
    chosen = [part] if single else list(range(len(tensors)))
    names = [tensors[place] for place in chosen]
    shares = [f"{100 * one:.3g} % negative" for one in numbers(arrays, "negative")[chosen]]

    def counted(name: str, which: np.ndarray, label: str, role: str) -> Series:
        rows = [np.histogram(placed[place][which[place]], edges)[0] for place in chosen]
        return Series(name, np.empty(0), np.array(rows), label, role)

    return Histogram(
        id="rates",
        x=Axis("magnitude of the step size, log₁₀" if log else "step size of a weight"),
        y=Axis("weights sampled" if single else ""),
        edges=edges,
        rows=tuple(names),
        parts=(
            counted("positive", known & ~below, "positive", BLUE),
            counted("negative", known & below, shares[0] if single else "negative", ORANGE),
        ),
        right=() if single else tuple((0.4 - row, text) for row, text in enumerate(shares)),
        spoken="; ".join(f"{name} {share}" for name, share in zip(names, shares, strict=True)),
    )


def _edges(values: np.ndarray, *, split: bool) -> np.ndarray:
    """Return the edges of bins; with `split` one of them is 0 where values lie on both sides."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = 0.1 * abs(low) or 0.5
        low, high = low - room, high + room
    if not (split and low < 0 < high):
        return np.linspace(low, high, _BINS + 1)
    width = (high - low) / _BINS
    return np.arange(math.floor(low / width), math.ceil(high / width) + 1) * width


def _matrix(values: np.ndarray, chart: HeatMap) -> HeatMap:
    rows, columns = values.shape
    reach = span(values)
    return replace(
        chart,
        values=values,
        levels=(-reach, reach),
        square=max(rows, columns) <= _SQUARE * min(rows, columns),
        spoken=f"{rows} × {columns}, from {np.nanmin(values):.4g} to {np.nanmax(values):.4g}",
    )


def _factor(arrays: Arrays, part: int) -> HeatMap:
    values = np.atleast_2d(numbers(arrays, f"factor_{part}"))
    whole = len(values) > 1
    x, y = ("column", "row") if whole else ("entry of the diagonal", "")
    axes = Axis(x), Axis(y)
    meaning = f"entry of {parts(arrays, 'factors')[part]}"
    chart = HeatMap(id="factors", values=values, levels=(0, 1), meaning=meaning)
    return _matrix(values, replace(chart, x=axes[0], y=axes[1]))


def _dense(arrays: Arrays, _part: int) -> HeatMap:
    values = numbers(arrays, "dense")
    size = float(arrays.get("dense_size", len(values)))
    ends = np.cumsum(arrays.get("dense_sizes", np.empty(0, int))).tolist()
    names = [str(name) for name in arrays.get("dense_names", ())]
    chart = HeatMap(
        id="dense",
        x=Axis("weight"),
        y=Axis("" if names else "weight"),
        values=values,
        levels=(0, 1),
        meaning=f"entry of P{', largest of each cell' if size > len(values) else ''}",
        extent=(size, size),
        spans=tuple(zip(names, [0, *ends[:-1]], ends, strict=True)) if names else (),
    )
    return _matrix(values, chart)


def _mask(arrays: Arrays, part: int) -> Bars:
    values = numbers(arrays, "mask_probabilities")[part]
    values = values[np.isfinite(values)]
    name = parts(arrays, "masks")[part]
    return Bars(
        id="masks",
        x=Axis(f"unit of {name}"),
        y=Axis("probability that it adapts", limits=(0.0, 1.02)),
        series=(Series("probability", np.arange(len(values), dtype=float), values),),
        spoken=f"{name}: mean {values.mean():.4g}",
    )


def _gate(arrays: Arrays, part: int) -> Lines:
    name, role = _GATES[part], (BLUE, ORANGE)[part]
    quantiles = numbers(arrays, name.split()[0])
    plain = 1.0 if part == 0 else float(arrays.get("plain_input", np.nan))
    k = np.arange(len(quantiles), dtype=float)
    low, lower, median, upper, high = quantiles.T
    series = [Series("median", k, median, name, role, width=2.0, dots=6.0)]
    if np.isfinite(plain):
        level = np.full(len(k), plain)
        series.append(Series("plain", k, level, "gradient descent", "muted", "dash"))
    values = np.append(quantiles.ravel(), plain)
    bottom, top = float(np.nanmin(values)), float(np.nanmax(values))
    room = 0.05 * (top - bottom) or 0.05 * abs(top) or 0.5
    return Lines(
        id="gates",
        x=Axis("inner step k", whole=True),
        y=Axis(name, limits=(bottom - room, top + room)),
        series=tuple(series),
        bands=(Band("90", k, low, high, role), Band("50", k, lower, upper, role, 0.3)),
        spoken=f"median {median[0]:.4g} at k = 0, {median[-1]:.4g} at the end",
    )


def _slopes(arrays: Arrays, _part: int) -> Lines:
    """Show the smallest, mean and largest slope of a mirror map in each tensor."""
    found: dict[str, dict[str, float]] = {}
    for tensor, quantity, value in summary(arrays):
        which, _, what = quantity.partition(" ")
        if what == "slope" and tensor != "all":
            found.setdefault(tensor, {})[which] = value
    low, mean, high = (
        np.array([values.get(which, np.nan) for values in found.values()])
        for which in ("smallest", "mean", "largest")
    )
    rows = -np.arange(len(found), dtype=float)
    texts = [f"{a:.3g} to {b:.3g}" for a, b in zip(low, high, strict=True)]
    ends = np.array([1.0, 1.0]), np.array([0.5, 0.5 - max(1, len(rows))])
    return Lines(
        id="slopes",
        x=Axis("slope ∂g(z)ᵢ / ∂zᵢ at the start"),
        y=Axis(ticks=tuple(zip(rows.tolist(), found, strict=True))),
        right=tuple(zip(rows.tolist(), texts, strict=True)),
        series=(
            Series("ones", *ends, "gradient descent", "muted", "dash"),
            Series(
                *("ranges", cut(low, high), cut(rows, rows), "smallest to largest", BLUE), width=3.0
            ),
            Series("means", mean, rows, "mean", ORANGE, width=0, dots=8.0),
        ),
        spoken="; ".join(f"{name} {text}" for name, text in zip(found, texts, strict=True)),
    )


def _spectrum(arrays: Arrays, _part: int) -> Lines:
    values = numbers(arrays, "spectrum")
    ranks = np.arange(1.0, len(values) + 1)
    dots = 5.0 if len(values) <= _MANY else 0.0
    return Lines(
        id="spectrum",
        x=Axis("rank"),
        y=Axis("magnitude of the eigenvalue of P", log=True),
        series=(Series("spectrum", ranks, values, width=2.0, dots=dots),),
        spoken=f"from {values[0]:.4g} down to {values[-1]:.4g}" if len(values) else "none",
    )


def _condition(arrays: Arrays, _part: int) -> Lines:
    series = []
    for key, text, role, dash in (
        ("condition_plain", "without P", BLUE, "solid"),
        ("condition_shaped", "with P", ORANGE, "dash"),
    ):
        values = numbers(arrays, key)
        k = np.arange(len(values), dtype=float)
        series.append(Series(key, k, values, text, role, dash, 2.0, dots=6.0))
    texts = (f"{s.label} {s.y[0]:.4g} at k = 0, {s.y[-1]:.4g} at the end" for s in series)
    return Lines(
        id="condition",
        x=Axis("inner step k", whole=True),
        y=Axis("condition number", log=has_logarithms([one.y for one in series])),
        series=tuple(series),
        spoken="; ".join(texts),
    )


@dataclass(frozen=True)
class _View:
    """A view of a learned geometry: the array that it needs, and the one that names its parts."""

    title: str
    key: str
    draw: Callable[[Arrays, int], Chart]
    parts: str = ""


_VIEWS = {
    "rates": _View("Step sizes", "rates", _rates, "tensors"),
    "factors": _View("Factors", "factor_names", _factor, "factor_names"),
    "masks": _View("Masks", "mask_names", _mask, "mask_names"),
    "gates": _View("Gates", "forget", _gate),
    "slopes": _View("Slopes of the map", "slope", _slopes),
    "dense": _View("Preconditioner", "dense", _dense),
    "spectrum": _View("Eigenvalues", "spectrum", _spectrum),
    "condition": _View("Condition number", "condition_plain", _condition),
}


@dataclass(frozen=True)
class MapPoint:
    """g(z)_i = slope z_i + shift, and where adaptation went; visited has shape (tasks, K+1)."""

    slope: float
    shift: float
    start: float
    visited: np.ndarray

    def at(self, z: np.ndarray | float) -> np.ndarray:
        """Return g(z)_i."""
        return np.asarray(self.slope * np.asarray(z) + self.shift)

    @property
    def adapted(self) -> np.ndarray:
        """The last z_i of each task."""
        return self.visited[:, -1]

    def range(self) -> tuple[float, float]:
        """Return an interval of z_i that holds all that was visited, with room on both sides."""
        known = np.append(self.visited[np.isfinite(self.visited)], self.start)
        low, high = float(known.min()), float(known.max())
        room = 0.15 * (high - low) or 0.1 * abs(low) or 1.0
        return low - room, high + room

    def heights(self) -> tuple[float, float]:
        """Return an interval of g(z)_i that holds the map, and the identity where it is near."""
        ends = np.array(self.range())
        image = self.at(ends)
        bottom, top = float(image.min()), float(image.max())
        near = _NEAR * max(top - bottom, float(ends[1] - ends[0]))
        if ends.max() <= top + near and ends.min() >= bottom - near:
            bottom, top = min(bottom, float(ends.min())), max(top, float(ends.max()))
        room = 0.05 * (top - bottom) or 0.1 * abs(top) or 1.0
        return bottom - room, top + room

    def histogram(self) -> tuple[np.ndarray, np.ndarray]:
        """Return counts of visited z_i and the edges of their bins."""
        known = self.visited[np.isfinite(self.visited)]
        counts, edges = np.histogram(known, _VISITED_BINS, range=self.range())
        return counts, edges


def map_point(arrays: Arrays, place: int) -> MapPoint:
    """Return one coordinate's map."""
    slope, shift, start = (float(arrays[name][place]) for name in ("slope", "shift", "z_start"))
    return MapPoint(slope, shift, start, numbers(arrays, "visited")[..., place])


def map_chart(point: MapPoint, name: str) -> Lines:
    """Show the map of one weight, where adaptation began and ended, and what it visited."""
    ends, (bottom, top) = np.array(point.range()), point.heights()
    low, high = point.range()
    where = " (above)" if low > top else " (below)" if high < bottom else ""
    counts, edges = point.histogram()
    tallest = bottom + counts * _HISTOGRAM_SHARE * (top - bottom) / max(1, counts.max())
    steps = np.repeat(edges, 2)[1:-1]
    visited = Band(
        "visited", steps, np.full(len(steps), bottom), np.repeat(tallest, 2), "method-6", 0.45
    )
    start = np.array([point.start])
    return Lines(
        id="mirror-weight",
        title=f"{name}\nslope {point.slope:.4g}",
        x=Axis("dual variable zᵢ", limits=(low, high)),
        y=Axis("weight g(z)ᵢ", limits=(bottom, top)),
        bands=(visited,),
        series=(
            Series("identity", ends, ends, f"identity{where}", "muted", "dash"),
            Series(
                "map",
                ends,
                point.at(ends),
                f"map, slope {point.slope:.4g}",
                "foreground",
                width=2.0,
            ),
            Series(
                *("adapted", point.adapted, point.at(point.adapted), "adapted", ORANGE),
                width=0,
                dots=6.0,
            ),
            Series("start", start, point.at(start), "start", BLUE, width=0, dots=9.0),
        ),
        spoken=f"{name}: g(z) = {point.slope:.4g} z + {point.shift:.4g}; start {point.start:.4g}, "
        f"adapted on average {np.nanmean(point.adapted):.4g}",
    )
