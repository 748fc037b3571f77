"""Accuracies are stored as shares of 1 and shown in per cent, in tables, charts and sentences."""

from dataclasses import replace

import numpy as np

from metaviz.charts.values import Axis, Lines
from metaviz.config.quantities import unit_of


def as_shown(chart: Lines, quantity: str) -> Lines:
    """Return a chart of a quantity in the unit in which that is shown."""
    unit = unit_of(quantity)
    if unit == 1:
        return chart
    limits = chart.y.limits
    return replace(
        chart,
        y=replace(
            chart.y,
            unit="%",
            limits=None if limits is None else (unit * limits[0], unit * limits[1]),
        ),
        series=tuple(
            replace(one, y=unit * one.y, low=_times(unit, one.low), high=_times(unit, one.high))
            for one in chart.series
        ),
        bands=tuple(replace(one, low=unit * one.low, high=unit * one.high) for one in chart.bands),
        right=tuple((unit * at, name) for at, name in chart.right),
    )


def per_cent_axis(axis: Axis, quantity: str) -> Axis:
    """Return an axis without limits with the unit in which a quantity is shown."""
    return axis if unit_of(quantity) == 1 else replace(axis, unit="%")


def _times(unit: float, values: np.ndarray | None) -> np.ndarray | None:
    return None if values is None else unit * values
