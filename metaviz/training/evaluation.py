"""Adaptation to the fixed list of evaluation tasks, step by step."""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from metaviz.charts.storage import to_arrays
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.learner import Measures
from metaviz.meta.posterior import measures
from metaviz.meta.tasks import TaskBatch
from metaviz.problems.base import PredictSteps
from metaviz.runs.model.events import Evaluated
from metaviz.runs.model.statistics import mean_and_ci95
from metaviz.training.memory_budget import is_memory_error
from metaviz.training.setting import Setting

_PICTURED = 4
_COUNTED = 64
NOT_FINITE: tuple[type[Exception], ...] = (
    torch.linalg.LinAlgError,  # type: ignore[attr-defined]
    np.linalg.LinAlgError,
)
"""What a chart raises where its numbers are no longer finite."""
_log = logging.getLogger("metaviz.training")


class CutShort(Exception):  # noqa: N818 - not an error: it was requested
    """An evaluation was left unfinished because the run is about to be ended."""


def evaluate(setting: Setting, meta: Meta, step: int, tasks: int | None = None) -> Evaluated:
    """Adapt to the evaluation tasks and return the mean curves over k = 0..K_eval.

    K_eval is the larger of `eval_steps` and the method's own number of steps.
    Raises: CutShort where the setting's `cut_short` was set meanwhile.
    """
    shared = setting.config.shared
    count = setting.schedule.tasks if tasks is None else tasks
    trained = setting.algorithm.steps
    setting.evaluated.reset()
    most, report = max(shared.eval_steps, trained), setting.evaluated.add
    per_task = task_curves(setting, meta, count, most, report=report)
    curves: dict[str, np.ndarray] = {}
    for name, values in per_task.items():
        curves[name], curves[f"{name}_ci95"] = mean_and_ci95(values)
    after = {name: values[trained] for name, values in per_task.items()}
    before = {f"pre_{name}": values[0] for name, values in per_task.items() if trained}
    return Evaluated(step, count, trained, curves, {**after, **before})


def task_curves(
    setting: Setting,
    meta: Meta,
    count: int,
    steps: int,
    *,
    together: bool = True,
    report: Callable[[int], None] = lambda _tasks: None,
    algorithm: Algorithm | None = None,
) -> dict[str, np.ndarray]:
    """Return what happens to each of the evaluation tasks 0..count-1, arrays (steps+1, tasks).

    Methods without an inner loop have one state, and no norm of a gradient.

    With `together` the query examples of a task are predicted as one batch, whose statistics
    BatchNorm uses by default; without, one by one beside the support set (not transductive).
    `report` receives the number of tasks that are done, from several threads. The setting's own
    algorithm adapts, or another that fits its weights.
    Raises: CutShort where the setting's `cut_short` was set meanwhile, and what `report` raises.
    """
    chunk = setting.problem.chunk
    spans = [(first, min(chunk, count - first)) for first in range(0, count, chunk)]
    adapting = algorithm or setting.algorithm

    def one(span: tuple[int, int]) -> dict[str, Tensor]:
        first, tasks = span
        try:
            part = _chunk(setting, adapting, meta, *span, steps, together=together)
        except (RuntimeError, MemoryError) as error:
            if tasks == 1 or not is_memory_error(error):
                raise
        else:
            report(tasks)
            return part
        half = tasks // 2
        halves = [one((first, half)), one((first + half, tasks - half))]
        return {name: torch.cat([part[name] for part in halves], 1) for name in halves[0]}

    parts = setting.shards.map(one, spans)
    return {
        name: torch.cat([part[name] for part in parts], 1).double().cpu().numpy()
        for name in parts[0]
    }


def _chunk(
    setting: Setting,
    algorithm: Algorithm,
    meta: Meta,
    first: int,
    count: int,
    steps: int,
    *,
    together: bool,
) -> dict[str, Tensor]:
    """Return the curves of a few tasks, each (steps+1, tasks)."""
    learner = setting.learner
    if setting.cut_short.is_set():
        raise CutShort
    tasks = setting.prepare(setting.problem.evaluation_tasks(first, count))
    found: dict[str, list[Tensor]] = {}
    numbers = range(first, first + count)
    for state in algorithm.adapt(setting.adapting(tasks, steps, numbers=numbers), meta):
        prediction = state.predict(tasks.query, alone=not together)
        outputs, seen, row = prediction.outputs, state.seen, dict[str, Tensor]()
        if seen is not None:
            row["support_loss"] = seen.loss
        row["query_loss"] = learner.judge.loss(outputs, tasks.query)
        if seen is not None and seen.gradient_norm is not None:
            row["gradient_norm"] = seen.gradient_norm
        for measure, value in learner.measures(outputs, tasks.query).items():
            row[f"query_{measure}"] = value
        if seen is not None and isinstance(learner.judge, Measures):
            told = learner.measures(seen.support.outputs, tasks.support.at(0))
            row |= {f"support_{measure}": value for measure, value in told.items()}
        row |= measures(learner, prediction, tasks.query)
        for name, value in (row | dict(prediction.readings)).items():
            found.setdefault(name, []).append(value)
    return {name: torch.stack(values) for name, values in found.items()}


def pictures(
    setting: Setting, meta: Meta, refused: Callable[[str], object]
) -> Iterator[dict[str, np.ndarray]]:
    """Yield arrays that show the problem's task and what was learned, on the first tasks.

    What is no longer finite is not drawn: the next meta-step says so. A picture never ends the
    training beside it: `refused` takes why one could not be made.
    """
    tasks = setting.prepare(setting.problem.evaluation_tasks(0, _PICTURED))
    context = setting.adapting(tasks, setting.algorithm.steps, drawn=setting.init())

    def of_problem() -> Iterator[dict[str, np.ndarray]]:
        yield setting.problem.picture(predictions(setting, meta))

    def of_method() -> Iterator[dict[str, np.ndarray]]:
        yield from setting.algorithm.pictures(context, meta)

    def charts() -> Iterator[dict[str, np.ndarray]]:
        found = list(setting.algorithm.charts(_charted(setting, context), meta))
        if found:
            yield to_arrays(found)

    for make in (of_problem, of_method, charts):
        try:
            with suppress(*NOT_FINITE):
                yield from make()
        except Exception as error:  # noqa: BLE001 - whatever a picture does, training goes on
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            _log.info("A picture could not be made", exc_info=True)
            refused(f"A picture is left out, because it could not be made: {reason.rstrip('.')}.")


def _charted(setting: Setting, context: Context) -> Context:
    """Return what a method draws its charts of: more tasks where it counts how often it is right.

    They have random numbers, unlike those of other pictures.
    """
    if not setting.traits.probabilistic:
        return context
    count = min(_COUNTED, setting.problem.chunk)
    tasks = setting.prepare(setting.problem.evaluation_tasks(0, count))
    return setting.adapting(tasks, context.steps, drawn=context.drawn, numbers=range(count))


def predictions(setting: Setting, meta: Meta) -> PredictSteps:
    """Return what predicts query examples at k = 0..K_eval, for a problem's picture."""
    steps = max(setting.config.shared.eval_steps, setting.algorithm.steps)

    def predict(tasks: TaskBatch) -> Tensor:
        tasks = setting.prepare(tasks)
        states = setting.algorithm.adapt(setting.adapting(tasks, steps), meta)
        return torch.stack([state.predict(tasks.query).outputs.cpu() for state in states])

    return predict
