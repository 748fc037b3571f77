"""How long runs will take, told by a few real steps of each kind of run."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from metaviz.config import RunConfig
from metaviz.reporting import Report
from metaviz.runs.events import Ended, Event, Stepped
from metaviz.sweep import Estimate
from metaviz.training.evaluation import evaluate
from metaviz.training.setting import settle
from metaviz.training.trainer import begin, train

PROBED_STEPS = 3
PROBED_TASKS = 20
_NEVER = 10**9
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
        shared = config.shared
        evaluations = 2 + (config.steps - 1) // shared.eval_every
        return self.start + config.steps * self.step + evaluations * shared.eval_tasks * self.task


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
    began = time.perf_counter()
    # Long enough for the probe, and no evaluation between its steps.
    shared = config.shared.model_copy(update={"eval_every": _NEVER})
    setting = settle(config.model_copy(update={"steps": _NEVER, "shared": shared}))
    try:
        progress = begin(setting)
        progress.looked = 0
        events = train(setting, progress)
        _stepped(events)  # the first step prepares and loads what later ones find
        start = time.perf_counter() - began
        step = median(_timed(lambda: _stepped(events)) for _ in range(PROBED_STEPS))
        meta = {name: value.detach() for name, value in progress.meta.items()}
        tasks = min(PROBED_TASKS, config.shared.eval_tasks)
        task = _timed(lambda: evaluate(setting, meta, 0, tasks)) / tasks
    finally:
        setting.shards.close()
    return Probe(start, step, task)


def _stepped(events: Iterator[Event]) -> None:
    """Go on to the end of the next meta-step, or of the run."""
    next((event for event in events if isinstance(event, Stepped | Ended)), None)


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
