"""Every chart that one stored picture can be drawn as."""

from collections.abc import Mapping

import numpy as np

from metaviz.charts.storage import from_arrays
from metaviz.charts.stored import (
    fan_chart,
    geometry_chart,
    map_chart,
    map_point,
    numbers,
    shows,
    slice_charts,
    views_of,
)
from metaviz.charts.values import Chart


def charts_of(arrays: Mapping[str, np.ndarray], title: str = "", trained: int = 0) -> list[Chart]:
    """Return the charts of one picture: those stored as charts, and those of older arrays."""
    charts = from_arrays(arrays)
    if "geometry" in arrays:
        for view in views_of("", set(arrays)):
            assert shows(arrays, view)
            part = -1 if view == "rates" else 0
            charts.append(geometry_chart(arrays, view, part, title=title))
    if "visited" in arrays:
        away = np.abs(numbers(arrays, "slope") - 1)
        place = int(np.nanargmax(away)) if np.isfinite(away).any() else 0
        name = f"{arrays['layers'][place]}, weight {arrays['coordinates'][place]}"
        charts.append(map_chart(map_point(arrays, place), name))
    if "slice" in arrays:
        charts += [chart for chart in slice_charts(arrays, title) if chart is not None]
    if "predictions" in arrays:
        charts.append(fan_chart(arrays, title=title, trained=trained))
    return charts
