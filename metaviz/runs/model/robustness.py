"""How a run's weights do with more or fewer, larger or smaller inner steps than they know."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metaviz.config.quantities import unit_of
from metaviz.config.run_config import MOST_STEPS
from metaviz.files.foreign import ForeignError, UnreadableError, part_of
from metaviz.files.values import of_kind, required, whole
from metaviz.runs.model.arrays import numbers, possible, read_described, write_described
from metaviz.runs.model.evaluation import held_out

FOLDER = "robustness"
_MAP = f"{FOLDER}/map.npz"
MOST_TASKS = 100
_log = logging.getLogger("metaviz.runs")
FACTORS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Robustness:
    """A measure on held-out tasks for step sizes at test time and numbers of steps.

    `factors` multiply the step size `rate`, or where weights do not share one, the step that was
    learned; `k` is the run's own number of steps. Shapes: mean and half_width (of the 95 %
    interval), (factors, K+1).
    """

    run: str
    label: str
    step: int
    k: int
    rate: float
    shares_rate: bool
    factors: tuple[float, ...]
    protocol: dict[str, Any]
    dataset: str
    measure: str
    mean: np.ndarray
    half_width: np.ndarray

    @property
    def unit(self) -> float:
        """What the measure is multiplied by where it is shown: accuracies are in per cent."""
        return unit_of(self.measure)


def store_robustness(found: Robustness, folder: Path) -> Path:
    """Write a map into its run's folder, in place of an older one; return the file.

    Raises: as `evaluation.store`.
    """
    about = asdict(found)
    arrays = {name: about.pop(name) for name in ("mean", "half_width")}
    path = part_of(folder, _MAP)
    path.parent.mkdir(exist_ok=True)
    write_described(path, about, arrays)
    return path


def stored_robustness(folder: Path) -> Robustness | None:
    """Return the map in a run's folder; None where there is none that can be read."""
    try:
        return _robustness(*read_described(part_of(folder, _MAP)))
    except ForeignError as error:
        if isinstance(error, UnreadableError) and error.is_missing:
            return None
        _log.warning("%s is left out: %s.", folder / _MAP, str(error).rstrip("."))
        return None


def _robustness(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Robustness:
    """Return a map whose parts fit together. Raises: ForeignError."""
    factors = tuple(of_kind(one, float, "factors") for one in required(about, "factors", list))
    mean, half = (
        numbers(required(arrays, name, np.ndarray), name, dimensions=2)
        for name in ("mean", "half_width")
    )
    measure = required(about, "measure", str)
    possible(measure, mean)
    k = required(about, "k", int)
    if not (mean.shape == half.shape and len(mean) == len(factors) and 0 <= k < mean.shape[1]):
        raise ForeignError(f"{mean.shape} numbers are no map of {len(factors)} sizes and k = {k}")
    return Robustness(
        run=required(about, "run", str),
        label=required(about, "label", str),
        step=whole(required(about, "step", int), "step", 0, MOST_STEPS),
        k=k,
        rate=required(about, "rate", float),
        shares_rate=required(about, "shares_rate", bool),
        factors=factors,
        protocol=held_out(about),
        dataset=required(about, "dataset", str),
        measure=measure,
        mean=mean,
        half_width=half,
    )


def factor_text(found: Robustness, factor: float) -> str:
    """Return how a step size is shown: the size where all weights share it, or a multiple."""
    if found.shares_rate:
        return f"α = {found.rate * factor:.3g}"
    return f"{factor:g} × learned"
