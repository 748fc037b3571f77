"""Which numbers a plot shows: the same curves for the window, for PNG, PDF and SVG."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast, get_args

import numpy as np

from metaviz.config.quantities import COUNTED, quantity_of
from metaviz.runs.analysis.smoothing import Smoother, few_points_text
from metaviz.runs.model.events import INNER_COLUMNS
from metaviz.runs.model.labels import labels
from metaviz.runs.model.record import Record
from metaviz.runs.model.styles import Style, styles

Axis = Literal["step", "seconds", "gradient_evaluations", "episodes", "images_seen"]
Quantity = Literal[
    "query_loss",
    "support_loss",
    "query_accuracy",
    "support_accuracy",
    "query_return",
    "support_return",
]
EvaluatedQuantity = Literal[
    "query_loss", "support_loss", "query_accuracy", "query_return", "support_return"
]
InnerQuantity = Literal[
    "support_loss",
    "query_loss",
    "gradient_norm",
    "query_accuracy",
    "query_return",
    "support_return",
]

AXIS_TITLES: dict[str, str] = {
    "step": "meta-step",
    "seconds": replace(quantity_of("seconds"), title=quantity_of("seconds").noun).label,
    "gradient_evaluations": f"{quantity_of('gradient_evaluations').noun} (all tasks)",
    **{quantity.id: quantity.noun for quantity in COUNTED},
}
QUANTITY_TITLES: dict[str, str] = {
    name: quantity_of(name).noun for name in (*INNER_COLUMNS, *get_args(Quantity))
}


_BANDS_IN_FULL = 4


def judged_by_returns(records: "Iterable[Record]") -> bool:
    """Return whether policies act in all runs that were evaluated."""
    known = [record.evaluations[-1] for record in records if record.evaluations]
    return bool(known) and all("query_return" in one.curves for one in known)


def has_positive(quantity: str) -> bool:
    """Return whether a quantity is above 0 and its size is meant, as that of a loss."""
    return not quantity.endswith(("accuracy", "return"))


def as_judged(quantity: Quantity, *, by_returns: bool) -> Quantity:
    """Return what is shown in place of a loss where runs are judged by returns, and the reverse."""
    part, _, kind = quantity.partition("_")
    wanted = {"loss": "return"} if by_returns else {"return": "loss"}
    return cast(Quantity, f"{part}_{wanted.get(kind, kind)}")


def beyond_trained(curves: "Sequence[InnerCurve]") -> list[tuple[int, int]]:
    """Return, for each trained number of inner steps, the steps beyond it; they may overlap."""
    last = max((len(curve.k) - 1 for curve in curves), default=0)
    return [(k, last) for k in sorted({curve.trained_steps for curve in curves}) if k < last]


def band_alpha(runs: int) -> float:
    """Return how opaque an interval is drawn, so that many together do not hide the curves."""
    return 0.15 * min(1.0, _BANDS_IN_FULL / max(runs, 1))


def evaluation_text(curves: "Sequence[InnerCurve]") -> str:
    """Say at which meta-step and on how many tasks runs were evaluated; empty where none was."""
    if not curves:
        return ""
    steps, tasks = ({getattr(c, name) for c in curves} for name in ("step", "tasks"))
    when = f"Meta-step {min(steps)}" if len(steps) == 1 else "Runs are at different meta-steps"
    where = f"{min(tasks)} tasks" if len(tasks) == 1 else "different numbers of tasks"
    return f"{when}, {where}."


@dataclass(frozen=True)
class TrainingView:
    """What the training plot shows: evaluations, or `batches`, which alone can be smoothed."""

    quantity: Quantity = "query_loss"
    axis: Axis = "step"
    batches: bool = False
    smoothing: float = 0.9
    log_x: bool = False
    log_y: bool = False
    robust: bool = True
    show_pre: bool = True
    show_raw: bool = True


@dataclass(frozen=True)
class TrainingCurve:
    """A run's batches before and after adaptation, at the meta-steps at which all runs were read.

    Arrays have equal lengths. A batch of which one of the two is missing is a gap (NaN) in both.
    """

    run: str
    label: str
    style: Style
    x: np.ndarray
    pre: np.ndarray
    post: np.ndarray
    pre_raw: np.ndarray
    post_raw: np.ndarray
    every: int = field(default=1, kw_only=True)
    """Meta-steps from one reading to the next."""

    @property
    def has_pre(self) -> bool:
        """Whether there is a state before adaptation."""
        return bool(np.isfinite(self.pre).any())

    @property
    def last(self) -> float:
        """The newest value after adaptation, NaN where there is none."""
        known = self.post[np.isfinite(self.post)]
        return float(known[-1]) if known.size else math.nan

    @property
    def points(self) -> int:
        """How many batches were read."""
        return int(np.isfinite(self.post).sum())


def training_curves(
    records: Sequence[Record], view: TrainingView, smoother: Smoother | None = None
) -> list[TrainingCurve]:
    """Return the curves of all runs that have recorded this quantity, read at the same meta-steps.

    A method whose losses cost nothing is read at every meta-step, others more rarely: what only one
    of them has is left out, so that equal noise looks equal. With a smoother that knows the runs
    from before, only what they recorded since is smoothed.
    """
    style, label = _looks(records)
    smoother = smoother or Smoother()
    smoother.keep(records)
    known = [one for one in records if np.isfinite(one.column(f"post_{view.quantity}")).any()]
    every = math.lcm(*(one.config.get("shared", {}).get("reading_every", 1) for one in known))
    curves = []
    for record in known:
        pre, post = (record.column(f"{name}_{view.quantity}") for name in ("pre", "post"))
        if every > 1:
            # Meta-step s has the number s + 1 when it is recorded.
            read = (record.column("step")[: len(post)] - 1) % every == 0
            x, pre, post = record.column(view.axis)[: len(read)][read], pre[read], post[read]
        else:
            x = record.column(view.axis)
        if np.isfinite(pre).any():
            both = np.isfinite(pre) & np.isfinite(post)
            pre, post = (np.where(both, values, np.nan) for values in (pre, post))
        smooth = {}
        for name, raw in (("pre", pre), ("post", post)):
            column = record, f"{name}_{view.quantity}", every
            mean = smoother.follow(column, raw, view.smoothing)
            # A mean goes on through a gap, where nothing was read.
            smooth[name] = np.where(np.isfinite(raw), mean, np.nan)
        made = TrainingCurve(
            record.id,
            label[record.id],
            style[record.id],
            x,
            smooth["pre"],
            smooth["post"],
            pre,
            post,
            every=every,
        )
        curves.append(made)
    return curves


def _looks(records: Sequence[Record]) -> tuple[dict[str, Style], dict[str, str]]:
    """Return how the curves of runs look, and their names with what tells equal looks apart."""
    style = styles(records)
    return style, {run: name + style[run].mark for run, name in labels(records).items()}


@dataclass(frozen=True)
class InnerView:
    """What the inner-loop plot shows; `evaluation` counts from the last one, -1, backwards."""

    quantity: InnerQuantity = "query_loss"
    log_y: bool = True
    evaluation: int = -1
    show_interval: bool = True
    max_k: int | None = None


@dataclass(frozen=True)
class InnerCurve:
    """One run's mean over the evaluation tasks at k = 0..K_eval, with its 95 % half-width."""

    run: str
    label: str
    style: Style
    step: int
    tasks: int
    trained_steps: int
    k: np.ndarray
    mean: np.ndarray
    ci95: np.ndarray


