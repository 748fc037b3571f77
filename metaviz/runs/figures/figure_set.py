"""All figures of a comparison, for the command line and the report."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from metaviz.runs.analysis.comparison import compared, has_several, usual_view
from metaviz.runs.analysis.curves import TrainingView, fan
from metaviz.runs.analysis.geometry import geometry_pictures, map_history, most_changed, offered
from metaviz.runs.figures.base import (
    Page,
    convergence_figure,
    default_inner_views,
    fan_figure,
    inner_figure,
    training_figure,
)
from metaviz.runs.figures.comparison import comparison_figure
from metaviz.runs.figures.geometry import geometry_figure, mirror_figure
from metaviz.runs.model.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Paper = Callable[[float], Page]
"""Returns the page for a figure that would like to be so many centimetres wide."""
USUAL_CM = 16.0
_PANEL_CM = 11.0


def comparison_figures(records: Sequence[Record], paper: Paper) -> "Iterator[tuple[str, Figure]]":
    """Yield name and figure of what all runs are drawn in together.

    Groups of runs that differ in their seed only are compared where there is one of several runs.
    """
    accuracy = any("query_accuracy" in e.curves for r in records for e in r.evaluations[-1:])
    view = TrainingView(quantity="query_accuracy" if accuracy else "query_loss")
    panels = default_inner_views(records)
    yield "training", training_figure(records, view, paper(USUAL_CM))
    yield "inner", inner_figure(records, panels, paper(_PANEL_CM * len(panels)))
    if any(record.evaluations for record in records):
        yield "convergence", convergence_figure(records, None, paper(USUAL_CM))
    compared_view = usual_view(records)
    curves = compared(records, compared_view)
    if has_several(curves):
        yield "comparison", comparison_figure(curves, compared_view, paper(USUAL_CM))


def run_figures(record: Record, paper: Paper) -> "Iterator[tuple[str, Figure]]":
    """Yield what is drawn of one run at its last evaluation: predictions, and its geometry."""
    drawn = fan(record)
    if drawn is not None:
        yield "fan", fan_figure(drawn, drawn.landmarks(), paper(USUAL_CM))
    history = map_history(record)
    if history is not None:
        last = len(history.steps) - 1
        figure = mirror_figure(record, last, most_changed(history), paper(USUAL_CM))
        if figure is not None:
            yield "mirror", figure
    last = len(geometry_pictures(record)) - 1
    for view in offered(record):
        part = -1 if view == "rates" else 0
        figure = geometry_figure(record, last, view, paper(USUAL_CM), part=part)
        if figure is not None:
            yield f"geometry-{view}", figure
