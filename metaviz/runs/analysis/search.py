"""What a search has found: how its surrogate predicts, its best cells, and pictures of both."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from metaviz.charts.values import Axis, Chart, Graph, Lines, Mark, Scatter, Series
from metaviz.config.cells import (
    IMAGE_OPERATIONS,
    INPUTS,
    VECTOR_OPERATIONS,
    Cell,
    depths,
    loose_ends,
    parse_cell,
)
from metaviz.config.search import LABEL
from metaviz.runs.storage.searches import ChildProgress, Progress
from metaviz.runs.table.groups import spread

GROUPS = {"top": "top K", "random": "random controls"}
_FEWEST = 3
"""A rank correlation of fewer points says nothing."""
_SEARCHED = frozenset({"all", "top", "random"})

_OPERATIONS = tuple(dict.fromkeys((*IMAGE_OPERATIONS, *VECTOR_OPERATIONS)))
_BOXES = ("foreground", "accent", "muted")


def measured(progress: Progress) -> list[tuple[int, ChildProgress]]:
    """Return the children that are over and their generation's number, in order."""
    return [
        (one.number, child)
        for one in progress.generations
        for child in one.children
        if child.score is not None
    ]


def cells_of(progress: Progress) -> list[tuple[int, ChildProgress]]:
    """Return the cells of the search that are over."""
    return [(number, child) for number, child in measured(progress) if child.kind in _SEARCHED]


def best_of(progress: Progress) -> ChildProgress | None:
    """Return the best cell until now."""
    found = sorted(cells_of(progress), key=lambda pair: (-(pair[1].score or 0), pair[1].cell))
    return found[0][1] if found else None


def rank_correlation(predicted: Sequence[float], found: Sequence[float]) -> float:
    """Return Spearman's rank correlation; NaN for fewer than three, or where one side is equal."""
    if len(predicted) < _FEWEST:
        return math.nan
    ranks = np.array([_ranks(np.asarray(values, dtype=float)) for values in (predicted, found)])
    if any(np.ptp(one) == 0 for one in ranks):
        return math.nan
    return float(np.corrcoef(ranks)[0, 1])


def predictions(progress: Progress, kind: str = "", number: int = 0) -> tuple[list[float], ...]:
    """Return predicted scores and those measured, of a kind and a generation, or of all."""
    pairs = [
        (child.predicted, child.score)
        for of, child in cells_of(progress)
        if child.predicted is not None and child.score is not None
        if kind in {"", child.kind} and number in {0, of}
    ]
    return [p for p, _ in pairs], [m for _, m in pairs]


def agreement(progress: Progress, kind: str = "", number: int = 0) -> dict[str, float | int | None]:
    """Return number, rank correlation and mean error of predictions; None where unknown."""
    predicted, found = predictions(progress, kind, number)
    errors = [abs(p - m) for p, m in zip(predicted, found, strict=True)]
    correlation = rank_correlation(predicted, found)
    return {
        "count": len(predicted),
        "spearman": None if math.isnan(correlation) else correlation,
        "mean_error": float(np.mean(errors)) if errors else None,
    }


def headline(progress: Progress) -> list[dict[str, Any]]:
    """Return what was trained at length: means over seeds with 95 % intervals."""
    rows: dict[str, list[ChildProgress]] = {}
    for _, child in measured(progress):
        if child.kind == "final":
            rows.setdefault(child.role, []).append(child)
    found = []
    for role, children in rows.items():
        scores = [child.score or 0.0 for child in children]
        over = spread(np.array(scores), "ci95")
        found.append(
            {
                "network": role,
                "cell": children[0].cell,
                "parameters": children[0].parameters,
                "scores": scores,
                "mean": over.mean,
                "ci95": None if math.isnan(over.half) else over.half,
            }
        )
    return found


def search_values(progress: Progress) -> dict[str, Any]:
    """Return plain values of all there is, for `--json`."""
    best = best_of(progress)
    return {
        "method": LABEL,
        "name": progress.name,
        "problem": progress.problem,
        "done": progress.is_done,
        "score": "accuracy" if progress.is_accuracy else "1 / (1 + loss)",
        "trained": len(measured(progress)),
        "best": None if best is None else best.cell,
        "surrogate": {
            "top": agreement(progress, "top"),
            "random": agreement(progress, "random"),
            "generations": {
                str(one.number): agreement(progress, number=one.number)
                for one in progress.generations
                if any(child.predicted is not None for child in one.children)
            },
        },
        "headline": headline(progress),
        "generations": [one.model_dump(mode="json") for one in progress.generations],
    }


