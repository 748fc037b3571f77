"""Runs that differ in nothing but their seed, as one: mean and a named interval over them.

`grouped(entries, keys)` serves tables and plots alike: ordered groups with a label, their
members and how many of them count.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from metaviz.charts.values import PALETTE
from metaviz.config.options import Plain
from metaviz.runs.model.labels import algorithm_title, problem_title, told
from metaviz.runs.model.styles import Style, algorithm_color, algorithm_marker
from metaviz.runs.table.summary import Entry

Interval = Literal["std", "se", "ci95"]
Result = str
"""One of RESULTS, or the id of a quantity that runs have of their own."""

INTERVALS: dict[Interval, str] = {
    "std": "± SD",
    "se": "± SE",
    "ci95": "± 95 % CI",
}
INTERVAL_TIPS: dict[Interval, str] = {
    "std": "standard deviation over runs (SD, n − 1 in the denominator)",
    "se": "standard error of the mean over runs (SE, s / √n)",
    "ci95": "95 % CI of the mean over runs (Student’s t, n − 1 degrees of freedom)",
}
BASIC = ("algorithm", "problem")
_BACKBONE = "features.pretrained"
Values = tuple[tuple[str, Plain], ...]
_COUNTING = {"done", "stopped"}
_MOST_KEYS = 3
_FEWEST_SWEPT = 3


@dataclass(frozen=True)
class Spread:
    """Mean of n values and the half-width of a named interval, NaN for n = 1 and without values."""

    n: int
    mean: float
    half: float
    interval: Interval


@dataclass(frozen=True)
class Group:
    """Runs with equal values of the keys. `values` are those, None where a run lacks one."""

    label: str
    keys: tuple[str, ...]
    values: tuple[Plain, ...]
    members: tuple[Entry, ...]
    style: Style

    @cached_property
    def repeats(self) -> frozenset[str]:
        """Ids of runs with settings, seed and results of an earlier member: they add nothing new.

        A run that was repeated bit for bit is not another sample.
        """
        seen: set[object] = set()
        found = set()
        for entry in self.members:
            s = entry.summary
            if s.state in _COUNTING and math.isfinite(s.result(s.primary)):
                settings = tuple(sorted((k, str(v)) for k, v in entry.values.items()))
                results = tuple(str(v) for v in (s.loss, s.loss_ci95, s.result(s.primary)))
                key = (s.algorithm, s.problem, s.seed, s.step, *results, settings)
                if key in seen:
                    found.add(entry.id)
                seen.add(key)
        return frozenset(found)

    def counted(self, result: Result) -> np.ndarray:
        """Return the finite results of the members that ended as they should, each once."""
        found = [
            entry.summary.result(result)
            for entry in self.members
            if entry.summary.state in _COUNTING and entry.id not in self.repeats
        ]
        return np.array([value for value in found if math.isfinite(value)], dtype=float)

    def spread(self, result: Result, interval: Interval) -> Spread:
        """Return mean and interval of a result over the members that count."""
        return spread(self.counted(result), interval)

    def count_text(self, result: Result = "loss") -> str:
        """Say how many runs there are, how many count, and what became of the others."""
        total, counting = len(self.members), len(self.counted(result))
        states = Counter(
            entry.summary.state for entry in self.members if entry.summary.state != "done"
        )
        without = sum(
            entry.summary.state in _COUNTING and not math.isfinite(entry.summary.result(result))
            for entry in self.members
        )
        parts = [f"{count} {state}" for state, count in sorted(states.items())]
        if self.repeats:
            parts.append(f"{len(self.repeats)} repeated")
        if without:
            parts.append(f"{without} without a result")
        head = f"{counting} of {total}" if counting < total else f"{total} run{'s'[: total > 1]}"
        return "; ".join([head, ", ".join(parts)] if parts else [head])


def grouped(entries: Iterable[Entry], keys: Sequence[str] | None = None) -> list[Group]:
    """Return groups of runs in the order of their first members; None leaves out the seed only.

    Keys are hyperparameters, `algorithm`, `problem`, `seed`, `tags`, `state` or `id`. A run
    that lacks a key has the value None for it, which is a value of its own.
    """
    runs = list(entries)
    names = tuple(keys) if keys is not None else everything_but_seed(runs)
    found: dict[Values, list[Entry]] = {}
    for entry in runs:
        found.setdefault(tuple(_comparable(value_of(entry, name)) for name in names), []).append(
            entry
        )
    algorithm = names.index("algorithm") if "algorithm" in names else None
    alike: dict[Plain, list[Values]] = {}
    for key in found:
        alike.setdefault(_owner(key, algorithm), []).append(key)
    differing = {owner: _telling(keys, _differing(keys, names)) for owner, keys in alike.items()}
    groups = []
    for place, (key, members) in enumerate(found.items()):
        values = tuple(value_of(members[0], name) for name in names)
        marker = algorithm_marker(members[0].summary.algorithm) if "algorithm" in names else "o"
        style = Style(_color(members, names, place), "solid", marker=marker)
        label = _label(names, values, *differing[_owner(key, algorithm)])
        groups.append(Group(label, names, values, tuple(members), style))
    return groups


def swept_values(groups: Sequence[Group]) -> list[float] | None:
    """Return the number in which groups differ, where it is one and they differ in nothing else.

    None for fewer than three groups, which two dashes tell apart, and where a person chose colours.
    """
    names = groups[0].keys if groups else ()
    places = [p for p in range(len(names)) if len({one.values[p] for one in groups}) > 1]
    if len(groups) < _FEWEST_SWEPT or len(places) != 1 or {one.keys for one in groups} != {names}:
        return None
    found = [one.values[places[0]] for one in groups]
    given = any(entry.marks.color for one in groups for entry in one.members)
    numbers = [v for v in found if isinstance(v, int | float) and not isinstance(v, bool)]
    return None if given or len(numbers) < len(found) else [float(v) for v in numbers]


def everything_but_seed(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Return every key that some run has, besides the seed and the backbone that belongs to it."""
    keys = dict.fromkeys(key for entry in entries for key in entry.values)
    return (*BASIC, *(key for key in keys if key != _BACKBONE))


