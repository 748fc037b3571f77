"""What a run's weights achieve on tasks of a stated protocol, and how two runs differ on them."""

import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from metaviz.config.quantities import primary_of, quantity_of, unit_of
from metaviz.config.run_config import MAX_SEED, MOST_STEPS
from metaviz.files.foreign import ForeignError, part_of
from metaviz.files.values import plain_table, required, whole
from metaviz.runs.model.arrays import numbers, possible, read_described, write_described
from metaviz.runs.model.record import run_id
from metaviz.runs.model.statistics import interval_text, mean_and_ci95, number_text

FOLDER = "evaluations"
_RESAMPLES = 9999
_SPLITS = frozenset({"test", "validation"})
"""What EvaluationProtocol may ask for: classes that no run trains on."""
_MOST_TASKS, _MOST_EXAMPLES = 100_000, 1_000_000
_log = logging.getLogger("metaviz.runs")


Draws = Literal["own", "training"]


def draws_of(protocol: Mapping[str, Any]) -> Draws:
    """Return whether a stored protocol's tasks are drawn apart, or as training draws its own.

    Those of before there was the choice do not say so.
    """
    return "own" if protocol.get("draws") == "own" else "training"


def draws_text(protocol: Mapping[str, Any]) -> str:
    """Say that tasks are drawn as training draws its own, after a comma; nothing where apart."""
    return ", drawn as training draws" if draws_of(protocol) == "training" else ""


@dataclass(frozen=True)
class Judgement:
    """One run on one list of tasks.

    `protocol` says which tasks and how: plain values, 0 what tasks of the problem have none of.
    Shapes: each array of `per_task` holds the
    values after k = 0..K inner steps, (K+1, tasks). `dataset` is the usual name of the data.
    """

    run: str
    label: str
    config: dict[str, Any]
    step: int
    k: int
    protocol: dict[str, Any]
    dataset: str
    per_task: dict[str, np.ndarray]

    @property
    def measure(self) -> str:
        """What the run is judged by, of what was measured; see `primary_of`."""
        judged = primary_of(self.per_task)
        return "query_loss" if judged is None else judged.id

    @property
    def unit(self) -> float:
        """What the measure is multiplied by where it is shown: accuracies are in per cent."""
        return unit_of(self.measure)

    def measure_text(self) -> str:
        """Return what the measure is called beside its numbers."""
        return "accuracy (%)" if self.unit > 1 else quantity_of(self.measure).noun

    @property
    def task_list(self) -> tuple[Any, ...]:
        """What says which tasks these are: runs that share it can be compared task by task."""
        how = {"k", "together"}
        return (self.dataset, *(pair for pair in self.protocol.items() if pair[0] not in how))

    def protocol_text(self, steps: str | None = None) -> str:
        """Return the protocol in words; `steps` says what several runs have as `steps_text`."""
        p = self.protocol
        ways = f"{p['ways']}-way " if self.measure == "query_accuracy" else ""
        together = "together" if p["together"] else "one by one"
        examples = ""
        if p["shots"]:
            each = "per class " if ways else ""
            examples = f"{ways}{p['shots']}-shot, {p['query']} query examples {each}"
            examples += f"predicted {together}, "
        return (
            f"{p['tasks']} {p['split']} tasks, {examples}"
            f"{self.steps_text() if steps is None else steps}seed {p['seed']}{draws_text(p)}"
        )

    @property
    def adapts(self) -> bool:
        """Whether the method takes steps, so that there is a before."""
        return self.k > 0

    def steps_text(self) -> str:
        """Return the number of steps and a comma; nothing for methods that take none."""
        return f"k = {self.k}, " if self.adapts else ""

    def before(self) -> float | None:
        """Return the mean before adaptation, in the unit that is shown; None where nothing is."""
        return self.unit * float(self.per_task[self.measure][0].mean()) if self.adapts else None

    def before_text(self) -> str:
        """Return the mean before adaptation in words."""
        before = self.before()
        return "" if before is None else number_text(before)

    def after_text(self) -> str:
        """Return the mean after k steps with its interval."""
        mean, half = self.interval()
        return interval_text(self.unit * mean, self.unit * half) or number_text(mean)

    def minus(self, other: "Judgement") -> tuple[str, str, str]:
        """Return the difference to another run with its interval, tasks won and lost, and p."""
        apart = paired(self.values(), other.values())
        shown = (apart.mean, apart.low, apart.high)
        mean, low, high = (number_text(self.unit * value, "+.3g") for value in shown)
        counts = (apart.above, apart.below)
        better, worse = counts if quantity_of(self.measure).better == "larger" else counts[::-1]
        unknown = f", {apart.unknown} not a number" if apart.unknown else ""
        difference = f"{mean} [{low}, {high}]" if math.isfinite(apart.mean) else mean
        return difference, f"{better} / {worse}{unknown}", f"{apart.p:.2g}"

    def values(self, name: str | None = None) -> np.ndarray:
        """Return one number for each task after k steps, shape (tasks,)."""
        return np.asarray(self.per_task[name or self.measure][self.k])

    def interval(self, name: str | None = None) -> tuple[float, float]:
        """Return the mean over tasks and the half-width 1.96 s / sqrt(n)."""
        mean, half = mean_and_ci95(self.values(name))
        return float(mean), float(half)


