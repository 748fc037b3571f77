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
