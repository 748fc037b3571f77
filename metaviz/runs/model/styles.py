"""Colours, dashes and labels that distinguish runs, in every plot and table."""

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from metaviz.charts.values import PALETTE, role_of
from metaviz.config.catalogue import shipped_catalogue
from metaviz.runs.model.record import Record

_ID_LETTERS = 4


_TOLD_OPTIONS = 2


DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True)
class Style:
    """Colour shows the algorithm, dash the seed."""

    color: str
    dash: str

    @property
    def role(self) -> str:
        """The colour's role in charts."""
        return role_of(self.color)


def styles(records: Sequence[Record]) -> dict[str, Style]:
    """Return a style for each run id; an algorithm keeps its colour whatever else is shown.

    The colour that a person gave to a run goes first.
    """
    found: dict[str, Style] = {}
    seen: Counter[str] = Counter()
    for record in records:
        color = record.marks.color or algorithm_color(record.algorithm)
        found[record.id] = Style(color, DASHES[seen[record.algorithm] % len(DASHES)])
        seen[record.algorithm] += 1
    return found


@cache
def algorithm_color(name: str) -> str:
    """Return the colour of an algorithm: a shipped one's own, or one that its id decides."""
    entry = shipped_catalogue().algorithm(name)
    place = entry.color if entry is not None else None
    return PALETTE[(zlib.crc32(name.encode()) if place is None else place) % len(PALETTE)]


def labels(records: Sequence[Record]) -> dict[str, str]:
    """Return a label for each run id.

    Runs that share a name get the options in which they differ, or the end of their id.
    """
    alike: dict[str, list[Record]] = {}
    for record in records:
        alike.setdefault(record.label, []).append(record)
    found: dict[str, str] = {}
    for label, same in alike.items():
        extra = _differences(same) if len(same) > 1 else [""]
        found |= {record.id: label + more for record, more in zip(same, extra, strict=True)}
    return {record.id: found[record.id] for record in records}


def _differences(records: Sequence[Record]) -> list[str]:
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
    return [f" ({record.id[-_ID_LETTERS:]})" for record in records]
