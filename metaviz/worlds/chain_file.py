"""Tabular worlds from TOML files of unknown origin, for exact meta-gradients."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metaviz.config.run_config import read_toml
from metaviz.files.foreign import ForeignError
from metaviz.files.values import number_grid, of_kind, required, whole
from metaviz.worlds.enumeration import MOST_NUMBERS, MOST_TRAJECTORIES, Chains

NEEDED = ("transition", "rewards", "horizon", "start")
OPTIONAL = ("exact", "rate", "alpha", "trajectories")
USUAL_RATE = 0.1
_MOST_HORIZON = 10**5
_MOST_SIZE = 1e100
_SUM = 1e-8
_MANY = 64
"""So many choices of at least two trajectories are always too many."""


class AskedChain(NamedTuple):
    """What is asked: a world, a policy's logits (s, a), and the step size of its update.

    `trajectories` of them make the update, None for the expected one; `flat` says that logits were
    given as one row.
    """

    chains: Chains
    logits: Tensor
    rate: float
    trajectories: int | None
    flat: bool


def read_chain(path: Path, usual: float | None = None) -> AskedChain:
    """Read `transition` (s, a, s'), `rewards` (tasks, s, a), `horizon` and `start` (s, a).

    `exact` may only be true; `rate` (or `alpha`) is the inner step size, 0.1 or the `usual` one
    unless given;
    `trajectories` is how many of them make the update, which is the expected one without it.
    Raises: OptionError or ForeignError with one sentence.
    """
    values = read_toml(path)
    missing = [key for key in NEEDED if key not in values]
    if missing:
        raise ForeignError(f"{path.name} lacks {', '.join(missing)}")
    unknown = [key for key in values if key not in (*NEEDED, *OPTIONAL)]
    if unknown:
        known = ", ".join((*NEEDED, *OPTIONAL))
        raise ForeignError(f"{path.name} has {unknown[0]!r:.40}; it may have {known}")
    if not of_kind(values.get("exact", True), bool, "exact"):
        raise ForeignError("exact = false is not valid: trajectories of a file are enumerated")
    transition = _array(values, "transition", 3)
    rewards = _array(values, "rewards", 3)
    states, actions = transition.shape[:2]
    _check_transition(transition)
    if rewards.shape[1:] != (states, actions):
        raise ForeignError(
            f"rewards has {_shape(rewards[0])} numbers for each task, but transition tells of "
            f"{states} states and {actions} actions"
        )
    if np.abs(rewards).max() > _MOST_SIZE:
        raise ForeignError(f"rewards has {np.abs(rewards).max():g}, which is too large")
    logits, flat = _logits(values, states, actions)
    horizon = whole(values["horizon"], "horizon", 1, _MOST_HORIZON)
    chains = Chains(torch.from_numpy(transition), torch.from_numpy(rewards), horizon)
    trajectories = None
    if "trajectories" in values:
        trajectories = whole(values["trajectories"], "trajectories", 1, 1000)
    _check_count(chains, trajectories)
    return AskedChain(chains, torch.from_numpy(logits), _rate(values, usual), trajectories, flat)


def _check_count(chains: Chains, trajectories: int | None) -> None:
    """Refuse what is too much to be enumerated."""
    horizon, tasks = chains.horizon, len(chains.rewards)
    count = chains.paths
    if count is None:
        raise ForeignError(
            f"horizon = {horizon} is too large to enumerate: there are more than "
            f"{MOST_TRAJECTORIES} trajectories"
        )
    if trajectories is None:
        if count * horizon * tasks > MOST_NUMBERS:
            raise ForeignError(
                f"horizon = {horizon} is too large to enumerate {count} trajectories in {tasks} "
                "tasks: give fewer tasks"
            )
    elif count ** min(trajectories, _MANY) * max(count, trajectories) * horizon > MOST_NUMBERS:
        raise ForeignError(
            f"trajectories = {trajectories} of {count} are too many choices to enumerate"
        )


def _array(values: dict[str, Any], key: str, axes: int) -> np.ndarray:
    number_grid(required(values, key, list), key, axes)
    with np.errstate(over="ignore"):
        return np.array(values[key], dtype=float)


def _logits(values: dict[str, Any], states: int, actions: int) -> tuple[np.ndarray, bool]:
    """Return the policy's logits (s, a), given as a table or row by row."""
    given = required(values, "start", list)
    flat = not any(isinstance(row, list) for row in given)
    found = _array(values, "start", 1 if flat else 2)
    if found.shape != ((states * actions,) if flat else (states, actions)):
        raise ForeignError(
            f"start has {_shape(found)} numbers, but transition tells of {states} states and "
            f"{actions} actions: give a logit for each pair"
        )
    if np.abs(found).max() > _MOST_SIZE:
        raise ForeignError(f"start has {np.abs(found).max():g}, which is too large")
    return found.reshape(states, actions), flat


def _rate(values: dict[str, Any], usual: float | None) -> float:
    if usual is not None and {"rate", "alpha"} & values.keys():
        raise ForeignError("rate stands in the file: leave out --set inner_lr")
    if "rate" in values and "alpha" in values:
        raise ForeignError("rate and alpha are the same: give one of them")
    key = "alpha" if "alpha" in values else "rate"
    given = values.get(key, USUAL_RATE if usual is None else usual)
    number_grid(given, key, 0)
    rate = float(given)
    if not 0 <= rate <= _MOST_SIZE:
        raise ForeignError(f"{key} = {rate:g} is not valid: a step size is at least 0")
    return rate


def _check_transition(tables: np.ndarray) -> None:
    states, actions, following = tables.shape
    if following != states:
        raise ForeignError(
            f"transition has {following} next states, but there are {states} states: give "
            "probabilities for (state, action, next state)"
        )
    sums = tables.sum(2)
    for state, action in np.ndindex(states, actions):
        row, name = tables[state, action], f"transition[{state}][{action}]"
        if (row < 0).any():
            raise ForeignError(f"{name} has the probability {row.min():g}, which is below 0")
        if abs(sums[state, action] - 1) > _SUM:
            raise ForeignError(f"{name} sums to {sums[state, action]:.10g}, but must sum to 1")


def _shape(array: np.ndarray) -> str:
    return " x ".join(map(str, array.shape))
