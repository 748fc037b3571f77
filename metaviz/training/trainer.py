"""Meta-training as a generator of events."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metaviz.config.outer_rule import OuterRule
from metaviz.config.quantities import own_quantities
from metaviz.files.platform import signals_held
from metaviz.files.values import of_kind, required
from metaviz.meta.algorithm import Composed
from metaviz.meta.context import Meta
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.trust_region import trust_region_step
from metaviz.nets.order import ORDER, OTHER_ORDER, lies_as_now
from metaviz.runs.model.events import (
    Divergence,
    Ended,
    Evaluated,
    Event,
    Noted,
    Pictured,
    Stepped,
    Waiting,
)
from metaviz.training.divergence import (
    DivergenceError,
    DivergenceMonitor,
    beside_training,
    divergence,
)
from metaviz.training.engines import stepper
from metaviz.training.evaluation import CutShort, evaluate, pictures
from metaviz.training.memory_budget import release_memory
from metaviz.training.outer import OuterOptimizer
from metaviz.training.setting import Setting
from metaviz.training.stepping import Steps, take_notes
from metaviz.training.warnings import Warnings


@dataclass
class Progress:
    """Everything that changes while a run trains; saved and restored as a checkpoint.

    Tasks and an estimator's own random numbers are functions of seed and step, so no generator
    is among it.
    """

    meta: Meta
    optimizer: OuterOptimizer
    step: int = 0
    seconds: float = 0.0
    """What its meta-steps took; of a batch that several runs share, an equal share."""
    gradient_evaluations: int = 0
    hessian_vector_products: int = 0
    evaluated: int = -1
    """Step of the last finished evaluation, -1 before the first."""
    engine: str = ""
    """How its meta-steps are computed now; not stored, empty before the first."""
    unstored: Stepped | None = None
    """The last meta-step, until somebody has stored it: a signal may come in between."""
    warnings: Warnings = field(default_factory=Warnings)
    monitor: DivergenceMonitor = field(default_factory=DivergenceMonitor)

    def state(self) -> dict[str, Any]:
        """Return plain values and tensors."""
        return {
            "order": ORDER,
            "meta": {name: value.detach().cpu() for name, value in self.meta.items()},
            "optimizer": self.optimizer.state(),
            "warnings": self.warnings.state(),
            "sentinel": self.monitor.state(),
            "looked": self.evaluated,
            **{name: getattr(self, name) for name in _COUNTERS},
        }


_BESIDE = (
    "What diverged is adaptation, which is measured beside the training and has no part in it."
)
_COUNTERS = ("step", "seconds", "gradient_evaluations", "hessian_vector_products")


def begin(setting: Setting, saved: dict[str, Any] | None = None) -> Progress:
    """Return the state before the first step, or the one that `Progress.state` saved.

    Checkpoints of earlier versions know of no evaluation, no warnings and no monitor.
    Raises: ValueError where the saved state does not fit the run.
    """
    meta = setting.init()
    if saved is not None:
        if not lies_as_now(saved, setting.learner.net.layout):
            raise ValueError(OTHER_ORDER)
        meta = {name: _fitting(saved["meta"], name, value) for name, value in meta.items()}
    kind = setting.config.shared.outer_optimizer
    progress = Progress(meta, OuterOptimizer(kind, meta, setting.outer))
    if saved is not None:
        try:
            progress.optimizer.restore(required(saved, "optimizer", dict))
            for name in _COUNTERS:
                setattr(progress, name, required(saved, name, type(getattr(progress, name))))
            progress.evaluated = of_kind(saved.get("looked", -1), int, "looked")
            progress.warnings = Warnings(saved.get("warnings"))
            progress.monitor = DivergenceMonitor.restored(saved.get("sentinel"))
        except ValueError as error:
            raise ValueError("The checkpoint was not written for this configuration.") from error
    return progress


def _rates(setting: Setting) -> dict[str, float]:
    return {name: rule.rate for name, rule in setting.outer.items()}


def _fitting(saved: Any, name: str, wanted: Tensor) -> Tensor:
    value = saved.get(name) if isinstance(saved, dict) else None
    if not isinstance(value, Tensor) or value.shape != wanted.shape:
        raise ValueError(f"The checkpoint's {name!r} does not fit this configuration.")
    return value.to(wanted.device, wanted.dtype).clone()


def train(setting: Setting, progress: Progress, steps: Steps | None = None) -> Iterator[Event]:
    """Train until the configured number of steps, yielding what happens; `progress` is advanced.

    Evaluates when the setting's schedule says. Amendments of the configuration come into force on
    the way. A number that is not finite, or a loss that explodes, ends the run as diverged. `steps`
    computes the meta-steps of a run without amendments instead of an engine of its own.
    """
    config, warnings, due = setting.config, progress.warnings, setting.schedule.due
    compute: Steps | None = None
    try:
        if progress.step == 0 and progress.evaluated < 0:
            yield from (Noted(0, "warning", remark) for remark in setting.problem.remarks)
        while True:
            yield from warnings.first(progress.step)
            last = progress.step >= config.steps
            # An evaluation belongs to the steps that led to it.
            setting = _in_force(setting, progress, progress.step - 1)
            if progress.evaluated != progress.step and due(progress.step):
                yield from warnings.summary(progress.step)
                yield from _evaluated(setting, progress)
            if last:
                break
            now = _in_force(setting, progress, progress.step)
            if compute is None or now is not setting:
                setting, compute = now, steps or stepper(now)
            for doing in compute.ready(progress.meta, progress.step):
                yield Waiting(progress.step, doing)
            progress.engine = compute.engine
            yield _step(setting, progress, compute)
            yield from (Noted(progress.step, "warning", note) for note in take_notes(compute.notes))
        yield Ended(progress.step, "done")
    except DivergenceError as error:
        yield from warnings.summary(progress.step)
        found = divergence(setting, progress.monitor, error)
        beside = f" {_BESIDE}" if beside_training(setting, error) else ""
        message = f"{error}{beside} What may help: {_listed(found)}."
        yield Ended(progress.step, "diverged", message, found)
    finally:
        setting.shards.close()
        release_memory()


def _in_force(setting: Setting, progress: Progress, step: int) -> Setting:
    """Return the setting after so many meta-steps, with its outer step sizes in the optimiser."""
    now = setting.at(step)
    if now is not setting:
        progress.optimizer.rates = _rates(now)
    return now


def _listed(found: Divergence) -> str:
    """Name what may help, the most promising first."""
    labels = [f"{remedy.label[0].lower()}{remedy.label[1:]}" for remedy in found.remedies]
    return f"{', '.join(labels[:-1])}, or {labels[-1]}" if len(labels) > 1 else labels[0]


def _step(setting: Setting, progress: Progress, compute: Steps) -> Stepped:
    began = time.perf_counter()
    config, places = setting.config, setting.places(progress.step)
    try:
        reading = progress.step % config.shared.reading_every == 0
        result = compute.take(progress.meta, progress.step, reading=reading)
        region = setting.problem.trust_region
        if region is not None and isinstance(setting.algorithm, Composed):
            context = setting.context(progress.step)
            result = trust_region_step(setting.algorithm, context, progress.meta, result, region)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        step = progress.step + 1
        sentence = f"A matrix is no longer finite at step {step}."
        raise DivergenceError(sentence, "matrix", step) from error
    with signals_held():  # a step is taken whole or not at all
        seen = progress.monitor.read(result, progress.step + 1, places)
        _update(setting, progress, result, seen.values["meta_gradient_norm"])
        progress.step += 1
        progress.seconds += compute.cost(time.perf_counter() - began)
        progress.gradient_evaluations += result.gradient_evaluations * len(places)
        progress.hessian_vector_products += result.hessian_vector_products * len(places)
        progress.warnings.count(result.warnings, len(places))
        values: dict[str, float | None] = {
            **seen.values,
            "seconds": progress.seconds,
            "gradient_evaluations": progress.gradient_evaluations,
            "hessian_vector_products": progress.hessian_vector_products,
            "peak_memory_mb": _peak_memory_mb(setting.device),
        }
        own = own_quantities(seen.values)
        stepped = Stepped(progress.step, values, seen.support_loss, seen.gradient_norm, own)
        progress.unstored = stepped
    return stepped


def _update(setting: Setting, progress: Progress, result: MetaStep, norm: float) -> None:
    """Move the meta-parameters along the meta-gradient, whose length is `norm`."""
    for name, value in result.replaced.items():
        progress.meta[name] = value
    if setting.problem.trust_region is not None:
        return
    config, clip, gradients = setting.config, setting.clip_norm, result.gradients
    rules = setting.outer
    if any(rule.clip is not None or rule.entry_clip is not None for rule in rules.values()):
        gradients = {name: clipped(value, rules.get(name)) for name, value in gradients.items()}
        norm = float(torch.cat(list(gradients.values())).norm())
    if clip is not None and norm > clip:
        gradients = {name: value * (clip / norm) for name, value in gradients.items()}
    linear = config.shared.outer_schedule == "linear"
    share = 1 - progress.step / config.steps if linear else 1.0
    progress.optimizer.step(gradients, share, setting.epochs(progress.step))


def clipped(gradient: torch.Tensor, rule: OuterRule | None) -> torch.Tensor:
    """Return a group's gradient within its rule's limits: its entries cut, then its norm."""
    if rule is not None and rule.entry_clip is not None:
        gradient = gradient.clamp(-rule.entry_clip, rule.entry_clip)
    if rule is not None and rule.clip is not None:
        gradient = gradient * (rule.clip / gradient.norm().clamp_min(rule.clip))
    return gradient


def _evaluated(
    setting: Setting, progress: Progress
) -> Iterator[Evaluated | Pictured | Noted | Waiting]:
    tasks = setting.schedule.tasks
    yield Waiting(progress.step, f"evaluating {tasks} tasks", is_usual=True, tasks=tasks)
    meta = {name: value.detach() for name, value in progress.meta.items()}
    try:
        evaluated = evaluate(setting, meta, progress.step)
    except CutShort:
        yield Noted(progress.step, "info", "The evaluation was cut short.")
        return
    arrays: dict[str, np.ndarray] = {}
    for shown in pictures(setting, meta, progress.warnings.once):
        arrays |= shown
    yield from progress.warnings.first(progress.step)
    if arrays:
        yield Pictured(progress.step, arrays)
    # Last, because a checkpoint follows it that says that all of this is stored.
    progress.evaluated = progress.step
    yield evaluated


def _peak_memory_mb(device: torch.device) -> float | None:
    """Return the most memory that the device, or else this process, has held until now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return None
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
