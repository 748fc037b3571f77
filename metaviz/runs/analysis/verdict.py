"""What the numbers of compared groups allow to say: which is best, and what is not told apart."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metaviz.runs.analysis.comparison import GroupCurve, latest_common
from metaviz.runs.analysis.pooled import per_task
from metaviz.runs.model.record import Record
from metaviz.runs.model.statistics import interval_text, mean_and_ci95
from metaviz.runs.table.groups import spread, student, two_sided, welch_test

Basis = Literal["seeds", "tasks", ""]
Standing = Literal["equal", "clear", "unclear", "corrected", "untested"]
LEVEL = 0.05
_TASKS = ("ways", "shots", "query_shots")
_LEARNING = re.compile(
    "hidden|activation|channels|widths|pooling|norm.*|backbone|pretrained|l2|centre|bias|std_init"
    "|rotations|flips|crops?|crop_.*|jitter|estimator|baseline|discount|over_time|features|width"
)
"""Options of problems that say what learns, and how: all others may say which tasks these are."""
_MANY, _TWO = 4, 2
HOLM = "Holm’s correction, for the number of groups that the best one is held against"
_TESTS: dict[Basis, str] = {
    "seeds": "Welch’s t-test of the means over seeds",
    "tasks": "paired t-test over the evaluation tasks of one seed; other seeds may differ",
    "": "",
}


@dataclass(frozen=True)
class Contrast:
    """The best group minus another one: mean, half its 95 % interval, p and p after Holm."""

    place: int
    mean: float
    half: float
    p: float
    basis: Basis
    corrected: float = math.nan

    @property
    def standing(self) -> Standing:
        """What the difference amounts to."""
        if not self.basis or math.isnan(self.half):
            return "untested"
        if self.mean == 0 == self.half:
            return "equal"
        if abs(self.mean) <= self.half:
            return "unclear"
        return "clear" if self.corrected < LEVEL else "corrected"


@dataclass(frozen=True)
class Verdict:
    """One sentence, what explains it, the place of the best group, and how others stand to it.

    `at` is where groups were compared while some train, None where each one's end is final.
    """

    sentence: str = ""
    tip: str = ""
    best: int | None = None
    contrasts: tuple[Contrast, ...] = ()
    at: float | None = None


def verdict(curves: Sequence[GroupCurve], axis: str = "step") -> Verdict:
    """Say which group is best of those that can be ranked, and from which it is not told apart.

    Groups are ranked where they are evaluated on tasks of one kind, and something is better.
    """
    where = latest_common(curves)
    if not curves or not curves[0].measure.better:
        return Verdict(at=where)
    unlike = _unlike(curves)
    if unlike:
        return Verdict(unlike, at=where)
    left_out = {place: why for place, one in enumerate(curves) if (why := _why_not(one, where))}
    ranked = [place for place in range(len(curves)) if place not in left_out]
    remarks = [f"{curves[at].group.label} is not ranked: {why}" for at, why in left_out.items()]
    if not ranked:
        return Verdict(_sentences(remarks), at=where)
    means = {place: float(curves[place].last(where).mean()) for place in ranked}
    best = (min if curves[0].falling else max)(ranked, key=means.__getitem__)
    found = _corrected([_contrast(curves, best, other, where) for other in ranked if other != best])
    head = _head(curves, best, len(ranked), where, axis)
    parts = [head, *_standings(curves, found)]
    remarks += _cautions([curves[place] for place in ranked], where)
    return Verdict(
        _sentences(["; ".join(parts), *remarks]),
        _tip(curves, best, found),
        best,
        tuple(found),
        where,
    )


def value_text(one: GroupCurve, where: float | None) -> str:
    """Return a group's value with a 95 % interval: over seeds, or over tasks of its only run."""
    values = one.last(where)
    half = spread(values, "ci95").half
    if len(values) == 1 and (tasks := _per_task(one, where)) is not None:
        half = float(mean_and_ci95(tasks)[1])
    return interval_text(one.unit * float(values.mean()), one.unit * half)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values after Holm's step-down correction; unknown ones stay unknown.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    known = sorted((value, place) for place, value in enumerate(p) if not math.isnan(value))
    found, highest = [math.nan] * len(p), 0.0
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        found[place] = highest
    return found


