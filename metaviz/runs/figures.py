"""Figures for papers, drawn by matplotlib in the light theme: PNG, PDF and SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from metaviz.runs.curves import (
    AXIS_TITLES,
    QUANTITY_TITLES,
    Fan,
    InnerView,
    TrainingView,
    inner_curves,
    training_curves,
)
from metaviz.runs.files import write_atomically
from metaviz.runs.gradients import GradientComparison
from metaviz.runs.record import Record
from metaviz.runs.statistics import robust_range, thin
from metaviz.runs.store import StoreError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "pdf", "svg")
_DASH = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
_POINTS = 2000
_UNEQUAL = 3
_CM = 1 / 2.54


@dataclass(frozen=True)
class Page:
    """Size and resolution of a figure: centimetres, dots per inch, points of the font."""

    width_cm: float = 16.0
    height_cm: float = 10.0
    dpi: int = 150
    font_pt: float = 9.0


def training_figure(
    records: Sequence[Record], view: TrainingView, page: Page | None = None
) -> "Figure":
    """Draw losses or accuracies before and after adaptation over training."""
    figure, axes = _blank(page or Page())
    curves = training_curves(records, view)
    shown = []
    for curve in curves:
        look = {"color": curve.style.color, "linestyle": _DASH[curve.style.dash]}
        x, post = thin(curve.x, curve.post, _POINTS)
        if view.show_raw and view.smoothing > 0:
            raw = thin(curve.x, curve.post_raw, _POINTS)
            axes.plot(*raw, color=curve.style.color, alpha=0.15, linewidth=0.6)
        label = f"{_literal(curve.label)}: after adaptation"
        axes.plot(x, post, **look, linewidth=1.4, label=label)
        shown.append(curve.post)
        if view.show_pre:
            x_pre, pre = thin(curve.x, curve.pre, _POINTS)
            axes.plot(x_pre, pre, **look, linewidth=0.8, alpha=0.6)
            gap = np.interp(x, x_pre, pre)
            axes.fill_between(x, post, gap, color=curve.style.color, alpha=0.06, linewidth=0)
            shown.append(curve.pre)
    title = QUANTITY_TITLES[view.quantity]
    axes.set(xlabel=AXIS_TITLES[view.axis], ylabel=f"{title} (batch mean)")
    log_y = view.log_y and _has_logarithms(shown)
    _scales(axes, log_x=view.log_x, log_y=log_y)
    limits = robust_range(np.concatenate(shown), log=log_y) if view.robust and shown else None
    if limits:
        axes.set_ylim(*limits)
    _legend(axes, "thin: before adaptation" if view.show_pre else "", anything=bool(curves))
    return figure


def inner_figure(
    records: Sequence[Record], views: Sequence[InnerView] | None = None, page: Page | None = None
) -> "Figure":
    """Draw the inner loop at the last evaluation: one panel per view."""
    chosen = list(views) if views else default_inner_views(records)
    figure, panels = _blank(page or Page(width_cm=11.0 * len(chosen), height_cm=9.0), len(chosen))
    for axes, view in zip(np.atleast_1d(panels), chosen, strict=True):
        curves = inner_curves(records, view)
        log_y = view.log_y and _has_logarithms([curve.mean for curve in curves])
        for curve in curves:
            look = {"color": curve.style.color, "linestyle": _DASH[curve.style.dash]}
            label = _literal(curve.label)
            axes.plot(curve.k, curve.mean, **look, marker="o", markersize=2.5, label=label)
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
            ticks = sorted({0, min(ends) // 2, min(ends), max(ends)})
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.set_xlim(0, max(ends))
        axes.set(xlabel="inner step k", ylabel=QUANTITY_TITLES[view.quantity])
        _scales(axes, log_y=log_y and view.quantity != "query_accuracy")
        if not curves:
            _legend(axes, "", anything=False)
    if curves:
        title = f"mean over {curves[0].tasks} tasks; band: 95 % of the mean; dotted: trained K"
        handles, labels = np.atleast_1d(panels)[0].get_legend_handles_labels()
        options: dict[str, Any] = {"fontsize": "small", "title_fontsize": "small"}
        columns = min(4, len(labels))
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=columns,
            title=title,
            frameon=False,
            **options,
        )
    return figure


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

    figure, axes = _blank(page or Page())
    axes.plot(shown.x, shown.truth, color="0.2", linestyle="--", label="truth")
    colours = mpl.colormaps["viridis"](np.linspace(0.05, 0.9, max(len(steps), 2)))
    for colour, k in zip(colours, steps, strict=False):
        trained = " (trained K)" if k == shown.trained_steps else ""
        axes.plot(shown.x, shown.predictions[k], color=colour, label=f"k = {k}{trained}")
    axes.plot(shown.support_x, shown.support_y, "o", color="k", markersize=4, label="support")
    axes.set(xlabel="x", ylabel="y", title=f"{_literal(shown.label)}, meta-step {shown.step}")
    _legend(axes, "", anything=True)
    return figure


def gradients_figure(comparison: GradientComparison, page: Page | None = None) -> "Figure":
    """Draw the cosine matrix and the lengths of meta-gradients."""
    figure, panels = _blank(page or Page(width_cm=20, height_cm=9), 2)
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
    if kind not in FORMATS:
        raise StoreError(f"Cannot write {path.name}: choose a name ending in .png, .pdf or .svg.")
    import matplotlib as mpl

    metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})

    def write(stream: BinaryIO) -> None:
        with mpl.rc_context(
            {"svg.fonttype": "none", "svg.hashsalt": "metaviz", "pdf.fonttype": 42}
        ):
            figure.savefig(stream, format=kind, metadata=metadata)

    try:
        write_atomically(path, write)
    except OSError as error:
        raise StoreError(f"Cannot write {path}: {error.strerror}.") from error


def _blank(page: Page, panels: int = 1) -> tuple["Figure", Any]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": page.font_pt}):
        figure = Figure(
            figsize=(page.width_cm * _CM, page.height_cm * _CM), dpi=page.dpi, layout="constrained"
        )
        axes = figure.subplots(1, panels)
    for one in np.atleast_1d(axes):
        one.set_axisbelow(True)
        one.grid(visible=True, alpha=0.25, linewidth=0.5)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _literal(text: str) -> str:
    """Keep matplotlib from reading $ as mathematics, and a leading _ as a curve to leave out."""
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def _has_logarithms(curves: Sequence[np.ndarray]) -> bool:
    """Return whether a logarithmic axis shows the curves whole: quadratic losses are negative."""
    values = np.concatenate([*curves, np.empty(0)])
    known = values[np.isfinite(values)]
    return bool((known > 0).any() and (known >= 0).all())


def _scales(axes: "Axes", *, log_x: bool = False, log_y: bool) -> None:
    if log_x:
        axes.set_xscale("log")
    if log_y:
        from matplotlib.ticker import LogFormatter

        axes.set_yscale("log")
        plain = LogFormatter(minor_thresholds=(2, 0.5))
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_formatter(plain)


def _legend(axes: "Axes", title: str, *, anything: bool) -> None:
    if not anything:
        axes.text(0.5, 0.5, "nothing recorded yet", transform=axes.transAxes, ha="center")
        return
    legend = axes.legend(title=title or None, fontsize="small", frameon=False)
    legend.get_title().set_fontsize("x-small")
