"""Checks the numbers of a run: which one is not finite or exploded, and which change may help."""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from metaviz.config.options import Plain
from metaviz.config.quantities import primary_of, quantity_of
from metaviz.config.run_config import Amendment
from metaviz.files.values import of_kind
from metaviz.meta.algorithm import Composed
from metaviz.meta.estimators.base import MetaStep, TrainsStart
from metaviz.runs.model.events import Divergence, Evaluated, Remedy
from metaviz.training.readings import Means, means
from metaviz.training.setting import Setting

EXPLODED = 1000.0
"""A loss has exploded where it is so many times that of the first meta-step."""
PATIENCE = 10
"""Readings in a row at which half of the tasks must be so bad."""
_NORMS, _CLIP = 100, 10.0
_WORSE = 10.0
"""With a loss before adaptation of so many times the first, outer steps made the start worse."""


class DivergenceError(ArithmeticError):
    """A run can no longer learn; the message says which number broke, when and in which task."""

    def __init__(
        self, sentence: str, quantity: str, step: int, task: int | None = None, remedy: str = ""
    ) -> None:
        """Take the sentence and what it names; `task` counts within the meta-batch.

        `remedy` is the id of the one that suits best.
        """
        super().__init__(sentence)
        self.quantity, self.step, self.task, self.remedy = quantity, step, task, remedy


