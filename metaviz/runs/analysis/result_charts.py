"""Charts of results: held-out tasks, single tasks, meta-gradients, mirror maps and speeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from metaviz.charts.storage import from_arrays
from metaviz.charts.stored import geometry_chart, map_chart, shows
from metaviz.charts.values import (
    BLUE,
    OKABE_ITO,
    ORANGE,
    Axis,
    Bars,
    Chart,
    HeatMap,
    ImageGrid,
    Lines,
    Mark,
    Panels,
    Parallel,
    Scatter,
    Series,
    role_of,
)
from metaviz.runs.analysis.benchmark import Judged, Row, gains
from metaviz.runs.analysis.geometry import (
    DIAGNOSTIC_TITLES,
    OWN,
    Diagnostic,
    MapHistory,
    geometry_pictures,
    has_map,
    map_history,
)
from metaviz.runs.analysis.parallel import ABSENT, ParallelAxis, chosen
from metaviz.runs.model.episode import Episode
from metaviz.runs.model.gradients import GradientComparison
from metaviz.runs.model.labels import algorithm_title, labels
from metaviz.runs.model.record import Record
from metaviz.runs.model.robustness import Robustness, factor_text
from metaviz.runs.model.speed import Speed, place_text
from metaviz.runs.model.styles import algorithm_color, styles

_POINTS = 20.0
_COLOURED = 0.8
_ROOM, _FEWEST_BARS, _SHADES = 1.3, 6, 24
_MOST_CLASSES, _MOST_ROWS, _MOST_BOTH = 6, 4, 10
_GREY = "method-6"
_DIAGNOSTIC_AXES: dict[Diagnostic, str] = {
    "smallest_slope": "slope",
    "moved_share": "share moved",
    "asymmetry": "‖J − Jᵀ‖ / ‖J‖",
    "symmetric_eigenvalue": "eigenvalue",
}
"""Names of the vertical axis; the choice above the plot says it in full."""


def gradients_chart(comparison: GradientComparison) -> Panels:
    """Show the cosine matrix and the lengths of meta-gradients."""
    names = tuple(algorithm_title(row.algorithm) for row in comparison.rows)
    cosine = HeatMap(
        id="cosine",
        values=comparison.cosine(),
        levels=(-1.0, 1.0),
        meaning="cosine of meta-gradients",
        spans=tuple((name, place, place + 1) for place, name in enumerate(names)),
        columns=names,
        numbers=True,
    )
    lengths = lengths_chart(comparison)
    lying = replace(lengths, lying=True, x=lengths.y, y=lengths.x)
    return Panels(id="gradients", charts=(cosine, lying), columns=2)


def lengths_chart(comparison: GradientComparison, *, log: bool = False) -> Bars:
    """Show the lengths of meta-gradients."""
    lengths = np.array([row.norm for row in comparison.rows])
    values = np.log10(np.maximum(lengths, 1e-12)) if log else lengths
    names = tuple(algorithm_title(row.algorithm) for row in comparison.rows)
    texts = [f"{name}: {row.norm:.4g}" for name, row in zip(names, comparison.rows, strict=True)]
    bars = [
        Series(f"length {at}", np.array([float(at)]), values[at : at + 1], role=role_of(color))
        for at, color in enumerate(algorithm_color(row.algorithm) for row in comparison.rows)
    ]
    # A few bars are no wider than a sixth of the axis.
    middle, half = (len(values) - 1) / 2, max(len(values), _FEWEST_BARS) / 2
    return Bars(
        id="lengths",
        x=Axis(limits=(middle - half, middle + half)),
        y=Axis("log₁₀ of the length" if log else "length of the meta-gradient"),
        names=names,
        series=tuple(bars),
        base=float(values.min()) - 0.5 if log else 0.0,
        spoken="; ".join(texts),
    )


def benchmark_chart(rows: Sequence[Row], measure: str, message: str = "") -> Scatter:
    """Show a dot with its 95 % interval for each row of the table, ours filled."""
    series = []
    for place, row in enumerate(rows):
        value, height = np.array([row.value]), np.array([-float(place)])
        half = row.half_width
        series.append(
            Series(
                *(f"dot{place}", value, height),
                role=role_of(row.color) if row.color else "muted",
                width=0,
                dots=9.0 if row.record else 6.0,
                low=None if half is None else value - half,
                high=None if half is None else value + half,
                filled=bool(row.record),
            )
        )
    hollow = "" if all(row.record for row in rows) else "; hollow: as published"
    return Scatter(
        id="benchmark",
        x=Axis(measure),
        y=Axis(
            ticks=tuple((-float(place), row.name) for place, row in enumerate(rows)),
            limits=(0.5 - max(1, len(rows)), 0.5),
        ),
        series=tuple(series),
        along="x",
        caption="mean ± 1.96 s/√n over held-out tasks" + hollow,
        spoken="; ".join(f"{row.name}: {row.value:.4g}" for row in rows),
        message="" if any(np.isfinite(row.value) for row in rows) else message,
    )


def robustness_chart(found: Robustness) -> HeatMap:
    """Show step size at test time against the number of steps; white is as good as trained."""
    values = found.unit * found.mean
    here = found.factors.index(1.0)
    trained = float(values[here, found.k]) if found.k < values.shape[1] else np.nan
    middle = trained if np.isfinite(trained) else float(np.nanmedian(values))
    apart = values - middle
    accuracy = found.measure == "query_accuracy"
    # Beyond this colours are all the same, for a fifth of the cells at most: a few exploding step
    # sizes would leave no colours for others.
    sizes = np.abs(apart[np.isfinite(apart)])
    reach = float(np.quantile(sizes, _COLOURED)) if sizes.size else 0.0
    reach = reach or float(sizes.max(initial=0.0)) or (_POINTS if accuracy else 1.0)
    rows = [(factor_text(found, one), at, at + 1) for at, one in enumerate(found.factors)]
    return HeatMap(
        id="robustness",
        x=Axis("inner steps k"),
        values=np.nan_to_num(apart, nan=reach, posinf=reach),
        levels=(-reach, reach),
        meaning=f"{'accuracy (points)' if accuracy else 'loss'} minus that as trained, "
        f"up to ±{reach:.3g}",
        # Where there is no room for all names, the first and those far enough from it stay.
        spans=(rows[here], *rows[:here], *rows[here + 1 :]),
        columns=tuple(str(k) for k in range(values.shape[1])),
        framed=(here, found.k) if found.k < values.shape[1] else None,
        spoken=f"{found.label}: {trained:.4g} as trained, between {np.nanmin(values):.4g} and "
        f"{np.nanmax(values):.4g} elsewhere",
    )


def tasks_chart(judged: Sequence[Judged], message: str = "") -> Scatter:
    """Show what inner steps gained against the loss before: a dot for each run and task."""
    judged = [one for one in judged if one.judgement.adapts]
    accuracy = bool(judged) and judged[0].judgement.unit > 1
    series = (
        Series(
            *(one.record, one.judgement.per_task["query_loss"][0], gains(one.judgement)),
            *(one.label, one.style.role),
            width=0,
            dots=5.0,
            alpha=0.7,
        )
        for one in judged
    )
    return Scatter(
        id="tasks",
        x=Axis("query loss before adaptation"),
        y=Axis("accuracy gained (points)" if accuracy else "reduction of query loss"),
        series=tuple(series),
        marks=(Mark("nothing", 0.0, "y", dash="dash"),) if judged else (),
        message="" if judged else message,
    )


Place = tuple[bool, int] | None
"""Whether an image is of the support set, and its number; None where a grid has none."""


def episode_places(episode: Episode, rows: int | None = None) -> list[Place]:
    """Return which image stands where: a column for each class, support images above queries."""
    ways, places = int(episode.query.y.max()) + 1, list[Place]()
    for examples, support in ((episode.support, True), (episode.query, False)):
        columns = [np.flatnonzero(examples.y == c)[:rows].tolist() for c in range(ways)]
        for row in range(max(map(len, columns))):
            places += [(support, c[row]) if row < len(c) else None for c in columns]
    return places


def episode_images(episode: Episode, places: Sequence[Place]) -> tuple[np.ndarray | None, ...]:
    """Return the images at places."""
    parts = {True: episode.support, False: episode.query}
    return tuple(None if one is None else _pixels(parts[one[0]].x[one[1]]) for one in places)


def episode_chart(episode: Episode, k: int) -> Lines | ImageGrid:
    """Show support and some query images with predictions, or losses where there are no images."""
    if not episode.has_images:
        title = f"{episode.label}, {episode.dataset}"
        return replace(losses_chart(episode), title=title, marks=())
    places = episode_places(episode, _MOST_ROWS)
    shown_below = f" before → after k = {k} steps" if episode.has_steps else ""
    return replace(
        episode_grid(episode, k, places, episode_images(episode, places)),
        title=f"{episode.label}, {episode.dataset}, task {episode.number}\n"
        f"below: class predicted{shown_below}; bar: probability of its own class",
    )


def episode_grid(
    episode: Episode,
    k: int,
    places: Sequence[Place],
    images: tuple[np.ndarray | None, ...],
    chosen: int | None = None,
) -> ImageGrid:
    """Show images with the class that each query image is taken for before and after k steps."""
    ways, query = int(episode.query.y.max()) + 1, episode.query
    guess, right, chances = query.outputs.argmax(2) + 1, query.right()[k], query.probabilities()[k]
    queries = [None if one is None or one[0] else one[1] for one in places]
    first = next(at for at, n in enumerate(queries) if n is not None) // ways
    # In many columns there is no room for both.
    both = episode.has_steps and ways <= _MOST_BOTH

    def below(n: int) -> str:
        return f"{f'{guess[0, n]} → ' if both else ''}{guess[k, n]}{'' if right[n] else ' ✗'}"

    return ImageGrid(
        id="episode",
        images=images,
        columns=ways,
        above=tuple(f"class {c + 1}" for c in range(ways)),
        below=tuple("" if n is None else below(n) for n in queries),
        beside=("support", *[""] * (first - 1), "query"),
        shares=tuple(None if n is None else float(chances[n, query.y[n]]) for n in queries),
        wrong=tuple(at for at, n in enumerate(queries) if n is not None and not right[n]),
        chosen=None if chosen is None else queries.index(chosen),
    )


def _pixels(levels: np.ndarray) -> np.ndarray:
    """Return 8-bit levels (channels, height, width) as a picture from 0 to 1."""
    pixels = levels.transpose(1, 2, 0) / 255.0
    return pixels if pixels.shape[2] > 1 else pixels[:, :, 0]


def losses_chart(episode: Episode, k: int = 0) -> Lines:
    """Show the losses of a task against the inner step, marked at k."""
    steps = np.arange(len(episode.query_loss), dtype=float)
    support, query = episode.support_loss, episode.query_loss
    return Lines(
        id="episode-losses",
        x=Axis("inner step k", whole=True),
        y=Axis(f"loss of task {episode.number}"),
        marks=(_step_mark(k),),
        series=(
            Series("support", steps, support, "support", "muted", "dash", 1.5, dots=4.0),
            Series("query", steps, query, "query", "foreground", width=2.0, dots=4.0),
        ),
    )


def image_chart(episode: Episode, number: int, k: int, *, logits: bool = False) -> Lines | Bars:
    """Show what one query image is taken for at each inner step: its class and the nearest ones.

    Without inner steps there is a bar for each.
    """
    outputs = episode.query.outputs if logits else episode.query.probabilities()
    values, true = outputs[:, number], int(episode.query.y[number])
    others = np.argsort(-values.max(axis=0), kind="stable").tolist()
    classes = [true, *(c for c in others if c != true)][:_MOST_CLASSES]
    axis = Axis("logit") if logits else Axis("probability", limits=(0.0, 1.0))
    roles = [f"method-{c % len(OKABE_ITO)}" for c in classes]
    texts = [f"class {c + 1}{' (true)' if c == true else ''}" for c in classes]
    if not episode.has_steps:
        bars = (
            Series(text, np.array([float(at)]), values[:1, c], role=role)
            for at, (text, c, role) in enumerate(zip(texts, classes, roles, strict=True))
        )
        x = Axis(f"class; query image {number + 1} is of class {true + 1}")
        names = tuple(str(c + 1) for c in classes)
        return Bars(id="episode-image", x=x, y=axis, series=tuple(bars), names=names)
    steps = np.arange(len(values), dtype=float)
    looks = [("solid", 2.0), *[("dash", 1.2)] * len(classes)]
    series = (
        Series(f"class{at}", steps, values[:, c], texts[at], roles[at], *looks[at], dots=5.0)
        for at, c in enumerate(classes)
    )
    return Lines(
        id="episode-image",
        x=Axis(f"inner step k, query image {number + 1}", whole=True),
        y=axis,
        series=tuple(series),
        marks=(_step_mark(k),),
    )


def _step_mark(k: int) -> Mark:
    return Mark("cursor", k, width=1.2)


def regression_chart(episode: Episode, k: int, message: str = "") -> Lines:
    """Show the points of a regression task with one input, and what is predicted after k steps."""
    support, query = episode.support, episode.query
    if query.x.shape[-1] != 1 or query.x.ndim > 2:  # noqa: PLR2004 - a column
        return Lines(id="episode-fit", message=message)
    order = np.argsort(query.x[:, 0])
    x, truth, predicted = query.x[order, 0], query.y[order, 0], query.outputs[:, order, 0]
    points = support.x[:, 0], support.y[:, 0]
    return Lines(
        id="episode-fit",
        x=Axis("x"),
        y=Axis("y"),
        series=(
            Series("query", x, truth, "query points", _GREY, width=0, dots=4.0),
            Series("before", x, predicted[0], "k = 0", "method-5", "dot"),
            Series("after", x, predicted[k], f"k = {k}", ORANGE, width=2.0),
            Series("support", *points, "support points", BLUE, width=0, dots=8.0),
        ),
    )


def slopes_chart(history: MapHistory, evaluation: int, row: int) -> HeatMap:
    """Show the slopes of a mirror map over training, marked at an evaluation and a row."""
    reach = history.half_span()
    now, sampled = history.slopes[evaluation], history.sampled_text()
    return HeatMap(
        id="mirror",
        x=Axis("meta-step"),
        values=history.slopes.T,
        levels=(1.0 - reach, 1.0 + reach),
        meaning="slope ∂g(z)ᵢ / ∂zᵢ",
        spans=tuple(history.spans()),
        columns=tuple(str(step) for step in history.steps),
        marks=(
            Mark("time", evaluation + 0.5, "x", role="foreground", dash="dash", width=1.5),
            Mark("row", row + 0.5, "y", role="foreground", dash="dash", width=1.5),
        ),
        spoken=f"Meta-step {history.steps[evaluation]}: slopes from {np.nanmin(now):.4g} to "
        f"{np.nanmax(now):.4g}. {sampled}",
    )


def weight_chart(history: MapHistory, evaluation: int, row: int) -> Lines | None:
    """Show the map of one weight; None where others were sampled at that evaluation."""
    point = history.point(evaluation, row)
    name = f"{history.layers[row]}, weight {history.coordinates[row]}"
    return None if point is None else map_chart(point, name)


def mirror_charts(record: Record, evaluation: int, row: int) -> Panels | None:
    """Show a run's mirror map over training and for one weight; None where it has none."""
    history = map_history(record)
    if history is None:
        return None
    sampled = history.sampled_text()
    slopes = slopes_chart(history, evaluation, row)
    slopes = replace(slopes, x=Axis(f"meta-step\n({sampled})" if sampled else "meta-step"))
    charts = slopes, weight_chart(history, evaluation, row)
    return Panels(
        id="mirror",
        title=f"{record.label}, meta-step {int(history.steps[evaluation])}",
        charts=tuple(chart for chart in charts if chart is not None),
        columns=2,
    )


