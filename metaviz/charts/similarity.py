"""How similar the query examples of a task are to its support examples, or to its classes."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from metaviz.charts.values import Axis, HeatMap

SIMILARITY, ATTENTION = "similarity", "attention"
"""The ids of the charts."""
MOST_ROWS, MOST_COLUMNS = 100, 100


def similarity_chart(
    values: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    title: str,
    meaning: str,
    levels: tuple[float, float] | None = None,
) -> HeatMap:
    """Show values (n, m) of query examples of classes (n,) and of columns of classes (m,).

    Both are ordered by class, and by their place within one; at most 100 of each are shown, as
    many of every class as there is room for. `levels` are the ends of the colours, by default the
    largest and the smallest value that is finite.
    """
    down, across = (
        shown(classes, most) for classes, most in ((rows, MOST_ROWS), (columns, MOST_COLUMNS))
    )
    picked = values[np.ix_(down, across)].astype(float)
    if levels is None:
        finite = picked[np.isfinite(picked)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        levels = low, high if high > low else low + 1.0
    single = len(np.unique(columns)) == len(columns)
    names = tuple(f"{n + 1}" for n in columns[across].tolist())
    return HeatMap(
        id=SIMILARITY,
        title=title,
        x=Axis("class" if single else "support example (class)"),
        y=Axis("query examples, by class"),
        values=picked,
        levels=levels,
        meaning=meaning,
        spans=spans(rows[down]),
        columns=names,
        diverging=False,
    )


def shown(classes: np.ndarray, most: int) -> np.ndarray:
    """Return places ordered by class, of each class as many as keep all within `most`."""
    known = np.unique(classes)[:most]
    room = max(1, most // max(1, len(known)))
    places = [np.flatnonzero(classes == n)[:room] for n in known.tolist()]
    return np.concatenate([np.empty(0, int), *places])


def spans(classes: Sequence[int] | np.ndarray) -> tuple[tuple[str, int, int], ...]:
    """Return runs of one class with their first place and the one after their last."""
    edges = [0, *(np.flatnonzero(np.diff(classes)) + 1).tolist(), len(classes)]
    return tuple((f"class {int(classes[a]) + 1}", a, b) for a, b in pairwise(edges))
