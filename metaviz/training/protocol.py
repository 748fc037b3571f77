"""Judges a run's stored weights on held-out tasks, as papers report it."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metaviz.charts.values import Chart
from metaviz.config.options import OptionError
from metaviz.config.quantities import primary_of
from metaviz.config.run_config import MAX_SEED, EvaluationProtocol, RunConfig
from metaviz.files.foreign import ForeignError
from metaviz.files.platform import reason_of
from metaviz.files.progress import Report
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.meta.context import Meta
from metaviz.meta.tasks import Batch
from metaviz.nets.order import OTHER_ORDER, lies_as_now
from metaviz.problems.registry import find_problem
from metaviz.problems.stream import derived_seed
from metaviz.runs.model.episode import Episode, Examples
from metaviz.runs.model.evaluation import Judgement, store
from metaviz.runs.model.record import Record
from metaviz.runs.model.robustness import FACTORS, Robustness, store_robustness
from metaviz.runs.model.statistics import mean_and_ci95
from metaviz.runs.storage.store import StoreError, open_run
from metaviz.training.evaluation import NOT_FINITE, task_curves
from metaviz.training.session import stored_config
from metaviz.training.setting import Setting, settle

_log = logging.getLogger("metaviz.training")
_PURPOSE = "held-out tasks"


@dataclass(frozen=True)
class StoredRun:
    """A run's stored weights before the tasks of a protocol."""

    record: Record
    setting: Setting
    meta: Meta
    step: int
    steps: int
    protocol: EvaluationProtocol

    def as_stored(self) -> dict[str, Any]:
        """Return the protocol as it is stored with results."""
        shared, protocol = self.setting.config.shared, self.protocol
        # Results of before there was the choice lack the key: their tasks are those of training.
        own = self._own_draws() if protocol.draws == "own" else {}
        return {
            "tasks": protocol.tasks,
            "split": protocol.split,
            "seed": protocol.seed,
            "ways": shared.ways,
            "shots": shared.shots,
            "query": shared.query_shots,
            "k": self.steps,
            "together": protocol.together,
            **own,
        }

    def _own_draws(self) -> dict[str, Any]:
        """Return what is stored of tasks of their own; 0 is what the problem's have none of."""
        problem, asked = self.setting.problem, self.setting.config.shared
        hidden = find_problem(self.setting.config.problem).entry.hidden
        names = {"ways": "ways", "shots": "shots", "query_shots": "query"}
        query = problem.evaluation_query or asked.query_shots
        without = {stored: 0 for name, stored in names.items() if name in hidden}
        return {"query": query, **without, "draws": "own"}

    def common(self) -> dict[str, Any]:
        """Return the fields that every result has of its run."""
        return {
            "run": self.record.id,
            "label": self.record.label,
            "step": self.step,
            "protocol": self.as_stored(),
            "dataset": self.setting.problem.dataset,
        }


def judge(
    folder: Path, protocol: EvaluationProtocol, report: Report = lambda _line: None
) -> Judgement:
    """Evaluate the weights in a run's folder, and store the result there if that is possible.

    Raises: StoreError where the folder holds no readable run, OptionError where the protocol does
    not fit it, ValueError where its data cannot be read, and whatever `report` raises.
    """
    with stored_run(folder, protocol) as run:
        setting = run.setting
        per_task = task_curves(
            setting,
            run.meta,
            protocol.tasks,
            run.steps,
            together=protocol.together,
            report=_counted(report, run.record.label, protocol.tasks),
        )
        config = setting.config.model_dump(mode="json") | {"seed": run.record.seed}
        config |= _beside(setting)
        found = Judgement(config=config, k=run.steps, per_task=per_task, **run.common())
    _keep(store, found, folder)
    return found


def _beside(setting: Setting) -> dict[str, Any]:
    """Return what is stored beside a configuration of methods that learn from plain batches."""
    examples = setting.resolved.get("training_examples")
    found: dict[str, Any] = {} if examples is None else {"training_examples": examples}
    return found | ({"inductive": True} if setting.traits.inductive else {})


def robustness(
    folder: Path, protocol: EvaluationProtocol, report: Report = lambda _line: None
) -> Robustness:
    """Evaluate a run's weights with other step sizes and numbers of steps, and store the result.

    The largest number of steps is the protocol's, or twice the method's own.
    Raises: as `judge`.
    """
    with stored_run(folder, protocol) as run:
        setting = run.setting
        trained, rate = setting.algorithm.steps, setting.algorithm.rate
        if rate is None:
            raise OptionError(
                "algorithm",
                f"{run.record.label} was left out: {setting.config.algorithm} has no inner loop, "
                "so that there is no step size to vary.",
            )
        steps = protocol.steps or 2 * trained
        counted = _counted(report, run.record.label, len(FACTORS) * protocol.tasks)
        rows = []
        for factor in FACTORS:
            curves = task_curves(
                setting,
                run.meta,
                protocol.tasks,
                steps,
                together=protocol.together,
                report=counted,
                algorithm=setting.algorithm.scaled(factor),
            )
            judged = primary_of(curves)
            measure = "query_loss" if judged is None else judged.id
            rows.append(mean_and_ci95(curves[measure]))
        found = Robustness(
            k=trained,
            rate=rate,
            shares_rate=setting.algorithm.traits.shares_rate,
            factors=FACTORS,
            measure=measure,
            mean=np.stack([mean for mean, _ in rows]),
            half_width=np.stack([half for _, half in rows]),
            **run.common() | {"protocol": run.as_stored() | {"k": steps}},
        )
    _keep(store_robustness, found, folder)
    return found


