"""What a table knows of each run: a few numbers, its settings and a person's marks."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from metaviz.config.options import Plain
from metaviz.config.quantities import Quantity, primary_of
from metaviz.config.run_config import amendment_texts, settings_of
from metaviz.runs.model.events import Evaluated
from metaviz.runs.model.labels import run_label
from metaviz.runs.model.marks import Marks
from metaviz.runs.model.record import Record

RESULTS = ("loss", "accuracy", "seconds")
"""Numbers that every table of runs can show."""
OWN = ("inner_lr", "inner_steps", "clip_norm")
"""Shared hyperparameters that a method may replace by its own option of the same name."""
_DAY = 86_400.0
"""By so much the clock of another computer may be ahead; later times are not known."""


@dataclass(frozen=True)
class Summary:
    """The numbers of one row. NaN where there is none; `started` is in seconds since 1970.

    `own` holds the last numbers of quantities that not every run has.
    """

    algorithm: str
    problem: str
    seed: int
    state: str
    message: str
    step: int
    total: int
    loss: float
    loss_ci95: float
    accuracy: float
    accuracy_ci95: float
    seconds: float
    inner_steps: int
    inner_lr: float
    started: float = np.nan
    device: str = ""
    version: str = ""
    own: tuple[tuple[Quantity, float], ...] = ()

    def result(self, name: str) -> float:
        """Return a number of RESULTS, or one of the run's own by its id; NaN without one."""
        if name in RESULTS:
            return float(getattr(self, name))
        return next((value for quantity, value in self.own if quantity.id == name), np.nan)

    @property
    def primary(self) -> str:
        """The result by which the run is judged."""
        ids = {"query_loss": "loss", "query_accuracy": "accuracy"}
        names = [*ids, *(quantity.id for quantity, _ in self.own)]
        found = primary_of(n for n in names if math.isfinite(self.result(ids.get(n, n))))
        return "loss" if found is None else ids.get(found.id, found.id)


@dataclass(eq=False)
class Entry:
    """One run of a table."""

    id: str
    folder: Path | None
    config: dict[str, Any]
    summary: Summary
    marks: Marks = field(default_factory=Marks)
    stamp: str = ""
    """Tells the files behind the summary from changed ones; empty for runs that train here."""

    @cached_property
    def values(self) -> dict[str, Plain]:
        """Every hyperparameter that the run has, by key; see `hyperparameters`."""
        return hyperparameters(self.config, self.summary.inner_steps)

    @property
    def keys(self) -> list[str]:
        """What of the run can be searched: hyperparameters, and quantities of its own."""
        return [*self.values, *(quantity.id for quantity, _ in self.summary.own)]

    @property
    def label(self) -> str:
        """Name given by a person, or algorithm and seed."""
        return run_label(self.marks, self.summary.algorithm, self.summary.seed)

    @property
    def haystack(self) -> str:
        """Everything that words of a search are compared with, case-folded."""
        made = self.__dict__.get("_haystack")
        if made is None or made[0] is not self.marks or made[1] is not self.summary:
            made = self.__dict__["_haystack"] = (self.marks, self.summary, self._words())
        text: str = made[2]
        return text

    def _words(self) -> str:
        s, marks = self.summary, self.marks
        parts = (self.label, self.id, s.algorithm, s.problem, *marks.tags, marks.notes)
        return "\n".join(parts).casefold()


def entry_of(record: Record, folder: Path | None, started: float = np.nan) -> Entry:
    """Return the row of a record."""
    return Entry(record.id, folder, record.applied, summarise(record, started), record.marks)


def own_of(entries: Iterable[Entry]) -> dict[str, Quantity]:
    """Return the quantities that runs have of their own, by id."""
    return {own.id: own for entry in entries for own, _ in entry.summary.own}


def summarise(record: Record, started: float = np.nan) -> Summary:
    """Return the numbers of one row from a record."""
    last = record.evaluations[-1] if record.evaluations else Evaluated(0, 0, 0, {})
    config, environment = record.applied, record.environment
    rate, steps = inner_loop_of(record)
    return Summary(
        algorithm=record.algorithm,
        problem=record.problem,
        seed=record.seed,
        state=record.state,
        message=record.message,
        step=record.step,
        total=record.total_steps,
        loss=last.at("query_loss"),
        loss_ci95=last.at("query_loss_ci95"),
        accuracy=last.at("query_accuracy"),
        accuracy_ci95=last.at("query_accuracy_ci95"),
        seconds=float(record.column("seconds")[-1]) if len(record) else np.nan,
        inner_steps=int(steps or 0),
        inner_lr=float(rate or np.nan),
        started=started if 0 <= started < time.time() + _DAY else np.nan,
        device=str(environment.get("device", config.get("device", ""))),
        version=str(environment.get("metaviz", "")),
        own=tuple(record.own_results().values()),
    )


def hyperparameters(config: dict[str, Any], inner_steps: int = 0) -> dict[str, Plain]:
    """Return the hyperparameters in effect that have a value, by the key that `--set` takes.

    A method's own value replaces the shared one under the shared key. `inner_steps` is the number
    that an evaluation found in use, 0 where there was none.
    """
    found = {"total_steps": config.get("steps"), "dtype": config.get("dtype")}
    shared, own = settings_of(config)
    found |= shared
    algorithm, problem = config["algorithm"], config["problem"]
    found["amendments"] = "; ".join(amendment_texts(config)) or None
    for key, value in own.items():
        if key not in OWN:
            found[f"{algorithm}.{key}"] = value
        elif value is not None:
            found[key] = value
    if inner_steps:
        found["inner_steps"] = inner_steps
    for key, value in config.get("problem_options", {}).items():
        found[f"{problem}.{key}"] = value
    return {key: value for key, value in found.items() if value is not None}


def inner_loop_of(record: Record) -> tuple[float | None, int | None]:
    """Return the step size and the steps of the inner loop in force; None where there is none.

    Runs of 0.1 do not store them, and amendments change them: then settings and evaluations decide.
    """
    if record.resolved and not record.config.get("amendments"):
        return record.resolved.get("inner_lr"), record.resolved.get("inner_steps")
    shared, own = settings_of(record.applied)
    rate, steps = (own.get(key) or shared.get(key) for key in ("inner_lr", "inner_steps"))
    return rate, record.evaluations[-1].trained_steps if record.evaluations else steps