def inner_curves(records: Sequence[Record], view: InnerView) -> list[InnerCurve]:
    """Return the evaluation curves of all runs that have one and whose methods take steps."""
    style, label = _looks(records)
    curves = []
    for record in records:
        count = len(record.evaluations)
        if count == 0 or not record.traits.has_inner_loop:
            continue
        place = max(-count, view.evaluation) if view.evaluation < 0 else view.evaluation
        evaluation = record.evaluations[min(place, count - 1)]
        mean = evaluation.curves.get(view.quantity)
        if mean is None or not np.isfinite(mean).any():
            continue
        stop = len(mean) if view.max_k is None else min(len(mean), view.max_k + 1)
        curves.append(
            InnerCurve(
                record.id,
                label[record.id],
                style[record.id],
                evaluation.step,
                evaluation.tasks,
                evaluation.trained_steps,
                np.arange(stop),
                mean[:stop],
                evaluation.curves.get(f"{view.quantity}_ci95", np.full(len(mean), np.nan))[:stop],
            )
        )
    return curves


def training_caption(curves: Sequence[TrainingCurve], view: TrainingView, *, crowded: bool) -> str:
    """Say what lines are, as far as they are drawn; of `crowded` ones all are thin."""
    if not curves:
        return ""
    parts = [f"{'' if crowded else 'bold: '}after adaptation"]
    if view.show_pre and any(curve.has_pre for curve in curves):
        parts.append(f"{'pale' if crowded else 'thin'}: before adaptation")
        parts += [] if crowded else ["shaded: what adaptation gains"]
    every = curves[0].every
    parts.append(
        "each meta-step’s batch" if every == 1 else f"batches of every {every}th meta-step"
    )
    if view.show_raw and view.smoothing > 0:
        parts.append("raw curves of so many runs are left out" if crowded else "faint: as read")
    if view.smoothing > 0:
        steps = round(every / (1 - view.smoothing))
        parts.append(
            f"smoothed, weight {view.smoothing:g}: mean of the last {steps} meta-steps or so"
        )
    few = few_points_text(view.smoothing, (curve.points for curve in curves))
    return "; ".join(parts) + few


def inner_caption(
    curves: Sequence[InnerCurve], view: InnerView, *, dotted: bool, shaded: bool
) -> str:
    """Say what lines, bands and marks are, as far as they are drawn."""
    tasks = sorted({curve.tasks for curve in curves})
    parts = [f"lines: means over {' or '.join(map(str, tasks))} tasks"]
    if view.show_interval and any(np.isfinite(curve.ci95).any() for curve in curves):
        parts.append("bands: 95 % intervals of the means")
    if dotted:
        parts.append("dotted: as many steps as in training")
    if shaded:
        parts.append("grey: more inner steps than in training")
    return "; ".join(parts)


def available(records: Iterable[Record]) -> list[Quantity]:
    """Return the quantities that at least one run has recorded, losses first."""
    known: tuple[Quantity, ...] = get_args(Quantity)
    runs = list(records)
    return [
        name
        for name in known
        if name.endswith("loss")
        or any(np.isfinite(record.column(f"post_{name}")).any() for record in runs if len(record))
    ]