def differing(entries: Iterable[Entry]) -> list[str]:
    """Return the hyperparameters in which runs differ; absent is a value of its own."""
    runs = list(entries)
    keys = dict.fromkeys(key for entry in runs for key in entry.values)
    return [key for key in keys if len({_comparable(entry.values.get(key)) for entry in runs}) > 1]


def value_of(entry: Entry, key: str) -> Plain:
    """Return what a run has for a key, None where it lacks it."""
    summary = entry.summary
    if key == "tags":
        return " ".join(sorted(entry.marks.tags)) or None
    if key == "id":
        return entry.id
    if key in {"algorithm", "problem", "seed", "state", "device", "version"}:
        value: Plain = getattr(summary, key)
        return value
    return entry.values.get(key)


def spread(values: np.ndarray, interval: Interval) -> Spread:
    """Return the mean of finite values and half the width of an interval over them.

    std: s, with n - 1 in the denominator; se: s / sqrt(n); ci95: t(0.975, n - 1) s / sqrt(n).
    """
    n = len(values)
    if n == 0:
        return Spread(0, math.nan, math.nan, interval)
    mean = float(values.mean())
    if n == 1:
        return Spread(1, mean, math.nan, interval)
    half = float(values.std(ddof=1))
    if interval != "std":
        half /= math.sqrt(n)
    if interval == "ci95":
        half *= student(n - 1)
    return Spread(n, mean, half, interval)


def welch(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return the difference of means one - other and half its 95 % interval; see `welch_test`."""
    return welch_test(one, other)[:2]


def welch_test(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Return the difference of means one - other, half its 95 % interval and p, after Welch.

    Variances need not be equal; degrees of freedom after Welch & Satterthwaite. Half-width and p
    are NaN where a side has fewer than two values. `p` is two-sided.
    """
    apart = float(one.mean() - other.mean())
    if min(len(one), len(other)) < 2:  # noqa: PLR2004 - a variance needs two values
        return apart, math.nan, math.nan
    parts = [float(side.var(ddof=1)) / len(side) for side in (one, other)]
    total = sum(parts)
    if total == 0:
        return apart, 0.0, float(apart == 0)
    below = sum(p * p / (len(s) - 1) for p, s in zip(parts, (one, other), strict=True))
    # Two tiny variances have squares that a float no longer holds.
    freedom = total * total / below if below > 0 else float(min(len(one), len(other)) - 1)
    return apart, student(freedom) * math.sqrt(total), two_sided(apart / math.sqrt(total), freedom)


def two_sided(t: float, freedom: float) -> float:
    """Return the probability that Student's t is as far from 0, in either direction."""
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(t)))


def student(freedom: float) -> float:
    """Return the 97.5 % quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def _comparable(value: Plain) -> tuple[str, Plain]:
    """Tell True from 1, while 1 and 1.0 are the same number."""
    return ("bool" if isinstance(value, bool) else "", value)


def _owner(values: Values, place: int | None) -> Plain:
    return None if place is None else values[place][1]


def _differing(found: list[Values], names: Sequence[str]) -> list[int]:
    return [p for p in range(len(names)) if len({values[p] for values in found}) > 1]


def _telling(found: list[Values], differing: list[int]) -> tuple[list[int], int]:
    """Return the places of keys that differ, and how many of the first tell all groups apart.

    Where the first _MOST_KEYS do not, those come first that leave the fewest groups alike.
    """

    def apart(places: Sequence[int]) -> int:
        return len({tuple(values[p] for p in places) for values in found})

    if apart(differing[:_MOST_KEYS]) == len(found):
        return differing, _MOST_KEYS
    chosen: list[int] = []
    while apart(chosen) < apart(differing):
        rest = [p for p in differing if p not in chosen]
        chosen.append(max(rest, key=lambda p: apart([*chosen, p])))
    rest = [p for p in differing if p not in chosen]
    return [*chosen, *rest], max(_MOST_KEYS, len(chosen))


def _label(
    names: Sequence[str], values: Sequence[Plain], differing: Sequence[int], most: int
) -> str:
    """Name a group by its algorithm and by what distinguishes it from others of that algorithm."""
    known = dict(zip(names, values, strict=True))
    algorithm = known.get("algorithm")
    head = [algorithm_title(str(algorithm))] if algorithm is not None else []
    varied = [_told(names[p], values[p]) for p in differing if names[p] != "algorithm"]
    parts = [*head, *varied[:most]]
    return " · ".join(parts) + (" …" if len(varied) > most else "") if parts else "all runs"


def _told(name: str, value: Plain) -> str:
    """Say what a key is, as in α = 0.03."""
    return problem_title(str(value)) if name == "problem" else told(name, value)


def _color(members: Sequence[Entry], names: Sequence[str], place: int) -> str:
    """Return the colour that all members were given, their algorithm's, or the next one."""
    given = {entry.marks.color for entry in members}
    if len(given) == 1 and "" not in given:
        return given.pop()
    if "algorithm" in names:
        return algorithm_color(members[0].summary.algorithm)
    return PALETTE[place % len(PALETTE)]