def _keep(write: Callable[[Any, Path], object], found: Any, folder: Path) -> None:
    """Store a result with its run, or say that this cannot be."""
    try:
        write(found, folder)
    except (OSError, ForeignError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        _log.warning("What was found of %s is told but not stored: %s.", folder.name, reason)


def episode(folder: Path, protocol: EvaluationProtocol, number: int) -> Episode:
    """Adapt a run's weights to one task of a protocol; keep every prediction, and its charts.

    Raises: as `judge`.
    """
    with stored_run(folder, protocol) as run:
        setting, learner = run.setting, run.setting.learner
        drawn = setting.problem.evaluation_tasks(number, 1)
        tasks = setting.prepare(drawn)
        trained = setting.algorithm.steps
        steps = protocol.steps or max(trained, setting.config.shared.eval_steps)
        found: dict[str, list[Tensor]] = {}
        for state in setting.algorithm.adapt(setting.adapting(tasks, steps), run.meta):
            outputs = state.predict(tasks.query, alone=not protocol.together).outputs
            row = {
                "query": outputs[0],
                "query_loss": learner.judge.loss(outputs, tasks.query)[0],
            }
            if state.seen is not None:
                row |= {
                    "support": state.seen.support.outputs[0],
                    "support_loss": state.seen.loss[0],
                }
            for name, value in row.items():
                found.setdefault(name, []).append(value)
        curves = {name: torch.stack(values).float().cpu().numpy() for name, values in found.items()}

        def examples(part: Batch, outputs: np.ndarray) -> Examples:
            return Examples(setting.problem.shown(part.x)[0], part.y[0].cpu().numpy(), outputs)

        charts: tuple[Chart, ...] = ()
        with suppress(*NOT_FINITE):
            about = setting.adapting(tasks, trained, drawn=setting.init())
            charts = tuple(setting.algorithm.charts(about, run.meta))
        return Episode(
            k=trained,
            number=number,
            support=examples(drawn.support, curves["support"]),
            query=examples(drawn.query, curves["query"]),
            support_loss=curves["support_loss"],
            query_loss=curves["query_loss"],
            charts=charts,
            **run.common(),
        )


@contextmanager
def stored_run(folder: Path, protocol: EvaluationProtocol) -> Iterator[StoredRun]:
    """Open a run with its newest weights, to be asked for the tasks of a protocol.

    Raises: as `judge`.
    """
    record = open_run(folder)
    saved = load_checkpoint(folder / CHECKPOINT)
    config = stored_config(record, folder).at(saved["step"])
    setting = settle(_asked(config, protocol))
    meta = _fitting(setting, saved, folder)
    asked = protocol.steps if setting.traits.has_inner_loop else None
    steps = asked or setting.algorithm.steps
    setting.problem.expect(0, max(steps, 2 * setting.algorithm.steps))
    try:
        yield StoredRun(record, setting, meta, int(saved["step"]), steps, protocol)
    finally:
        setting.shards.close()


def earlier(run: StoredRun, folder: Path, name: str) -> StoredRun | None:
    """Return the run with the weights of another checkpoint, None where there is no such file.

    Raises: StoreError where it does not fit.
    """
    if not (folder / name).exists():
        return None
    saved = load_checkpoint(folder / name)
    return replace(run, meta=_fitting(run.setting, saved, folder), step=int(saved["step"]))


def _counted(report: Report, label: str, count: int) -> Callable[[int], None]:
    """Return what takes numbers of tasks that are done, from any thread, and reports their sum."""
    done, lock = 0, Lock()

    def add(tasks: int) -> None:
        nonlocal done
        with lock:
            done += tasks
            report(f"{label}: {done} of {count} tasks")

    return add


def _asked(trained: RunConfig, protocol: EvaluationProtocol) -> RunConfig:
    """Return the run's configuration with the tasks of the protocol.

    Tasks are drawn from the seed alone, so that those of their own have another seed.
    """
    asked = {
        name: value
        for name in ("shots", "query_shots")
        if (value := getattr(protocol, name)) is not None
    }
    shared = trained.shared.model_copy(update=asked)
    problem = dict(trained.problem_options)
    if "held_out" in problem:
        problem["held_out"] = protocol.split
    elif protocol.split != "test":
        raise OptionError(
            "split", f"{trained.problem} has no {protocol.split} classes: use split = test."
        )
    seed = protocol.seed
    if protocol.draws == "own":
        seed = derived_seed(seed, _PURPOSE) % (MAX_SEED + 1)
    update = {"shared": shared, "problem_options": problem, "seed": seed}
    return trained.model_copy(update=update)


def _fitting(setting: Setting, state: Mapping[str, object], folder: Path) -> Meta:
    """Return stored meta-parameters, on the device, if they are those of this setting."""
    if not lies_as_now(state, setting.learner.net.layout):
        raise StoreError(f"{folder} cannot be evaluated: {OTHER_ORDER}")
    saved, wanted = state["meta"], setting.init()
    if not isinstance(saved, dict) or {
        name: getattr(value, "shape", None) for name, value in saved.items()
    } != {name: value.shape for name, value in wanted.items()}:
        raise StoreError(f"{folder} has a checkpoint whose weights do not fit its configuration.")
    return {name: saved[name].to(value) for name, value in wanted.items()}