def geometry_chart_of(
    record: Record,
    evaluation: int,
    view: str,
    part: int = 0,
    *,
    log: bool = False,
    diagonal: bool = True,
) -> Chart | None:
    """Show a view of what a run has learned; None where it was not pictured at that evaluation."""
    drawn = geometry_pictures(record)
    if not drawn:
        return None
    arrays = drawn[evaluation].arrays
    title = f"{record.label}, meta-step {drawn[evaluation].step}"
    if view.startswith(OWN):
        own = (one for one in from_arrays(arrays) if one.id == view.removeprefix(OWN))
        return next((replace(one, title=title) for one in own), None)
    if not shows(arrays, view):
        return None
    return geometry_chart(arrays, view, part, title=title, log=log, diagonal=diagonal)


def diagnostics_chart(
    records: Sequence[Record], name: Diagnostic, chosen: Record | None, at: int | None, message: str
) -> Lines:
    """Show a diagnostic of mirror maps over training, marked at a meta-step."""
    runs = [record for record in records if has_map(record)]
    line_styles, names = styles(records), labels(records)
    series = []
    for record in runs:
        history = map_history(record)
        if history is None or not np.isfinite(history.diagnostics[name]).any():
            continue
        label = names[record.id] if len(runs) > 1 else ""
        wide, style = 2.0 if record is chosen else 1.0, line_styles[record.id]
        points = history.steps.astype(float), history.diagnostics[name]
        one = Series(record.id, *points, label, style.role, style.dash, wide, dots=5.0)
        series.append(replace(one, marker=style.marker))
    mark = Mark("time", at or 0, role="foreground", dash="dash", width=1.5)
    texts = (f"{names[s.name]}: {DIAGNOSTIC_TITLES[name]} {s.y[-1]:.4g}" for s in series)
    return Lines(
        id=name,
        x=Axis("meta-step"),
        y=Axis(_DIAGNOSTIC_AXES[name]),
        series=tuple(series),
        marks=(mark,) if series and at is not None else (),
        spoken="; ".join(texts),
        message="" if series else message,
    )


