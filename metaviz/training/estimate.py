"""How long runs will take, measured by a few real steps of each kind of run."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

from metaviz.config.run_config import RunConfig
from metaviz.config.schedule import schedule_of
from metaviz.config.sweep import Estimate
from metaviz.files.progress import Report
from metaviz.problems.registry import find_problem
from metaviz.training.evaluation import evaluate
from metaviz.training.meta_steps import MetaSteps

PROBED_STEPS = 3
PROBED_TASKS = 20
PATIENCE_SECONDS = 60.0
"""Kinds of runs beyond it count as the mean of those of the same algorithm, or of all."""


@dataclass(frozen=True)
class Probe:
    """Seconds of one meta-step and of the evaluation of one task, and before the first step."""

    start: float
    step: float
    task: float

    def seconds(self, config: RunConfig) -> float:
        """Return how long a run takes by itself."""
        evaluations = schedule_of(config, find_problem(config.problem).entry)
        evaluated = evaluations.count * evaluations.tasks
        return self.start + config.steps * self.step + evaluated * self.task


def estimate(configs: Sequence[RunConfig], report: Report = lambda _line: None) -> Estimate:
    """Return how long runs take, one worker each and the machine otherwise idle.

    Runs that differ in seed, steps or real numbers only cost the same, and are probed once.
    Raises: OptionError or ValueError with one sentence, and whatever `report` raises.
    """
    kinds: dict[str, RunConfig] = {}
    for config in configs:
        kinds.setdefault(_kind(config), config)
    probes: dict[str, Probe] = {}
    until = time.monotonic() + PATIENCE_SECONDS
    for number, (kind, config) in enumerate(kinds.items(), 1):
        if probes and time.monotonic() > until:
            break
        report(f"Timing {config.algorithm} ({number} of {len(kinds)})…")
        probes[kind] = probe(config)
    each = [_nearest(config, kinds, probes).seconds(config) for config in configs]
    return Estimate(len(each), sum(each), max(each, default=0.0))


def probe(config: RunConfig) -> Probe:
    """Take a warm-up step, then a few timed ones, and evaluate some tasks; nothing is stored.

    Raises: OptionError or ValueError with one sentence.
    """
    began, start = time.perf_counter(), 0.0
    with MetaSteps(config) as take_step:
        seconds = []
        with suppress(ArithmeticError):  # a run that diverges at once tells as much as it can
            take_step()  # the first step prepares and loads what later ones find
            start = time.perf_counter() - began
            for _ in range(PROBED_STEPS):
                seconds.append(_timed(take_step))
        meta = {name: value.detach() for name, value in take_step.progress.meta.items()}
        tasks = min(PROBED_TASKS, config.shared.eval_tasks)
        task = _timed(lambda: evaluate(take_step.setting, meta, 0, tasks)) / tasks
    return Probe(start, median(seconds or [0.0]), task)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _kind(config: RunConfig) -> str:
    """Return what decides how long a step takes: everything but seed, steps and real numbers."""
    values = config.model_dump(mode="json", exclude={"seed", "steps"})
    tables = {
        part: {key: value for key, value in values[part].items() if not isinstance(value, float)}
        for part in ("shared", "options", "problem_options")
    }
    return json.dumps({**values, **tables}, sort_keys=True)


def _nearest(config: RunConfig, kinds: dict[str, RunConfig], probes: dict[str, Probe]) -> Probe:
    kind = _kind(config)
    if kind in probes:
        return probes[kind]
    same = [p for name, p in probes.items() if kinds[name].algorithm == config.algorithm]
    known = same or list(probes.values())
    count = len(known)
    return Probe(
        sum(p.start for p in known) / count,
        sum(p.step for p in known) / count,
        sum(p.task for p in known) / count,
    )
