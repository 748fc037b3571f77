"""How well a method knows what it does not know: numbers and charts of samples and variances."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from metaviz.charts.posterior import (
    CONFIDENCES,
    fan_chart,
    levels_chart,
    reliability_chart,
    spread_chart,
)
from metaviz.charts.values import Chart
from metaviz.config.quantities import Quantity, register_quantity
from metaviz.meta.context import Context
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.tasks import Batch

LEVELS = (50, 80, 95)
FANS = 4
"""So many tasks have a chart of their own."""


def _per_task(id: str, title: str, **more: object) -> Quantity:  # noqa: A002
    return register_quantity(Quantity(id, title, per="task", **more))  # type: ignore[arg-type]


SAMPLED_LOSS = _per_task(
    "query_loss_sampled", "Query loss of the mean of samples", better="smaller"
)
SAMPLED_ACCURACY = _per_task(
    "query_accuracy_sampled",
    "Query accuracy of the mean of samples",
    better="larger",
    rounding=True,
)
ONE_LOSS = _per_task("query_loss_of_one", "Query loss of the median sample", better="smaller")
BEST_LOSS = _per_task("query_loss_of_best", "Query loss of the best sample", better="smaller")
SPREAD = _per_task("prediction_spread", "Spread of predictions")
GAP = _per_task("confidence_gap", "Confidence less accuracy", rounding=True)
LIKELIHOOD = _per_task("query_nll", "Negative log-likelihood of a query", unit="nats")
COVERAGE = tuple(
    _per_task(f"coverage_{level}", f"Queries within their {level} % intervals", rounding=True)
    for level in LEVELS
)
OF_SAMPLES = (SAMPLED_LOSS, SAMPLED_ACCURACY, ONE_LOSS, BEST_LOSS, GAP)
OF_VARIANCE = (SPREAD, LIKELIHOOD, *COVERAGE)


def pooled(samples: Tensor, *, classes: bool) -> Tensor:
    """Return the outputs that several samples (M, tasks, n, d) stand for together, (tasks, n, d).

    Values are averaged; of classes the probabilities are, and their logarithms are the outputs.
    """
    if not classes:
        return samples.mean(0)
    return torch.log_softmax(samples, 3).logsumexp(0) - math.log(len(samples))


def measures(learner: Learner, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
    """Return what is measured of a prediction's samples or variance, (tasks,); else nothing."""
    found: dict[str, Tensor] = {}
    if prediction.samples is not None:
        found |= _of_samples(learner, prediction.samples, batch)
    middle = normal(prediction)
    if middle is not None:
        mean, spread, total = middle
        away = (batch.y - mean).abs() / total.sqrt()
        found[SPREAD.id] = spread.mean((1, 2)).sqrt()
        found[LIKELIHOOD.id] = ((2 * math.pi * total).log() + away.square()).mean((1, 2)) / 2
        for level, quantity in zip(LEVELS, COVERAGE, strict=True):
            found[quantity.id] = (away <= width(level / 100)).to(away).mean((1, 2))
    return found


def normal(prediction: Prediction) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return mean, variance of predictions and that of observations, (tasks, n, d) each.

    None where a prediction is of classes or says nothing of how sure it is.
    """
    if prediction.noise is None:
        return None
    noise, samples = prediction.noise[:, None, None], prediction.samples
    if samples is not None:
        spread = samples.var(0, correction=0)
        return samples.mean(0), spread, spread + noise
    if prediction.variance is None:
        return None
    return prediction.outputs, prediction.variance, prediction.variance + noise


def width(share: float) -> float:
    """Return within how many standard deviations a share of normal numbers lies."""
    half = torch.tensor((1 + share) / 2, dtype=torch.float64)
    return float(torch.special.ndtri(half))


def _of_samples(learner: Learner, samples: Tensor, batch: Batch) -> dict[str, Tensor]:
    classes, judge = learner.judge.has_accuracy, learner.judge
    outputs = pooled(samples, classes=classes)
    losses = torch.stack([judge.loss(one, batch) for one in samples])
    found = {
        SAMPLED_LOSS.id: judge.loss(outputs, batch),
        ONE_LOSS.id: losses.median(0).values,
        BEST_LOSS.id: losses.min(0).values,
    }
    if classes:
        found[SAMPLED_ACCURACY.id] = judge.accuracy(outputs, batch)
        found[GAP.id] = outputs.exp().amax(2).mean(1) - found[SAMPLED_ACCURACY.id]
        spread = torch.softmax(samples, 3).var(0, correction=0)
        found[SPREAD.id] = spread.mean((1, 2)).sqrt()
    return found


def posterior_charts(context: Context, prediction: Prediction) -> Iterator[Chart]:
    """Yield what a method's samples or variances of the query sets look like, and how they do.

    Fans of the first tasks where inputs and targets are single numbers, intervals or confidences
    against what came true, spread against error by task.
    """
    query, middle = context.tasks.query, normal(prediction)
    if middle is not None:
        if query.x.shape[2:] == (1,) and query.y.shape[2:] == (1,):
            for task in range(min(FANS, len(query))):
                yield _fan(context, prediction, middle, task)
        mean, spread, total = middle
        away = ((query.y - mean) / total.sqrt()).abs().flatten().double().cpu()
        inside = [float((away <= width(share)).double().mean()) for share in CONFIDENCES]
        yield levels_chart(np.array(inside))
        error = (query.y - mean).square().mean((1, 2)).sqrt()
        yield spread_chart(_numbers(spread.mean((1, 2)).sqrt()), _numbers(error), "error")
    elif prediction.samples is not None and context.learner.judge.has_accuracy:
        outputs = pooled(prediction.samples, classes=True)
        sure, taken = outputs.exp().max(2)
        right = (taken == query.y).double()
        yield reliability_chart(_numbers(sure.flatten()), _numbers(right.flatten()))
        spread = torch.softmax(prediction.samples, 3).var(0, correction=0).mean((1, 2)).sqrt()
        yield spread_chart(_numbers(spread), _numbers(1 - right.mean(1)), "share of errors")


def _fan(
    context: Context, prediction: Prediction, middle: tuple[Tensor, Tensor, Tensor], task: int
) -> Chart:
    support, query = context.tasks.support, context.tasks.query
    order = query.x[task, :, 0].argsort()

    def line(values: Tensor) -> np.ndarray:
        return _numbers(values[..., order, 0])

    mean, _, total = (values[task] for values in middle)
    return fan_chart(
        task,
        _numbers(query.x[task, order, 0]),
        truth=line(query.y[task]),
        support=(_numbers(support.x[task, :, 0]), _numbers(support.y[task, :, 0])),
        mean=line(mean),
        std=line(total.sqrt()),
        samples=None if prediction.samples is None else line(prediction.samples[:, task]),
    )


def _numbers(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().astype(np.float32)
