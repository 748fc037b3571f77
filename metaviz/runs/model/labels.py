"""What runs are called, in legends, tables and figures."""

from collections.abc import Sequence
from typing import Any, Protocol

from metaviz.runs.model.marks import Marks

_ID_LETTERS = 4
_TOLD_OPTIONS = 2


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
    return marks.name or f"{algorithm} · seed {seed}"


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
        {**record.applied.get("shared", {}), **record.config.get("options", {})}
        for record in records
    ]
    keys = [key for key in options[0] if len({repr(values.get(key)) for values in options}) > 1][
        :_TOLD_OPTIONS
    ]
    texts = [" · ".join(["", *(f"{key} {values.get(key)}" for key in keys)]) for values in options]
    if keys and len(set(texts)) == len(texts):
        return texts
    ends = [record.id[-_ID_LETTERS:] for record in records]
    whole = len(set(ends)) < len(ends)
    return [f" ({record.id if whole else end})" for record, end in zip(records, ends, strict=True)]
