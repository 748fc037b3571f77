"""How a run's weights do with more or fewer, larger or smaller inner steps than they know."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metaviz.runs.model.arrays import read_described, write_described

FOLDER = "robustness"
MOST_TASKS = 100
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
        return 100.0 if self.measure == "query_accuracy" else 1.0


def store_robustness(found: Robustness, folder: Path) -> Path:
    """Write a map into its run's folder, in place of an older one; return the file."""
    about = asdict(found)
    arrays = {name: about.pop(name) for name in ("mean", "half_width")}
    path = folder / FOLDER / "map.npz"
    path.parent.mkdir(exist_ok=True)
    write_described(path, about, arrays)
    return path


def stored_robustness(folder: Path) -> Robustness | None:
    """Return the map in a run's folder; None where there is none that can be read."""
    try:
        about, arrays = read_described(folder / FOLDER / "map.npz")
        about["factors"] = tuple(about["factors"])
        return Robustness(**about, mean=arrays["mean"], half_width=arrays["half_width"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def factor_text(found: Robustness, factor: float) -> str:
    """Return how a step size is shown: the size where all weights share it, or a multiple."""
    if found.shares_rate:
        return f"α = {found.rate * factor:.3g}"
    return f"{factor:g} × learned"
