"""The columns of a table of runs: the same for the window and for the command line."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionSpec
from metaviz.config.quantities import QUANTITIES, Quantity, quantity_of, unit_of
from metaviz.runs.model.labels import ABSENT, SYMBOLS, text_of
from metaviz.runs.model.statistics import interval_text
from metaviz.runs.table.baseline import Baseline, Difference, difference, finite
from metaviz.runs.table.groups import (
    INTERVAL_TIPS,
    INTERVALS,
    Group,
    Interval,
    Result,
)
from metaviz.runs.table.summary import Entry, own_of

DELTA = "delta"
_MINUTE, _HOUR = 60, 3600


@dataclass(frozen=True)
class Column:
    """One column: its heading, what it shows of a run, and what it sorts by (None: last)."""

    key: str
    title: str
    tip: str
    text: Callable[[Entry], str]
    value: Callable[[Entry], Any]
    right: bool = True
    result: Result | None = None


def _results(entry: Entry, name: str) -> str:
    found = (getattr(entry.summary, one) for one in (name, f"{name}_ci95"))
    return interval_text(*(unit_of(name) * value for value in found))


def _words(key: str, title: str, tip: str, text: Callable[[Entry], str]) -> Column:
    """Return a column of texts, which sorts by them without case."""
    return Column(key, title, tip, text, lambda e: text(e).casefold() or None, right=False)


_TASKS = "After adaptation at the last evaluation: mean ± 95 % interval over the tasks"
COLUMNS = (
    _words(
        "run", "Run", "Name, or algorithm and seed. Ticked: shown in the plots", lambda e: e.label
    ),
    Column(
        "star",
        "★",
        "Starred; a click changes it",
        lambda e: "★" if e.marks.star else "☆",
        lambda e: not e.marks.star,
        right=False,
    ),
    _words("algorithm", "Algorithm", "Id of the algorithm", lambda e: e.summary.algorithm),
    _words("problem", "Problem", "Task family", lambda e: e.summary.problem),
    Column(
        "seed",
        "Seed",
        "Seed of tasks and initial weights",
        lambda e: str(e.summary.seed),
        lambda e: e.summary.seed,
        right=False,
    ),
    _words("state", "State", "How the run is doing", lambda e: e.summary.state),
    Column(
        "step",
        "Step",
        "Meta-steps done of those asked for",
        lambda e: f"{e.summary.step} / {e.summary.total}",
        lambda e: e.summary.step,
    ),
    Column(
        "loss",
        quantity_of("query_loss").title,
        _TASKS,
        lambda e: _results(e, "loss"),
        lambda e: _known(e.summary.loss),
        result="loss",
    ),
    Column(
        "accuracy",
        "Accuracy (%)",
        f"{_TASKS}; searches and CSV have it as a share of 1",
        lambda e: _results(e, "accuracy"),
        lambda e: _known(e.summary.accuracy),
        result="accuracy",
    ),
    Column(
        "seconds",
        "Duration",
        quantity_of("seconds").title,
        lambda e: duration_text(e.summary.seconds),
        lambda e: _known(e.summary.seconds),
        result="seconds",
    ),
    _words("tags", "Tags", "Tags that a person gave", lambda e: " ".join(e.marks.tags)),
    Column(
        "note",
        "Note",
        "First line of a person's notes",
        lambda e: e.marks.notes.partition("\n")[0],
        lambda e: e.marks.notes.casefold() or None,
        right=False,
    ),
    Column(
        "started",
        "Started",
        "When the run was made, in local time",
        lambda e: started_text(e.summary.started),
        lambda e: _known(e.summary.started),
        right=False,
    ),
    _words("device", "Device", "What it was trained on", lambda e: e.summary.device),
    _words(
        "version", "Version", "Version of MetaViz that made the run", lambda e: e.summary.version
    ),
    Column("id", "Id", "Name of the run's folder", lambda e: e.id, lambda e: e.id, right=False),
)
BY_KEY = {column.key: column for column in COLUMNS}
USUAL = (
    *("run", "star", "problem", "seed", "state", "step", "loss", "accuracy"),
    *("seconds", "inner_steps", "inner_lr", "tags"),
)


class Columns:
    """Every column that runs can have: those above, of hyperparameters, and of own quantities."""

    def __init__(self, catalogue: Catalogue | None = None) -> None:
        """Take titles and explanations from the catalogue."""
        self._specs = _specs(catalogue) if catalogue else {}
        self._own: dict[str, Quantity] = {}

    def column(self, key: str) -> Column:
        """Return a column by its key; other keys are quantities of runs, or hyperparameters."""
        own = self._own.get(key) or QUANTITIES.get(key)
        return BY_KEY.get(key) or (_own_column(own) if own else self._hyperparameter(key))

    def learn(self, entries: Iterable[Entry]) -> None:
        """Take in what quantities of their own runs have, and what these mean."""
        self._own |= own_of(entries)

    def known(self, entries: Iterable[Entry]) -> list[Column]:
        """Return all columns that make sense for some runs."""
        rows = list(entries)
        self.learn(rows)
        keys = dict.fromkeys(key for entry in rows for key in entry.keys)
        return [*COLUMNS, *map(self.column, keys)]

    def spec(self, key: str) -> OptionSpec | None:
        """Return how a hyperparameter was declared, None where the catalogue does not know it."""
        return self._specs.get(key)

    def spec_keys(self) -> list[str]:
        """Return the keys of every hyperparameter that the catalogue knows."""
        return list(self._specs)

    def _hyperparameter(self, key: str) -> Column:
        owner, dot, name = key.rpartition(".")
        spec = self._specs.get(key)
        title = SYMBOLS.get(key) or (spec.title if spec else name)
        if dot:
            title = f"{owner} · {title}"
        tip = f"{key}: {spec.title}. {spec.description}" if spec else key
        return Column(
            key,
            title,
            tip,
            lambda e: text_of(e.values[key]) if key in e.values else ABSENT,
            lambda e: e.values.get(key),
        )


@dataclass(frozen=True)
class CellContext:
    """What cells depend on beside their run: interval of groups, baseline and its results."""

    interval: Interval = "ci95"
    baseline: Baseline = field(default_factory=Baseline)
    result: Result = "loss"
    base: Any = None
    """Results behind the baseline, an array; None without one."""

    def title(self, column: Column, *, grouped: bool) -> str:
        """Return a heading; in groups it names the interval."""
        if grouped and column.result:
            return f"{column.title} {INTERVALS[self.interval]}"
        return column.title

    def tip(self, column: Column, *, grouped: bool) -> str:
        """Return what a column shows."""
        if grouped and column.result:
            tip = INTERVAL_TIPS[self.interval]
            return f"Groups: mean ± {tip}; no interval for one run. Runs: {column.tip}."
        return column.tip

    def text(self, column: Column, entry: Entry) -> str:
        """Return a run's cell."""
        if column.key == DELTA:
            return self._delta(self.run_difference(entry), baseline=self.baseline.is_run(entry))
        return column.text(entry)

    def value(self, column: Column, entry: Entry) -> Any:
        """Return what a run's cell sorts by, None where there is nothing."""
        if column.key == DELTA:
            found = self.run_difference(entry)
            return found.absolute if found else None
        return column.value(entry)

    def group_text(self, column: Column, group: Group) -> str:
        """Return a group's cell."""
        if column.key == DELTA:
            found = self.group_difference(group)
            return self._delta(found, baseline=self.baseline.is_group(group))
        if column.result:
            spread = group.spread(column.result, self.interval)
            if column.result == "seconds":
                return duration_text(spread.mean)
            unit = unit_of(column.result)
            return interval_text(unit * spread.mean, unit * spread.half)
        special: dict[str, Callable[[], str]] = {
            "run": lambda: group.label,
            "state": lambda: group.count_text(self._counted_result(group)),
            "seed": lambda: _ranges(entry.summary.seed for entry in group.members),
            "star": lambda: "",
        }
        if column.key in special:
            return special[column.key]()
        texts = dict.fromkeys(column.text(entry) for entry in group.members)
        return next(iter(texts)) if len(texts) == 1 else "…"

    def group_value(self, column: Column, group: Group) -> Any:
        """Return what a group's cell sorts by, None where there is nothing."""
        if column.key == DELTA:
            found = self.group_difference(group)
            return found.absolute if found else None
        if column.result:
            return _known(group.spread(column.result, self.interval).mean)
        if column.key == "run":
            return group.label.casefold()
        return column.value(group.members[0])

    def run_difference(self, entry: Entry) -> Difference | None:
        """Return how far a run is from the baseline."""
        if self.base is None:
            return None
        return difference(self.result, finite([entry.summary.result(self.result)]), self.base)

    def group_difference(self, group: Group) -> Difference | None:
        """Return how far a group is from the baseline."""
        if self.base is None:
            return None
        return difference(self.result, group.counted(self.result), self.base)

    def delta_column(self) -> Column:
        """Return the column of differences to the baseline."""
        return Column(
            DELTA,
            f"Δ {self.result} vs baseline",
            f"{self.result.capitalize()} minus the baseline's, and in per cent of it",
            lambda e: self._delta(self.run_difference(e), baseline=self.baseline.is_run(e)),
            lambda e: getattr(self.run_difference(e), "absolute", None),
        )

    def _counted_result(self, group: Group) -> Result:
        own = (entry.summary.primary for entry in group.members)
        names = dict.fromkeys(("loss", "accuracy", *own))
        return max(names, key=lambda name: len(group.counted(name)))

    @staticmethod
    def _delta(found: Difference | None, *, baseline: bool) -> str:
        if baseline:
            return "baseline"
        return found.text if found else ""


