"""How fast inner loops converge, in numbers; and the loss around one adaptation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaviz.runs.analysis.curves import InnerView, inner_curves
from metaviz.runs.model.record import Record

_LEAST = 3


@dataclass(frozen=True)
class Convergence:
    """The support loss of one run against the inner step, in numbers.

    `steps_to_loss` is the first inner step, interpolated between whole ones, at which the mean
    support loss is at most the chosen one; NaN where it never is. `area` is the area under the
    curve from 0 to the last step that all runs were evaluated at, in loss times steps. `rate` is
    the factor by which an exponential through the mean losses falls in one step, fitted to their
    logarithms up to the trained number of steps; NaN where a loss is not positive.
    """

    run: str
    label: str
    step: int
    start: float
    steps_to_loss: float
    area: float
    rate: float


def convergence(
    records: Sequence[Record], chosen_loss: float, evaluation: int = -1
) -> list[Convergence]:
    """Return the numbers of all runs that were evaluated."""
    curves = inner_curves(records, InnerView(quantity="support_loss", evaluation=evaluation))
    last = min((len(curve.mean) for curve in curves), default=0)
    return [
        Convergence(
            curve.run,
            curve.label,
            curve.step,
            float(curve.mean[0]),
            steps_to(curve.mean, chosen_loss),
            float(np.trapezoid(curve.mean[:last])),
            fitted_rate(curve.mean[: max(curve.trained_steps + 1, _LEAST)]),
        )
        for curve in curves
    ]


def steps_to(losses: np.ndarray, chosen: float) -> float:
    """Return the interpolated step at which a curve first is at most `chosen`, or NaN."""
    below = np.flatnonzero(losses <= chosen)
    if not below.size:
        return float("nan")
    k = int(below[0])
    if k == 0:
        return 0.0
    before, after = losses[k - 1], losses[k]
    return float(k - 1 + (before - chosen) / (before - after)) if np.isfinite(before) else float(k)


def fitted_rate(losses: np.ndarray) -> float:
    """Return exp of the least-squares slope of log loss against the step, or NaN."""
    if len(losses) < 2 or not (np.isfinite(losses).all() and (losses > 0).all()):  # noqa: PLR2004
        return float("nan")
    return float(np.exp(np.polyfit(np.arange(len(losses)), np.log(losses), 1)[0]))


@dataclass(frozen=True)
class LossSlice:
    """The loss of one task along the line from phi^0 (t = 0) to phi^K (t = 1), and on a plane.

    Shapes: t, support, query (m,); path (K+1,) the steps' places on the line, where the path is
    projected onto it, and on_path (K+1,) the support losses at the steps themselves; u (a,),
    v (b,), plane (a, b) the support loss; plane_path (K+1, 2); explained (2,) the shares of the
    path's variation along the plane's axes. The plane is None where none was stored.
    """

    label: str
    step: int
    t: np.ndarray
    support: np.ndarray
    query: np.ndarray
    path: np.ndarray
    on_path: np.ndarray
    u: np.ndarray | None = None
    v: np.ndarray | None = None
    plane: np.ndarray | None = None
    plane_path: np.ndarray | None = None
    explained: np.ndarray | None = None

    def heights(self) -> tuple[np.ndarray, str]:
        """Return what colours the plane, and its name: logarithms where every loss is positive."""
        plane = np.empty((0, 0)) if self.plane is None else self.plane
        if plane.size and (plane > 0).all():
            return np.log10(plane), "log₁₀ support loss"
        return plane, "support loss"


def loss_slice(record: Record, label: str, evaluation: int = -1) -> LossSlice | None:
    """Return the slice stored at an evaluation, or None where there is none."""
    stored = [picture for picture in record.pictures if "slice" in picture.arrays]
    if not stored:
        return None
    chosen = stored[max(-len(stored), min(evaluation, len(stored) - 1))]
    arrays = chosen.arrays
    return LossSlice(
        label,
        chosen.step,
        arrays["line_t"],
        arrays["line_support"],
        arrays["line_query"],
        arrays["line_path"],
        # Runs of earlier versions have the loss on the line alone.
        arrays.get("path_support", np.full(len(arrays["line_path"]), np.nan)),
        arrays.get("plane_u"),
        arrays.get("plane_v"),
        arrays.get("plane_support"),
        arrays.get("plane_path"),
        arrays.get("plane_explained"),
    )