def search_table(progress: Progress) -> list[str]:
    """Return what a person wants to read of a search, in lines."""
    state = "done" if progress.is_done else "under way"
    over = measured(progress)
    lines = [
        f"{LABEL} on {progress.problem}, search {progress.name}: {state}, {len(over)} trained."
    ]
    for one in progress.generations:
        there = [child for child in one.children if child.score is not None]
        final = any(child.kind == "final" for child in one.children)
        what = "at length, on test tasks" if final else f"of {one.candidates} candidates"
        lines.append(
            f"  generation {one.number}: {len(there)} of {len(one.children)} trained, {what}"
        )
        lost = [child for child in there if child.state != "done"]
        lines += [f"    {child.label} {child.state}: counts as 0." for child in lost]
    for kind, name in GROUPS.items():
        found = agreement(progress, kind)
        if found["count"]:
            rho = "unknown" if found["spearman"] is None else f"{found['spearman']:.2f}"
            error = scored(progress, float(found["mean_error"] or 0))
            lines.append(
                f"  predicted against measured, {name}: Spearman {rho}, mean error {error} "
                f"({found['count']} cells)"
            )
    best = best_of(progress)
    if best is not None and best.score is not None:
        lines.append(f"  best cell: {best.cell} ({scored(progress, best.score)})")
    for row in headline(progress):
        half = "" if row["ci95"] is None else f" ± {scored(progress, row['ci95'])}"
        size = "" if row["parameters"] is None else f", {row['parameters']} parameters"
        seeds = f"{len(row['scores'])} seeds" if len(row["scores"]) > 1 else "1 seed"
        lines.append(f"  {row['network']}: {scored(progress, row['mean'])}{half} ({seeds}{size})")
    return lines


def scored(progress: Progress, score: float) -> str:
    """Write a score as a person reads it: per cent where it is an accuracy."""
    return f"{100 * score:.1f} %" if progress.is_accuracy else f"{score:.3f}"


def _axis(progress: Progress) -> Axis:
    return Axis("validation accuracy", "%") if progress.is_accuracy else Axis("1 / (1 + loss)")


def _scale(progress: Progress) -> float:
    return 100.0 if progress.is_accuracy else 1.0


def search_charts(progress: Progress) -> list[Chart]:
    """Return all that is drawn of a search, the best cell where there is one last."""
    makers = (progress_chart, surrogate_chart, parameters_chart, headline_chart)
    best = best_of(progress)
    return [*(make(progress) for make in makers), *([cell_chart(best.cell)] if best else [])]


def progress_chart(progress: Progress) -> Scatter:
    """Draw every child in the order of training, with its interval, and the best until then."""
    scale, pairs = _scale(progress), cells_of(progress)
    places = np.arange(1, len(pairs) + 1, dtype=float)
    scores = scale * np.array([child.score or 0.0 for _, child in pairs])
    halves = scale * np.array([child.half or 0.0 for _, child in pairs])
    numbers = np.array([number for number, _ in pairs])
    drawn = np.array([child.kind == "random" for _, child in pairs])
    series = []
    for number in sorted(set(numbers.tolist())):
        for random in (False, True):
            some = (numbers == number) & (drawn == random)
            if some.any():
                blocks = f"{number} block{'s' if number > 1 else ''}"
                series.append(
                    Series(
                        f"{'random' if random else 'chosen'}-{number}",
                        places[some],
                        scores[some],
                        f"{blocks}, random" if random else blocks,
                        f"method-{number - 1}",
                        width=0,
                        dots=8,
                        low=(scores - halves)[some],
                        high=(scores + halves)[some],
                        filled=not random,
                    )
                )
    if len(pairs):
        best = np.maximum.accumulate(scores)
        series.append(Series("best", places, best, "best until then", "foreground", width=1.5))
    return Scatter(
        id="search-progress",
        title="Children",
        x=Axis("child, in the order of training", whole=True),
        y=_axis(progress),
        series=tuple(series),
        message="" if pairs else "No child is trained yet.",
    )


def surrogate_chart(progress: Progress) -> Scatter:
    """Draw predicted against measured scores, the controls apart, with the diagonal."""
    scale, series, ends = _scale(progress), [], list[float]()
    for number in (2, 3, 4, 5):
        for kind, name in GROUPS.items():
            predicted, found = predictions(progress, kind, number)
            if predicted:
                ends += [*predicted, *found]
                series.append(
                    Series(
                        f"{kind}-{number}",
                        scale * np.array(predicted),
                        scale * np.array(found),
                        f"{number} blocks, {name}",
                        f"method-{number - 1}",
                        width=0,
                        dots=9,
                        filled=kind == "top",
                    )
                )
    if ends:
        line = scale * np.array([min(ends), max(ends)])
        series.append(Series("diagonal", line, line, "", "muted", "dash"))
    axis = _axis(progress)
    return Scatter(
        id="search-surrogate",
        title="Surrogate",
        x=Axis(f"predicted {axis.title}", axis.unit),
        y=Axis(f"measured {axis.title}", axis.unit),
        series=tuple(series),
        message="" if ends else "The surrogate predicts from the second generation on.",
    )