def paired_t(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Return the mean of a - b task by task, half its 95 % interval (Student's t) and p."""
    apart = a - b
    mean, deviation = float(apart.mean()), float(apart.std(ddof=1))
    if deviation == 0:
        return mean, 0.0, float(mean == 0)
    error, freedom = deviation / math.sqrt(len(apart)), len(apart) - 1
    return mean, student(freedom) * error, two_sided(mean / error, freedom)


def _contrast(curves: Sequence[GroupCurve], best: int, other: int, where: float | None) -> Contrast:
    mine, its = curves[best], curves[other]
    here, there = mine.last(where), its.last(where)
    if min(len(here), len(there)) >= _TWO:
        return Contrast(other, *welch_test(here, there), "seeds")
    apart = float(here.mean() - there.mean())
    tasks = [found for one in (mine, its) if (found := _per_task(one, where)) is not None]
    if len(tasks) == _TWO and mine.runs[0].seed == its.runs[0].seed:
        one, another = tasks
        if len(one) == len(another) > 1:
            return Contrast(other, *paired_t(one, another), "tasks")
    return Contrast(other, apart, math.nan, math.nan, "")


def _corrected(found: Sequence[Contrast]) -> list[Contrast]:
    after = holm([one.p for one in found])
    return [
        Contrast(one.place, one.mean, one.half, one.p, one.basis, p)
        for one, p in zip(found, after, strict=True)
    ]


def _per_task(one: GroupCurve, where: float | None) -> np.ndarray | None:
    """Return what the only run of a group has of each task, None where that is not known."""
    return per_task(one, where)[0] if len(one.runs) == 1 and per_task(one, where) else None


def _unlike(curves: Sequence[GroupCurve]) -> str:
    """Say why groups are not ranked at all: they solve different tasks; empty where they do not."""
    problems = dict.fromkeys(run.problem for one in curves for run in one.runs)
    if len(problems) > 1:
        return f"Not ranked: the runs are of different problems ({', '.join(problems)})."
    kinds = [_tasks_of(run) for one in curves for run in one.runs]
    keys = dict.fromkeys(key for kind in kinds for key in kind)
    apart = [key for key in keys if len({repr(kind.get(key)) for kind in kinds}) > 1]
    if not apart:
        return ""
    return f"Not ranked: the runs are evaluated on different tasks ({', '.join(apart)})."


def _tasks_of(run: Record) -> dict[str, Any]:
    """Return the settings of a run that say which tasks it is evaluated on."""
    shared, own = run.config.get("shared", {}), run.config.get("problem_options", {})
    kept = {key: shared[key] for key in _TASKS if key in shared}
    return kept | {key: value for key, value in own.items() if not _LEARNING.fullmatch(key)}


def _why_not(one: GroupCurve, where: float | None) -> str:
    """Say why a group has no number to be ranked by; empty where it has."""
    if not one.runs:
        states = Counter(entry.summary.state for entry in one.group.members)
        return f"{' and '.join(sorted(states))}, so that no run counts"
    if not len(one.curve.x) or not len(one.last(where)):
        return "there is no number"
    if len(one.last(where)) < len(one.counting):
        return "not every run has a number there"
    ends = [float(run.x[-1]) for run in one.counting if len(run.x)]
    if where is None and ends and one.curve.x[-1] < min(ends):
        return "the last evaluation is not a number, on one task at least"
    return ""


def _head(
    curves: Sequence[GroupCurve], best: int, count: int, where: float | None, axis: str
) -> str:
    one = curves[best]
    value = f"{one.group.label} {value_text(one, where)}".strip()
    when = ""
    if where is not None:
        when = f"At step {where:.6g}: " if axis == "step" else f"At {where:.6g} on this axis: "
    if count == 1:
        return f"{when}{value}"
    return f"{when}{value} is {'lowest' if one.falling else 'highest'} of {count}"


def _standings(curves: Sequence[GroupCurve], found: Sequence[Contrast]) -> list[str]:
    groups: dict[Standing, list[Contrast]] = {}
    for one in found:
        groups.setdefault(one.standing, []).append(one)
    beyond = "higher" if curves and curves[0].falling else "lower"
    several = f"for {len(found)} comparisons"
    texts: dict[Standing, str] = {
        "equal": "equal",
        "unclear": "no clear difference (95 % CI of the difference contains 0)",
        "corrected": f"no clear difference after Holm’s correction {several}",
        "clear": f"clearly {beyond}",
        "untested": "not tested, as there are too few runs",
    }
    return [
        f"{_names([curves[one.place] for one in groups[standing]])}: {text}"
        for standing, text in texts.items()
        if standing in groups
    ]


def _cautions(ranked: Sequence[GroupCurve], where: float | None) -> list[str]:
    """Return sentences on what makes a ranking less than it seems."""
    told = []
    sees = [one for one in ranked if one.transductive]
    if sees and len(sees) < len(ranked):
        verb = "sees" if len(sees) == 1 else "see"
        told.append(
            f"Not like for like: {_names(sees)} {verb} all query examples of a task at once "
            "(transductive), the others do not"
        )
    broken = [one for one in ranked if len(one.runs) + len(one.group.repeats) < len(one.samples)]
    if broken:
        told.append(f"Runs that diverged or failed are not counted ({_names(broken)})")
    ends = sorted({int(run.step) for one in ranked for run in one.runs})
    if where is None and len(ends) > 1:
        told.append(f"Trained for different numbers of steps ({', '.join(map(str, ends[:_MANY]))})")
    if len(ranked) > 1 and all(len(one.runs) == 1 for one in ranked):
        told.append("One seed: others may differ")
    return told


def _tip(curves: Sequence[GroupCurve], best: int, found: Sequence[Contrast]) -> str:
    """Return every difference with its interval, its test and p, a line each."""
    if not found:
        return ""
    one = curves[best]
    lines = [
        f"{one.group.label} − {curves[c.place].group.label}: "
        f"{interval_text(one.unit * c.mean, one.unit * c.half)} (95 % CI), p = {c.p:.2g}, "
        f"{c.corrected:.2g} after Holm"
        for c in found
        if c.basis
    ]
    bases = dict.fromkeys(_TESTS[c.basis] for c in found if c.basis)
    return "\n".join([*lines, *bases, HOLM] if lines else [])


def _names(curves: Sequence[GroupCurve]) -> str:
    names = [one.group.label for one in curves]
    if len(names) > _MANY:
        return f"{', '.join(names[: _MANY - 1])} and {len(names) - _MANY + 1} more"
    return ", ".join(names)


def _sentences(parts: Sequence[str]) -> str:
    return " ".join(f"{part.rstrip('.')}." for part in parts if part)
