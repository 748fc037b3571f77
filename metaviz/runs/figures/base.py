"""Figures for papers, drawn by matplotlib in the light theme: PNG, PDF and SVG."""

import os
import tempfile
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from metaviz.charts.thinning import has_logarithms, thin
from metaviz.files.atomic import write_atomically
from metaviz.runs.analysis.convergence import LossSlice
from metaviz.runs.analysis.curves import (
    AXIS_TITLES,
    QUANTITY_TITLES,
    Fan,
    InnerCurve,
    InnerView,
    TrainingCurve,
    TrainingView,
    band_alpha,
    beyond_trained,
    inner_curves,
    training_curves,
)
from metaviz.runs.model.gradients import GradientComparison
from metaviz.runs.model.record import Record
from metaviz.runs.model.statistics import robust_range
from metaviz.runs.storage.store import StoreError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "pdf", "svg")
_DASH: dict[str, Any] = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
_POINTS = 2000
_UNEQUAL = 3
_NARROWEST_CM = 6.5
_MOST_PIXELS = 150e6
_CM = 1 / 2.54


@dataclass(frozen=True)
class Page:
    """Size and resolution of a figure: centimetres, dots per inch, points of the font.

    Without a height each figure takes what suits its panels and its legend.
    """

    width_cm: float = 16.0
    height_cm: float | None = None
    dpi: int = 150
    font_pt: float = 9.0


def training_figure(
    records: Sequence[Record], view: TrainingView, page: Page | None = None
) -> "Figure":
    """Draw losses or accuracies before and after adaptation over training."""
    page = page or Page()
    curves = training_curves(records, view)
    keys = _keys(curves)
    figure, axes = blank(page, height_cm=min(10.0, 0.7 * page.width_cm) + _legend_cm(keys, page))
    after, shown = [], []
    for curve in curves:
        look = {"color": curve.style.color, "linestyle": _DASH[curve.style.dash]}
        x, post = thin(curve.x, curve.post, _POINTS)
        if view.show_raw and view.smoothing > 0:
            raw = thin(curve.x, curve.post_raw, _POINTS)
            axes.plot(*raw, color=curve.style.color, alpha=0.15, linewidth=0.6)
        axes.plot(x, post, **look, linewidth=1.4)
        after.append(curve.post)
        if view.show_pre:
            x_pre, pre = thin(curve.x, curve.pre, _POINTS)
            axes.plot(x_pre, pre, **look, linewidth=0.8, alpha=0.6)
            gap = np.interp(x, x_pre, pre)
            axes.fill_between(x, post, gap, color=curve.style.color, alpha=0.06, linewidth=0)
            shown.append(curve.pre)
    title = QUANTITY_TITLES[view.quantity]
    axes.set(xlabel=AXIS_TITLES[view.axis], ylabel=f"{title} (batch mean)")
    log_y = view.log_y and has_logarithms([*after, *shown])
    _scales(axes, log_x=view.log_x, log_y=log_y)
    limits = robust_range([*after, *shown], log=log_y) if view.robust and after else None
    if limits:
        axes.set_ylim(*limits)
    thin_line = "; thin: before adaptation" if view.show_pre else ""
    _legend_outside(figure, axes, keys, page, f"bold: after adaptation{thin_line}")
    return figure