def parameters_chart(progress: Progress) -> Scatter:
    """Draw scores against the number of parameters, the front of the best, and usual networks."""
    scale = _scale(progress)
    known = [
        (n, child) for n, child in measured(progress) if child.parameters and child.kind != "final"
    ]
    series = []
    cells = [child for _, child in known if child.kind in _SEARCHED]
    if cells:
        x, y = _sizes(cells), scale * np.array([child.score or 0.0 for child in cells])
        series.append(Series("cells", x, y, "cells", "method-0", width=0, dots=8, filled=False))
        order = np.lexsort((-y, x))
        best = np.maximum.accumulate(y[order])
        front = order[np.r_[True, best[1:] > best[:-1]]]
        series.append(Series("front", x[front], y[front], "front", "method-0", width=1.5))
    marks = []
    for place, (_, child) in enumerate((n, c) for n, c in known if c.kind == "reference"):
        at = scale * (child.score or 0.0)
        role = f"method-{1 + place}"
        series.append(
            Series(
                *(child.label, _sizes([child]), np.array([at]), child.label, role),
                width=0,
                dots=11,
            )
        )
        marks.append(Mark(child.label, at, "y", role=role))
    return Scatter(
        id="search-parameters",
        title="Parameters",
        x=Axis("parameters", log=True),
        y=_axis(progress),
        series=tuple(series),
        marks=tuple(marks),
        message="" if series else "No child is trained yet.",
    )


def headline_chart(progress: Progress) -> Lines:
    """Draw what was trained at length, seed by seed, with the mean of each network."""
    scale, rows = _scale(progress), headline(progress)
    series, ticks = [], []
    for place, row in enumerate(rows):
        scores = scale * np.array(row["scores"])
        x = np.full(len(scores), float(place))
        role = f"method-{place}"
        series.append(Series(f"seeds-{place}", x, scores, "", role, width=0, dots=7, filled=False))
        middle = np.array([scale * row["mean"]])
        series.append(
            Series(f"mean-{place}", np.array([float(place)]), middle, "", role, width=0, dots=11)
        )
        ticks.append((float(place), row["network"]))
    axis = _axis(progress)
    return Lines(
        id="search-headline",
        title="Trained at length: single seeds (open) and their mean (filled)",
        x=Axis("", ticks=tuple(ticks), limits=(-0.5, max(len(rows), 1) - 0.5)),
        y=Axis(axis.title.replace("validation", "test"), axis.unit),
        series=tuple(series),
        message="" if rows else "At the end the best cell is trained at length, with new seeds.",
    )


def cell_chart(text: str) -> Graph:
    """Draw a cell from left to right: its inputs, operations, sums, and what it gives.

    Raises: ValueError where the text is no cell.
    """
    cell = parse_cell(text, _OPERATIONS)
    names = ["from 2 before", "from before"]
    places, roles = [(0.0, 1.0), (0.0, -1.0)], [_BOXES[0]] * INPUTS
    edges: list[tuple[int, int]] = []
    rows, sums = _rows(cell), list[int]()
    for block, row, depth in zip(cell, rows, depths(cell), strict=True):
        start = len(names)
        for side, half in enumerate(block):
            names.append(half.operation)
            places.append((1.0 + 2 * depth, row + (0.45 - 0.9 * side)))
            roles.append(_role(half.operation))
            # Input 0 is what the cell before gave, which is drawn below the one before that.
            source = 1 - half.input if half.input < INPUTS else sums[half.input - INPUTS]
            edges.append((source, start + side))
        sums.append(len(names))
        names.append("+")
        places.append((2.0 + 2 * depth, row))
        roles.append(_BOXES[0])
        edges += [(start, sums[-1]), (start + 1, sums[-1])]
    ends, last = loose_ends(cell), len(names)
    names.append("output" if len(ends) == 1 else "join, 1x1")
    places.append((3.0 + 2 * max(depths(cell)), float(np.mean([rows[end] for end in ends]))))
    roles.append(_BOXES[1])
    edges += [(sums[end], last) for end in ends]
    return Graph(
        id="search-cell",
        title=text,
        names=tuple(names),
        places=np.array(places),
        edges=tuple(edges),
        roles=tuple(roles),
    )


def _rows(cell: Cell) -> list[float]:
    """Return a height for each block, so that blocks of one depth do not meet."""
    of_depth = depths(cell)
    found = []
    for place, depth in enumerate(of_depth):
        same = [other for other, its in enumerate(of_depth) if its == depth]
        found.append(1.9 * ((len(same) - 1) / 2 - same.index(place)))
    return found


def _role(operation: str) -> str:
    return f"method-{_OPERATIONS.index(operation)}"


def _sizes(children: Sequence[ChildProgress]) -> np.ndarray:
    return np.array([float(child.parameters or math.nan) for child in children])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks, equal ones for equal values."""
    order = np.sort(values)
    low, high = np.searchsorted(order, values), np.searchsorted(order, values, side="right")
    return np.asarray((low + high - 1) / 2)
