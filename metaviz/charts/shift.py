"""How much a method shifts the neurons of its network for the queries of a task."""

from collections.abc import Mapping

import numpy as np

from metaviz.charts.values import Axis, Bars, Series

SHIFT = "shift"
"""The id of the chart."""


def shift_chart(shifts: Mapping[str, np.ndarray]) -> Bars:
    """Show how large shifts (queries, neurons) are, by layer: the root of their mean square."""
    sizes = np.array([np.sqrt(np.square(of.astype(float)).mean()) for of in shifts.values()])
    series = Series("shift", np.arange(float(len(sizes))), sizes)
    return Bars(
        id=SHIFT,
        title="Shifts of neurons for the queries of one task",
        x=Axis("layer"),
        y=Axis("root mean square"),
        series=(series,),
        names=tuple(shifts),
    )
