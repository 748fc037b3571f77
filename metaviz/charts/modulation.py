"""How a method scales and shifts the layers of its network for a task."""

from collections.abc import Mapping

import numpy as np

from metaviz.charts.values import BLUE, ORANGE, Axis, Mark, Panels, Scatter, Series

MODULATION = "modulation"
"""The id of the chart."""


def modulation_chart(layers: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Panels:
    """Show scales and shifts (channels,) by layer: their means, from the least to the largest.

    A scale of 1 and a shift of 0 leave a layer as it is.
    """
    ticks = tuple((float(place), name) for place, name in enumerate(layers))
    x = np.arange(float(len(layers)))
    charts = []
    for at, (name, still, role) in enumerate((("γ", 1.0, BLUE), ("β", 0.0, ORANGE))):
        values = [pair[at].astype(float) for pair in layers.values()]
        series = Series(
            name,
            x,
            np.array([of.mean() for of in values]),
            role=role,
            width=0,
            dots=8,
            low=np.array([of.min() for of in values]),
            high=np.array([of.max() for of in values]),
        )
        charts.append(
            Scatter(
                id=f"{MODULATION} {name}",
                x=Axis("layer", ticks=ticks),
                y=Axis(f"{('scale', 'shift')[at]} {name}"),
                series=(series,),
                marks=(Mark("still", still, "y"),),
            )
        )
    return Panels(
        id=MODULATION,
        title="Scales and shifts of layers for one task: mean, least and largest channel",
        charts=tuple(charts),
        columns=2,
        caption="dots: mean of a layer's channels; bars: from the least to the largest",
    )
