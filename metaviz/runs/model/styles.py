"""Colours, dashes and labels that distinguish runs, in every plot and table."""

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from metaviz.charts import values
from metaviz.charts.values import LOOKS, PALETTE, Ticks, role_of
from metaviz.config.catalogue import shipped_catalogue
from metaviz.runs.model.record import Record

DASHES = tuple(values.DASHES)


@dataclass(frozen=True)
class Style:
    """Colour and marker show the algorithm, dash the seed; curves that look alike have numbers."""

    color: str
    dash: str
    number: int = 0
    marker: str = "o"

    @property
    def mark(self) -> str:
        """What stands behind the curve's name, and its number at its end; mostly empty."""
        return f" [{self.number}]" if self.number else ""

    @property
    def role(self) -> str:
        """The colour's role in charts."""
        return role_of(self.color)


def styles(records: Sequence[Record]) -> dict[str, Style]:
    """Return a style for each run id; an algorithm keeps its colour whatever else is shown.

    The colour that a person gave to a run goes first. One seed has one dash in all algorithms,
    whatever order the runs are in, unless an algorithm has several runs of a seed to tell apart.
    """
    seeds = sorted({record.seed for record in records})
    most = max(Counter((record.algorithm, record.seed) for record in records).values(), default=1)
    alike: Counter[str] = Counter()
    found: dict[str, Style] = {}
    for record in sorted(records, key=lambda one: (one.seed, one.id)):
        place = seeds.index(record.seed) if most == 1 else alike[record.algorithm]
        alike[record.algorithm] += 1
        color = record.marks.color or algorithm_color(record.algorithm)
        marker = algorithm_marker(record.algorithm)
        found[record.id] = Style(color, DASHES[place % len(DASHES)], marker=marker)
    return numbered({record.id: found[record.id] for record in records})


def numbered(looks: Mapping[str, Style]) -> dict[str, Style]:
    """Number the curves that look as another one does, from 1."""
    alike, found = Counter(looks.values()), dict(looks)
    twice = (name for name, style in looks.items() if alike[style] > 1)
    return found | {name: replace(looks[name], number=place) for place, name in enumerate(twice, 1)}


def ends(curves: Iterable[tuple[Style, np.ndarray]]) -> Ticks:
    """Return the numbers of curves, at the heights where these end."""
    return tuple(
        (float(y[np.isfinite(y)][-1]), str(style.number))
        for style, y in curves
        if style.number and np.isfinite(y).any()
    )


def algorithm_color(name: str) -> str:
    """Return the colour of an algorithm: a shipped one's own, or one that its id decides."""
    return PALETTE[_number(name) % len(PALETTE)]


def algorithm_marker(name: str) -> str:
    """Return the shape of an algorithm's dots, which tells it from others of its colour."""
    return LOOKS[_number(name) % len(LOOKS)]


@cache
def _number(name: str) -> int:
    entry = shipped_catalogue().algorithm(name)
    place = entry.color if entry is not None else None
    return zlib.crc32(name.encode()) if place is None else place
