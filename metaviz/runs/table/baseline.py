"""How far a run, or a group of runs, is from the one that was chosen as baseline."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metaviz.config.options import Plain
from metaviz.config.quantities import Better, quantity_of, unit_of
from metaviz.files.foreign import ForeignError
from metaviz.files.values import of_kind, parsed_json, plain_table, required
from metaviz.runs.model.statistics import interval_text
from metaviz.runs.table.groups import Group, Result, value_of, welch
from metaviz.runs.table.summary import Entry

Verdict = Literal["better", "worse", "different", "same", "no clear difference"]
_BETTER: dict[Result, Better] = {"loss": "smaller", "accuracy": "larger", "seconds": "smaller"}
_ARROWS = {-1: "▼", 0: "=", 1: "▲"}


@dataclass(frozen=True)
class Difference:
    """A result minus the baseline's; `half` is Welch's 95 % half-width, NaN where n < 2."""

    result: Result
    absolute: float
    percent: float
    half: float
    verdict: Verdict
    better: Better

    @property
    def text(self) -> str:
        """Arrow, difference, its interval where there is one, and per cent of the baseline."""
        sign = (self.absolute > 0) - (self.absolute < 0)
        absolute, half = (unit_of(self.result) * value for value in (self.absolute, self.half))
        shown = f"{_ARROWS[sign]} {_signed(absolute, '.3g')}"
        if math.isfinite(half):
            shown = f"{_ARROWS[sign]} {interval_text(absolute, half, sign=True)}"
        if math.isfinite(self.percent):
            shown += f" ({_signed(self.percent, '.1f')} %)"
        return shown

    @property
    def tip(self) -> str:
        """Say in words which way the difference goes."""
        want = "lower" if self.better == "smaller" else "higher"
        text = f"{self.verdict.capitalize()}: {want} {self.result} is better."
        if self.verdict == "different":
            text = "Different: of this, neither less nor more is better."
        if self.verdict == "same":
            text = "The same as the baseline."
        if self.verdict == "no clear difference":
            text = "No clear difference: the interval of the difference contains 0."
        if math.isfinite(self.half):
            text += " ± is Welch's 95 % interval of the difference of means."
        return text


@dataclass(frozen=True)
class Baseline:
    """A run by id, or a group by the values of its keys."""

    run: str = ""
    keys: tuple[str, ...] = ()
    values: tuple[Plain, ...] = ()

    def __bool__(self) -> bool:
        """Return whether something was chosen."""
        return bool(self.run or self.keys)

    def is_run(self, entry: Entry) -> bool:
        """Return whether a run is the baseline."""
        return bool(self.run) and entry.id == self.run

    def is_group(self, group: Group) -> bool:
        """Return whether a group is the baseline."""
        return bool(self.keys) and (group.keys, group.values) == (self.keys, self.values)

    def results(self, entries: Iterable[Entry], result: Result) -> np.ndarray:
        """Return the finite results behind the baseline; empty where its runs are not there."""
        if self.run:
            found = [entry for entry in entries if entry.id == self.run]
            return finite([entry.summary.result(result) for entry in found])
        members = tuple(entry for entry in entries if self._holds(entry))
        return _group_of(members).counted(result) if self.keys else finite([])

    def to_text(self) -> str:
        """Write it down; `read_baseline` gives it back."""
        return json.dumps({"run": self.run, "keys": self.keys, "values": self.values})

    def _holds(self, entry: Entry) -> bool:
        pairs = zip(self.keys, self.values, strict=True)
        return all(value_of(entry, key) == value for key, value in pairs)


def read_baseline(text: str) -> Baseline:
    """Return what was written down; none where the text makes no sense."""
    try:
        found = of_kind(parsed_json(text), dict, "baseline")
        run = required(found, "run", str)
        keys = [of_kind(key, str, "keys") for key in required(found, "keys", list)]
        values = required(found, "values", list)
        pairs = plain_table(dict(zip(keys, values, strict=False)), "values")
    except ForeignError:
        return Baseline()
    if len(pairs) != len(values):
        return Baseline()
    return Baseline(run, tuple(pairs), tuple(pairs.values()))


def difference(
    result: Result, mine: np.ndarray, base: np.ndarray, better: Better | None = None
) -> Difference | None:
    """Return mean minus mean of finite results, or None where a side has none.

    `better` says which is better, where the result's name does not.
    """
    if not len(mine) or not len(base):
        return None
    absolute, half = welch(mine, base)
    reference = float(base.mean())
    percent = 100 * absolute / abs(reference) if reference else math.nan
    if better is None:
        better = _BETTER.get(result, quantity_of(result).better)
    verdict: Verdict = "same" if absolute == 0 else "different"
    if absolute and better:
        verdict = "better" if (absolute < 0) == (better == "smaller") else "worse"
    if math.isfinite(half) and 0 < abs(absolute) <= half:
        verdict = "no clear difference"
    return Difference(result, absolute, percent, half, verdict, better)


def finite(values: Iterable[float]) -> np.ndarray:
    """Return the values that are numbers."""
    return np.array([value for value in values if math.isfinite(value)], dtype=float)


def _group_of(members: tuple[Entry, ...]) -> Group:
    from metaviz.runs.model.styles import Style

    return Group("", (), (), members, Style("", "solid"))


def _signed(value: float, form: str) -> str:
    text = format(abs(value), form)
    return f"−{text}" if value < 0 else f"+{text}" if value > 0 else text
