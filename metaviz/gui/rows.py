"""What the runs table knows of each run: a few numbers, and the whole record once it is shown."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metaviz.runs.record import Record


@dataclass(frozen=True)
class Summary:
    """The numbers of one row. NaN where there is none."""

    algorithm: str
    problem: str
    seed: int
    state: str
    message: str
    step: int
    total: int
    loss: float
    loss_ci95: float
    accuracy: float
    accuracy_ci95: float
    seconds: float
    inner_steps: int
    inner_lr: float


@dataclass
class Row:
    """One run of the table. `record` is None until somebody wants to see a stored run."""

    id: str
    folder: Path | None
    config: dict[str, Any]
    summary: Summary
    record: Record | None = None
    visible: bool = False
    seen: int = -1
    """Revision of the record when the summary was made."""


def summarise(record: Record) -> Summary:
    """Return the numbers of one row from a record."""
    loss = accuracy = (np.nan, np.nan)
    if record.evaluations:
        last = record.evaluations[-1]
        loss = _after(last.curves, "query_loss", last.trained_steps)
        accuracy = _after(last.curves, "query_accuracy", last.trained_steps)
    config = record.config
    shared, own = config.get("shared", {}), config.get("options", {})
    return Summary(
        algorithm=record.algorithm,
        problem=record.problem,
        seed=record.seed,
        state=record.state,
        message=record.message,
        step=record.step,
        total=record.total_steps,
        loss=loss[0],
        loss_ci95=loss[1],
        accuracy=accuracy[0],
        accuracy_ci95=accuracy[1],
        seconds=float(record.column("seconds")[-1]) if len(record) else np.nan,
        inner_steps=_inner_steps(record),
        inner_lr=float(own.get("inner_lr") or shared.get("inner_lr") or np.nan),
    )


def _inner_steps(record: Record) -> int:
    """Return the inner steps behind the shown loss."""
    if record.evaluations:
        return record.evaluations[-1].trained_steps
    shared, own = record.config.get("shared", {}), record.config.get("options", {})
    return int(own.get("inner_steps") or shared.get("inner_steps") or 0)


def row_of(record: Record, folder: Path | None, *, keep: bool) -> Row:
    """Return the row of a record; without `keep` it remembers the summary only."""
    kept = record if keep else None
    return Row(record.id, folder, record.config, summarise(record), kept, seen=record.revision)


def _after(curves: dict[str, np.ndarray], name: str, k: int) -> tuple[float, float]:
    if name not in curves:
        return np.nan, np.nan
    return float(curves[name][k]), float(curves[f"{name}_ci95"][k])
