"""Groups of runs compared: one curve with a named band per group, and its row of a table."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np

from metaviz.config.quantities import Quantity, primary_of, quantity_of, unit_of
from metaviz.runs.analysis.alignment import (
    BAND_TIPS,
    BANDS,
    Band,
    Moments,
    Sample,
    at,
    moments,
    reached,
    sample,
    value_at,
)
from metaviz.runs.analysis.curves import AXIS_TITLES
from metaviz.runs.analysis.smoothing import smooth, smoothing_text
from metaviz.runs.model.record import Record
from metaviz.runs.model.styles import DASHES, Style, numbered
from metaviz.runs.table.baseline import Difference, difference, finite
from metaviz.runs.table.groups import Group, Interval, Spread, grouped, spread, swept_values
from metaviz.runs.table.summary import Entry, entry_of

AXES: dict[str, str] = {
    **AXIS_TITLES,
    "hessian_vector_products": f"{quantity_of('hessian_vector_products').noun} (all tasks)",
}
_EVALUATED = "eval_"


def measure_of(name: str, records: Iterable[Record] = ()) -> Quantity:
    """Return what is compared under a name; runs hold the meaning of quantities of their own.

    Its title says of what it is a mean, and after a bracket the unit.
    """
    base = name.removeprefix(_EVALUATED)
    own = (own for record in records for own in record.quantities if own.id == base)
    known = next(own, None) or quantity_of(base)
    title = replace(known, title=known.noun.removesuffix(" after adaptation")).label
    if name != base:
        title += ", evaluation tasks"
    elif name != "meta_gradient_norm":
        title += ", batch mean"
    return replace(known, id=name, title=title, unit="")


MEASURES: dict[str, str] = {
    name: measure_of(name).title
    for name in (
        *("eval_query_loss", "eval_query_accuracy", "eval_support_loss", "eval_query_return"),
        *("post_query_loss", "post_query_accuracy", "post_support_loss", "post_support_accuracy"),
        "post_query_return",
        *("pre_query_loss", "meta_gradient_norm", "inner_residual", "solver_residual"),
    )
}
"""What can be compared of every run: evaluations after the trained number of inner steps, and
meta-batches. Others are quantities that runs have of their own."""
STATISTICS = {"mean": "mean of runs", "iqm": "IQM of tasks"}
_BROKEN = {"diverged", "failed"}
_FEW = 2
MOST_DASHED = 8


@dataclass(frozen=True)
class ComparisonView:
    """What is compared, and how. `keys` are those of the groups; None leaves out the seed only."""

    measure: str = "eval_query_loss"
    axis: str = "step"
    band: Band = "ci95"
    smoothing: float = 0.0
    keys: tuple[str, ...] | None = None
    partly: bool = False
    """Whether a mean is shown while two runs have data, not only where all have."""
    log_x: bool = False
    log_y: bool = False
    robust: bool = True
    members: bool = False
    statistic: str = "mean"
    """What the table shows of where groups end: one of STATISTICS."""


@dataclass(frozen=True)
class GroupCurve:
    """A group's mean and band, and the curves behind them in the order of `group.members`."""

    group: Group
    style: Style
    band: Band
    curve: Moments
    samples: tuple[Sample, ...] = field(repr=False)
    measure: Quantity
    points: int = 0
    """How many points its shortest run that counts has, before anything is smoothed."""
    runs: tuple[Record, ...] = field(default=(), repr=False)
    """The runs that count, in the order of `counting`."""

    @property
    def unit(self) -> float:
        """What its numbers are multiplied by where they are shown: accuracies are in per cent."""
        return unit_of(self.measure.id)

    @property
    def transductive(self) -> bool:
        """Whether some run's predictions of query examples depend on the others of the task."""
        return any(is_transductive(run) for run in self.runs)

    @property
    def falling(self) -> bool:
        """Whether smaller is better."""
        return self.measure.better != "larger"

    @property
    def name(self) -> str:
        """The group's label and how many of its runs count: `maml (3 of 4 runs, 1 diverged)`."""
        states = Counter(entry.summary.state for entry in self.group.members)
        parts = [f"{states[state]} {state}" for state in sorted(_BROKEN) if states[state]]
        without = sum(
            not np.isfinite(one.y).any() and entry.summary.state not in _BROKEN
            for one, entry in zip(self.samples, self.group.members, strict=True)
        )
        parts += [f"{without} without data"] if without else []
        copies = len(self.group.repeats)
        parts += [f"{copies} repeated"] if copies else []
        total = len(self.samples)
        out = sum(states[state] for state in _BROKEN) + without + copies
        runs = f"{total} run{'s'[: total > 1]}"
        head = f"{total - out} of {runs}" if out else runs
        return f"{self.group.label} ({', '.join([head, *parts])})"

    @property
    def counting(self) -> list[Sample]:
        """The curves behind the mean: of runs that did not break, each once."""
        return [
            sample
            for sample, entry in zip(self.samples, self.group.members, strict=True)
            if counts(entry, self.group)
        ]

    @property
    def legend(self) -> str:
        """The name, and the interval where a band is drawn."""
        several = bool((self.curve.n >= _FEW).any())
        return f"{self.name}{f' {BANDS[self.band]}' if several else ''}{self.style.mark}"

    def values(self, x: float) -> np.ndarray:
        """Return what the runs have at x, interpolated; those that have nothing are left out."""
        return finite([value_at(one, x) for one in self.counting if len(one.x)])

    def last(self, x: float | None = None) -> np.ndarray:
        """Return the runs' values where the mean ends, or at an x."""
        if not len(self.curve.x):
            return finite([])
        return self.values(float(self.curve.x[-1]) if x is None else x)

    def best(self, *, falling: bool) -> tuple[float, float]:
        """Return the best mean and its x."""
        if not len(self.curve.x):
            return math.nan, math.nan
        find = np.nanargmin if falling else np.nanargmax
        place = int(find(self.curve.mean))
        return float(self.curve.mean[place]), float(self.curve.x[place])

    @property
    def is_done(self) -> bool:
        """Whether every run that counts has taken all of its steps, so that its end is final."""
        counting = (e for e in self.group.members if counts(e, self.group))
        return all(entry.summary.state == "done" for entry in counting)

    def final(self, x: float | None = None) -> tuple[float, float, float, int]:
        """Return mean, low, high and n where the mean ends, or at an x, interpolated."""
        curve = self.curve
        if not len(curve.x) or (x is not None and not curve.x[0] <= x <= curve.x[-1]):
            return math.nan, math.nan, math.nan, 0
        where = float(curve.x[-1]) if x is None else x
        sides = (curve.mean, curve.low, curve.high)
        mean, low, high = (float(np.interp(where, curve.x, side)) for side in sides)
        place = at(curve, where)
        return mean, low, high, int(curve.n[-1 if place is None else place])

    def time_to(self, level: float, *, falling: bool) -> Spread:
        """Return when the runs are first at a level, over those that get there."""
        times = finite([reached(one, level, falling=falling) for one in self.counting])
        interval: Interval = "ci95" if self.band == "range" else self.band
        return spread(times, interval)


