"""What adaptation gains over training: evaluations before and after it, one line per method."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from metaviz.charts.values import Axis, Band, Lines, Series, Ticks
from metaviz.config.quantities import unit_of
from metaviz.runs.analysis.alignment import BAND_TIPS, Moments, moments, sample
from metaviz.runs.analysis.comparison import (
    MOST_DASHED,
    ComparisonView,
    GroupCurve,
    compared,
    counts,
    evaluated,
)
from metaviz.runs.analysis.curves import (
    AXIS_TITLES,
    QUANTITY_TITLES,
    EvaluatedQuantity,
    TrainingView,
    band_alpha,
)
from metaviz.runs.analysis.per_cent import as_shown
from metaviz.runs.model.labels import labels
from metaviz.runs.model.record import Record
from metaviz.runs.model.statistics import leaving, robust_range

_DOTTED = 60
"""Of so many evaluations each is a dot; of more only the line shows."""
_GAP = 0.07
_TWO = 2
_QUANTITIES: tuple[EvaluatedQuantity, ...] = get_args(EvaluatedQuantity)


@dataclass(frozen=True)
class EvaluatedCurve:
    """A method's means over its runs. Where all of these broke, they are drawn as far as they went.

    `before` is empty for methods without an inner loop. Both are of the same runs and tasks.
    """

    group: GroupCurve
    after: Moments
    before: Moments
    tasks: int
    steps: int
    """After how many inner steps `after` is read, 0 without an inner loop."""

    name: str
    """The run, or the method and how many of its runs count."""


def evaluated_curves(records: Sequence[Record], view: TrainingView) -> list[EvaluatedCurve]:
    """Return a curve for each group of runs that differ in their seed only, of those that began."""
    begun = [record for record in records if len(record)]
    by_id, names = {record.id: record for record in begun}, labels(begun)
    asked = ComparisonView(measure=f"eval_{view.quantity}", axis=view.axis)
    found, seen = [], Counter[str]()
    for group in compared(begun, asked):
        runs = [by_id[entry.id] for entry in group.group.members]
        members = zip(runs, group.group.members, strict=True)
        used = [run for run, entry in members if counts(entry, group.group)] or runs
        after, before = (
            moments([sample(*evaluated(run, view.quantity, view.axis, k)) for run in used], "ci95")
            for k in (None, 0)
        )
        if not len(after.x):
            continue
        last = [run.evaluations[-1] for run in used if run.evaluations]
        adapts = any(run.traits.has_inner_loop for run in used)
        empty = moments([], "ci95")
        steps = max((one.trained_steps for one in last), default=0) if adapts else 0
        tasks = max((one.tasks for one in last), default=0)
        name = group.name if len(runs) > 1 else names[runs[0].id]
        name += group.style.mark
        seen[name] += 1
        name += f" #{seen[name]}" if seen[name] > 1 else ""
        found.append(EvaluatedCurve(group, after, before if adapts else empty, tasks, steps, name))
    return found


def evaluation_chart(records: Sequence[Record], view: TrainingView, message: str = "") -> Lines:
    """Show evaluations before and after adaptation on the fixed tasks, and what lies between."""
    curves = evaluated_curves(records, view)
    series: list[Series] = []
    bands: list[Band] = []
    for curve in curves:
        series += _lines(curve, view, len(curves))
        bands += _bands(curve, view, len(curves))
    title = QUANTITY_TITLES[view.quantity]
    shown = [curve.after.mean for curve in curves]
    shown += [curve.before.mean for curve in curves if view.show_pre and len(curve.before.x)]
    limits = robust_range(shown, log=view.log_y) if view.robust else None
    chart = Lines(
        id="training",
        x=Axis(AXIS_TITLES[view.axis], log=view.log_x),
        y=Axis(
            f"{title}, evaluation tasks",
            log=view.log_y,
            limits=limits,
        ),
        series=tuple(series),
        bands=tuple(bands),
        right=_ends(curves, view),
        caption="; ".join([*_caption(curves, view), *leaving(shown, limits)]),
        spoken="; ".join(_spoken(curve, view) for curve in curves) or "Nothing evaluated yet.",
        message="" if curves else message,
    )
    return as_shown(chart, view.quantity)


def evaluable(records: Iterable[Record]) -> list[EvaluatedQuantity]:
    """Return the quantities that some run was evaluated for; losses are always offered."""
    runs = list(records)
    return [
        name
        for name in _QUANTITIES
        if name.endswith("loss")
        or any(name in one.curves for run in runs for one in run.evaluations[-1:])
    ]


def _lines(curve: EvaluatedCurve, view: TrainingView, number: int) -> list[Series]:
    style, dots = curve.group.style, 5.0 if len(curve.after.x) <= _DOTTED else 0.0
    look = Series("", np.empty(0), np.empty(0), "", style.role, style.dash, marker=style.marker)
    found = []
    if view.show_pre and len(curve.before.x):
        drawn = replace(look, name=f"{curve.name} before", alpha=0.55, dots=dots * 0.7)
        found.append(replace(drawn, x=curve.before.x, y=curve.before.mean))
    wide = 2.0 if number <= MOST_DASHED else 1.0
    drawn = replace(look, name=f"{curve.name} after", label=curve.name, width=wide, dots=dots)
    return [*found, replace(drawn, x=curve.after.x, y=curve.after.mean)]


def _bands(curve: EvaluatedCurve, view: TrainingView, number: int) -> list[Band]:
    role, found = curve.group.style.role, []
    if np.isfinite(curve.after.low).any():
        edges = curve.after.x, curve.after.low, curve.after.high
        found.append(Band(f"{curve.name} band", *edges, role, band_alpha(number)))
    if view.show_pre and _has_gap(curve):
        gap = curve.after.x, curve.after.mean, curve.before.mean
        found.append(Band(f"{curve.name} gap", *gap, role, _GAP))
    return found


def _has_gap(curve: EvaluatedCurve) -> bool:
    """Return whether there is something before and after adaptation at the same places."""
    return len(curve.before.x) > 0 and np.array_equal(curve.before.x, curve.after.x)


def _ends(curves: Sequence[EvaluatedCurve], view: TrainingView) -> Ticks:
    """Name the ends of lines, those after adaptation first, where not all have room."""

    def text(curve: EvaluatedCurve) -> str:
        state = "after" if curve.steps else ""
        return state if len(curves) == 1 else f"{curve.group.group.label} {state}".strip()

    ends = [(float(curve.after.mean[-1]), text(curve)) for curve in curves]
    if view.show_pre:
        ends += [(float(c.before.mean[-1]), "before") for c in curves if len(c.before.x)]
    return tuple((at, name) for at, name in ends if name and np.isfinite(at))


def _caption(curves: Sequence[EvaluatedCurve], view: TrainingView) -> list[str]:
    if not curves:
        return []
    tasks = sorted({curve.tasks for curve in curves})
    adapts = any(curve.steps for curve in curves)
    parts = [f"means over {' or '.join(map(str, tasks))} evaluation tasks"]
    if adapts:
        steps = sorted({curve.steps for curve in curves if curve.steps})
        number = f"{steps[0]}" if len(steps) == 1 else "the trained number of"
        crowded = len(curves) > MOST_DASHED
        after = f"after {number} inner step{'s'[: number != '1']}"
        parts.append(after if crowded else f"bold: {after}")
        if view.show_pre and any(len(curve.before.x) for curve in curves):
            parts.append(f"{'pale' if crowded else 'thin'}: before adaptation")
        if view.show_pre and any(_has_gap(curve) for curve in curves):
            parts.append("shaded: what adaptation gains")
    if any(int(curve.after.n.max(initial=0)) >= _TWO for curve in curves):
        parts.append("lines: means over runs, where all have data")
        parts.append(f"band: {BAND_TIPS['ci95']}")
    if len(curves) and max(len(curve.after.x) for curve in curves) <= _DOTTED:
        parts.append("dots: evaluations")
    return parts


def _spoken(curve: EvaluatedCurve, view: TrainingView) -> str:
    title, unit = QUANTITY_TITLES[view.quantity], unit_of(view.quantity)
    after = f"{curve.name}: {title} {unit * curve.after.mean[-1]:.4g}"
    if not len(curve.before.x):
        return after
    return f"{after} after adaptation, {unit * curve.before.mean[-1]:.4g} before"
