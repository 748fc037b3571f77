"""The first meta-steps of a stored run, taken again one by one."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from metaviz.config.options import OptionError
from metaviz.files.progress import Report
from metaviz.meta.algorithm import Composed
from metaviz.meta.context import Meta
from metaviz.meta.estimators import Implicit, Joint, Reptile, Unrolled
from metaviz.meta.inner import Graph, inner_points
from metaviz.meta.rules import Enters
from metaviz.runs.model.events import Stepped
from metaviz.runs.model.theory import Flow, Replay, ReplayedStep
from metaviz.runs.storage.store import open_run
from metaviz.training.session import stored_config
from metaviz.training.setting import Setting, settle
from metaviz.training.trainer import begin, train

MOST_STEPS = 10


def replay(folder: Path, report: Report) -> Replay:
    """Take the first meta-steps of a run again, and tell what every inner step does.

    The numbers are the run's own: tasks and weights are functions of its seed.
    Raises: OptionError where it has no inner loop of gradient steps or began with another run's
    weights, and as `judge`.
    """
    record = open_run(folder)
    config = stored_config(record, folder)
    setting = settle(config.at(0))
    algorithm = setting.algorithm
    if not isinstance(algorithm, Composed):
        raise OptionError("run", f"{record.label} has no inner steps to be taken one by one.")
    if record.parent:
        raise OptionError(
            "run",
            f"{record.label} began with weights of another run, and only runs that began with "
            "their seed's are taken again.",
        )
    count = min(MOST_STEPS, config.steps)
    found = []
    for step in _steps(setting, algorithm):
        found.append(step)
        report(f"{record.label}: meta-step {len(found)} of {count}")
        if len(found) == count:
            break
    places = algorithm.rule.groups.values()
    dual = any(Enters.POINT in enters for enters in places)
    return Replay(record.id, record.label, _flow(algorithm), dual, tuple(found))


def _flow(algorithm: Composed) -> Flow:
    """Return what the estimator differentiates."""
    estimator = algorithm.estimator
    if isinstance(estimator, Unrolled):
        return "path" if estimator.graph is Graph.SECOND_ORDER else "end"
    kinds: dict[type, Flow] = {Reptile: "sum", Implicit: "solve", Joint: "start"}
    return next((flow for kind, flow in kinds.items() if isinstance(estimator, kind)), "other")


def _steps(setting: Setting, algorithm: Composed) -> Iterator[ReplayedStep]:
    """Yield meta-steps as training takes them, without its evaluations."""
    setting = without_evaluations(setting)
    progress = begin(setting)
    progress.evaluated = 0
    training = train(setting, progress)
    try:
        while True:
            before = {name: value.clone() for name, value in progress.meta.items()}
            inner = _inner(setting, algorithm, before, progress.step)
            taken = next((one for one in training if isinstance(one, Stepped)), None)
            if taken is None:
                return
            change = {name: _length(progress.meta[name] - value) for name, value in before.items()}
            readings = {name: value for name, value in taken.values.items() if value is not None}
            yield ReplayedStep(step=taken.step, readings=readings, change=change, **inner)
    finally:
        training.close()  # type: ignore[attr-defined]  # a generator


def without_evaluations(setting: Setting) -> Setting:
    """Return a setting that is evaluated only after its last step."""
    rare = setting.config.shared.model_copy(update={"eval_every": setting.config.steps + 1})
    return replace(setting, config=setting.config.model_copy(update={"shared": rare}))


def _inner(setting: Setting, algorithm: Composed, meta: Meta, step: int) -> dict[str, np.ndarray]:
    """Return what adaptation to a meta-batch does, means over its tasks, each (K + 1,)."""
    context = setting.context(step)
    query = context.tasks.query
    rows: dict[str, list[float]] = {
        name: [] for name in ("support_loss", "query_loss", "gradient_norm")
    }
    for state in algorithm.adapt(context, meta):
        seen = state.seen
        outputs = state.predict(query).outputs
        rows["query_loss"].append(float(setting.learner.judge.loss(outputs, query).mean()))
        if seen is not None:
            rows["support_loss"].append(float(seen.loss.mean()))
            norm = seen.gradient_norm
            rows["gradient_norm"].append(np.nan if norm is None else float(norm.mean()))
    points = inner_points(algorithm.rule, context, meta).double()
    moved = (points - points[0]).norm(dim=-1).mean(1).cpu().numpy()
    return {"moved": moved, **{name: np.array(values) for name, values in rows.items()}}


def _length(value: Tensor) -> float:
    return float(value.double().norm())
