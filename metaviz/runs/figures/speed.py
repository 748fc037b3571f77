"""A figure of how fast methods are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from metaviz.runs.figures.base import Page, blank
from metaviz.runs.model.speed import Speed, place_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OURS, _THEIRS = "#0072B2", "#D55E00"
_ROW_CM, _FRAME_CM = 0.55, 2.0
_ROOM = 1.3


def speed_figure(speeds: Sequence[Speed], page: Page | None = None) -> "Figure":
    """Draw a bar for every method, one panel per problem; whiskers are the quartiles."""
    page = page or Page()
    problems = list(dict.fromkeys(found.problem for found in speeds))
    groups = [
        [found for found in speeds if found.problem == problem and found.seconds]
        for problem in problems
    ]
    heights = [max(len(group), 1) * _ROW_CM + _FRAME_CM for group in groups]
    figure, panels = blank(page, len(problems), columns=1, height_cm=sum(heights) + 0.5)
    every = np.atleast_1d(panels)
    every[0].get_gridspec().set_height_ratios(heights)
    for axes, problem, group in zip(every, problems, groups, strict=True):
        _bars(axes, group, page)
        axes.set_title(_title(problem, speeds), fontsize=page.font_pt, loc="left")
    every[-1].set_xlabel("meta-steps per second, median and quartiles")
    if any(not found.ours for found in speeds):
        from matplotlib.patches import Patch

        keys = [Patch(color=_OURS, label="MetaViz"), Patch(color=_THEIRS, label="other libraries")]
        figure.legend(
            handles=keys, loc="outside lower center", ncols=2, frameon=False, fontsize="small"
        )
    return figure


def _bars(axes: "Axes", group: Sequence[Speed], page: Page) -> None:
    rates = [found.rate or 0.0 for found in group]
    spans = [found.quartiles() or (0.0, 0.0) for found in group]
    away = [
        [max(rate - low, 0.0) for rate, (low, _) in zip(rates, spans, strict=True)],
        [max(high - rate, 0.0) for rate, (_, high) in zip(rates, spans, strict=True)],
    ]
    axes.barh(
        range(len(group)),
        rates,
        xerr=away,
        height=0.7,
        color=[_OURS if found.ours else _THEIRS for found in group],
        error_kw={"elinewidth": 0.8, "ecolor": "0.25", "capsize": 1.5},
    )
    axes.set_yticks(range(len(group)), [found.name for found in group])
    axes.set_ylim(len(group) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, _ROOM * max((high for _, high in spans), default=1.0))
    for place, (found, (_, high)) in enumerate(zip(group, spans, strict=True)):
        axes.annotate(
            _told(found),
            (max(high, rates[place]), place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=0.85 * page.font_pt,
        )


def _title(problem: str, speeds: Sequence[Speed]) -> str:
    """Name a problem, and where this program's own runs of it computed."""
    group = [found for found in speeds if found.problem == problem]
    ours = next((found for found in group if found.ours), group[0])
    return f"{problem}: {place_text(ours.environment)}, {ours.dtype}"


def _told(found: Speed) -> str:
    share = found.share_of_limit
    reached = "" if share is None else f"  ({100 * share:.2g} % of limit)"
    return f"{found.rate:.3g}{reached}"
