"""What runs are called, in legends, tables and figures."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

from metaviz.config.catalogue import shipped_catalogue
from metaviz.config.options import Plain
from metaviz.runs.model.marks import Marks

_ID_LETTERS = 4
_TOLD_OPTIONS = 3

ABSENT = "–"
SYMBOLS = {
    "inner_lr": "α",
    "inner_steps": "K",
    "outer_lr": "β",
    "meta_batch": "B",
    "ways": "N",
    "clip_norm": "Clip",
    "total_steps": "Steps",
    "dtype": "Precision",
    "amendments": "Amended",
}
"""Short headings of hyperparameters, the papers' symbols where there are any."""


class Labelled(Protocol):
    """What is known of a run that has a label."""

    id: str
    config: dict[str, Any]

    @property
    def label(self) -> str:
        """Name given by a person, or algorithm and seed."""

    @property
    def applied(self) -> dict[str, Any]:
        """The configuration without what means nothing for its method."""


def run_label(marks: Marks, algorithm: str, seed: int) -> str:
    """Return the name given by a person, or algorithm and seed."""
    return marks.name or f"{algorithm_title(algorithm)} · seed {seed}"


def told(key: str, value: Plain) -> str:
    """Say what a hyperparameter is, as in α = 0.03."""
    text = ABSENT if value is None else text_of(value)
    return f"{SYMBOLS.get(key, key)} = {text}"


def text_of(value: Plain) -> str:
    """Write a value as a person would."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return "" if value is None else str(value)


@cache
def algorithm_title(name: str) -> str:
    """Return what papers call an algorithm; one that is not shipped has its id alone."""
    entry = shipped_catalogue().algorithm(name)
    return entry.title if entry is not None else name


@cache
def problem_title(name: str) -> str:
    """Return what a problem is called; one that is not shipped has its id alone."""
    titles = {problem.id: problem.title for problem in shipped_catalogue().problems}
    return titles.get(name, name)


def labels(records: Sequence[Labelled]) -> dict[str, str]:
    """Return a label for each run id.

    Runs that share a name get the options in which they differ, or the end of their id.
    """
    alike: dict[str, list[Labelled]] = {}
    for record in records:
        alike.setdefault(record.label, []).append(record)
    found: dict[str, str] = {}
    for label, same in alike.items():
        extra = _differences(same) if len(same) > 1 else [""]
        found |= {record.id: label + more for record, more in zip(same, extra, strict=True)}
    return {record.id: found[record.id] for record in records}


def _differences(records: Sequence[Labelled]) -> list[str]:
    """Return what distinguishes runs with the same name."""
    options = [
        {
            **record.applied.get("shared", {}),
            **record.config.get("options", {}),
            **record.config.get("problem_options", {}),
        }
        for record in records
    ]
    known = dict.fromkeys(key for values in options for key in values)
    keys = [key for key in known if len({repr(values.get(key)) for values in options}) > 1]
    for count in range(1, len(keys[:_TOLD_OPTIONS]) + 1):
        used = keys[:count]
        texts = ["".join(f" · {told(key, values.get(key))}" for key in used) for values in options]
        if len(set(texts)) == len(texts):
            return texts
    ends = [record.id[-_ID_LETTERS:] for record in records]
    whole = len(set(ends)) < len(ends)
    return [f" ({record.id if whole else end})" for record, end in zip(records, ends, strict=True)]
