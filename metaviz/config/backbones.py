"""Which run another run stands on: the training of its backbone, as plain values."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from metaviz.config.catalogue import Catalogue, shipped_catalogue
from metaviz.config.options import OptionError, OptionSpec
from metaviz.config.run_config import (
    MACHINE,
    Comparison,
    RunConfig,
    find_preset,
    presets,
    read_comparison,
)

AUTO = "auto"
_OF_TRAINING = ("outer_lr", "outer_optimizer", "outer_schedule", "clip_norm")
"""Shared settings on which plain classification depends."""
_ELSEWHERE = frozenset({"path", "held_out"})
"""Options of problems that training does not depend on: where data lie, what judges meanwhile."""


def backbone_of(config: Mapping[str, Any]) -> RunConfig | None:
    """Return the training that a run on features asks for; None where it asks for none.

    It has the settings of the preset or file that `features.backbone` names, the run's own seed
    and machine, and its images where `features.path` says that they are.
    Raises: OptionError with one sentence.
    """
    options = config.get("problem_options", {})
    if config.get("problem") != "features" or options.get("pretrained") != AUTO:
        return None
    comparison = _settings(str(options.get("backbone", "")))
    problem = _catalogue().problem(comparison.problem)
    methods = [_catalogue().algorithm(name) for name in comparison.algorithms]
    plain = [one for one in methods if one is not None and "examples" in one.needs]
    if len(methods) != 1 or not plain or problem is None or problem.id == "features":
        able = ", ".join(one.id for one in _catalogue().algorithms if "examples" in one.needs)
        raise OptionError(
            "features.backbone",
            f"features.backbone = {options.get('backbone')!r} holds no settings of {able} alone: "
            "name a preset or a file that trains it.",
        )
    place = {"path": options["path"]} if options.get("path") else {}
    asked = comparison.model_copy(
        update={
            "seeds": (int(config["seed"]),),
            "problem_options": {**comparison.problem_options, **place},
            **{name: config[name] for name in MACHINE if name in config},
        }
    )
    (run,) = asked.runs(problem.shared)
    return run


def training_key(config: Mapping[str, Any]) -> str:
    """Return what the trainings of equal networks share, whatever evaluates them and where."""
    known, name = _catalogue(), str(config.get("algorithm"))
    problem = known.problem(str(config.get("problem")))
    method = known.algorithm(name)
    own = _filled(method.options if method else (), config.get("options", {}))
    theirs = _filled(problem.options if problem else (), config.get("problem_options", {}))
    shared = config.get("shared", {})
    return json.dumps(
        [
            *(config.get(part) for part in ("problem", "algorithm", "seed", "steps", "dtype")),
            {key: shared.get(key) for key in _OF_TRAINING},
            {key: value for key, value in own.items() if key not in _HEADS},
            {key: value for key, value in theirs.items() if key not in _ELSEWHERE},
        ],
        sort_keys=True,
    )


_HEADS = frozenset({"head", "every_head", "ridge"})
"""Options of classifier that only say how new classes are told apart."""


def _filled(described: tuple[OptionSpec, ...], values: Mapping[str, Any]) -> dict[str, Any]:
    return {**{spec.name: spec.default for spec in described}, **values}


def _settings(text: str) -> Comparison:
    if not text:
        raise OptionError(
            "features.backbone",
            "features.backbone is empty: name the settings that train it, a preset like "
            "miniimagenet-5way-1shot-classifier or a file of a comparison.",
        )
    place = find_preset(text) if text in presets() else Path(text).expanduser()
    return read_comparison(place)


@cache
def _catalogue() -> Catalogue:
    return shipped_catalogue()
