"""Lines of equal height on a plane, as one curve with gaps."""

import numpy as np

_CORNERS = ((0, 0), (1, 0), (1, 1), (0, 1))
"""The corners of a cell in the order of its sides, each of which leads to the next corner."""
_PAIR, _SADDLE = 2, 4


def contours(
    u: np.ndarray, v: np.ndarray, heights: np.ndarray, levels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pieces of all levels with gaps between them, x and y of shape (3 pieces,).

    Shapes: u (n,), v (m,), heights (n, m), levels (l,). Marching squares: a piece joins the places
    where a level crosses two sides of a cell; where it crosses four, both pairs are joined.
    """
    above = heights > levels[:, None, None]
    rows, columns = heights.shape
    corners = [above[:, a : rows - 1 + a, b : columns - 1 + b] for a, b in _CORNERS]
    count = np.add.reduce(corners, dtype=np.int8)
    level, row, column = np.nonzero((count > 0) & (count < len(_CORNERS)))
    at = np.array([heights[row + a, column + b] for a, b in _CORNERS]) - levels[level]
    to = np.roll(at, -1, axis=0)
    hits = (at > 0) != (to > 0)
    share = at / np.where(hits, at - to, 1.0)
    x, y = (
        np.array([ends[place + corner[axis]] for corner in _CORNERS])
        for axis, (ends, place) in enumerate(((u, row), (v, column)))
    )
    x, y = (ends + share * (np.roll(ends, -1, axis=0) - ends) for ends in (x, y))
    crossed = hits.sum(0)
    order = np.argsort(~hits, axis=0, kind="stable")
    pieces = []
    for chosen, first in ((crossed >= _PAIR, 0), (crossed == _SADDLE, 2)):
        cells = np.flatnonzero(chosen)
        sides = order[first : first + 2, cells]
        pieces.append(
            np.array([[*one[sides, cells], np.full(len(cells), np.nan)] for one in (x, y)])
        )
    joined_x, joined_y = np.concatenate(pieces, axis=2)
    return joined_x.T.ravel(), joined_y.T.ravel()
