"""Figure files, and which charts a comparison and a run have."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from metaviz.charts.matplotlib import Page, figure_of, quiet_matplotlib
from metaviz.charts.values import Chart, Paths
from metaviz.files.atomic import write_atomically
from metaviz.files.platform import plain_name
from metaviz.runs.analysis.comparison import compared, has_several, usual_view
from metaviz.runs.analysis.curve_charts import (
    comparison_chart,
    convergence_charts,
    fan,
    inner_charts,
    training_chart,
    without_slider,
)
from metaviz.runs.analysis.curves import Quantity, TrainingView, as_judged, judged_by_returns
from metaviz.runs.analysis.geometry import OWN, map_history, most_changed, offered
from metaviz.runs.analysis.posterior import posterior_chart_of, posterior_views
from metaviz.runs.analysis.result_charts import geometry_chart_of, mirror_charts
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import StoreError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "pdf", "svg")
Paper = Callable[[float], Page]
"""Returns the page for a figure that would like to be so many centimetres wide."""
USUAL_CM = 16.0
_PANEL_CM = 11.0
_MOST_PIXELS = 150e6


def comparison_figures(records: Sequence[Record], paper: Paper) -> "Iterator[tuple[str, Figure]]":
    """Yield name and figure of what all runs are drawn in together.

    Groups of runs that differ in their seed only are compared where there is one of several runs.
    """
    accuracy = any("query_accuracy" in e.curves for r in records for e in r.evaluations[-1:])
    usual: Quantity = "query_accuracy" if accuracy else "query_loss"
    view = TrainingView(quantity=as_judged(usual, by_returns=judged_by_returns(records)))
    yield "training", figure_of(training_chart(records, view), paper(USUAL_CM))
    if any(record.traits.has_inner_loop for record in records):
        inner = inner_charts(records)
        yield "inner", figure_of(inner, paper(_PANEL_CM * len(inner.charts)))
        if any(record.evaluations for record in records):
            yield "convergence", figure_of(convergence_charts(records), paper(USUAL_CM))
    compared_view = usual_view(records)
    curves = compared(records, compared_view)
    if has_several(curves):
        chart = comparison_chart(curves, compared_view)
        yield "comparison", figure_of(chart, paper(USUAL_CM))


def run_figures(record: Record, paper: Paper) -> "Iterator[tuple[str, Figure]]":
    """Yield what is drawn of one run at its last evaluation: predictions, and its geometry."""
    for name, chart in _run_charts(record):
        if chart is not None:
            yield name, figure_of(chart, paper(USUAL_CM))


def _run_charts(record: Record) -> Iterator[tuple[str, Chart | None]]:
    drawn = fan(record)
    name = "paths" if isinstance(drawn, Paths) else "fan"
    yield name, drawn and without_slider(drawn)
    history = map_history(record)
    if history is not None:
        yield "mirror", mirror_charts(record, len(history.steps) - 1, most_changed(history))
    for name in posterior_views(record):
        yield name, posterior_chart_of(record, -1, name)
    for view in offered(record):
        part = -1 if view == "rates" else 0
        yield view_name(view), geometry_chart_of(record, -1, view, part)


def view_name(view: str) -> str:
    """Return the name of a figure of what was learned: a run's own charts may have any id."""
    return f"geometry-{plain_name(view.removeprefix(OWN))}"


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, PDF or SVG, whole or not at all.

    Raises: StoreError with one sentence where the ending is another or the file cannot be written.
    """
    kind = path.suffix.lower().lstrip(".")
    pixels = float(np.prod(figure.get_size_inches()) * figure.dpi**2)
    if kind == "png" and pixels > _MOST_PIXELS:
        raise StoreError(
            f"Cannot write {path.name}: it would have {pixels / 1e6:.0f} million pixels; choose a "
            f"smaller size or resolution, up to {_MOST_PIXELS / 1e6:.0f} million."
        )
    if kind not in FORMATS:
        raise StoreError(f"Cannot write {path.name}: choose a name ending in .png, .pdf or .svg.")
    metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})

    def write(stream: BinaryIO) -> None:
        with (
            quiet_matplotlib() as mpl,
            mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "metaviz", "pdf.fonttype": 42}),
        ):
            figure.savefig(stream, format=kind, metadata=metadata)

    try:
        write_atomically(path, write)
    except OSError as error:
        raise StoreError(f"Cannot write {path}: {error.strerror}.") from error
