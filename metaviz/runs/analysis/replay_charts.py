"""A run in slow motion: the graph of a meta-step, and its numbers up to where a person is."""

from dataclasses import dataclass

import numpy as np

from metaviz.charts.values import Axis, Graph, Lines, Panels, Series
from metaviz.runs.model.theory import Flow, Replay

_MOST_NODES = 7
_DIFFERENTIATED, _NOW, _PLAIN, _AHEAD = "method-1", "accent", "foreground", "grid"
_SAID: dict[Flow, str] = {
    "path": "The query loss is differentiated through every inner step: all of the path is lit.",
    "end": "The gradient of the query loss at the end of the path is used as it is: inner "
    "gradients count as constants, so that the end alone is lit.",
    "sum": "Nothing is differentiated through the path: the sum of its support gradients is the "
    "meta-gradient, so that every step is lit and the query loss is not.",
    "solve": "The path is not differentiated: a linear system at its end, (I + H/λ) x = ∇L_Q, "
    "gives the meta-gradient, so that the end alone is lit.",
    "start": "The query loss is differentiated at the start: the path is for show.",
    "other": "The method has a meta-gradient of its own, of which no part is lit here.",
}


@dataclass(frozen=True)
class Place:
    """Where a person is: a meta-step from 0, and k inner steps; beyond K its end."""

    outer: int = 0
    inner: int = 0


def after_inner(found: Replay, place: Place) -> Place:
    """Return the place one inner step later; behind the last one comes the end of the meta-step."""
    if place.inner <= last_inner(found, place):
        return Place(place.outer, place.inner + 1)
    return after_outer(found, place)


def after_outer(found: Replay, place: Place) -> Place:
    """Return the beginning of the next meta-step, or of the first behind the last."""
    return Place((place.outer + 1) % len(found.steps))


def last_inner(found: Replay, place: Place) -> int:
    """Return the number of inner steps K."""
    return len(found.steps[place.outer].query_loss) - 1


def replay_charts(found: Replay, place: Place) -> Panels:
    """Show the graph of the meta-step, its inner steps so far, and the meta-steps so far."""
    charts = (graph(found, place), _inner(found, place), _outer(found, place))
    return Panels(id="replay", charts=charts, columns=3)


def graph(found: Replay, place: Place) -> Graph:
    """Show start, inner steps, query loss and meta-gradient; what is differentiated is lit.

    Steps that are yet to come are pale. Of a long path some steps in the middle are left out.
    """
    last = last_inner(found, place)
    shown = _chosen(last)
    state = "z" if found.dual else "φ"
    names = ["θ" if k == 0 else f"{state}{_raised(k)}" for k in shown]
    places = [(float(at), 0.0) for at in range(len(shown))]
    edges = [(at, at + 1) for at in range(len(shown) - 1)]
    query, meta = len(shown), len(shown) + 1
    roles = [_role(found.flow, k, last, place) for k in shown]
    ended = place.inner > last
    lit = ended and found.flow in {"path", "end", "solve", "start"}
    names += ["L_Q", "meta-gradient"]
    middle = (len(shown) - 1) / 2
    places += [(float(len(shown) - 1), 1.0), (middle, 1.0)]
    edges += [(0 if found.flow == "start" else query - 1, query), (query, meta), (meta, 0)]
    roles += [_DIFFERENTIATED if lit else _PLAIN if place.inner >= last else _AHEAD]
    roles += [_NOW if ended else _AHEAD]
    return Graph(
        id="replay-graph",
        title="What is differentiated",
        names=tuple(names),
        places=np.array(places),
        edges=tuple(edges),
        roles=tuple(roles),
        x=Axis(limits=(-0.8, len(shown) - 0.2)),
        y=Axis(limits=(-0.4, 1.5)),
    )


def replay_text(found: Replay, place: Place) -> str:
    """Tell the numbers of the step that a person is at."""
    one, last = found.steps[place.outer], last_inner(found, place)
    if place.inner > last:
        readings, change = one.readings, ", ".join(
            f"{name} by {value:.3g}" for name, value in sorted(one.change.items())
        )  # fmt: skip
        norm = readings.get("meta_gradient_norm", float("nan"))
        words = [
            f"Meta-step {one.step}, at its end: meta-gradient of length {norm:.6g} moves {change}."
        ]
        words.append(_SAID[found.flow])
    else:
        k = place.inner
        words = [
            f"Meta-step {one.step}, k = {k} of {last}: support loss {one.support_loss[k]:.6g}, "
            f"query loss {one.query_loss[k]:.6g}, |∇L_S| = {one.gradient_norm[k]:.4g}, "
            f"|φᵏ − θ| = {one.moved[k]:.4g}."
        ]
        if found.dual:
            words.append("Inner steps move a state z, of which the weights are a function.")
    words.append(f"Means over the meta-batch; the first {len(found.steps)} meta-steps of the run.")
    return "\n".join(words)


def _role(flow: Flow, k: int, last: int, place: Place) -> str:
    if k > place.inner:
        return _AHEAD
    if place.inner <= last:
        return _NOW if k == place.inner else _PLAIN
    lit = {
        "path": True,
        "sum": k > 0,
        "end": k == last,
        "solve": k == last,
        "start": k == 0,
        "other": False,
    }
    return _DIFFERENTIATED if lit[flow] else _PLAIN


def _chosen(last: int) -> list[int]:
    """Return the inner steps that have a node, at most seven."""
    chosen = np.linspace(0, last, min(last + 1, _MOST_NODES)).round().astype(int)
    return [int(k) for k in np.unique(chosen)]


def _inner(found: Replay, place: Place) -> Lines:
    one = found.steps[place.outer]
    count = min(place.inner, last_inner(found, place)) + 1
    k = np.arange(float(count))
    rows = {
        "support": ("support loss", one.support_loss, "method-0"),
        "query": ("query loss", one.query_loss, "method-1"),
    }
    every = np.concatenate([one.support_loss, one.query_loss])
    return Lines(
        id="replay-inner",
        title=f"Inner steps of meta-step {one.step}",
        x=Axis("inner step k", whole=True, limits=(-0.3, len(one.query_loss) - 0.7)),
        y=Axis("loss", limits=_room(every)),
        series=tuple(
            Series(name, k, values[:count], label, role, width=1.5, dots=7)
            for name, (label, values, role) in rows.items()
        ),
    )


def _outer(found: Replay, place: Place) -> Lines:
    done = place.outer + (place.inner > last_inner(found, place))
    kept = found.steps[:done]
    rows = {"pre": ("query loss before", 0, "method-0"), "post": ("after", -1, "method-1")}
    every = np.array([one.query_loss[[0, -1]] for one in found.steps]).ravel()
    steps = np.array([one.step for one in kept], dtype=float)
    return Lines(
        id="replay-outer",
        title="Meta-steps so far",
        x=Axis("meta-step", whole=True, limits=(0.5, len(found.steps) + 0.5)),
        y=Axis("loss", limits=_room(every)),
        series=tuple(
            Series(
                name, steps, np.array([one.query_loss[at] for one in kept]), label, role,
                width=1.5, dots=7,
            )
            for name, (label, at, role) in rows.items()
        ),
    )  # fmt: skip


def _room(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    aside = 0.08 * (high - low) or 0.5
    return low - aside, high + aside


def _raised(k: int) -> str:
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(k))
