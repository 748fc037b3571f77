"""Where a task's examples lie in a network's embedding."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from metaviz.charts.values import PALETTE, Axis, Scatter, Series

EMBEDDING = "embedding"
"""The id of the chart."""
MOST_CLASSES, MOST_EXAMPLES = 20, 50
_KINDS = (("prototype", 16.0, 0.35), ("query", 5.0, 0.6), ("support", 8.0, 1.0))
"""Diameters and opacities, the lowest first: with one shot, support lies on the prototype."""


def embedding_chart(
    points: Mapping[str, tuple[np.ndarray, np.ndarray]], begins: np.ndarray | None = None
) -> Scatter:
    """Show embeddings (n, d) of classes (n,), by kind: prototype, query and support.

    Axes are the first two principal components of the support and query examples. At most 20
    classes and 50 examples of a class are drawn. Where prototypes began elsewhere, a line leads
    from each of those points (classes, d) to them.
    Raises: LinAlgError where an embedding is not finite.
    """
    examples = np.concatenate([points[kind][0] for kind in ("support", "query")])
    middle = examples.mean(0)
    axes, across, up = plane_of(examples - middle)
    series = []
    for kind, dots, alpha in _KINDS:
        embedded, classes = points[kind]
        for n in np.unique(points["prototype"][1])[:MOST_CLASSES].tolist():
            x, y = axes @ (embedded[classes == n][:MOST_EXAMPLES] - middle).T
            label = f"class 1: {kind}" if n == 0 else f"class {n + 1}" * (kind == "prototype")
            look = Series(f"{kind} {n}", x, y, label, f"method-{n % len(PALETTE)}")
            series.append(replace(look, width=0, dots=dots, alpha=alpha))
    prototypes, classes = points["prototype"]
    starts = prototypes[:0] if begins is None else begins[:MOST_CLASSES]
    for start, end, n in zip(starts, prototypes, classes.tolist(), strict=False):
        x, y = axes @ (np.stack([start, end]) - middle).T
        series.append(Series(f"path {n}", x, y, "", f"method-{n % len(PALETTE)}", width=2.0))
    title = "Embeddings, first two principal components (% of variance)"
    return Scatter(id=EMBEDDING, title=title, x=across, y=up, series=tuple(series))


def plane_of(centred: np.ndarray) -> tuple[np.ndarray, Axis, Axis]:
    """Return the first two principal components (2, d), and axes that name their shares."""
    axes, shares = principal(centred)
    across, up = (
        Axis(f"{name} component ({100 * share:.3g} %)")
        for name, share in zip(("1st", "2nd"), shares.tolist(), strict=True)
    )
    return axes, across, up


def principal(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first two principal components (2, d) and their shares of the variance (2,).

    The largest weight of a component is positive, so that pictures of different meta-steps do not
    flip. Where there is only one dimension, the second component is zero.
    """
    lengths, rows = np.linalg.svd(centred.astype(float), full_matrices=False)[1:]
    rows, squares = np.pad(rows, ((0, 2), (0, 0)))[:2], np.pad(lengths**2, (0, 2))
    largest = np.take_along_axis(rows, np.abs(rows).argmax(1, keepdims=True), 1)
    return rows * np.where(largest < 0, -1, 1), squares[:2] / max(squares.sum(), 1e-300)
