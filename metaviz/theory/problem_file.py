"""Problems of the theory commands, read from TOML files of unknown origin."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from metaviz.config.run_config import read_toml
from metaviz.files.foreign import ForeignError
from metaviz.files.values import number_grid, of_kind, required, whole
from metaviz.theory.expansion import Quadratics
from metaviz.theory.linear import LossName, MetaRisk

_MOST_LOSSES, _MOST_NUMBERS, _MOST_PRODUCTS = 12, 30_000_000, 1_000_000_000
_MOST_STEPS, _MOST = 10**6, 1e100
_SUM, _SYMMETRY = 1e-8, 1e-10
_LEAST_RANK = 1e-10


def read_optimality(path: Path) -> tuple[MetaRisk, np.ndarray, np.ndarray]:
    """Read `tables`, `features`, `outcomes`, `loss`, `rate`, `omega` and `radii`.

    Raises: OptionError or ForeignError with one sentence.
    """
    keys = ("tables", "features", "outcomes", "loss", "rate", "omega", "radii")
    values = _read(path, keys)
    loss = required(values, "loss", str)
    if loss not in get_args(LossName):
        raise ForeignError(f"loss = {loss!r:.40} is not squared or logistic")
    tables, features = _array(values, "tables", 3), _array(values, "features", 2)
    outcomes, omega, radii = (_array(values, key, 1) for key in ("outcomes", "omega", "radii"))
    _same(tables, 1, features, 0, "tables", "features")
    _same(tables, 2, outcomes, 0, "tables", "outcomes")
    _same(features, 1, omega, 0, "features", "omega")
    _check_tables(tables)
    points, width = features.shape
    if points * points * len(outcomes) * width > _MOST_NUMBERS:
        raise ForeignError(f"{points} points with {width} features are too many to be compared")
    if (radii < 0).any():
        raise ForeignError(f"radii has {radii.min():g}, but a radius is not below 0")
    seen = features[tables.sum((0, 2)) > 0]
    sizes = np.linalg.svd(seen, compute_uv=False)
    if len(seen) < width or sizes[-1] <= _LEAST_RANK * sizes[0]:
        raise ForeignError(
            f"features is singular: its {width} columns depend on each other on the "
            f"{len(seen)} points that tasks have, so that no minimiser is the only one"
        )
    risk = MetaRisk(tables, features, outcomes, cast("LossName", loss), _rate(values, zero=True))
    return risk, omega, radii


def read_expansion(path: Path) -> tuple[Quadratics, np.ndarray, np.ndarray]:
    """Read `hessians`, `linear`, `start` and `rates`. Raises: as `read_optimality`."""
    values = _read(path, ("hessians", "linear", "start", "rates"))
    hessians, linear = _array(values, "hessians", 3), _array(values, "linear", 2)
    start, rates = _array(values, "start", 1), _array(values, "rates", 1)
    _same(hessians, 0, linear, 0, "hessians", "linear")
    _same(hessians, 1, linear, 1, "hessians", "linear")
    _same(linear, 1, start, 0, "linear", "start")
    for at, matrix in enumerate(hessians):
        _check_symmetric(matrix, f"hessians[{at}]")
    count, size = linear.shape
    if not 2 <= count <= _MOST_LOSSES:  # noqa: PLR2004 - one loss has no order
        raise ForeignError(f"hessians has {count} losses; use 2 to {_MOST_LOSSES}")
    if not (rates > 0).all():
        raise ForeignError(f"rates has {rates.min():g}, but a rate is above 0")
    if len(rates) * 2**count * size**3 > _MOST_PRODUCTS:
        raise ForeignError(
            f"{count} losses of {size} numbers at {len(rates)} rates are too many to be ordered"
        )
    return Quadratics(hessians, linear), start, rates


def read_prior(path: Path) -> tuple[np.ndarray, float, int]:
    """Read `hessian`, `rate` and `steps`. Raises: as `read_optimality`."""
    values = _read(path, ("hessian", "rate", "steps"))
    hessian = _array(values, "hessian", 2)
    _check_symmetric(hessian, "hessian")
    steps = whole(values["steps"], "steps", 1, _MOST_STEPS)
    return hessian, _rate(values), steps


def read_quadratic(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read `support_hessian`, `support_linear` and `start` of a quadratic problem.

    Raises: as `read_optimality`.
    """
    values = read_toml(path)
    hessian, linear = _array(values, "support_hessian", 2), _array(values, "support_linear", 1)
    start = _array(values, "start", 1)
    _check_symmetric(hessian, "support_hessian")
    _same(hessian, 0, linear, 0, "support_hessian", "support_linear")
    _same(linear, 0, start, 0, "support_linear", "start")
    return hessian, linear, start


def _read(path: Path, keys: Iterable[str]) -> dict[str, Any]:
    values = read_toml(path)
    missing = [key for key in keys if key not in values]
    if missing:
        raise ForeignError(f"{path.name} lacks {', '.join(missing)}")
    unknown = [key for key in values if key not in keys]
    if unknown:
        raise ForeignError(f"{path.name} has {unknown[0]!r:.40}; it may have {', '.join(keys)}")
    return values


def _array(values: dict[str, Any], key: str, axes: int) -> np.ndarray:
    number_grid(required(values, key, list), key, axes)
    found = np.array(values[key], dtype=float)
    if np.abs(found).max() > _MOST:
        raise ForeignError(f"{key} has numbers above {_MOST:g}, which are too large")
    return found


def _rate(values: dict[str, Any], *, zero: bool = False) -> float:
    number_grid(values["rate"], "rate", 0)
    rate = float(of_kind(values["rate"], float, "rate"))
    if rate < 0 or (rate == 0 and not zero):
        raise ForeignError(f"rate = {rate:g} is not above 0")
    return rate


def _same(
    one: np.ndarray, axis: int, other: np.ndarray, other_axis: int, name: str, other_name: str
) -> None:
    if one.shape[axis] != other.shape[other_axis]:
        shapes = (" x ".join(map(str, array.shape)) for array in (one, other))
        here, there = shapes
        raise ForeignError(f"{name} ({here}) and {other_name} ({there}) do not fit together")


def _check_tables(tables: np.ndarray) -> None:
    """Refuse what is no table of probabilities."""
    if (tables < 0).any():
        place = np.unravel_index(tables.argmin(), tables.shape)
        raise ForeignError(
            f"tables[{place[0]}] has the probability {tables.min():g}, which is below 0"
        )
    sums = tables.sum((1, 2))
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > _SUM:
        raise ForeignError(f"tables[{worst}] sums to {sums[worst]:.10g}, but must sum to 1")


def _check_symmetric(matrix: np.ndarray, what: str) -> None:
    if matrix.shape[0] != matrix.shape[1]:
        raise ForeignError(f"{what} is {matrix.shape[0]} x {matrix.shape[1]}, but must be square")
    if not np.allclose(matrix, matrix.T, rtol=_SYMMETRY, atol=1e-12):
        row, column = np.unravel_index(np.abs(matrix - matrix.T).argmax(), matrix.shape)
        raise ForeignError(
            f"{what} is not symmetric: {float(matrix[row, column])!r} in row {row + 1}, column "
            f"{column + 1} is {float(matrix[column, row])!r} across the diagonal"
        )
