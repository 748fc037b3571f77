"""A stored run adapts to examples that are given, and predicts others."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metaviz.config.options import OptionError
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import Episodic
from metaviz.meta.tasks import TaskBatch
from metaviz.runs.model.episode import Examples
from metaviz.runs.model.prediction import UNKNOWN, Predicted
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import open_run
from metaviz.training.prediction.examples import Given
from metaviz.training.prediction.export import Network
from metaviz.training.prediction.stand_in import GivenClasses, GivenValues, stand_in, task_of
from metaviz.training.session import stored_config
from metaviz.training.setting import Setting, settle
from metaviz.training.start import fitting
from metaviz.training.weights import stored_network

_FEWEST = 2
MOST_STEPS = 10_000


@dataclass(frozen=True)
class Opened:
    """A run's newest weights, and what stands for its problem."""

    record: Record
    setting: Setting
    problem: GivenClasses | GivenValues
    meta: Meta
    step: int


@dataclass(frozen=True)
class _Ways:
    """How many classes the method is told of, and what to say of that."""

    told: int
    given: int
    remark: str = ""


@contextmanager
def opened_run(folder: Path) -> Iterator[Opened]:
    """Open a run to adapt it; its data are read only where its method needs them.

    Raises: StoreError, OptionError with one sentence.
    """
    record = open_run(folder)
    saved = load_checkpoint(folder / CHECKPOINT)
    config = stored_config(record, folder).at(saved["step"])
    problem = stand_in(record, config, stored_network(record, folder))
    setting = settle(config, problem)
    try:
        meta = fitting(setting, saved, folder)
        yield Opened(record, setting, problem, meta, int(saved["step"]))
    finally:
        setting.shards.close()


def predict_given(
    folder: Path,
    support: Given,
    query: Given,
    steps: int | None = None,
    *,
    together: bool = True,
) -> Predicted:
    """Adapt a run to a support set and predict query examples, at every k.

    `steps` is the number of inner steps to look at, by default the run's own. Query examples are
    predicted as one batch, or one by one beside the support set.
    Raises: StoreError, OptionError or DataError with one sentence.
    """
    with opened_run(folder) as run:
        setting = run.setting
        classes = _classes(support) if run.problem.has_accuracy else ()
        ways = _ways(run, classes)
        tasks = setting.prepare(task_of(run.problem, support, query, classes))
        asked = _steps(setting, steps)
        context = _context(run, tasks, max(asked, setting.algorithm.steps), ways)
        rows: dict[str, list[Tensor]] = {}
        for state in setting.algorithm.adapt(context, run.meta):
            found = state.predict(tasks.query, alone=not together, maps=together)
            row = {"query": found.outputs[0]}
            own = found.maps.get("probabilities")
            if own is not None:
                row["probabilities"] = own[0]
            if state.seen is not None:
                row |= {"support": state.seen.support.outputs[0], "loss": state.seen.loss[0]}
            for name, value in row.items():
                rows.setdefault(name, []).append(value)
        curves = {name: torch.stack(kept).double().cpu().numpy() for name, kept in rows.items()}
        outputs = curves["query"]
        if not np.isfinite(outputs).all():
            raise OptionError(
                "run",
                f"What {run.record.id} predicts for these examples is not finite: it diverged, or "
                "does not suit them.",
            )
        probabilities = None
        if classes:
            probabilities = _shares(curves.get("probabilities"), outputs, ways)
        shown = setting.algorithm.steps if steps is None else asked
        return Predicted(
            run=run.record.id,
            label=run.record.label,
            step=run.step,
            k=min(shown, len(outputs) - 1),
            classes=classes,
            support_names=support.names,
            names=query.names,
            support=_examples(run, tasks.support.x, support, classes, curves["support"]),
            query=_examples(run, tasks.query.x, query, classes, outputs),
            probabilities=probabilities,
            support_loss=curves["loss"],
            remarks=_remarks(run, support, query, ways, steps, together=together),
        )


def adapted_weights(folder: Path, support: Given, steps: int | None = None) -> Network:
    """Return a run's network after k inner steps on a support set.

    Raises: OptionError where the method's predictions are not those of one network.
    """
    with opened_run(folder) as run:
        setting = run.setting
        classes = _classes(support) if run.problem.has_accuracy else ()
        ways = _ways(run, classes)
        tasks = setting.prepare(task_of(run.problem, support, support, classes))
        asked = _steps(setting, steps)
        context = _context(run, tasks, max(asked, setting.algorithm.steps), ways)
        states = list(setting.algorithm.adapt(context, run.meta))
        place = min(asked, len(states) - 1)
        weights = states[place].weights
        if weights is None:
            raise OptionError(
                "run",
                f"What {run.record.id} predicts is not the output of one network with adapted "
                f"weights: {run.record.algorithm} has none to take along.",
            )
        named = setting.learner.net.layout.named(weights)
        own = {name: value[0].detach().cpu() for name, value in named.items()}
        about = about_run(run.record, run.step)
        return Network(run.problem.spec, own, classes, place, run.problem.example_shape, about)


