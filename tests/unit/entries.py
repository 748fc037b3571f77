"""Rows of tables and small stored runs, made without training."""

from pathlib import Path
from typing import Any

import numpy as np

from metaviz.runs.model.events import STEP_COLUMNS, Ended, Evaluated, Stepped
from metaviz.runs.model.marks import Marks
from metaviz.runs.storage.store import create_run
from metaviz.runs.table.summary import Entry, Summary


def config(algorithm: str = "maml", seed: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a run's configuration; `shared`, `options` and `problem_options` may be given."""
    usual = {"inner_lr": 0.1, "inner_steps": 5, "clip_norm": None}
    return {
        "algorithm": algorithm,
        "problem": changes.get("problem", "sinusoid"),
        "seed": seed,
        "steps": 10,
        "dtype": "float32",
        "shared": {**usual, **changes.get("shared", {})},
        "options": changes.get("options", {}),
        "problem_options": changes.get("problem_options", {}),
    }


def entry(
    name: str = "r",
    algorithm: str = "maml",
    seed: int = 0,
    loss: float = 0.5,
    state: str = "done",
    marks: Marks | None = None,
    accuracy: float = np.nan,
    **changes: Any,
) -> Entry:
    """Return one row."""
    asked = config(algorithm, seed, **changes)
    summary = Summary(
        algorithm=algorithm,
        problem=asked["problem"],
        seed=seed,
        state=state,
        message="",
        step=10,
        total=10,
        loss=loss,
        loss_ci95=0.01,
        accuracy=accuracy,
        accuracy_ci95=np.nan,
        seconds=1.5,
        inner_steps=int(asked["shared"]["inner_steps"]),
        inner_lr=float(asked["shared"]["inner_lr"]),
    )
    return Entry(name, None, asked, summary, marks or Marks())


def store(
    root: Path,
    algorithm: str = "maml",
    seed: int = 0,
    loss: float = 0.5,
    state: str = "done",
    accuracy: float | None = None,
    **changes: Any,
) -> Path:
    """Store a run of two steps and one evaluation; without a state it does not end."""
    asked = config(algorithm, seed, **changes)
    writer = create_run(root, asked, {"device": "cpu", "metaviz": "0.1.0"})
    for step in (1, 2):
        values: dict[str, float | None] = dict.fromkeys(STEP_COLUMNS, float(step))
        writer.append(Stepped(step, values, np.ones(3), np.ones(3)))
    names = ["support_loss", "query_loss", "gradient_norm"]
    curves = {name: np.array([1.0, loss, 2.0]) for name in names}
    if accuracy is not None:
        curves["query_accuracy"] = np.array([0.2, accuracy, 0.3])
    curves |= {f"{name}_ci95": np.full(3, 0.01) for name in list(curves)}
    writer.append(Evaluated(2, 5, 1, curves, {"query_loss": np.ones(5)}))
    if state:
        writer.append(Ended(2, state, ""))  # type: ignore[arg-type]
    writer.close()
    return writer.folder
