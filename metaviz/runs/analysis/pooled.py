"""All tasks of all runs of a group pooled: interquartile means, and performance profiles.

Source: Agarwal et al. 2021, Deep reinforcement learning at the edge of the statistical precipice,
arXiv:2108.13264.
"""

import math
from collections.abc import Sequence

import numpy as np

from metaviz.charts.values import Axis, Lines, Series
from metaviz.config.quantities import unit_of
from metaviz.runs.analysis.comparison import GroupCurve, latest_common
from metaviz.runs.analysis.per_cent import per_cent_axis

IQM_TIP = (
    "IQM, the mean of the middle half of all tasks of all runs, which no single run or task decides"
)
IQM_BAND_TIP = (
    "95 % CI, percentile bootstrap of 1000 draws: tasks are drawn anew within each run, runs stay"
)
_EVALUATED, _QUARTER, _DRAWS, _POINTS = "eval_", 0.25, 1000, 200
End = tuple[float, float, float, int]


def per_task(one: GroupCurve, where: float | None = None) -> list[np.ndarray]:
    """Return what each run that counts has of each task, at its last evaluation or at a meta-step.

    Empty where some run does not say, or has a task without a number.
    """
    name = one.measure.id.removeprefix(_EVALUATED)
    if name == one.measure.id:
        return []
    found = []
    for run in one.runs:
        known = [e for e in list(run.evaluations) if where is None or e.step == where]
        values = np.asarray(known[-1].per_task.get(name, ()) if known else (), dtype=float)
        if not len(values) or not np.isfinite(values).all():
            return []
        found.append(values)
    return found


def iqm(values: np.ndarray) -> float:
    """Return the mean of the middle half of values; those at its ends count in part."""
    return float(_iqm(np.sort(np.asarray(values, dtype=float))[None])[0])


def iqm_end(one: GroupCurve, where: float | None = None) -> End:
    """Return a group's IQM, the ends of its interval, and n runs; NaN where tasks are unknown."""
    runs = per_task(one, where)
    if not runs:
        return math.nan, math.nan, math.nan, len(one.runs)
    random = np.random.default_rng(0)
    drawn = np.concatenate(
        [values[random.integers(0, len(values), (_DRAWS, len(values)))] for values in runs], 1
    )
    drawn.sort(axis=1)
    low, high = np.quantile(_iqm(drawn), (0.025, 0.975))
    return iqm(np.concatenate(runs)), float(low), float(high), len(runs)


def profile_chart(curves: Sequence[GroupCurve], message: str = "") -> Lines:
    """Show for each group the share of tasks, over all runs, that are at least so good."""
    where = latest_common(curves)
    known = [(one, np.concatenate(runs)) for one in curves if (runs := per_task(one, where))]
    if not known:
        return Lines(id="profile", message=message)
    falling, unit = known[0][0].falling, unit_of(known[0][0].measure.id)
    every = np.sort(np.concatenate([values for _, values in known]))
    grid = np.unique(every[np.linspace(0, len(every) - 1, _POINTS).astype(int)])
    series = []
    for one, values in known:
        better = values[None] <= grid[:, None] if falling else values[None] >= grid[:, None]
        share = 100 * better.mean(1)
        name, style = one.group.label, one.style
        series.append(Series(name, unit * grid, share, one.name, style.role, style.dash, 2.0))
    when = "at the last evaluation" if where is None else f"at step {where:.6g}"
    sign, title = ("≤" if falling else "≥"), known[0][0].measure.title.partition(",")[0]
    left_out = len(curves) - len(known)
    caption = f"performance profile: share of all tasks of all runs {when}"
    caption += f"; {left_out} without numbers of each task left out" if left_out else ""
    return Lines(
        id="profile",
        x=per_cent_axis(Axis(f"τ, {title}"), known[0][0].measure.id),
        y=Axis(f"tasks with {title} {sign} τ", unit="%", limits=(-2.0, 102.0)),
        series=tuple(series),
        caption=caption,
        spoken=caption,
    )


def _iqm(rows: np.ndarray) -> np.ndarray:
    """Return the IQM of each row of sorted values: weights cut the outer quarters off exactly."""
    count = rows.shape[1]
    edges = np.arange(count + 1) / count
    inside = np.clip(edges, _QUARTER, 1 - _QUARTER)
    weights = np.diff(inside)
    return np.asarray(rows @ (weights / weights.sum()))