def compared(records: Sequence[Record], view: ComparisonView) -> list[GroupCurve]:
    """Return the groups of runs that have anything of what is compared, or that all broke."""
    by_id = {record.id: record for record in records}
    found, seen, measure = [], Counter[str](), measure_of(view.measure, records)
    for group in grouped([_entry(record) for record in records], view.keys):
        samples = tuple(member(by_id[entry.id], view) for entry in group.members)
        used = [s for s, e in zip(samples, group.members, strict=True) if counts(e, group)]
        curve = moments(used, view.band, partly=view.partly)
        # Evaluations that were all no number are told, too; columns are empty where nothing is.
        broken = view.measure.startswith(_EVALUATED) and any(len(one.x) for one in used)
        if len(curve.x) or not used or broken:
            color = group.style.color
            style = replace(group.style, dash=DASHES[seen[color] % len(DASHES)])
            seen[color] += 1
            runs = [by_id[entry.id] for entry in group.members if counts(entry, group)]
            points = (int(np.isfinite(recorded(run, view)[1]).sum()) for run in runs)
            fewest = min(points, default=0)
            made = GroupCurve(group, style, view.band, curve, samples, measure, fewest, tuple(runs))
            found.append(made)
    return _told_apart(found)


def is_transductive(record: Record) -> bool:
    """Return whether a run's predictions of query examples depend on the others of the task.

    Runs of 0.1 do not say so; then batch statistics do.
    """
    traits, by_batch = record.traits, record.config.get("problem_options", {}).get("norm")
    return traits.transductive or (by_batch == "batch" and not traits.inductive)


