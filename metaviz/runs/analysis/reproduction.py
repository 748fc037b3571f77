"""A run and its repetition: the same numbers, or where they part."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from metaviz.runs.model.events import STEP_COLUMNS
from metaviz.runs.model.record import Record

_HASH_DIGITS = 12
_TIMED = {"seconds", "peak_memory_mb"}
_DECIDING = {
    "metaviz": "MetaViz",
    "git_commit": "commit",
    "git_changed": "uncommitted changes",
    "git_diff_sha256": "their hash",
    "torch": "PyTorch",
    "device": "device",
    "gpu": "GPU",
    "cuda": "CUDA",
    "driver": "driver",
    "cudnn": "cuDNN",
    "cudnn_benchmark": "cuDNN's choice by time",
    "cudnn_deterministic": "cuDNN's determinism",
    "deterministic": "determinism",
    "cpu": "processor features",
    "threads": "threads",
    "shards": "workers",
    "memory_budget": "memory budget",
    "engine": "engine",
    "tf32": "TF32",
}
"""What of a run's environment decides on rounding, in a person's words."""


@dataclass(frozen=True)
class Difference:
    """The first number in which two runs differ."""

    step: int
    quantity: str
    first: float
    second: float


def first_difference(one: Record, other: Record) -> Difference | None:
    """Return where two runs part, in the order of their steps; None where the bits are the same.

    Compares every quantity of every meta-step and evaluation that both have, but times and memory:
    one that a version did not record yet, or a method not measure, is no difference.
    """
    found = [*_of_steps(one, other), *_of_evaluations(one, other)]
    return min(found, key=lambda difference: difference.step, default=None)


def repeat_sentence(one: Record, other: Record) -> str:
    """Say in one sentence whether a repetition has the bits of the run that it repeats."""
    steps = min(one.step, other.step)
    apart = first_difference(one, other)
    if apart is None:
        return f"Bit-identical to {one.id} over {steps} steps."
    quantity = apart.quantity.replace("_", " ")
    sentence = (
        f"Differs from {one.id} first at step {apart.step}: {quantity} was {apart.first!r} and is "
        f"now {apart.second!r}."
    )
    band = one.environment.get("band")
    if band is not None and band != other.environment.get("band"):
        sentence += f" It was computed as one batch with {band}, which rounds differently."
    if changed := list(_changed(one, other)):
        sentence += f" Other than then: {', '.join(changed)}."
    return sentence


def _changed(one: Record, other: Record) -> Iterator[str]:
    """Name what decides on rounding and differs; what one of them did not store is left out."""
    for key, name in _DECIDING.items():
        then, now = (_written(key, record.environment.get(key)) for record in (one, other))
        if then and now and then != now:
            yield f"{name} {now} ({then})"


def _written(key: str, value: Any) -> str:
    """Write a value of the environment; nothing for one that was not stored."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if key in {"git_commit", "git_diff_sha256"}:
        return str(value)[:_HASH_DIGITS]
    return f"{value / 2**30:.3g} GiB" if key == "memory_budget" else str(value)


def _of_steps(one: Record, other: Record) -> Iterator[Difference]:
    """Yield the first difference of each quantity of the meta-steps."""
    count = min(len(one), len(other))
    own = (quantity.id for record in (one, other) for quantity in record.quantities)
    for name in dict.fromkeys((*STEP_COLUMNS, *own)):
        columns = one.column(name), other.column(name)
        if name in _TIMED or any(np.isnan(column).all() for column in columns):
            continue
        first, second = (column[:count] for column in columns)
        apart = (first != second) & ~(np.isnan(first) & np.isnan(second))
        if apart.any():
            place = int(apart.argmax())
            step = int(one.column("step")[place])
            yield Difference(step, name, float(first[place]), float(second[place]))


def _of_evaluations(one: Record, other: Record) -> Iterator[Difference]:
    """Yield the first difference of each evaluation that both have."""
    theirs = {evaluation.step: evaluation.curves for evaluation in other.evaluations}
    for evaluation in one.evaluations:
        for name, curve in evaluation.curves.items():
            again = theirs.get(evaluation.step, {}).get(name)
            if again is None:
                continue
            for k, (first, second) in enumerate(zip(curve, again, strict=False)):
                if first != second and not (math.isnan(first) and math.isnan(second)):
                    name_k = f"evaluation {name} at k = {k}"
                    yield Difference(evaluation.step, name_k, float(first), float(second))
                    break
