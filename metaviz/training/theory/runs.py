"""Expansion and accuracy of a stored run's meta-gradients, at its newest weights."""

import math
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metaviz.config.options import OptionError
from metaviz.config.run_config import EvaluationProtocol
from metaviz.files.progress import Report
from metaviz.meta.algorithm import Composed
from metaviz.meta.inner import inner_points
from metaviz.meta.learner import Learner
from metaviz.meta.tasks import Batch, TaskBatch, joined
from metaviz.runs.model.theory import Expanded, MeasuredAccuracy
from metaviz.runs.storage.store import open_run
from metaviz.theory.accuracy import Accuracy, accuracy
from metaviz.theory.expansion import FOMAML, MAML, METHODS, REPTILE
from metaviz.training.protocol import StoredRun, stored_run
from metaviz.training.theory.losses import TaskLoss

MOST_WEIGHTS = 2000
"""Networks of up to so many weights have their whole Hessian computed."""
SHOWN_WEIGHTS = 40
_TASKS, _ACCURACY_TASKS = 8, 3
_PARTS = 4
_SHARES = (1 / 32, 1 / 8, 1 / 2, 1.0, 2.0, 4.0)
_STEPS = (1, 2, 5, 10, 20, 40)
_DTYPE = torch.float64


def expand(folder: Path, report: Report) -> Expanded:
    """Compare the meta-gradients of MAML, FOMAML and Reptile with their expansion at a run.

    Each support set is split into up to four minibatches, and all their orderings are averaged.
    Raises: OptionError where a task has fewer than two support examples, and as `judge`.
    """
    with stored_run(folder, own_tasks(folder)) as run:
        rate = network_of(run)[2]
        rates = rate * np.array(_SHARES)

        def told(at: int) -> None:
            report(f"Expansion of {run.record.label}: {at} of {len(rates)} step sizes")

        count, products = expansion_products(run, rates, told)
        return Expanded(
            run=run.record.id,
            label=run.record.label,
            step=run.step,
            count=count,
            orderings=math.factorial(count),
            rate=rate,
            rates=rates,
            products=products,
        )


def expansion_products(
    run: StoredRun, rates: np.ndarray, told: Callable[[int], None] = lambda _: None
) -> tuple[int, dict[str, np.ndarray]]:
    """Return the number of minibatches, and the products of `Expanded`, (rates, tasks, 6) each.

    Raises: OptionError, see `expand`.
    """
    learner, theta, _ = network_of(run)
    batch = run.setting.problem.tasks("train", 0, _TASKS).support.to("cpu", _DTYPE)
    count = min(_PARTS, batch.x.shape[1])
    if count < 2:  # noqa: PLR2004 - one minibatch has no order
        raise OptionError(
            "expansion",
            "The expansion compares orderings of minibatches, and tasks of this problem have a "
            "single support example.",
        )
    parts = _parts(batch, count)
    orders = list(permutations(range(count)))
    a, b = _averages(learner, theta, parts)
    products: dict[str, list[np.ndarray]] = {method: [] for method in METHODS}
    for at, one in enumerate(rates.tolist()):
        told(at)
        found = _expected(learner, theta, parts, orders, one)
        for method in METHODS:
            products[method].append(_products(found[method], a, b))
    return count, {method: np.stack(rows) for method, rows in products.items()}


def measure_accuracy(folder: Path, report: Report) -> MeasuredAccuracy:
    """Compare meta-gradients after K steps with the exact one, on a few evaluation tasks of a run.

    The inner problem has the strength 1 / (rate K) that the run's own K steps stand for.
    Raises: OptionError where the network has more than 2000 weights, NoAnswerError where an inner
    problem was not solved, and as `judge`.
    """
    with stored_run(folder, own_tasks(folder)) as run:
        learner, theta, rate = network_of(run)
        if theta.numel() > MOST_WEIGHTS:
            raise OptionError(
                "accuracy",
                f"The network has {theta.numel()} weights, and whole Hessians are computed of up "
                f"to {MOST_WEIGHTS}: choose a run of a smaller one.",
            )
        strength = 1 / (rate * run.setting.algorithm.steps)
        tasks = run.setting.problem.evaluation_tasks(0, _ACCURACY_TASKS).to("cpu", _DTYPE)
        point = theta.numpy()
        found = []
        for at in range(len(tasks)):
            report(f"Accuracy of {run.record.label}: {at} of {len(tasks)} tasks")
            one = tasks[at : at + 1]
            losses = TaskLoss(learner, one.support), TaskLoss(learner, one.query)
            found.append(accuracy(losses, point, rate, strength, _STEPS))
        first = TaskLoss(learner, tasks[:1].support)
        values = np.linalg.eigvalsh(first.hessian(point))
        curved = first.gauss_newton(point)
        return MeasuredAccuracy(
            run=run.record.id,
            label=run.record.label,
            step=run.step,
            rate=rate,
            own_steps=run.setting.algorithm.steps,
            strength=strength,
            steps=np.array(_STEPS),
            apart=np.array([np.linalg.norm(one.solution - point) for one in found]),
            curvatures=(float(values[0]), float(values[-1])),
            spectrum=np.linalg.eigvalsh(curved)[::-1],
            matrix=curved if len(curved) <= SHOWN_WEIGHTS else None,
            **_stacked(found),
        )


