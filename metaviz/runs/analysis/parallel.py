"""Parallel coordinates of runs: one axis per hyperparameter in which they differ, and a result."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metaviz.config.options import OptionSpec, Plain
from metaviz.runs.model.labels import text_of
from metaviz.runs.table.groups import Result, differing, value_of
from metaviz.runs.table.summary import Entry, own_of

Scale = Literal["linear", "log", "categorical"]
ABSENT = -0.12
"""Where a run without a value stands: below the axis, which goes from 0 to 1."""
_BASIC = ("algorithm", "problem")
_TICKS = 5
_WORDS = {"bool", "choice", "text"}


@dataclass(frozen=True)
class ParallelAxis:
    """One axis. `places` holds each run's place from 0 (below) to 1, ABSENT without a value."""

    key: str
    title: str
    scale: Scale
    places: np.ndarray
    ticks: tuple[tuple[float, str], ...]
    absent: bool


def parallel_axes(
    entries: Sequence[Entry],
    result: Result,
    spec: Callable[[str], OptionSpec | None],
    title: Callable[[str], str],
) -> list[ParallelAxis]:
    """Return axes of what runs differ in, and last the result at their last evaluation.

    What less than half of the runs have, like options of one method among several, has no axis:
    most lines would leave it at the bottom.
    """
    basic = [key for key in _BASIC if len({value_of(one, key) for one in entries}) > 1]
    axes = []
    for key in [*basic, *(key for key in differing(entries) if _is_usual(key, entries))]:
        axes.append(scaled(key, title(key), [value_of(one, key) for one in entries], spec(key)))
    values = [_known(one.summary.result(result)) for one in entries]
    own = own_of(entries).get(result)
    return [*axes, scaled(result, own.label if own else result, values, None)]


def _is_usual(key: str, entries: Sequence[Entry]) -> bool:
    return 2 * sum(value_of(one, key) is not None for one in entries) >= len(entries)


def scaled(key: str, title: str, values: Sequence[Plain], spec: OptionSpec | None) -> ParallelAxis:
    """Return the axis of some values; None is absent.

    Words, switches and choices stand at equal distances; numbers linearly, or by their logarithm
    where their declaration asks for multiplicative steps and all are above zero.
    """
    known = [value for value in values if value is not None]
    words = spec is not None and spec.kind in _WORDS
    if words or any(isinstance(value, bool | str) for value in known):
        return _categorical(key, title, values, spec)
    numbers = np.array([math.nan if v is None else float(v) for v in values], dtype=float)
    seen = numbers[np.isfinite(numbers)]
    log = spec is not None and spec.log and bool((seen > 0).all()) and len(seen) > 0
    scale: Scale = "log" if log else "linear"
    place = np.log10 if log else np.asarray
    low, high = (float(place(f(seen))) for f in (np.min, np.max)) if len(seen) else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    with np.errstate(invalid="ignore"):
        places = (np.asarray(place(numbers)) - low) / (high - low)
    ticks = _ticks(np.unique(seen), low, high, log=log)
    return _axis(key, title, scale, places, ticks)


def inside(axis: ParallelAxis, brush: tuple[float, float]) -> np.ndarray:
    """Return which runs a brush from one place to another holds."""
    low, high = sorted(brush)
    found: np.ndarray = (axis.places >= low - 1e-9) & (axis.places <= high + 1e-9)
    return found


def chosen(axes: Sequence[ParallelAxis], brushes: Mapping[str, tuple[float, float]]) -> np.ndarray:
    """Return which runs all brushes leave; brushes are known by the keys of axes."""
    left = np.ones(len(axes[0].places) if axes else 0, dtype=bool)
    for axis in axes:
        if axis.key in brushes:
            left &= inside(axis, brushes[axis.key])
    return left


def _categorical(
    key: str, title: str, values: Sequence[Plain], spec: OptionSpec | None
) -> ParallelAxis:
    texts = [None if value is None else text_of(value) for value in values]
    seen = {text for text in texts if text is not None}
    declared = [choice for choice in (spec.choices if spec is not None else ()) if choice in seen]
    order = [*declared, *sorted(seen - set(declared))]
    step = 1 / (len(order) - 1) if len(order) > 1 else 0.0
    where = {text: number * step if len(order) > 1 else 0.5 for number, text in enumerate(order)}
    places = np.array([math.nan if text is None else where[text] for text in texts], dtype=float)
    return _axis(key, title, "categorical", places, [(where[text], text) for text in order])


def _axis(
    key: str, title: str, scale: Scale, places: np.ndarray, ticks: list[tuple[float, str]]
) -> ParallelAxis:
    known = np.isfinite(places)
    return ParallelAxis(
        key, title, scale, np.where(known, places, ABSENT), tuple(ticks), bool((~known).any())
    )


def _ticks(values: np.ndarray, low: float, high: float, *, log: bool) -> list[tuple[float, str]]:
    """Return places and texts: of the values themselves where they are few."""
    if len(values) == 0:
        return []
    if len(values) <= _TICKS:
        at = np.log10(values) if log else values
    else:
        at = np.linspace(low, high, _TICKS)
    shown = 10.0**at if log else at
    return [
        ((float(p) - low) / (high - low), f"{float(v):.4g}") for p, v in zip(at, shown, strict=True)
    ]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