def inner_figure(
    records: Sequence[Record], views: Sequence[InnerView] | None = None, page: Page | None = None
) -> "Figure":
    """Draw the inner loop at the last evaluation: one panel per view."""
    chosen = list(views) if views else default_inner_views(records)
    page = page or Page(width_cm=11.0 * len(chosen))
    keys = _keys(inner_curves(records, chosen[0]))
    columns = max(1, min(len(chosen), int(page.width_cm / _NARROWEST_CM)))
    rows = -(-len(chosen) // columns)
    height = rows * min(8.0, max(5.0, 0.8 * page.width_cm / columns))
    figure, panels = blank(
        page, len(chosen), columns=columns, height_cm=height + _legend_cm(keys, page)
    )
    for axes, view in zip(np.atleast_1d(panels), chosen, strict=True):
        curves = inner_curves(records, view)
        log_y = view.log_y and has_logarithms([curve.mean for curve in curves])
        for curve in curves:
            look = {"color": curve.style.color, "linestyle": _DASH[curve.style.dash]}
            axes.plot(curve.k, curve.mean, **look, marker="o", markersize=2.5)
            if view.show_interval:
                low, high = curve.mean - curve.ci95, curve.mean + curve.ci95
                if log_y:
                    low = np.maximum(low, np.nanmin(curve.mean) * 1e-2)
                axes.fill_between(curve.k, low, high, color=curve.style.color, alpha=0.15, lw=0)
        ends = [len(curve.k) - 1 for curve in curves]
        for trained in sorted({c.trained_steps for c in curves if c.trained_steps <= max(ends)}):
            axes.axvline(trained, color="0.6", linewidth=0.8, linestyle=":")
        if ends and max(ends) > _UNEQUAL * min(ends):
            # Linear for the steps that all runs take, logarithmic beyond.
            axes.set_xscale("symlog", linthresh=min(ends), linscale=2)
            ticks = sorted({0, min(ends), max(ends)} if columns == 1 else {0, max(ends)})
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.set_xlim(0, max(ends))
        axes.set(xlabel="inner step k", ylabel=QUANTITY_TITLES[view.quantity])
        _scales(axes, log_y=log_y and view.quantity != "query_accuracy")
        if not curves:
            _legend(axes, anything=False)
    tasks = next((record.evaluations[-1].tasks for record in records if record.evaluations), 0)
    title = f"mean over {tasks} tasks; band: 95 % of the mean; dotted: trained K"
    _legend_outside(figure, None, keys, page, title)
    return figure


def convergence_figure(
    records: Sequence[Record], shown: LossSlice | None, page: Page | None = None
) -> "Figure":
    """Draw support loss and gradient norm against k, and the loss around one adaptation."""
    views = [InnerView(quantity=name) for name in ("support_loss", "gradient_norm")]
    keys = _keys(inner_curves(records, views[0]))
    panels = len(views) + (0 if shown is None else 1 if shown.plane is None else 2)
    page = page or Page(width_cm=18.0)
    columns = 2 if page.width_cm >= 2 * _NARROWEST_CM else 1
    height = 6.5 * -(-panels // columns) + _legend_cm(keys, page)
    figure, axes = blank(page, panels, columns=columns, height_cm=height)
    for one, view in zip(axes, views, strict=False):
        curves = inner_curves(records, view)
        log_y = has_logarithms([curve.mean for curve in curves])
        for curve in curves:
            look = {"color": curve.style.color, "linestyle": _DASH[curve.style.dash]}
            one.plot(curve.k, curve.mean, **look)
            low, high = curve.mean - curve.ci95, curve.mean + curve.ci95
            if log_y:
                low = np.maximum(low, np.nanmin(curve.mean) * 1e-2)
            alpha = band_alpha(len(curves))
            one.fill_between(curve.k, low, high, color=curve.style.color, alpha=alpha, lw=0)
        for span in beyond_trained(curves):
            one.axvspan(*span, color="0.5", alpha=0.1, lw=0)
        title = QUANTITY_TITLES[view.quantity].removeprefix("support ")
        one.set(xlabel="inner step k", ylabel=title if "norm" in title else f"support {title}")
        whole_steps(one)
        _scales(one, log_y=log_y)
    if shown is not None:
        _slice_panels(figure, axes[len(views) :], shown)
    _legend_outside(
        figure, None, keys, page, "band: 95 % of the mean; shaded: beyond the trained K"
    )
    return figure


def _slice_panels(figure: "Figure", axes: Sequence["Axes"], shown: LossSlice) -> None:
    axes[0].plot(shown.t, shown.support, color="#0072B2", label="support")
    axes[0].plot(shown.t, shown.query, color="#D55E00", linestyle="--", label="query")
    label = "$\\phi^k$, k = 0, 1, …"
    axes[0].plot(shown.path, shown.on_path, "o", color="k", markersize=3, label=label)
    axes[0].set(xlabel="from φ⁰ (0) to φᴷ (1)", ylabel="loss of one task")
    axes[0].set_title(f"{_literal(shown.label)}, meta-step {shown.step}", fontsize="small")
    axes[0].legend(fontsize="small", frameon=False)
    u, v, path = shown.u, shown.v, shown.plane_path
    if u is None or v is None or path is None or shown.explained is None:
        return
    axes[1].grid(visible=False)
    heights, meaning = shown.heights()
    drawn = axes[1].contourf(u, v, heights.T, levels=15)
    axes[1].plot(path[:, 0], path[:, 1], "o-", color="w", markersize=3, linewidth=1)
    first, second = (f"{100 * share:.1f} %" for share in shown.explained)
    axes[1].set(xlabel=f"1st direction ({first})", ylabel=f"2nd direction ({second})")
    figure.colorbar(drawn, ax=axes[1], label=meaning)


def default_inner_views(records: Sequence[Record]) -> list[InnerView]:
    """Return support loss, query loss and gradient norm, and accuracy where there is one.

    k ends where the shortest evaluation does, unless that would hide another run's trained K.
    """
    known = [record.evaluations[-1] for record in records if record.evaluations]
    names = ["support_loss", "query_loss", "gradient_norm"]
    if any("query_accuracy" in evaluation.curves for evaluation in known):
        names.append("query_accuracy")
    return [
        InnerView(quantity=name, log_y=name != "query_accuracy")  # type: ignore[arg-type]
        for name in names
    ]


def fan_figure(shown: Fan, steps: Sequence[int], page: Page | None = None) -> "Figure":
    """Draw truth, support points and predictions after some inner steps."""
    import matplotlib as mpl

    figure, axes = blank(page or Page(), height_cm=10.0)
    axes.plot(shown.x, shown.truth, color="0.2", linestyle="--", label="truth")
    colours = mpl.colormaps["viridis"](np.linspace(0.05, 0.9, max(len(steps), 2)))
    for colour, k in zip(colours, steps, strict=False):
        trained = " (trained K)" if k == shown.trained_steps else ""
        axes.plot(shown.x, shown.predictions[k], color=colour, label=f"k = {k}{trained}")
    axes.plot(shown.support_x, shown.support_y, "o", color="k", markersize=4, label="support")
    axes.set(xlabel="x", ylabel="y", title=f"{_literal(shown.label)}, meta-step {shown.step}")
    _legend(axes, anything=True)
    return figure


def gradients_figure(comparison: GradientComparison, page: Page | None = None) -> "Figure":
    """Draw the cosine matrix and the lengths of meta-gradients."""
    figure, panels = blank(page or Page(width_cm=20), 2, height_cm=9.0)
    names = [row.algorithm for row in comparison.rows]
    cosine = comparison.cosine()
    ticks = range(len(names))
    image = panels[0].imshow(cosine, vmin=-1, vmax=1, cmap="RdBu_r")
    for (i, j), value in np.ndenumerate(cosine):
        text = "–" if np.isnan(value) else f"{value:.2f}"
        shade = "w" if abs(value) > 0.6 else "k"  # noqa: PLR2004 - readable on the colour map
        panels[0].text(j, i, text, ha="center", va="center", color=shade, fontsize=7)
    panels[0].set_xticks(ticks, names, rotation=45, ha="right")
    panels[0].set_yticks(ticks, names)
    panels[0].grid(visible=False)
    figure.colorbar(image, ax=panels[0], shrink=0.8, label="cosine of meta-gradients")
    panels[1].barh(ticks, [row.norm for row in comparison.rows], color="#0072B2")
    panels[1].set_yticks(ticks, names)
    panels[1].invert_yaxis()
    panels[1].set_xlabel("length of the meta-gradient")
    return figure


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


def blank(
    page: Page, panels: int = 1, *, columns: int | None = None, height_cm: float
) -> tuple["Figure", Any]:
    """Return an empty figure and its axes, one or an array; surplus places stay empty."""
    columns = columns or panels
    rows = -(-panels // columns)
    size = (page.width_cm * _CM, (page.height_cm or height_cm) * _CM)
    with quiet_matplotlib() as mpl, mpl.rc_context({"font.size": page.font_pt}):
        from matplotlib.figure import Figure

        figure = Figure(figsize=size, dpi=page.dpi, layout="constrained")
        axes = figure.subplots(rows, columns)
    every = np.atleast_1d(axes).ravel()
    for one in every[panels:]:
        one.set_visible(False)
    for one in every[:panels]:
        one.set_axisbelow(True)
        one.grid(visible=True, alpha=0.25, linewidth=0.5)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes if panels == 1 and rows * columns == 1 else every[:panels]


@contextmanager
def quiet_matplotlib() -> Iterator[Any]:
    """Import matplotlib with a folder that it may write to, and without its advice."""
    if "MPLCONFIGDIR" not in os.environ and not os.access(Path.home(), os.W_OK):
        os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="metaviz-")
    import matplotlib as mpl

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        yield mpl


@dataclass(frozen=True)
class _Key:
    text: str
    color: str
    dash: str


def _keys(curves: Sequence[TrainingCurve] | Sequence[InnerCurve]) -> list[_Key]:
    return [_Key(_literal(c.label), c.style.color, c.style.dash) for c in curves]


def _legend_columns(keys: Sequence[_Key], page: Page) -> int:
    """Return how many entries fit side by side; letters are about half as wide as high."""
    longest = max((len(key.text) for key in keys), default=0)
    entry_pt = page.font_pt * (0.83 * 0.62 * longest + 5.0)
    return max(1, min(len(keys), int(page.width_cm * _CM * 72 / entry_pt)))


def _legend_cm(keys: Sequence[_Key], page: Page) -> float:
    """Return the height that the legend needs."""
    rows = -(-len(keys) // _legend_columns(keys, page)) + 1 if keys else 0
    return rows * page.font_pt * 1.3 / 72 / _CM


def _legend_outside(
    figure: "Figure", axes: "Axes | None", keys: Sequence[_Key], page: Page, title: str
) -> None:
    """Name the curves below all panels, in as many columns as fit."""
    if not keys:
        if axes is not None:
            _legend(axes, anything=False)
        return
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=key.color, linestyle=_DASH[key.dash]) for key in keys]
    letters = int(page.width_cm * _CM * 72 / (page.font_pt * 0.83 * 0.62))
    options: dict[str, Any] = {"fontsize": "small", "title_fontsize": "small", "columnspacing": 1.2}
    figure.legend(
        handles,
        [key.text for key in keys],
        loc="outside lower center",
        ncols=_legend_columns(keys, page),
        title=textwrap.fill(title, max(letters, 20)),
        frameon=False,
        **options,
    )


def whole_steps(axes: "Axes") -> None:
    """Number an axis of inner steps by whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _literal(text: str) -> str:
    """Keep matplotlib from reading $ as mathematics, and a leading _ as a curve to leave out."""
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def _scales(axes: "Axes", *, log_x: bool = False, log_y: bool) -> None:
    if log_x:
        axes.set_xscale("log")
    if log_y:
        from matplotlib.ticker import LogFormatter

        class Plain(LogFormatter):
            """Writes 0.6 where its parent mixes 6e-01 with 1, 2 and 3."""

            def _num_to_string(self, x: float, vmin: float, vmax: float) -> str:
                del vmin, vmax
                return f"{x:g}"

        axes.set_yscale("log")
        plain = Plain(minor_thresholds=(2, 0.5))
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_formatter(plain)


def _legend(axes: "Axes", *, anything: bool) -> None:
    if not anything:
        axes.text(0.5, 0.5, "nothing recorded yet", transform=axes.transAxes, ha="center")
        return
    axes.legend(fontsize="small", frameon=False)