def own_tasks(folder: Path) -> EvaluationProtocol:
    """Return the protocol of the tasks that the run itself was trained on."""
    return EvaluationProtocol(seed=open_run(folder).seed, draws="training")


def _stacked(found: Sequence[Accuracy]) -> dict[str, np.ndarray]:
    names = ("distance", "residual", "unrolled", "implicit")
    return {name: np.stack([getattr(one, name) for one in found]) for name in names}


def network_of(run: StoredRun) -> tuple[Learner, Tensor, float]:
    """Return learner, weights before adaptation (P,) in float64, and step size of a run."""
    setting, algorithm = run.setting, run.setting.algorithm
    tasks = setting.prepare(setting.problem.evaluation_tasks(0, 1))
    if isinstance(algorithm, Composed) and setting.traits.has_inner_loop:
        point = inner_points(algorithm.rule, setting.adapting(tasks, 0), run.meta)[0, 0]
        if point.shape == (setting.learner.net.layout.size,):
            return setting.learner, point.cpu().to(_DTYPE), float(algorithm.rate)
    raise OptionError(
        "run", f"{run.record.label} has no inner loop of gradient steps on weights of a network."
    )


def _parts(batch: Batch, count: int) -> Batch:
    """Return the minibatches of all tasks as one batch, part by part: (count * tasks, n, ...)."""
    size = batch.x.shape[1] // count
    pieces = [batch.examples(slice(at * size, (at + 1) * size)) for at in range(count)]
    return joined([TaskBatch(piece, piece) for piece in pieces]).support


def _averages(learner: Learner, theta: Tensor, parts: Batch) -> tuple[Tensor, Tensor]:
    """Return AvgGrad and AvgGradInner of every task, (tasks, P)."""
    count = len(parts) // _TASKS
    leaf = theta.expand(len(parts), -1).clone().requires_grad_()
    (slope,) = torch.autograd.grad(learner.losses(leaf, parts).sum(), leaf, create_graph=True)
    slope = learner.adapted(slope)
    by_part = slope.detach().view(count, _TASKS, -1)
    others = (by_part.sum(0) - by_part).flatten(0, 1)
    (products,) = torch.autograd.grad((slope * others).sum(), leaf)
    inner = learner.adapted(products).view(count, _TASKS, -1).sum(0) / (count * (count - 1))
    return by_part.mean(0), inner


def _expected(
    learner: Learner, theta: Tensor, parts: Batch, orders: Sequence[Sequence[int]], rate: float
) -> dict[str, Tensor]:
    """Return each method's gradient, its mean over the orderings, (tasks, P)."""
    count, rows = len(orders[0]), len(orders) * _TASKS
    tasks = torch.arange(_TASKS)
    start = theta.expand(rows, -1).clone().requires_grad_()
    point, total = start, torch.zeros_like(start)
    for place in range(count):
        chosen = torch.cat([order[place] * _TASKS + tasks for order in orders])
        loss = learner.losses(point, parts[chosen]).sum()
        last = place == count - 1
        (slope,) = torch.autograd.grad(loss, point, create_graph=not last, retain_graph=True)
        slope = learner.adapted(slope)
        total = total + slope.detach()
        if last:
            (whole,) = torch.autograd.grad(loss, start)
            found = {MAML: learner.adapted(whole), FOMAML: slope, REPTILE: total}
            shape = (len(orders), _TASKS, -1)
            return {name: value.detach().view(shape).mean(0) for name, value in found.items()}
        point = point - rate * slope
    raise AssertionError("an ordering has at least one minibatch")


def _products(g: Tensor, a: Tensor, b: Tensor) -> np.ndarray:
    """Return the six products of every task, (tasks, 6)."""
    pairs = ((g, a), (g, b), (a, a), (a, b), (b, b), (g, g))
    return np.stack([(one * other).sum(1).numpy() for one, other in pairs], axis=1)