def trained_network(folder: Path) -> Network:
    """Return a run's network as it was trained, before any adaptation.

    Raises: OptionError where the method has no network of its own.
    """
    with opened_run(folder) as run:
        group = run.setting.algorithm.network
        if not group or group not in run.meta:
            raise OptionError(
                "run",
                f"{run.record.id} has no network: {run.record.algorithm} learns other things.",
            )
        named = run.setting.learner.net.layout.split(run.meta[group])
        own = {name: value.detach().cpu() for name, value in named.items()}
        about = about_run(run.record, run.step)
        return Network(run.problem.spec, own, (), 0, run.problem.example_shape, about)


def about_run(record: Record, step: int) -> dict[str, str]:
    """Return what a file says of the run that its network is of."""
    return {
        "run": record.id,
        "algorithm": record.algorithm,
        "problem": record.problem,
        "seed": str(record.seed),
        "step": str(step),
    }


def _context(run: Opened, tasks: TaskBatch, steps: int, ways: _Ways) -> Context:
    setting = run.setting
    later = setting.config.shared.later_scale or 1.0
    return Context(setting.learner, tasks, steps, ways=ways.told, later_scale=later)


def _classes(support: Given) -> tuple[str, ...]:
    """Return the names of the classes, in order. Raises: OptionError."""
    if isinstance(support.labels, np.ndarray):
        raise OptionError(
            "support", "support_y has fractions: give a whole number or a text for each."
        )
    without = [n for n, label in zip(support.names, support.labels, strict=True) if label is None]
    if without:
        raise OptionError(
            "support",
            f"{without[0]} is of no class: put the pictures of each class into a folder with its "
            "name, or give support_y.",
        )
    found = {label for label in support.labels if label is not None}
    if len(found) < _FEWEST:
        raise OptionError(
            "support",
            f"All support examples are of the class {min(found)}: give two classes or more.",
        )
    try:
        return tuple(map(str, sorted(map(int, found))))
    except ValueError:
        return tuple(sorted(found))


def _ways(run: Opened, classes: tuple[str, ...]) -> _Ways:
    """Return what the method is told of the number of classes. Raises: OptionError."""
    trained = run.setting.config.shared.ways
    given, algorithm = len(classes), run.setting.algorithm
    if not classes or given == trained:
        return _Ways(given, given)
    if isinstance(algorithm, Episodic) and algorithm.any_ways:
        return _Ways(
            given, given, f"Trained with {trained} classes a task, and used with {given} here."
        )
    if given < trained and run.setting.traits.inner_loop == "gradient":
        return _Ways(
            trained,
            given,
            f"The network tells {trained} classes apart and {given} are given: its other outputs "
            "are left out, and probabilities are of these alone.",
        )
    raise OptionError(
        "support",
        f"{run.record.id} tells {trained} classes apart, and {given} are given: give {trained}, or "
        "use a run of a method that takes any number, like protonet.",
    )


def _shares(own: np.ndarray | None, outputs: np.ndarray, ways: _Ways) -> np.ndarray:
    """Return probabilities (K+1, n, classes): the method's own, or the softmax of its outputs."""
    if own is not None and len(own) == len(outputs):
        return own
    logits = outputs[:, :, : ways.given]
    odds = np.exp(logits - logits.max(axis=2, keepdims=True))
    return np.asarray(odds / odds.sum(axis=2, keepdims=True))


def _steps(setting: Setting, steps: int | None) -> int:
    if steps is None or not setting.traits.has_inner_loop:
        return setting.algorithm.steps
    if not 0 <= steps <= MOST_STEPS:
        raise OptionError("steps", f"steps = {steps} is not valid: use 0 to {MOST_STEPS}.")
    return steps


def _examples(
    run: Opened, x: Tensor, given: Given, classes: tuple[str, ...], outputs: np.ndarray
) -> Examples:
    if classes:
        y = (
            np.full(len(given), UNKNOWN)
            if isinstance(given.labels, np.ndarray)
            else given.numbered(classes)
        )
    elif isinstance(given.labels, np.ndarray):
        y = given.labels
    else:
        y = np.full((len(given), outputs.shape[2]), np.nan)
    return Examples(run.problem.shown_as_given(x)[0], y, outputs)


def _remarks(
    run: Opened,
    support: Given,
    query: Given,
    ways: _Ways,
    steps: int | None,
    *,
    together: bool,
) -> tuple[str, ...]:
    traits = run.setting.traits
    found = [ways.remark] if ways.remark else []
    if traits.transductive and together and len(query) > 1:
        found.append(
            "Predictions of these query examples depend on each other (transductive): predicted "
            "one by one they may be others."
        )
    if steps is not None and not traits.has_inner_loop:
        found.append(f"{run.record.algorithm} has no inner loop: steps means nothing for it.")
    if run.record.state not in {"done", "stopped"}:
        found.append(f"The run is {run.record.state}: the weights are of its last checkpoint.")
    return (*found, *support.remarks, *query.remarks)