def cell_context(
    entries: Sequence[Entry],
    interval: Interval = "ci95",
    baseline: Baseline | None = None,
    result: Result = "loss",
) -> CellContext:
    """Return what cells depend on; without the baseline's runs nothing is compared."""
    chosen = baseline or Baseline()
    base = chosen.results(entries, result) if chosen else None
    return CellContext(interval, chosen, result, base)


def in_order(values: Sequence[Any], *, descending: bool) -> list[int]:
    """Return the places of values in order; None is last in both directions, ties stay."""
    known = [place for place, value in enumerate(values) if value is not None]
    try:
        known.sort(key=lambda place: values[place], reverse=descending)
    except TypeError:  # numbers beside words
        known.sort(key=lambda place: _mixed(values[place]), reverse=descending)
    return known + [place for place, value in enumerate(values) if value is None]


def _mixed(value: Any) -> tuple[bool, float, str]:
    """Order numbers before words."""
    word = isinstance(value, str)
    return word, 0.0 if word else float(value), str(value)


def duration_text(seconds: float) -> str:
    """Write seconds as a person would: 4.2 s, 3:07 min, 1:02:03 h."""
    if math.isnan(seconds) or math.isinf(seconds):
        return ""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, _MINUTE)
    if whole < _HOUR:
        return f"{minutes}:{rest:02d} min"
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours}:{minutes:02d}:{rest:02d} h"