def latest_common(curves: Sequence[GroupCurve]) -> float | None:
    """Return where groups are compared while some of them train: the last x that all have.

    None where all are done, so that each one's own end is final.
    """
    known = [one for one in curves if len(one.curve.x)]
    if not known or all(one.is_done for one in known):
        return None
    end = min(float(one.curve.x[-1]) for one in known)
    shared = reduce(np.intersect1d, [one.curve.x for one in known])
    shared = shared[shared <= end]
    return float(shared[-1]) if len(shared) else end


def _told_apart(curves: list[GroupCurve]) -> list[GroupCurve]:
    """Return groups with the styles in which they are drawn: of many, none is dashed.

    Dashes take ten times as long, and distinguish nothing where many lines cross.
    """
    many = len(curves) > MOST_DASHED
    looks = {
        str(place): replace(one.style, dash="solid") if many else one.style
        for place, one in enumerate(curves)
    }
    shown = numbered(looks).values()
    return _ramped([replace(one, style=style) for one, style in zip(curves, shown, strict=True)])


def _ramped(curves: list[GroupCurve]) -> list[GroupCurve]:
    """Give groups of one colour that differ in one number the colours of a ramp, in its order.

    They keep their dashes, by which they stay apart in print.
    """
    alike: dict[str, list[int]] = {}
    for place, one in enumerate(curves):
        alike.setdefault(one.style.color, []).append(place)
    found = list(curves)
    for places in alike.values():
        values = swept_values([curves[place].group for place in places])
        if values is None:
            continue
        order = sorted(range(len(values)), key=values.__getitem__)
        for rank, at_ in enumerate(order):
            role = f"ramp-{rank / (len(order) - 1):.3f}"
            place = places[at_]
            found[place] = replace(found[place], style=replace(found[place].style, color=role))
    return found


def counts(entry: Entry, group: Group) -> bool:
    """Return whether a run enters its group's mean: it did not break, and repeats no other."""
    return entry.summary.state not in _BROKEN and entry.id not in group.repeats


def member(record: Record, view: ComparisonView) -> Sample:
    """Return one run's curve, smoothed."""
    x, y = recorded(record, view)
    return sample(x, smooth(y, view.smoothing), broken=record.state in _BROKEN)


def recorded(record: Record, view: ComparisonView) -> tuple[np.ndarray, np.ndarray]:
    """Return what is compared of a run as it was recorded."""
    if view.measure.startswith(_EVALUATED):
        return evaluated(record, view.measure.removeprefix(_EVALUATED), view.axis)
    # A run that trains grows meanwhile: all columns end where the first did.
    count = len(record.column("step"))
    return record.column(view.axis)[:count], record.column(view.measure)[:count]


def offered(records: Iterable[Record]) -> list[str]:
    """Return what can be compared of some runs: what all have first, then their own."""
    runs = list(records)
    own = {own.id for record in runs for own in record.quantities}
    own |= {f"{_EVALUATED}{n}" for run in runs for one in run.evaluations[-1:] for n in one.own}
    names = [*MEASURES, *sorted(own)]
    return [name for name in names if any(_has(record, name) for record in runs)]


def usual_view(records: Sequence[Record]) -> ComparisonView:
    """Return what the runs are judged by on the evaluation tasks, as accuracy or else the loss."""
    return ComparisonView(usual_measure(offered(records)))


def usual_measure(measures: Sequence[str]) -> str:
    """Return which of these is shown first."""
    judged = primary_of(n.removeprefix(_EVALUATED) for n in measures if n.startswith(_EVALUATED))
    if judged is None and "post_query_loss" in measures:
        return "post_query_loss"
    return f"{_EVALUATED}{judged.id if judged else 'query_loss'}"