def parallel_chart(
    axes: Sequence[ParallelAxis],
    runs: Sequence[str],
    result: str,
    brushes: Mapping[str, tuple[float, float]],
    message: str = "",
) -> Parallel:
    """Show a line for each run, coloured by its place on an axis; what brushes leave out is faint.

    Runs are ids, in the order of the axes' places; `result` and brushes name axes by their keys.
    """
    if message:
        return Parallel(id="parallel", axes=(), message=message)
    left, places = chosen(axes, brushes), {axis.key: place for place, axis in enumerate(axes)}
    at, heights = np.arange(float(len(axes))), np.array([axis.places for axis in axes])
    shades = heights[places[result]]
    series = []
    for run in np.argsort(left, kind="stable").tolist():
        role = f"ramp-{round(_SHADES * shades[run]) / _SHADES:.3f}" if shades[run] >= 0 else "muted"
        look = (role, 1.6, 1.0) if left[run] else ("grid", 1.0, 0.35)
        line = Series(runs[run], at, heights[:, run], role=look[0], width=look[1], alpha=look[2])
        series.append(line)
    return Parallel(
        id="parallel",
        axes=tuple(
            Axis(a.title, ticks=(*a.ticks, *(((ABSENT, "absent"),) if a.absent else ())))
            for a in axes
        ),
        series=tuple(series),
        brushes=tuple((places[key], *ends) for key, ends in brushes.items()),
    )


