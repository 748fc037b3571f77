"""What runs hold possible, read from their pictures, and how well they know it over training."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from metaviz.charts.posterior import FAN, PREFIX, short_name
from metaviz.charts.storage import KEY, from_arrays
from metaviz.charts.thinning import has_logarithms
from metaviz.charts.values import Axis, Chart, Lines, Mark, Series
from metaviz.config.quantities import quantity_of
from metaviz.runs.analysis.geometry import geometry_pictures
from metaviz.runs.model.events import Pictured
from metaviz.runs.model.labels import labels
from metaviz.runs.model.record import Record
from metaviz.runs.model.styles import styles

COVERAGE = {"coverage_50": 0.5, "coverage_80": 0.8, "coverage_95": 0.95}
QUANTITIES = (
    *("query_nll", *COVERAGE, "prediction_spread", "query_loss_sampled", "query_loss_of_one"),
    *("query_loss_of_best", "query_accuracy_sampled", "confidence_gap"),
    *("information", "log_determinant", "kl", "noise_std"),
)
"""Those that are drawn over training, in the order in which they are offered."""
_MOST_POINTS = 500


def _charts(picture: Pictured) -> list[Chart]:
    found = from_arrays(picture.arrays) if KEY in picture.arrays else []
    return [chart for chart in found if chart.id.startswith(PREFIX)]


def posterior_views(record: Record) -> dict[str, str]:
    """Return the charts of what a run holds possible, by their ids, with short names."""
    ids = {chart.id: None for picture in record.pictures for chart in _charts(picture)}
    return {name: short_name(name) for name in sorted(ids, key=lambda name: FAN not in name)}


def posterior_chart_of(record: Record, evaluation: int, name: str) -> Chart | None:
    """Return a chart of what a run held possible; None where it was not drawn then."""
    drawn = geometry_pictures(record)
    if not drawn:
        return None
    picture = drawn[evaluation]
    for chart in _charts(picture):
        if chart.id == name:
            title = f"{record.label}, meta-step {picture.step}: {chart.title}"
            return replace(chart, title=title)
    return None


def posterior_quantities(records: Sequence[Record]) -> dict[str, str]:
    """Return what runs have measured of their posteriors, by ids, with titles."""
    known = {name for record in records for name in record.own_results()}
    return {name: quantity_of(name).label for name in QUANTITIES if name in known}


def posterior_lines(
    records: Sequence[Record], name: str, chosen: Record | None = None, at: int | None = None
) -> Lines:
    """Show a quantity over training, marked at a meta-step: at evaluations, else of each batch.

    A coverage is drawn beside what it should be.
    """
    quantity = quantity_of(name)
    line_styles, names = styles(records), labels(records)
    series = []
    for record in records:
        x, y = _points(record, name)
        if not np.isfinite(y).any():
            continue
        label = names[record.id] if len(records) > 1 else ""
        style, wide = line_styles[record.id], 2.0 if record is chosen else 1.2
        dots = 5.0 if len(x) <= len(record.evaluations) + 1 else 0.0
        series.append(
            Series(
                record.id, x, y, label, style.role, style.dash, wide, dots=dots, marker=style.marker
            )
        )
    marks = [Mark("ideal", COVERAGE[name], "y", "as it should be")] if name in COVERAGE else []
    if series and at is not None:
        marks.append(Mark("time", at, role="foreground", dash="dash", width=1.5))
    texts = (f"{names[one.name]} {one.y[-1]:.4g}" for one in series)
    return Lines(
        id=f"{PREFIX}training",
        title=quantity.title,
        x=Axis("meta-step"),
        y=Axis(quantity.label, log=name == "kl" and has_logarithms([one.y for one in series])),
        series=tuple(series),
        marks=tuple(marks),
        spoken="; ".join(texts),
        message="" if series else "No shown run has measured this.",
    )


def _points(record: Record, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return meta-steps and values at evaluations after adaptation, else of meta-batches."""
    found = [(one.step, one.at(name)) for one in record.evaluations if name in one.curves]
    if found:
        steps, values = np.array(found, dtype=float).T
        return steps, values
    steps, values = record.column("step"), record.column(name)
    known = np.flatnonzero(np.isfinite(values))
    known = known[:: max(1, -(-len(known) // _MOST_POINTS))]
    return steps[known].astype(float), values[known]