def has_several(curves: Iterable[GroupCurve]) -> bool:
    """Return whether there is a group of several runs, so that a band is drawn."""
    return any(len(one.samples) >= _FEW for one in curves)


def why_no_curve(curves: Sequence[GroupCurve], view: ComparisonView) -> str:
    """Say why none of the groups has a mean; empty where one has, or where single runs show."""
    runs = [run for one in curves for run in one.samples] if view.members else []
    if not curves or any(len(one.curve.x) for one in curves) or any(len(run.x) for run in runs):
        return ""
    names = "; ".join(one.name for one in curves[:_FEW])
    more = f"; and {len(curves) - _FEW} more" if len(curves) > _FEW else ""
    return (
        f"There is no mean: runs that diverged or failed do not count in one. {names}{more}. "
        "Single runs shows what each recorded before that."
    )


def comparison_caption(
    curves: Sequence[GroupCurve], view: ComparisonView, limits: tuple[float, float] | None
) -> str:
    """Say what lines and bands are, naming the interval, and where those leave the axis."""
    smoothed = smoothing_text(view.smoothing, (one.points for one in curves))
    if not has_several(curves):
        return f"one run per line{smoothed}"
    where = "while two runs have data" if view.partly else "where all runs have data"
    if not any(np.isfinite(one.curve.low).any() for one in curves):
        return f"line: mean over runs, {where}{smoothed}"
    band = f"band: {BAND_TIPS[view.band]}"
    two = any(one.band == "ci95" and one.curve.n.max(initial=0) == _FEW for one in curves)
    leaves = "; bands of two runs may leave the axis" if two else ""
    if limits is not None and not two:
        beyond = (one.curve for one in curves if np.isfinite(one.curve.low).any())
        cut = any(np.nanmin(c.low) < limits[0] or np.nanmax(c.high) > limits[1] for c in beyond)
        leaves = "; bands may leave the axis" if cut else ""
    return f"line: mean over runs, {where}; {band}{leaves}{smoothed}"


def measure_title(view: ComparisonView, curves: Sequence[GroupCurve]) -> str:
    """Return what the vertical axis of a comparison shows."""
    return curves[0].measure.title if curves else measure_of(view.measure).title


def group_difference(
    mine: GroupCurve, base: GroupCurve, x: float | None = None
) -> Difference | None:
    """Return how far a group is from the baseline, at their ends or at an x, after Welch."""
    name = mine.measure.title.partition(",")[0]
    return difference(name, mine.last(x), base.last(x), mine.measure.better)


def difference_at(mine: GroupCurve, base: GroupCurve, x: float) -> float:
    """Return the difference of two means at x, NaN where one has none."""
    here, there = (at(one.curve, x) for one in (mine, base))
    if here is None or there is None:
        return math.nan
    return float(mine.curve.mean[here] - base.curve.mean[there])


def evaluated(
    record: Record, name: str, axis: str = "step", k: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return x and evaluations of a quantity after k inner steps, by default the trained number.

    What they had cost is read at their meta-step.
    """
    # A run that trains grows meanwhile: all columns end where the first did.
    steps = record.column("step")
    known = [one for one in list(record.evaluations) if name in one.curves]
    y = np.array([one.at(name, k) for one in known], dtype=float)
    when = np.array([one.step for one in known], dtype=float)
    if axis == "step":
        return when, y
    # What was counted up to that step; nothing before the first.
    cost = np.concatenate([[0.0], record.column(axis)[: len(steps)]])
    return cost[np.searchsorted(steps, when, side="right")], y


def _has(record: Record, name: str) -> bool:
    if name.startswith(_EVALUATED):
        key = name.removeprefix(_EVALUATED)
        return any(key in one.curves for one in record.evaluations[-1:])
    column = record.column(name)
    return bool(np.isfinite(column[-1:]).any() or np.isfinite(column).any())


def _entry(record: Record) -> Entry:
    return entry_of(record, None)
