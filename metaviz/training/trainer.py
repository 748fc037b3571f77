"""Meta-training as a generator of events."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.rules import Meta
from metaviz.meta.sharding import sharded_meta_gradient
from metaviz.runs.events import Ended, Evaluated, Event, Noted, Pictured, Stepped
from metaviz.training.evaluation import Adapter, CutShort, evaluate, portraits
from metaviz.training.setting import Setting


class DivergenceError(ArithmeticError):
    """A number is no longer finite; the message says which, when and in which task."""


@dataclass
class Progress:
    """Everything that changes while a run trains; saved and restored as a checkpoint."""

    meta: Meta
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    gradient_evaluations: int = 0
    hessian_vector_products: int = 0

    def state(self) -> dict[str, Any]:
        """Return plain values and tensors."""
        return {
            "meta": {name: value.detach().cpu() for name, value in self.meta.items()},
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "gradient_evaluations": self.gradient_evaluations,
            "hessian_vector_products": self.hessian_vector_products,
        }


def begin(setting: Setting, saved: dict[str, Any] | None = None) -> Progress:
    """Return the state before the first step, or the one that `Progress.state` saved.

    Raises: ValueError where the saved weights do not fit the run.
    """
    meta = setting.init()
    if saved is not None:
        for name, value in saved["meta"].items():
            if name not in meta or meta[name].shape != value.shape:
                raise ValueError(f"The checkpoint's {name!r} does not fit this configuration.")
            meta[name] = value.to(setting.device, setting.dtype).clone()
    shared = setting.config.shared
    names = sorted(setting.algorithm.trained())
    # The start first, then what shapes the steps, which may have an outer step size of its own.
    own = setting.config.options.get("geometry_lr") or shared.outer_lr
    rates = {name: shared.outer_lr if name == "init" else float(own) for name in names}
    groups = [{"params": [meta[name]], "lr": rate, "rate": rate} for name, rate in rates.items()]
    if shared.outer_optimizer == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(groups, fused=True)
    else:
        optimizer = torch.optim.SGD(groups)
    progress = Progress(meta, optimizer)
    if saved is not None:
        optimizer.load_state_dict(saved["optimizer"])
        for name in ("step", "seconds", "gradient_evaluations", "hessian_vector_products"):
            setattr(progress, name, saved[name])
    return progress


def train(setting: Setting, progress: Progress) -> Iterator[Event]:
    """Train until the configured number of steps, yielding what happens; `progress` is advanced.

    Evaluates before the first step, every `eval_every` steps and after the last. A number that is
    not finite ends the run as diverged.
    """
    config = setting.config
    warnings = _Warnings()
    try:
        if progress.step == 0:
            yield from (Noted(0, "warning", remark) for remark in setting.problem.remarks)
            yield from _look(setting, progress)
        while progress.step < config.steps:
            yield _step(setting, progress, warnings)
            yield from warnings.first(progress.step)
            if progress.step % config.shared.eval_every == 0 or progress.step == config.steps:
                yield from warnings.summary(progress.step)
                yield from _look(setting, progress)
        yield Ended(progress.step, "done")
    except DivergenceError as error:
        yield from warnings.summary(progress.step)
        yield Ended(progress.step, "diverged", str(error))
    finally:
        setting.shards.close()


_ADVICE = "Try a smaller outer or inner step size, or clip the meta-gradient."


def _step(setting: Setting, progress: Progress, warnings: "_Warnings") -> Stepped:
    began = time.perf_counter()
    config = setting.config
    tasks = setting.batch(progress.step)
    seed = setting.step_seed(progress.step)
    try:
        result = sharded_meta_gradient(
            setting.algorithm, setting.learner, progress.meta, tasks, seed, setting.shards
        )
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise DivergenceError(
            f"A matrix is no longer finite at step {progress.step + 1}. {_ADVICE}"
        ) from error
    values = _numbers(result, progress.step + 1)
    _update(config, progress, result, values)
    progress.step += 1
    progress.seconds += time.perf_counter() - began
    progress.gradient_evaluations += result.gradient_evaluations * len(tasks)
    progress.hessian_vector_products += result.hessian_vector_products * len(tasks)
    warnings.count(result.warnings, len(tasks))
    values |= {
        "seconds": progress.seconds,
        "gradient_evaluations": progress.gradient_evaluations,
        "hessian_vector_products": progress.hessian_vector_products,
        "peak_memory_mb": _peak_memory_mb(setting.device),
    }
    return Stepped(
        progress.step, values, _mean_curve(result.support_loss), _mean_curve(result.gradient_norm)
    )


def _update(
    config: Any, progress: Progress, result: MetaStep, values: dict[str, float | None]
) -> None:
    """Move the meta-parameters along the meta-gradient."""
    shared = config.shared
    norm = values["meta_gradient_norm"] or 0.0
    scale = 1.0
    clip = config.options.get("clip_norm") or shared.clip_norm
    if clip is not None and norm > clip:
        scale = float(clip) / norm
    for name, gradient in result.gradients.items():
        progress.meta[name].grad = gradient * scale if scale != 1.0 else gradient
    if shared.outer_schedule == "linear":
        for group in progress.optimizer.param_groups:
            group["lr"] = group["rate"] * (1 - progress.step / config.steps)
    progress.optimizer.step()
    for name, value in result.replaced.items():
        progress.meta[name] = value


def _numbers(result: MetaStep, step: int) -> dict[str, float | None]:
    """Return the batch means of all readings in one transfer from the device.

    Raises: DivergenceError where one is not finite.
    """
    names = list(result.readings)
    means = [value.mean() for value in result.readings.values()]
    norm = torch.cat(list(result.gradients.values())).norm()
    numbers = dict(
        zip([*names, "meta_gradient_norm"], torch.stack([*means, norm]).tolist(), strict=True)
    )
    if not np.isfinite(list(numbers.values())).all():
        raise DivergenceError(_what_broke(result, numbers, step))
    return numbers


def _what_broke(result: MetaStep, numbers: dict[str, float], step: int) -> str:
    for name, values in result.readings.items():
        broken = (~torch.isfinite(values)).nonzero().flatten().tolist()
        if broken:
            series = name.replace("_", " ")
            return f"The {series} of task {broken[0]} is not finite at step {step}. {_ADVICE}"
    broken_name = next(name for name, value in numbers.items() if not np.isfinite(value))
    return f"The {broken_name.replace('_', ' ')} is not finite at step {step}. {_ADVICE}"


def _look(setting: Setting, progress: Progress) -> Iterator[Evaluated | Pictured | Noted]:
    meta = {name: value.detach() for name, value in progress.meta.items()}
    try:
        yield evaluate(setting, meta, progress.step)
    except CutShort:
        yield Noted(progress.step, "info", "The evaluation was cut short.")
        return
    arrays = setting.problem.picture(Adapter(setting, meta))
    for shown in portraits(setting, meta):
        arrays |= shown
    if arrays:
        yield Pictured(progress.step, arrays)


def _mean_curve(values: Tensor) -> np.ndarray:
    return values.mean(1).float().cpu().numpy()


def _peak_memory_mb(device: torch.device) -> float | None:
    """Return the most memory that the device, or else this process, has held until now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return None
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


class _Warnings:
    """Counts tasks that met a difficulty; speaks when it first happens and at evaluations."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._new: list[str] = []
        self._tasks = 0
        self._known: set[str] = set()

    def count(self, masks: dict[str, Tensor], tasks: int) -> None:
        self._tasks += tasks
        for sentence, mask in masks.items():
            hits = int(mask.sum())
            if hits:
                self._counts[sentence] = self._counts.get(sentence, 0) + hits
                if sentence not in self._known:
                    self._known.add(sentence)
                    self._new.append(f"{sentence} ({hits} of {tasks} tasks).")

    def first(self, step: int) -> Iterator[Noted]:
        for sentence in self._new:
            yield Noted(step, "warning", sentence)
        self._new.clear()

    def summary(self, step: int) -> Iterator[Noted]:
        for sentence, hits in self._counts.items():
            head = sentence.split(",")[0].split(";")[0]
            share = f"in {hits} of {self._tasks} task solves since the last evaluation"
            yield Noted(step, "warning", f"{head}: {share}.")
        self._counts.clear()
        self._tasks = 0
