"""Draws charts for papers by matplotlib, which is imported when something is drawn."""

import os
import tempfile
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from metaviz.charts.shapes import Picture, Shapes, fitting, shapes_of
from metaviz.charts.thinning import has_logarithms, thin, thin_band
from metaviz.charts.values import (
    DASHES,
    ON_PAPER,
    PALETTE,
    Axis,
    Bars,
    Chart,
    Histogram,
    ImageGrid,
    Lines,
    Panels,
    Paths,
    Scatter,
    Series,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASH: dict[str, Any] = {name: (0, lengths or None) for name, lengths in DASHES.items()}
_COLORS = {
    **{"foreground": "#333333", "muted": "#808080", "grid": "#b0b0b0", "accent": "#2f5fc4"},
    **{"error": "#b2182b", "background": "#ffffff"},
}
_POINTS = 2000
_LINE, _DOT = 0.7, 0.55
"""Points of a printed line and dot for each pixel on screen."""
_PAD_INCHES = 0.08
"""Room beside the axes."""
_NARROWEST_CM, _WIDEST_CM, _ROW_CM, _FRAME_CM = 6.0, 11.0, 0.55, 2.2
_CM = 1 / 2.54
_FRAME_LINES, _SHORTEST, _LETTER = 4, 8, 0.55
"""Lines of text above and below an axis, letters of its name, and their width by their height."""
_MANY = 24
_MESSAGE_LETTERS = 60


_LEAST_ROW_CM, _LINE_PT, _AROUND = 2.0, 1.4, 1e-9
_TITLE_PAD_PT, _TITLE_PAD_SHARE, _TWO, _LAYOUT_DPI = 6.0, 0.75, 2, 72
"""A number at the upper end of an axis reaches half a line above it."""
_PAD_PT, _PAD_SHARE, _SQUARE_SHARE, _NUMBER_LETTERS, _USUAL_NUMBERS = 3.5, 0.45, 0.5, 6.0, 9
_LEAST_SHARE, _AROUND_LINES, _BESIDE_LEGEND, _BESIDE_AXIS = 0.3, 8, 0.5, 0.75
_ORDER = (1, 10, 2, 5, 3, 7, 4, 6, 8, 9)
"""Which numbers of a decade are labelled first."""
_SMALLER, _LEAST_PT = 0.833, 7.0
"""Share of the font that secondary texts have, and the least that is read on paper."""


@dataclass(frozen=True)
class Page:
    """Size and resolution of a figure: centimetres, dots per inch, points of the font.

    Without a height each figure takes what suits its panels and its legend. The `legend` of curves
    stands below all axes, inside the first ones, or nowhere; the caption below it or nowhere.
    """

    width_cm: float = 16.0
    height_cm: float | None = None
    dpi: int = 150
    font_pt: float = 9.0
    legend: Literal["below", "inside", "none"] = "below"
    caption: bool = True


def figure_of(chart: Chart, page: Page | None = None) -> "Figure":
    """Return a figure of a chart; what its slider changes is drawn where it starts."""
    charts = chart.charts if isinstance(chart, Panels) else (chart,)
    wanted = chart.columns if isinstance(chart, Panels) else 1
    page = page or (Page(_WIDEST_CM * wanted) if isinstance(chart, Panels) else Page())
    columns = max(1, min(wanted, int(page.width_cm / _NARROWEST_CM)))
    rows = -(-len(charts) // columns)
    keys = [one for part in charts if part.caption for one in _named(part)]
    caption = _wrapped(caption_of(chart), page) if page.caption else ""
    below = keys if page.legend == "below" else []
    legend_cm = _legend_cm(below, page, caption)
    tall = [_height_cm(part, page.width_cm / columns, len(charts)) for part in charts]
    heights = [max(tall[row * columns : (row + 1) * columns]) for row in range(rows)]
    page = _high_enough(page, rows, legend_cm, max(map(_own_lines, charts)))
    size = (page.width_cm * _CM, (page.height_cm or sum(heights) + legend_cm) * _CM)
    with quiet_matplotlib() as mpl, mpl.rc_context(_look(page)):
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        square = any(getattr(part, "square", False) for part in charts)
        engine = ConstrainedLayoutEngine(w_pad=_PAD_INCHES * (3 if square else 1))
        figure = Figure(figsize=size, dpi=page.dpi, layout=engine)
        share: dict[str, Any] = {f"share{a}": getattr(chart, f"share_{a}", False) for a in "xy"}
        ratios = {"height_ratios": heights}
        every = np.ravel(figure.subplots(rows, columns, gridspec_kw=ratios, **share))
        for axes in every[len(charts) :]:
            axes.set_visible(False)
        for number, (axes, part) in enumerate(zip(every, charts, strict=False)):
            _draw(figure, axes, part)
            high = size[1] / _CM - legend_cm if page.height_cm else sum(heights)
            _fit_title(axes, page.width_cm / columns, page)
            _fit_label(axes, high * heights[number // columns] / sum(heights), page)
        if isinstance(chart, Panels) and chart.title:
            figure.suptitle(literal(chart.title), fontsize=page.font_pt)
        if page.legend == "inside" and keys:
            every[0].legend(*_entries(keys), fontsize=_small_pt(), frameon=False)
        _add_legend(figure, below, page, caption)
        if columns > 1:
            _thin_numbers(figure)
    return figure


def caption_of(chart: Chart) -> str:
    """Return what the lines of all panels mean, empty where there is nothing to say."""
    charts = (chart, *chart.charts) if isinstance(chart, Panels) else (chart,)
    told = dict.fromkeys(one.caption for one in charts if one.caption and not one.message)
    return "; ".join(told)


@contextmanager
def quiet_matplotlib() -> Iterator[Any]:
    """Import matplotlib with a folder that it may write to, and without its advice."""
    if "MPLCONFIGDIR" not in os.environ and not os.access(Path.home(), os.W_OK):
        os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="metaviz-")
    import matplotlib as mpl

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        yield mpl


def _named(chart: Chart) -> list[Series]:
    lines = chart.paths if isinstance(chart, Paths) else getattr(chart, "series", ())
    return [one for one in lines if one.label]


def _height_cm(chart: Chart, width_cm: float, panels: int) -> float:
    rows = len(chart.rows) if isinstance(chart, Histogram) else 0
    if isinstance(chart, Scatter | Lines | Bars):
        rows = len(chart.names) if isinstance(chart, Bars) else len(chart.y.ticks or ())
    if isinstance(chart, ImageGrid):
        count = -(-len(chart.images) // chart.columns)
        return width_cm / chart.columns * count * 1.25 + 1.0
    if rows:
        least = 0.0 if isinstance(chart, Scatter | Bars) else 9.0
        return max(least, _FRAME_CM + _ROW_CM * rows)
    return min(8.0, max(5.0, 0.8 * width_cm)) if panels > 1 else min(10.0, 0.7 * width_cm)


def _draw(figure: "Figure", axes: "Axes", chart: Chart) -> None:
    shown = shapes_of(chart)
    axes.set_axisbelow(True)
    if not (shown.bare or shown.pictures):
        axes.grid(visible=True, alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    if shown.y.ticks is not None:
        axes.grid(axis="y", visible=False)
    for one in shown.regions:
        span = axes.axvspan if one.across == "x" else axes.axhspan
        span(one.low, one.high, color=_color(one.role), alpha=one.alpha, lw=0)
    for picture in shown.pictures:
        _draw_picture(figure, axes, picture, square=shown.square)
    _draw_lines(axes, shown)
    _draw_bands(axes, shown)
    for box in shown.boxes:
        x, wide, y, high = box.x0, box.x1 - box.x0, box.y0, box.y1 - box.y0
        axes.bar(x, high, wide, y, align="edge", color=_color(box.role), alpha=box.alpha)
    for mark in shown.marks:
        line = axes.axvline if mark.across == "x" else axes.axhline
        drawn: dict[str, Any] = {"linestyle": _DASH[mark.dash], "linewidth": 0.8 * mark.width}
        line(mark.at, color=_color(mark.role), **drawn)
    for word in shown.words:
        across = {0.0: "left", 0.5: "center"}.get(word.across, "right")
        down = {0.0: "top", 0.5: "center"}.get(word.down, "bottom")
        drawn = {"ha": across, "va": down, "color": _color(word.role), "fontsize": _small_pt()}
        if word.ground:
            drawn["bbox"] = {"facecolor": "white", "alpha": 0.75, "pad": 1, "edgecolor": "none"}
        axes.text(word.x, word.y, literal(word.text), **drawn)
    _set_axes(axes, chart, shown)
    _name_ends(axes, shown)


def _name_ends(axes: "Axes", shown: Shapes) -> None:
    """Write the names of heights beside the axes, the first ones where not all have room."""
    log = shown.y.log and axes.get_yscale() == "log"
    known = [tick for tick in shown.right if tick[0] > 0 or not log]
    places = [float(np.log10(at)) if log else at for at, _ in known]
    low, high = np.log10(axes.get_ylim()) if log else axes.get_ylim()
    font = float(axes.yaxis.label.get_fontsize())
    points = _height_pt(axes, font)
    numbered = tuple((at, str(number)) for number, at in enumerate(places))
    for _, number in fitting(numbered, points / ((high - low) or 1.0), lambda _: _LINE_PT * font):
        at, text = known[int(number)]
        place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
        axes.text(1.01, at, literal(text), fontsize=_small_pt(), **place)


def _look(page: Page) -> dict[str, Any]:
    """Return matplotlib's settings for a page: numbers stand off as far as their size asks."""
    pad = max(_PAD_PT, _PAD_SHARE * page.font_pt)
    above = max(_TITLE_PAD_PT, _TITLE_PAD_SHARE * page.font_pt)
    ticks = {"xtick.major.pad": pad, "ytick.major.pad": pad}
    return {"font.size": page.font_pt, "axes.titlepad": above, **ticks}


def _height_pt(axes: "Axes", font: float) -> float:
    """Return how high axes will be in points, once legend and names have their room."""
    whole = float(axes.get_window_extent().height) * 72 / axes.figure.dpi
    return max(_LEAST_SHARE * whole, whole - _AROUND_LINES * font)


def _own_lines(chart: Chart) -> int:
    """Return how many lines the legend has that stands within a chart's own axes."""
    return 0 if chart.caption or isinstance(chart, Scatter) else len(_named(chart))


def _high_enough(page: Page, rows: int, legend_cm: float, own: int) -> Page:
    """Return a page on which no row of several is lower than its axes need.

    `own` is how many lines the longest legend within axes has.
    """
    if page.height_cm is None or rows == 1:
        return page
    line = page.font_pt / 72 / _CM
    row = _LEAST_ROW_CM + _FRAME_LINES * line
    if own:  # and a title of two lines, which is narrow where the axes are low
        row = max(row, _LINE_PT * (own + 2) * line + (_FRAME_LINES + 2) * line)
    least = rows * row + legend_cm
    return replace(page, height_cm=max(page.height_cm, least))


def _fit_title(axes: "Axes", wide_cm: float, page: Page) -> None:
    """Break a title where it is longer than the axes are wide."""
    share = _BESIDE_LEGEND if axes.get_legend() is not None else _BESIDE_AXIS
    letters = max(_SHORTEST, int(share * wide_cm * _CM * 72 / (_LETTER * page.font_pt)))
    axes.set_title("\n".join(textwrap.wrap(axes.get_title(), letters)), fontsize="medium")


def _fit_label(axes: "Axes", high_cm: float, page: Page) -> None:
    """Break the name of the upright axis where it is longer than the axis is high."""
    room_pt = high_cm * _CM * 72 - _FRAME_LINES * page.font_pt
    letters = max(_SHORTEST, int(room_pt / (_LETTER * page.font_pt)))
    axes.set_ylabel("\n".join(textwrap.wrap(axes.get_ylabel(), letters, break_long_words=False)))


def _draw_bands(axes: "Axes", shown: Shapes) -> None:
    """Draw bands below the lines, which alone decide on a range that a chart leaves open."""
    floor, seen = np.nan, axes.dataLim.frozen()
    if shown.y.log:
        known = [one.y[np.isfinite(one.y) & (one.y > 0)] for one in shown.series]
        floor = 1e-2 * min((float(values.min()) for values in known if values.size), default=1.0)
    for band in shown.bands:
        x, low, high = thin_band(band.x, band.low, band.high, _POINTS)
        low = np.fmax(low, floor) if shown.y.log else low
        axes.fill_between(x, low, high, color=_color(band.role), alpha=band.alpha, lw=0)
    if np.isfinite(seen.get_points()).all():
        axes.dataLim.set(seen)


def _draw_lines(axes: "Axes", shown: Shapes) -> None:
    for one in shown.series:
        color, hollow = _color(one.role), "white"
        dots: dict[str, Any] = (
            {"marker": one.marker, "markersize": _DOT * one.dots} if one.dots else {}
        )
        if dots and not one.filled:
            dots["markerfacecolor"] = hollow
        points = (one.x, one.y)
        axes.plot(
            *(thin(*points, _POINTS) if shown.curves and one.width else points),
            color=color,
            alpha=one.alpha,
            linestyle=_DASH[one.dash] if one.width else "none",
            linewidth=_LINE * one.width,
            label=literal(one.label) if one.label else None,
            **dots,
        )


def _draw_picture(figure: "Figure", axes: "Axes", one: Picture, *, square: bool) -> None:
    left, low, width, height = one.rect
    rows, columns = one.values.shape[:2]
    if one.contours and min(rows, columns) > 1:
        x = left + (np.arange(columns) + 0.5) * width / columns
        y = low + (np.arange(rows) + 0.5) * height / rows
        image: Any = axes.contourf(x, y, one.values, levels=15)
    else:
        shades: dict[str, Any] = {"cmap": "RdBu_r" if one.diverging else "gray"}
        ends: dict[str, Any] = dict(zip(("vmin", "vmax"), one.levels or (0.0, 1.0), strict=True))
        extent = (left, left + width, low, low + height)
        kind: dict[str, Any] = {"aspect": "equal" if square else "auto", "interpolation": "nearest"}
        image = axes.imshow(one.values, origin="lower", extent=extent, **kind, **shades, **ends)
    if one.meaning:
        beyond = one.levels and np.nanmax(np.abs(one.values), initial=0) > max(map(abs, one.levels))
        extend = "both" if beyond and not one.contours else "neither"
        figure.colorbar(image, ax=axes, label=literal(one.meaning), extend=extend)


def _set_axes(axes: "Axes", chart: Chart, shown: Shapes) -> None:
    axes.set_title(literal(chart.title), fontsize="medium")
    if shown.square and not shown.pictures:
        axes.set_aspect("equal", adjustable="datalim")
    curves = [one.y for one in shown.series]
    if shown.bare:
        axes.set_axis_off()
    for name, axis in (("x", shown.x), ("y", shown.y)):
        log = axis.log and (name == "x" or has_logarithms(curves))
        _set_scale(axes, name, axis, log=log, crowded=bool(shown.pictures))
    nothing = not any(one.x.size for one in shown.series) and not (
        shown.boxes or shown.pictures or shown.words
    )
    if nothing:
        why = textwrap.fill(chart.message or "nothing recorded yet", _MESSAGE_LETTERS)
        axes.text(0.5, 0.5, literal(why), transform=axes.transAxes, ha="center", va="center")
    elif any(one.label for one in shown.series) and not chart.caption:
        # Points lie anywhere: their legend stands beside them, its upper left corner (2) outside.
        place: Any = {"loc": 2, "bbox_to_anchor": (1, 1)} if isinstance(chart, Scatter) else {}
        axes.legend(fontsize=_small_pt(), frameon=False, **place)


def _set_scale(axes: "Axes", name: str, axis: Axis, *, log: bool, crowded: bool) -> None:
    getattr(axes, f"set_{name}label")(literal(axis.text))
    if log:
        _set_logarithmic(axes, name)
    if axis.limits is not None and (log or not axis.log):
        getattr(axes, f"set_{name}lim")(*axis.limits)
    if axis.whole and axis.ticks is None:
        from matplotlib.ticker import MaxNLocator

        getattr(axes, f"{name}axis").set_major_locator(MaxNLocator(integer=True))
    if name == "x" and axis.ticks is None and axis.knee is None and not log:
        _space_numbers(axes, whole=axis.whole)
    if axis.knee is not None:
        end = axes.dataLim.intervalx[1]
        axes.set_xscale("symlog", linthresh=axis.knee, linscale=2)
        ticks = sorted({0, round(axis.knee), round(end)})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xlim(0, end)
    if axis.ticks is not None:
        _set_ticks(axes, name, axis, crowded=crowded)
    if axis.down and not getattr(axes, f"{name}axis_inverted")():
        getattr(axes, f"invert_{name}axis")()


def _space_numbers(axes: "Axes", *, whole: bool) -> None:
    """Write fewer numbers below axes that have no room for the usual ones."""
    from matplotlib.ticker import MaxNLocator

    font = float(axes.xaxis.label.get_fontsize())
    wide = float(axes.get_window_extent().width) * 72 / axes.figure.dpi - _AROUND_LINES / 2 * font
    most = max(2, int(wide / (_NUMBER_LETTERS * font)))
    if most < _USUAL_NUMBERS:
        steps = [1, 2, 2.5, 5, 10]
        axes.xaxis.set_major_locator(MaxNLocator(nbins=most, integer=whole, steps=steps))


def _thin_numbers(figure: "Figure") -> None:
    """Write every second number below axes whose numbers meet, two of them upright.

    Only when all have their places is it known whether they meet.
    """
    from matplotlib.ticker import FixedLocator, MaxNLocator

    dots = figure.dpi
    figure.set_dpi(_LAYOUT_DPI)  # as the layout is the same, and a large picture takes memory
    figure.draw_without_rendering()
    for axes in figure.axes:
        ends = sorted(axes.get_xlim())
        ticks = [one for one in axes.xaxis.get_major_ticks() if ends[0] <= one.get_loc() <= ends[1]]
        boxes = [one.label1.get_window_extent() for one in ticks if one.label1.get_text()]
        boxes.sort(key=lambda box: box.x0)
        meet = any(one.x1 >= other.x0 for one, other in pairwise(boxes))
        locator = axes.xaxis.get_major_locator()
        if not meet or axes.get_xscale() != "linear" or isinstance(locator, FixedLocator):
            continue
        if len(boxes) > _TWO:
            steps = [1, 2, 2.5, 5, 10]
            axes.xaxis.set_major_locator(MaxNLocator(len(boxes) // 2, steps=steps))
        else:
            axes.tick_params(axis="x", labelrotation=90)
    figure.set_dpi(dots)


def _set_ticks(axes: "Axes", name: str, axis: Axis, *, crowded: bool) -> None:
    ticks = list(axis.ticks or ())
    if name == "y" and crowded:
        font = float(axes.yaxis.label.get_fontsize())
        points = _height_pt(axes, font)
        if axes.get_aspect() == 1.0:
            points = min(
                points, _SQUARE_SHARE * axes.get_window_extent().width * 72 / axes.figure.dpi
            )
        most = min(_MANY, max(1, int(points / (_LINE_PT * font))))
        reach = np.ptp(axes.get_ylim()) / most
        kept: list[tuple[float, str]] = []
        for tick in ticks:
            if all(abs(tick[0] - at) >= reach for at, _ in kept):
                kept.append(tick)
        ticks = kept
    elif name == "x":
        ticks = ticks[:: max(1, -(-len(ticks) // _MANY))]
    turned = {"rotation": 45, "ha": "right"} if name == "x" and _crowded(ticks) else {}
    texts = [literal(text) for _, text in ticks]
    getattr(axes, f"set_{name}ticks")([at for at, _ in ticks], texts, **turned)


def _crowded(ticks: Sequence[tuple[float, str]]) -> bool:
    return sum(len(text) for _, text in ticks) > 2 * _MANY


def _set_logarithmic(axes: "Axes", name: str) -> None:
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        """Writes 0.6 where its parent mixes 6e-01 with 1, 2 and 3."""

        def set_locs(self, locs: Any = None) -> None:
            """Choose what is labelled: texts must not meet."""
            super().set_locs(locs)
            self.kept = labelled_minors(self.axis, locs if locs is not None else ())

        def __call__(self, x: float, pos: int | None = None) -> str:
            whole = abs(np.log10(x) - round(np.log10(x))) < _AROUND if x > 0 else False
            return super().__call__(x, pos) if whole or x in self.kept else ""

        def _num_to_string(self, x: float, vmin: float, vmax: float) -> str:
            del vmin, vmax
            return f"{x:g}"

    getattr(axes, f"set_{name}scale")("log")
    if name == "y":
        plain = Plain(minor_thresholds=(2, 0.5))
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_formatter(plain)


def _small_pt() -> float:
    """Return the size of secondary texts in points: smaller than others as long as it is read."""
    import matplotlib as mpl

    usual = float(mpl.rcParams["font.size"])
    return max(_SMALLER * usual, min(usual, _LEAST_PT))


def labelled_minors(axis: Any, places: Sequence[float]) -> set[float]:
    """Return which places between powers of ten have room for a number, 2 and 5 first."""
    low, high = np.log10(np.sort(axis.get_view_interval()))
    points = axis.axes.bbox.height * 72 / axis.axes.figure.dpi
    apart = _LINE_PT * float(axis.label.get_fontsize()) * (high - low) / max(points, 1.0)
    known = [float(at) for at in range(int(np.ceil(low)), int(np.floor(high)) + 1)]
    kept = set()
    for place in sorted(places, key=lambda x: _ORDER.index(round(x / 10 ** np.floor(np.log10(x))))):
        at = float(np.log10(place))
        if low <= at <= high and all(abs(at - other) >= apart for other in known):
            known.append(at)
            kept.add(place)
    return kept


def _legend_columns(keys: Sequence[Series], page: Page) -> int:
    """Return how many entries fit side by side; letters are about half as wide as high."""
    longest = max((len(key.label) for key in keys), default=0)
    entry_pt = page.font_pt * (0.83 * 0.62 * longest + 5.0)
    return max(1, min(len(keys), int(page.width_cm * _CM * 72 / entry_pt)))


def _entries(keys: Sequence[Series]) -> tuple[list[Any], list[str]]:
    """Return the lines of a legend and their names."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=_color(key.role), linestyle=_DASH[key.dash]) for key in keys]
    return lines, [literal(key.label) for key in keys]


def _wrapped(caption: str, page: Page) -> str:
    """Break a caption where the page ends."""
    letters = int(page.width_cm * _CM * 72 / (page.font_pt * 0.83 * 0.62))
    return textwrap.fill(caption, max(letters, 20))


def _legend_cm(keys: Sequence[Series], page: Page, caption: str) -> float:
    """Return the height that legend and caption need."""
    rows = -(-len(keys) // _legend_columns(keys, page)) if keys else 0
    rows += caption.count("\n") + 1 if caption else 0
    return rows * page.font_pt * 1.3 / 72 / _CM


def _add_legend(figure: "Figure", keys: Sequence[Series], page: Page, caption: str) -> None:
    """Name the curves below all panels, in as many columns as fit, and say what they are."""
    if not keys and not caption:
        return
    options: dict[str, Any] = {
        "fontsize": _small_pt(),
        "title_fontsize": _small_pt(),
        "columnspacing": 1.2,
    }
    figure.legend(
        *_entries(keys),
        loc="outside lower center",
        ncols=_legend_columns(keys, page),
        title=caption,
        frameon=False,
        **options,
    )


def _color(role: str) -> Any:
    kind, _, rest = role.partition("-")
    if kind == "method":
        return ON_PAPER[PALETTE[int(rest) % len(PALETTE)]]
    if kind == "ramp":
        import matplotlib as mpl

        return mpl.colormaps["viridis"](0.58 * float(rest))
    return _COLORS.get(role, role)


def literal(text: str) -> str:
    """Keep matplotlib from reading $ as mathematics, and a leading _ as a curve to leave out.

    Control characters have no glyphs: their numbers are written, as `files.text.printable` does.
    """
    shown = (one if one.isprintable() or one == "\n" else _number(ord(one)) for one in text)
    escaped = "".join(shown).replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def _number(code: int) -> str:
    if code < 0x100:  # noqa: PLR2004 - two digits
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - four digits
