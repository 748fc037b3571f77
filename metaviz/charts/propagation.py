"""How labels spread over the graph of a task's examples."""

from collections.abc import Mapping, Sequence

import numpy as np

from metaviz.charts.values import PALETTE, Graph, Panels, Slider

PROPAGATION, STEPS = "propagation", "propagation-steps"
"""The ids of the charts."""
_NEIGHBOURS = 3


def propagation_chart(
    places: np.ndarray,
    names: tuple[str, ...],
    weights: np.ndarray,
    labels: Mapping[str, np.ndarray],
) -> Panels:
    """Show a graph with weights (n, n) at places (n, 2), once for each of `labels` (n, ways).

    A node has the colour of its largest label, and is grey while it has none. Of its edges the
    three strongest are drawn.
    """
    edges = _strongest(weights)
    graphs = tuple(
        Graph(
            id=f"{PROPAGATION} {when}",
            title=when,
            names=names,
            places=places,
            edges=edges,
            roles=tuple(map(_role, of_nodes)),
        )
        for when, of_nodes in labels.items()
    )
    title = "Labels spread over the graph of one task's examples"
    return Panels(id=PROPAGATION, title=title, charts=graphs, columns=2)


def steps_chart(
    places: np.ndarray, names: tuple[str, ...], weights: np.ndarray, labels: Sequence[np.ndarray]
) -> Graph:
    """Show the same graph with a slider; `labels` (n, ways) are those after 0, 1, ... steps.

    The last of them are those after infinitely many.
    """
    last = len(labels) - 1
    return Graph(
        id=STEPS,
        title="Labels step by step over the graph of one task's examples",
        names=names,
        places=places,
        edges=_strongest(weights),
        states=tuple(tuple(map(_role, of_nodes)) for of_nodes in labels),
        slider=Slider(f"steps of propagation ({last}: the end)", last + 1, last),
    )


def _strongest(weights: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Return each node's strongest edges to others, as pairs in order."""
    found = set()
    for node, row in enumerate(np.where(np.eye(len(weights), dtype=bool), 0, weights)):
        for other in np.argsort(-row, kind="stable")[:_NEIGHBOURS].tolist():
            if row[other] > 0:
                found.add((min(node, other), max(node, other)))
    return tuple(sorted(found))


def _role(label: np.ndarray) -> str:
    return f"method-{int(label.argmax()) % len(PALETTE)}" if label.any() else "muted"
