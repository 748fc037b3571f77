"""What is wrong with the texts of an exported figure: told from where matplotlib draws them."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_APART, _BEYOND = 1.0, 2.0
LEAST_POINTS = 7.0


def figure_faults(figure: Figure) -> list[str]:
    """Return a sentence for every two texts that meet, and for each that leaves the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = list(_texts(figure, canvas))
    whole = figure.bbox
    found = [
        f"“{text}” leaves the figure by {beyond:.0f} pixels"
        for text, box in texts
        if (
            beyond := max(
                *(whole.x0 - box.x0, box.x1 - whole.x1),
                *(whole.y0 - box.y0, box.y1 - whole.y1),
            )
        )
        > _BEYOND
    ]
    for (first, one), (second, other) in combinations(texts, 2):
        both = Bbox.intersection(one, other)
        if both is not None and min(both.width, both.height) > _APART:
            found.append(f"“{first}” and “{second}” overlap")
    return found


def small_texts(figure: Figure) -> list[str]:
    """Return texts that are too small to be read on paper."""
    return [
        f"“{one.get_text()}” has {one.get_fontsize():.1f} pt"
        for one in figure.findobj(Text)
        if one.get_visible() and one.get_text().strip() and one.get_fontsize() < LEAST_POINTS - 0.01
    ]


def _texts(figure: Figure, canvas: FigureCanvasAgg) -> Iterator[tuple[str, Bbox]]:
    """Yield the texts that are drawn, with the pixels that each covers."""
    hidden = [axes for axes in figure.axes if not (axes.get_visible() and axes.axison)]
    off = {id(text) for axes in hidden for text in axes.findobj(Text)}
    drawn = {id(text) for axes in hidden for text in axes.texts if axes.get_visible()}
    ticks = {id(text) for axes in figure.axes for text in _unseen_ticks(axes)}
    for one in figure.findobj(Text):
        seen = one.get_visible() and one.get_text().strip()
        if seen and id(one) not in ticks and (id(one) not in off or id(one) in drawn):
            yield one.get_text(), one.get_window_extent(canvas.get_renderer())


def _unseen_ticks(axes) -> Iterator[Text]:
    """Yield the labels of ticks beyond the ends of an axis, which are not drawn."""
    for axis in (axes.xaxis, axes.yaxis):
        along = axis.get_transform().transform
        low, high = sorted(along(axis.get_view_interval()))
        around = 1e-9 * (high - low)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low - around <= along(np.array([tick.get_loc()]))[0] <= high + around:
                yield tick.label1
                yield tick.label2