def speed_charts(speeds: Sequence[Speed]) -> Panels:
    """Show a bar for every method, one panel for each problem; whiskers are the quartiles."""
    problems = list(dict.fromkeys(found.problem for found in speeds))
    charts = tuple(_speeds([s for s in speeds if s.problem == problem]) for problem in problems)
    last = replace(charts[-1], x=replace(charts[-1].x, title=_SPEED))
    return Panels(id="speed", charts=(*charts[:-1], last))


_SPEED = "meta-steps per second, median and quartiles"


def _speeds(group: Sequence[Speed]) -> Bars:
    ours = next((found for found in group if found.ours), group[0])
    measured = [found for found in group if found.seconds]
    shares = [found.share_of_limit for found in measured]
    reached = ["" if share is None else f"  ({100 * share:.2g} % of limit)" for share in shares]
    spans = np.array([found.quartiles() or (0.0, 0.0) for found in measured]).reshape(-1, 2)
    rates = np.array([found.rate or 0.0 for found in measured])
    kinds = np.array([found.ours for found in measured], dtype=bool)
    about = ((True, "MetaViz", BLUE), (False, "other libraries", ORANGE))
    places, low, high = np.arange(len(rates), dtype=float), *spans.T
    series = (
        Series(
            *(name, places[kinds == mine], rates[kinds == mine], name, role),
            low=low[kinds == mine],
            high=high[kinds == mine],
        )
        for mine, name, role in about
        if (kinds == mine).any()
    )
    return Bars(
        id=ours.problem,
        title=f"{ours.problem}: {place_text(ours.environment)}, {ours.dtype}",
        x=Axis(limits=(0, _ROOM * float(high.max(initial=0.0)) or 1.0)),
        names=tuple(found.name for found in measured),
        notes=tuple(f"{one.rate:.3g}{text}" for one, text in zip(measured, reached, strict=True)),
        series=tuple(series),
        lying=True,
    )