@dataclass
class DivergenceMonitor:
    """Keeps the first loss, and counts the readings in a row with losses far above it."""

    first: float | None = None
    """Mean query loss of the first meta-step, before or after adaptation, whichever is larger."""
    bad: int = 0
    _norms: deque[float] = field(default_factory=lambda: deque(maxlen=_NORMS))

    def state(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {"first": self.first, "bad": self.bad}

    @classmethod
    def restored(cls, saved: dict[str, Any] | None) -> "DivergenceMonitor":
        """Go on where `state` left off; checkpoints of earlier versions hold nothing.

        Raises: ForeignError where it is damaged.
        """
        state = of_kind(saved or {}, dict, "sentinel")
        first = state.get("first")
        first = None if first is None else of_kind(first, float, "first")
        return cls(first, of_kind(state.get("bad", 0), int, "bad"))

    def read(self, result: MetaStep, step: int, tasks: list[int]) -> Means:
        """Return the batch means of all readings.

        `tasks` are the places of the tasks in their meta-batch.
        Raises: DivergenceError where one is not finite, or where losses have exploded.
        """
        seen = means(result)
        if not all(map(math.isfinite, seen.values.values())):
            raise self._broken(result, seen.values, step, tasks)
        self._norms.append(seen.values["meta_gradient_norm"])
        if seen.half is not None:
            self._watch(result, seen.values, seen.half, step, tasks)
        return seen

    def is_good(self, evaluated: Evaluated) -> bool:
        """Return whether the meta-parameters behind an evaluation are worth going back to."""
        judged, losses = primary_of(evaluated.per_task), evaluated.per_task.get("query_loss")
        if evaluated.step == 0 or judged is None:
            return True
        if losses is not None and self._is_exploded(float(np.median(losses))):
            return False
        values = (evaluated.per_task[judged.id], losses)
        return all(np.isfinite(found).any() for found in values if found is not None)

    def remedies(self, setting: Setting, error: DivergenceError) -> tuple[Remedy, ...]:
        """Return changes with which the run may go on, the most promising one first."""
        if beside_training(setting, error):
            return (_smaller(setting, "inner"),)
        found = [_smaller(setting, "outer"), self._clip(setting)]
        if setting.algorithm.traits.shares_rate:
            found.append(_smaller(setting, "inner"))
        found.sort(key=lambda remedy: remedy.id != error.remedy)
        if error.task is not None and setting.tasks_per_step > 1:
            change = Amendment(skip_step=error.step, skip_task=error.task)
            label = f"Skip task {error.task} of meta-step {error.step}"
            found.append(_remedy("skip-task", label, change))
        return tuple(found)

    def _watch(
        self,
        result: MetaStep,
        found: dict[str, float],
        half: float,
        step: int,
        tasks: list[int],
    ) -> None:
        """Count how long the loss of half of the tasks has been far above the first one."""
        if self.first is None:
            losses = (found.get(name, 0.0) for name in ("pre_query_loss", "post_query_loss"))
            self.first = max(map(abs, losses))
        self.bad = self.bad + 1 if self._is_exploded(half) else 0
        if self.bad >= PATIENCE:
            worst = tasks[int(result.readings["post_query_loss"].argmax())]
            raise DivergenceError(
                f"The loss exploded: half of the tasks have been above {EXPLODED:g} times the "
                f"first query loss at {PATIENCE} readings in a row, those of task {worst} most, at "
                f"step {step}.",
                "post_query_loss",
                step,
                remedy=self._cause(found),
            )

    def _broken(
        self, result: MetaStep, numbers: dict[str, float], step: int, tasks: list[int]
    ) -> DivergenceError:
        """Name the first number that is not finite, in the order in which they were computed."""
        end = f"is not finite at step {step}."
        for name, values in result.readings.items():
            broken = (~torch.isfinite(values)).nonzero().flatten().tolist()
            if broken:
                task = tasks[broken[0]]
                sentence = f"The {quantity_of(name).noun} of task {task} {end}"
                return DivergenceError(sentence, name, step, task, self._cause(numbers))
        name = next((n for n, value in numbers.items() if not np.isfinite(value)), "loss")
        sentence = f"The {quantity_of(name).noun} {end}"
        return DivergenceError(sentence, name, step, remedy="clip")

    def _cause(self, numbers: dict[str, float]) -> str:
        """Return which remedy suits: is the start bad already, or what adaptation makes of it?

        Where a step does not compute the loss at the start, the start counts as bad.
        """
        first = np.inf if self.first is None else self.first
        loss = numbers.get("pre_support_loss", np.nan)
        return "half-inner" if loss <= _WORSE * first else "half-outer"

    def _is_exploded(self, loss: float) -> bool:
        return self.first is not None and loss > EXPLODED * max(self.first, 1e-12)

    def _clip(self, setting: Setting) -> Remedy:
        """Offer to clip at the usual meta-gradient, or below what it is clipped at now."""
        own, now = setting.options.own_clip(), setting.clip_norm
        usual = _figures(float(np.median(self._norms))) if self._norms else _CLIP
        norm = usual if now is None else min(usual, _figures(now / 2))
        change: dict[str, Plain] = {"clip_norm": norm or _CLIP}
        label = f"Clip the meta-gradient at {change['clip_norm']:g}"
        amendment = Amendment(shared=change) if own is None else Amendment(options=change)
        return _remedy("clip", label, amendment)


def beside_training(setting: Setting, error: DivergenceError) -> bool:
    """Return whether adaptation broke that is measured alone: the meta-gradient is without it."""
    method = setting.algorithm
    without = isinstance(method, Composed) and isinstance(method.estimator, TrainsStart)
    return without and error.quantity.startswith("post_") and error.remedy == "half-inner"


def divergence(setting: Setting, monitor: DivergenceMonitor, error: DivergenceError) -> Divergence:
    """Return what is stored with a run that diverged."""
    remedies = monitor.remedies(setting, error)
    return Divergence(error.quantity, error.step, error.task, remedies)


def _smaller(setting: Setting, which: str) -> Remedy:
    """Offer half of a step size, where the method has its own of that, else where all share it.

    Where the shared outer step size moves nothing, the method's own ones alone are halved.
    """
    config, key = setting.config, f"{which}_lr"
    own = config.options.get(key)
    rate = float(own if own is not None else getattr(config.shared, key)) / 2
    symbol = "α" if which == "inner" else "β"
    label = f"Halve the {which} step size to {symbol} = {rate:g}"
    options: dict[str, Plain] = {} if own is None else {key: rate}
    shared: dict[str, Plain] = {key: rate} if own is None else {}
    if which == "outer":
        halved: dict[str, Plain] = {r.key: r.rate / 2 for r in setting.outer.values() if r.own}
        options |= halved
        if halved and all(rule.own for rule in setting.outer.values()):
            shared = {}
            label = f"Halve {', '.join(f'{name} to {value:g}' for name, value in halved.items())}"
    return _remedy(f"half-{which}", label, Amendment(shared=shared, options=options))


def _remedy(name: str, label: str, change: Amendment) -> Remedy:
    return Remedy(name, label, change.model_dump(mode="json"))


def _figures(value: float) -> float:
    """Round to two significant figures."""
    return float(f"{value:.2g}")
