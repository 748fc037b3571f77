"""Figures of evaluations on held-out tasks: results with intervals, and one task."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from metaviz.runs.analysis.benchmark import Row
from metaviz.runs.figures.base import Page, blank
from metaviz.runs.model.episode import Episode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW_CM = 0.55
_THEIRS = "0.45"
_MOST_ROWS = 4
_WRONG = "#B2182B"


def benchmark_figure(rows: Sequence[Row], measure: str, page: Page | None = None) -> "Figure":
    """Draw a dot with its 95 % interval for each row of the table."""
    page = page or Page()
    figure, axes = blank(page, height_cm=2.2 + _ROW_CM * len(rows))
    for place, row in enumerate(rows):
        ours = bool(row.record)
        axes.errorbar(
            row.value,
            -place,
            xerr=row.half_width,
            fmt="o" if ours else "s",
            color=row.color or _THEIRS,
            markersize=6 if ours else 4,
            markerfacecolor=row.color if ours else "white",
            capsize=2,
        )
    axes.set_yticks([-place for place in range(len(rows))], [row.name for row in rows])
    axes.set_ylim(0.6 - len(rows), 0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"{measure}, 95 % interval; filled: ours, hollow: published")
    return figure


def episode_figure(episode: Episode, k: int, page: Page | None = None) -> "Figure":
    """Draw support and some query images with predictions, or losses where there are no images."""
    page = page or Page()
    if not episode.has_images:
        figure, axes = blank(page, height_cm=0.6 * page.width_cm)
        steps = np.arange(len(episode.query_loss))
        axes.plot(steps, episode.support_loss, "--o", color="#0072B2", label="support")
        axes.plot(steps, episode.query_loss, "-o", color="#D55E00", label="query")
        axes.set(xlabel="inner step k", ylabel=f"loss of task {episode.number}")
        axes.set_title(f"{episode.label}, {episode.dataset}", fontsize=page.font_pt)
        axes.legend()
        return figure
    ways = int(episode.query.y.max()) + 1
    shown = [
        [np.flatnonzero(part.y == c)[:_MOST_ROWS] for c in range(ways)]
        for part in (episode.support, episode.query)
    ]
    heights = [max(len(column) for column in part) for part in shown]
    figure, panels = blank(
        page,
        sum(heights) * ways,
        columns=ways,
        height_cm=page.width_cm / ways * sum(heights) * 1.25,
    )
    grid = np.asarray(panels).reshape(sum(heights), ways)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.set_frame_on(False)
    guess = episode.query.outputs.argmax(axis=2)
    right = episode.query.right()[k]
    for part, (examples, columns) in enumerate(
        zip((episode.support, episode.query), shown, strict=True)
    ):
        for c, column in enumerate(columns):
            for row, number in enumerate(column.tolist()):
                axes = grid[row + part * heights[0], c]
                pixels = examples.x[number].transpose(1, 2, 0)
                axes.imshow(pixels if pixels.shape[2] > 1 else pixels[:, :, 0], cmap="gray")
                if not part and not row:
                    axes.set_title(f"class {c + 1}", fontsize=0.8 * page.font_pt)
                if not part:
                    continue
                wrong = not right[number]
                color = _WRONG if wrong else "black"
                text = f"{guess[0, number] + 1} → {guess[k, number] + 1}{' ✗' if wrong else ''}"
                axes.set_xlabel(text, color=color, fontsize=0.8 * page.font_pt)
                if wrong:
                    axes.set_frame_on(True)
                    axes.spines[:].set(visible=True, color=_WRONG, linewidth=2)
    grid[0, 0].set_ylabel("support", fontsize=0.8 * page.font_pt)
    grid[heights[0], 0].set_ylabel("query", fontsize=0.8 * page.font_pt)
    figure.suptitle(
        f"{episode.label}, {episode.dataset}, task {episode.number}\n"
        f"below query images: class predicted before → after k = {k} steps",
        fontsize=page.font_pt,
    )
    return figure
