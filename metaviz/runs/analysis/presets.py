"""How a stored run's settings stand to those of the published experiment that a preset holds."""

import math
from functools import cache
from typing import Any

from metaviz.config.run_config import Comparison, presets, read_comparison, settings_of

_OF_SHARED = ("ways", "shots")


@cache
def _shipped() -> dict[str, Comparison]:
    return {name: read_comparison(path) for name, path in presets().items()}


def preset_of(config: dict[str, Any], dataset: str) -> Comparison | None:
    """Return the preset of a run's method, problem, ways and shots on data of this name.

    None where there is none.
    """
    shared, _ = settings_of(config)
    for name, known in _shipped().items():
        same = name.startswith(f"{dataset.lower()}-") and all(
            known.shared.get(name) == shared.get(name) for name in _OF_SHARED
        )
        if same and (known.problem, known.algorithms) == (
            config["problem"],
            (config["algorithm"],),
        ):
            return known
    return None


def other_settings(config: dict[str, Any], preset: Comparison) -> list[str]:
    """Return what a preset sets otherwise than a run, like `batch_size = 64, not 256`."""
    _, options = settings_of(config)
    pairs = [
        (preset.options.get(str(config["algorithm"]), {}), options),
        (preset.problem_options, dict(config.get("problem_options", {}))),
    ]
    return [
        f"{key} = {ours.get(key)}, not {value}"
        for theirs, ours in pairs
        for key, value in theirs.items()
        if ours.get(key) != value
    ]


def short_of(config: dict[str, Any], step: int, preset: Comparison) -> str:
    """Say that a run is shorter than a preset, like `short: 30 of 90 epochs`; empty where not.

    Runs on plain batches are counted in epochs, where the number of training examples is known.
    """
    if step >= preset.steps:
        return ""
    examples = (config.get("training_examples") or {}).get("examples")
    batch = settings_of(config)[1].get("batch_size")
    theirs = preset.options.get(str(config["algorithm"]), {}).get("batch_size")
    if not examples or not batch or not theirs:
        return f"short: {step} of {preset.steps} meta-steps"
    done, wanted = step * batch / examples, preset.steps * theirs / examples
    return f"short: {math.floor(100 * done) / 100:.10g} of {wanted:.10g} epochs"