def started_text(started: float) -> str:
    """Write a time in seconds since 1970 as local date and time."""
    if math.isnan(started):
        return ""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(started))
    except (OverflowError, ValueError, OSError):
        return ""


def _own_column(own: Quantity) -> Column:
    return Column(
        own.id,
        f"{own.title} (%)" if unit_of(own.id) > 1 else own.label,
        f"{own.title}: the last number that the run has",
        lambda e: interval_text(unit_of(own.id) * e.summary.result(own.id), math.nan),
        lambda e: _known(e.summary.result(own.id)),
        result=own.id,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _ranges(seeds: Iterable[int]) -> str:
    """Write whole numbers short: 0-4, 7."""
    found: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if found and seed == found[-1][1] + 1:
            found[-1][1] = seed
        else:
            found.append([seed, seed])
    return ", ".join(str(low) if low == high else f"{low}–{high}" for low, high in found)


def _specs(catalogue: Catalogue) -> Mapping[str, OptionSpec]:
    found = {spec.name: spec for spec in catalogue.shared}
    owners = [(entry.id, entry.options) for entry in catalogue.algorithms]
    owners += [(entry.id, entry.options) for entry in catalogue.problems]
    for name, options in owners:
        found |= {f"{name}.{spec.name}": spec for spec in options}
    return found