@dataclass(frozen=True)
class Paired:
    """A minus B, task by task: mean, 95 % bootstrap interval, and a sign test.

    `above` and `below` count the tasks on which A is above and below B; `unknown` those on which
    A or B is not a number. `p` is the two-sided probability of counts so unequal if either were as
    likely; tasks with equal values, or with an unknown one, are left out of it.
    """

    mean: float
    low: float
    high: float
    above: int
    below: int
    p: float
    unknown: int = 0


def paired(a: np.ndarray, b: np.ndarray, seed: int = 0) -> Paired:
    """Compare two runs on the same tasks, shapes (tasks,).

    The interval is the percentile bootstrap of the mean difference. Raises: ValueError where the
    numbers of tasks differ.
    """
    from scipy.stats import binomtest, bootstrap

    if a.shape != b.shape:
        raise ValueError(f"{len(a)} and {len(b)} tasks cannot be compared one by one")
    with np.errstate(invalid="ignore"):  # two runs that diverged
        difference = a - b
        mean = float(difference.mean())
    better, worse = int((difference > 0).sum()), int((difference < 0).sum())
    p = float(binomtest(better, better + worse).pvalue) if better + worse else 1.0
    if len(difference) > 1 and math.isfinite(mean) and np.ptp(difference) > 0:
        drawn = bootstrap(
            (difference,),
            np.mean,
            n_resamples=_RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        low, high = float(drawn.low), float(drawn.high)
    else:
        low = high = mean
    unknown = int(np.isnan(difference).sum())
    return Paired(mean, low, high, better, worse, p, unknown)


def store(judgement: Judgement, folder: Path) -> Path:
    """Write a judgement into its run's folder; return the file.

    Raises: ForeignError where a link leads out of the folder, OSError where the disk refuses.
    """
    name = "-".join(f"{key}{value}" for key, value in sorted(judgement.protocol.items()))
    path = part_of(folder, f"{FOLDER}/step{judgement.step}-{name}.npz")
    path.parent.mkdir(exist_ok=True)
    names = ("label", "run", "config", "step", "k", "protocol", "dataset")
    write_described(path, {name: getattr(judgement, name) for name in names}, judgement.per_task)
    return path


def stored(folder: Path) -> list[Judgement]:
    """Return the judgements in a run's folder, the latest last; damaged ones are left out.

    Whatever they say: they are of the run that they lie with.
    """
    found = []
    for path in sorted((folder / FOLDER).glob("*.npz"), key=_written):
        try:
            kept = part_of(folder, f"{FOLDER}/{path.name}")
            judged = _judgement(*read_described(kept))
            found.append(replace(judged, run=run_id(folder)))
        except ForeignError as error:
            _log.warning("%s is left out: %s.", path, str(error).rstrip("."))
    return sorted(found, key=lambda judgement: judgement.step)


def _judgement(about: dict[str, Any], per_task: dict[str, np.ndarray]) -> Judgement:
    """Return a judgement whose parts fit together. Raises: ForeignError."""
    config, protocol = required(about, "config", dict), held_out(about)
    for name in ("algorithm", "problem"):
        required(config, name, str)
    whole(required(config, "seed", int), "seed", 0, MAX_SEED)
    tasks = whole(required(protocol, "tasks", int), "tasks", 1, _MOST_TASKS)
    whole(required(protocol, "seed", int), "seed", 0, MAX_SEED)
    for name in ("ways", "shots", "query"):
        whole(required(protocol, name, int), name, 0, _MOST_EXAMPLES)
    required(protocol, "together", bool)
    k = whole(required(about, "k", int), "k", 0, MOST_STEPS)
    for name, values in per_task.items():
        if numbers(values, name, dimensions=2).shape != (k + 1, tasks):
            raise ForeignError(f"{name} has shape {values.shape} for k = {k} and {tasks} tasks")
        possible(name, values)
    found = Judgement(
        run=required(about, "run", str),
        label=required(about, "label", str),
        config=config,
        step=whole(required(about, "step", int), "step", 0, MOST_STEPS),
        k=k,
        protocol=protocol,
        dataset=required(about, "dataset", str),
        per_task=per_task,
    )
    if found.measure not in per_task:
        raise ForeignError(f"it lacks the {found.measure}")
    return found


def held_out(about: dict[str, Any]) -> dict[str, Any]:
    """Return the protocol of a stored result, which is of held-out tasks. Raises: ForeignError."""
    protocol = plain_table(required(about, "protocol", dict), "protocol")
    split = required(protocol, "split", str)
    if split not in _SPLITS:
        raise ForeignError(f"its tasks are of {split!r:.40}, which is no held-out split")
    if protocol.get("draws") not in {None, *get_args(Draws)}:
        raise ForeignError(f"its tasks are drawn as {protocol['draws']!r:.40}, which nobody knows")
    return protocol


def _written(path: Path) -> tuple[float, str]:
    with suppress(OSError):
        return path.stat().st_mtime, path.name
    return 0.0, path.name
