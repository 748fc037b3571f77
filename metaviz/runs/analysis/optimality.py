"""How far runs of linear models are from the global optimum, and what bounds that."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np

from metaviz.runs.analysis.needs import Need
from metaviz.runs.model.events import Pictured
from metaviz.runs.model.record import Record
from metaviz.theory.assumptions import Assumption, assumptions
from metaviz.theory.errors import NoAnswerError
from metaviz.theory.linear import LossName, MetaRisk, Minimiser, minimiser
from metaviz.theory.optimality import Optimality, optimality

RADII = np.logspace(-2, 1, 25)
"""The radii R that the bound is computed for; small ones are where it is tightest."""
_KEY = "optimality_tables"
_MOST = 40
_STEP = 1e-4
_NEAR = 0.02


@dataclass(frozen=True)
class WhatIf:
    """What is changed of a run's problem before its points are judged; empty for nothing."""

    loss: LossName | None = None
    shared: bool = False


@dataclass(frozen=True)
class Judged:
    """One evaluation of a run: its meta-step, its point omega, and Theorem 1 there."""

    step: int
    omega: np.ndarray
    found: Optimality


@dataclass(frozen=True)
class History:
    """A run's problem and its evaluations, and how far its steps are from MAML's single one."""

    risk: MetaRisk
    least: Minimiser
    judged: tuple[Judged, ...]
    off_step: float

    def assumptions(self, place: int) -> list[Assumption]:
        """Return what the bounds assume, with the numbers of one evaluation."""
        found = self.judged[place].found
        own = Assumption(
            "The run adapts by one gradient step of size eta",
            f"predictions after it differ by up to {self.off_step:.1e}",
            self.off_step < _STEP,
        )
        return [own, *assumptions(self.risk, found)]


def has_tables(record: Record) -> bool:
    """Return whether a run's pictures hold the tables of linear models."""
    return any(_KEY in picture.arrays for picture in record.pictures)


LINEAR = Need(
    has_tables,
    "no exact risks",
    "Tick a run of the problem Linear models, exact risks: its first evaluation opens this view.",
)


def history(record: Record, change: WhatIf | None = None) -> History | None:
    """Judge up to 40 evaluations of a run; None where it has no tables or L no minimiser."""
    pictures = [one for one in record.pictures if _KEY in one.arrays]
    if not pictures:
        return None
    chosen = np.unique(np.linspace(0, len(pictures) - 1, _MOST).round().astype(int))
    kept = tuple(_Picture(pictures[at]) for at in chosen)
    try:
        return _history(kept, change or WhatIf())
    except (NoAnswerError, np.linalg.LinAlgError):
        return None


def risk_of(picture: Pictured, change: WhatIf | None = None) -> MetaRisk:
    """Return the meta-objective whose tables a picture holds, changed."""
    arrays, change = picture.arrays, change or WhatIf()
    loss = change.loss or cast("LossName", str(arrays["optimality_loss"]))
    tables = np.asarray(arrays[_KEY], dtype=float)
    if change.shared:
        marginals = tables.sum(2, keepdims=True)
        given = np.divide(tables, marginals, out=np.full_like(tables, 0.5), where=marginals > 0)
        tables = given * marginals.mean(0)
    features = np.asarray(arrays["optimality_features"], dtype=float)
    rate = float(arrays["optimality_rate"])
    return MetaRisk(tables, features, np.array([0.0, 1.0]), loss, rate)


def singular_rates(risk: MetaRisk) -> np.ndarray:
    """Return the rates 1 / (2 lambda_i) at which K_eta = E[I - 2 eta phi phi'] is singular."""
    rho = risk.marginals.mean(0)
    values = np.linalg.eigvalsh((risk.features.T * rho) @ risk.features)
    return np.sort(1 / (2 * values[values > 1e-12 * values.max()]))


def singular_text(risk: MetaRisk) -> str:
    """Say where K_eta is singular, and whether the rate is near such a place."""
    rates = singular_rates(risk)
    near = rates[np.abs(rates - risk.rate) < _NEAR * risk.rate]
    listed = ", ".join(f"{rate:.3g}" for rate in rates[:4]) + (", …" if len(rates) > 4 else "")  # noqa: PLR2004
    verdict = f"K_η is singular here (η = {risk.rate:g})" if len(near) else f"η = {risk.rate:g}"
    return f"K_η is singular at η = 1/(2λ_i(Σ)) = {listed}: {verdict}."


def width_of(record: Record) -> int | None:
    """Return the number of features of a run's problem."""
    for picture in record.pictures:
        if _KEY in picture.arrays:
            return int(picture.arrays["optimality_features"].shape[1])
    return None


def last_by_width(
    records: Sequence[Record], change: WhatIf | None = None
) -> Iterator[tuple[int, float, Judged]]:
    """Yield width, L(theta*) and the last evaluation of each run, narrow ones first."""
    for record in sorted(records, key=lambda one: width_of(one) or 0):
        width, found = width_of(record), history(record, change)
        if width is not None and found is not None:
            yield width, found.least.value, found.judged[-1]


class _Picture:
    """A picture that is known by identity, to be a key."""

    def __init__(self, picture: Pictured) -> None:
        self.picture = picture

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Picture) and other.picture is self.picture

    def __hash__(self) -> int:
        return id(self.picture)


@lru_cache(maxsize=64)
def _history(kept: tuple[_Picture, ...], change: WhatIf) -> History:
    risk = risk_of(kept[0].picture, change)
    least = minimiser(risk)
    judged = [_judged(one.picture, risk, least) for one in kept]
    return History(risk, least, tuple(judged), _off_step(kept[-1].picture))


def point_of(picture: Pictured) -> np.ndarray:
    """Return the point omega of a picture: the features' coefficients of what it predicts."""
    arrays = picture.arrays
    features = np.asarray(arrays["optimality_features"], dtype=float)
    before = np.asarray(arrays["optimality_predictions"], dtype=float)[0, 0]
    return np.asarray(np.linalg.lstsq(features, before, rcond=None)[0])


def _judged(picture: Pictured, risk: MetaRisk, least: Minimiser) -> Judged:
    omega = point_of(picture)
    with np.errstate(over="ignore", invalid="ignore"):
        return Judged(picture.step, omega, optimality(risk, omega, RADII, least))


def _off_step(picture: Pictured) -> float:
    """Return how far a run's predictions after its steps are from those after one MAML step."""
    risk = risk_of(picture)
    predictions = np.asarray(picture.arrays["optimality_predictions"], dtype=float)
    if len(predictions) < 2:  # noqa: PLR2004 - before and after a step
        return float("inf")
    expected = risk.adapted(point_of(picture)) @ risk.features.T
    return float(np.abs(predictions[1] - expected).max())


def example(rate: float) -> MetaRisk:
    """Return the one-dimensional problem whose meta-objective has maxima where eps = 0.

    Logistic loss, one feature, two tasks: from a rate near 4 on adaptation's Jacobian vanishes at
    points that are not minima.
    """
    p = np.array([[0.9, 0.2, 0.7, 0.6], [0.1, 0.8, 0.4, 0.3]])
    tables = np.stack([1 - p, p], axis=2) / p.shape[1]
    features = np.array([[1.0], [-1.0], [2.0], [0.5]])
    return MetaRisk(tables, features, np.array([0.0, 1.0]), "logistic", rate)
