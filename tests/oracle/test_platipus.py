"""PLATIPUS: published numbers, identities, finite differences, and what samples are measured by."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from metaviz.algorithms.platipus import (
    NOISE,
    POSTERIOR,
    PRIOR,
    RATES,
    GaussianStart,
    LowerBound,
    Platipus,
    divergence,
)
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.context import Context, Meta
from metaviz.meta.estimators.base import Case
from metaviz.meta.inner import descend
from metaviz.meta.posterior import measures, pooled
from metaviz.meta.predictor import Prediction
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.training.evaluation import task_curves
from metaviz.training.setting import settle
from tests.oracle.engine import (
    DOUBLE,
    assert_close,
    build,
    called,
    classes,
    initial,
    meta_step,
    quadratic_batch,
    quadratic_learner,
    sinusoid,
)

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parent / "golden" / "prob.json").read_text(encoding="utf-8")
)
CASE = GOLDEN["platipus_quadratic"]


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE)


SUPPORT = quadratic_batch(tensor([[[2.0, 0.5], [0.5, 1.0]]]), tensor([[1.0, -1.0]]))
QUERY = quadratic_batch(tensor([[[1.0, -0.25], [-0.25, 3.0]]]), tensor([[0.5, 2.0]]))
LEARNER = quadratic_learner(2)
NUMBERS = tensor(CASE["noise"]).unsqueeze(1)
"""Normal numbers (samples, tasks, P)."""


def rule(*, learned: bool = False, variance: float = 1.0) -> GaussianStart:
    return GaussianStart(CASE["alpha"], 0.1, 0.1, variance, learned=learned, trained=True)


def golden_meta() -> Meta:
    return {
        "init": tensor(CASE["mu"]),
        PRIOR: tensor(CASE["log_std_prior"]),
        POSTERIOR: tensor(CASE["log_std_q"]),
        RATES: tensor([CASE["gamma_p"], CASE["gamma_q"]]).log(),
    }


def golden_case(meta: Meta) -> Case:
    return Case(rule(), Context(LEARNER, TaskBatch(SUPPORT, QUERY), CASE["K"]), meta)


# A fixed noise of variance 1 and two targets: the weight of the divergence is that of the case.
BOUND = LowerBound(CASE["kl_weight"], 2)


def test_samples_and_losses_are_the_published_ones() -> None:
    found = BOUND.sampled(golden_case(golden_meta()), NUMBERS)
    assert_close(found.mean_q[0], CASE["mean_q"], 1e-9)
    assert_close(found.mean_p[0], CASE["mean_p"], 1e-9)
    assert_close(found.points[:, 0], CASE["phi_samples"], 1e-9)
    assert_close(found.loss[0], CASE["query_loss"], 1e-9)
    assert_close(found.divergence[0], CASE["kl"], 1e-9)
    assert_close(BOUND.objective(golden_case(golden_meta()), found)[0], CASE["loss"], 1e-9)


def test_gradients_are_the_published_ones() -> None:
    step = BOUND.step(golden_case(golden_meta()), NUMBERS)
    expected = CASE["gradients"]
    for group, name in (("init", "mu"), (PRIOR, "log_std_prior"), (POSTERIOR, "log_std_q")):
        assert_close(step.gradients[group], expected[name], 1e-9)
    # Gammas are stored as logarithms.
    rates = tensor([CASE[name] * expected[name] for name in ("gamma_p", "gamma_q")])
    assert_close(step.gradients[RATES], rates, 1e-9)


def test_samples_of_the_prior_see_the_support_set_alone() -> None:
    meta, own = golden_meta(), rule()
    mean, std = own.prior(LEARNER, meta, SUPPORT)
    for number, expected in zip(NUMBERS, CASE["test_phi_samples_from_prior"], strict=True):
        start = own.starting(mean + std * number)
        found = descend(start, LEARNER, meta, SUPPORT, CASE["K"])
        assert_close(found.point[0], expected, 1e-9)


def test_without_deviations_shifts_and_divergence_it_is_maml() -> None:
    meta = golden_meta()
    for name in (PRIOR, POSTERIOR, RATES):
        meta[name] = torch.full_like(meta[name], -math.inf)
    step = LowerBound(0.0, 2).step(golden_case(meta), NUMBERS)
    assert_close(step.gradients["init"], GOLDEN["platipus_maml_limit"], 1e-12)


def test_divergences_are_the_published_ones() -> None:
    for case in GOLDEN["kl_cases"]:
        given = [tensor([case[name]]) for name in ("m1", "s1", "m2", "s2")]
        found = divergence(given[0], given[1].log(), given[2], given[3].log())
        assert float(found) == pytest.approx(case["kl"], rel=1e-9, abs=1e-12)


def test_divergence_is_the_mean_of_the_difference_of_logarithms() -> None:
    q, p = stats.norm(0.5, 0.8), stats.norm(-0.2, 1.5)
    drawn = q.rvs(400_000, random_state=0)
    found = divergence(tensor([0.5]), tensor([0.8]).log(), tensor([-0.2]), tensor([1.5]).log())
    assert float(found) == pytest.approx(
        float((q.logpdf(drawn) - p.logpdf(drawn)).mean()), abs=0.01
    )


def test_exchanging_support_and_query_leaves_the_distance_of_the_means() -> None:
    meta = golden_meta() | {RATES: tensor([0.06, 0.06]).log()}
    sets = TaskBatch(SUPPORT, QUERY), TaskBatch(QUERY, SUPPORT)
    found = [
        BOUND.sampled(Case(rule(), Context(LEARNER, tasks, 2), meta), NUMBERS) for tasks in sets
    ]
    apart = [(one.mean_q - one.mean_p).square().detach() for one in found]
    assert_close(apart[0], apart[1], 1e-12)


@pytest.mark.parametrize("of", [sinusoid, classes])
@pytest.mark.parametrize("noise", ["learned", "fixed"])
def test_meta_gradient_is_the_derivative_of_the_bound(of: Any, noise: str) -> None:
    learner, tasks = of()
    algorithm = build("platipus", kl_weight=0.7, noise=noise, noise_variance=0.4, train_samples=2)
    meta = initial(algorithm, learner)
    draw = torch.Generator().manual_seed(0)
    along = {name: torch.randn(v.shape, dtype=DOUBLE, generator=draw) for name, v in meta.items()}

    def objective(size: float) -> Tensor:
        moved = {name: value + size * along[name] for name, value in meta.items()}
        return meta_step(algorithm, learner, moved, tasks).readings["training_objective"].mean()

    gradients = meta_step(algorithm, learner, meta, tasks).gradients
    assert gradients.keys() == meta.keys()
    slope = sum((gradients[name] * along[name]).sum() for name in gradients)
    assert_close(torch.as_tensor(slope), (objective(1e-5) - objective(-1e-5)) / 2e-5, 1e-7)


def test_control_learns_mamls_start_bit_by_bit() -> None:
    learner, tasks = sinusoid()
    control = build("platipus", start="noise")
    meta = initial(control, learner)
    found = meta_step(control, learner, meta, tasks)
    plain = meta_step(build("maml"), learner, {"init": meta["init"]}, tasks)
    assert torch.equal(found.gradients["init"], plain.gradients["init"])
    for name, values in plain.readings.items():
        assert torch.equal(found.readings[name], values)


def test_controls_noise_is_learned_as_the_variance_of_errors() -> None:
    learner, tasks = sinusoid()
    control = build("platipus", start="noise")
    meta = initial(control, learner)
    loss = meta_step(control, learner, meta, tasks).readings["post_query_loss"].mean()
    best = meta | {NOISE: loss.log().view(1)}
    assert abs(float(meta_step(control, learner, best, tasks).gradients[NOISE])) < 1e-12
    assert abs(float(meta_step(control, learner, meta, tasks).gradients[NOISE])) > 1e-3


def test_training_is_read_at_the_priors_mean() -> None:
    """Starts that are drawn in training have seen the query set."""
    learner, tasks = sinusoid()
    algorithm = build("platipus", std=1e-9, shift=0.05)
    assert isinstance(algorithm, Platipus)
    meta = initial(algorithm, learner)
    found = meta_step(algorithm, learner, meta, tasks).readings["post_query_loss"]
    end = algorithm.descend(learner, meta, tasks.support, algorithm.steps)
    assert torch.equal(found, learner.losses(end.point, tasks.query))
    other = replace(tasks, query=replace(tasks.query, y=tasks.query.y + 1))
    moved = meta_step(algorithm, learner, meta, other).readings
    assert torch.equal(
        moved["pre_support_loss"],
        meta_step(algorithm, learner, meta, tasks).readings["pre_support_loss"],
    )


@pytest.mark.parametrize("of", [sinusoid, classes])
def test_samples_belong_to_their_tasks(of: Any) -> None:
    learner, tasks = of()
    algorithm = build("platipus", samples=3, std=0.3)
    meta = initial(algorithm, learner)
    context = called(algorithm, learner, tasks)
    *_, whole = algorithm.adapt(context, meta)
    *_, part = algorithm.adapt(context[1:3], meta)
    found, some = whole.predict(tasks.query), part.predict(tasks.query[1:3])
    assert found.samples is not None
    assert some.samples is not None
    assert found.samples.shape[0] == 3
    assert_close(some.samples, found.samples[:, 1:3], 1e-12)
    spread = found.samples.std(0)
    assert (spread > 1e-6).any()
    assert (found.noise is None) == (of is classes)


def test_without_draws_there_are_no_samples_and_the_mean_stays() -> None:
    learner, tasks = sinusoid()
    algorithm = build("platipus")
    meta = initial(algorithm, learner)
    drawn = called(algorithm, learner, tasks)
    plain = Context(learner, tasks, drawn.steps)
    ends = [
        list(algorithm.adapt(context, meta))[-1].predict(tasks.query) for context in (drawn, plain)
    ]
    assert ends[0].samples is not None
    assert ends[1].samples is None
    assert torch.equal(ends[0].outputs, ends[1].outputs)
    assert measures(learner, ends[1], tasks.query) == {}


def test_measures_of_normal_predictions_are_right() -> None:
    """Targets drawn from what is predicted lie within intervals as often as they should."""
    learner, _ = sinusoid()
    draw = np.random.default_rng(0)
    mean, spread, noise = 1.5, 0.4, 0.3
    samples = tensor(draw.normal(mean, spread, (500, 1, 1, 1))).expand(-1, 1, 20_000, 1)
    target = tensor(draw.normal(mean, math.hypot(spread, noise), (1, 20_000, 1)))
    prediction = Prediction(samples[0], samples=samples, noise=tensor([noise**2]))
    found = measures(learner, prediction, Batch(target, target))
    for level in (50, 80, 95):
        assert float(found[f"coverage_{level}"]) == pytest.approx(level / 100, abs=0.02)
    assert float(found["prediction_spread"]) == pytest.approx(spread, rel=0.05)
    centre = float(samples[:, 0, 0, 0].mean())
    total = math.sqrt(float(samples[:, 0, 0, 0].var(correction=0)) + noise**2)
    nll = -stats.norm(centre, total).logpdf(target.numpy()).mean()
    assert float(found["query_nll"]) == pytest.approx(nll, rel=1e-9)
    losses = [((target - one) ** 2).mean() for one in samples[:, 0, :1, 0]]
    assert float(found["query_loss_of_best"]) == pytest.approx(float(min(losses)), rel=1e-9)


def test_pooled_classes_have_the_mean_of_probabilities() -> None:
    logits = torch.randn(4, 2, 5, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    found = torch.softmax(pooled(logits, classes=True), 2)
    assert_close(found, torch.softmax(logits, 3).mean(0), 1e-12)


def test_confidence_gap_is_what_is_believed_less_what_is_right() -> None:
    learner, _ = classes()
    logits = tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])[None, None].expand(2, -1, -1, -1)
    batch = Batch(torch.zeros(1, 2, 1, dtype=DOUBLE), torch.tensor([[0, 2]]))
    found = measures(learner, Prediction(logits[0], samples=logits), batch)
    sure = torch.softmax(logits[0], 2).amax(2).mean()
    assert_close(found["confidence_gap"][0], sure - 0.5, 1e-12)
    assert float(found["query_accuracy_sampled"]) == 0.5
    assert float(found["prediction_spread"]) == 0.0


def evaluated(method: str, chunk: int, **options: Any) -> dict[str, np.ndarray]:
    """Evaluate a method's first weights on sinusoids and lines, in chunks of so many tasks."""
    config = RunConfig(
        problem="mixture",
        algorithm=method,
        seed=2,
        steps=1,
        options=options,
        problem_options={"hidden": 8},
        shared=Shared(inner_steps=2, eval_steps=3, shots=5),
        dtype="float64",
        device="cpu",
    )
    setting = settle(config)
    setting.problem.chunk = chunk
    return task_curves(setting, setting.init(), 7, 3)


def test_curves_of_the_mean_are_mamls_bit_by_bit_whatever_is_sampled() -> None:
    plain, control = evaluated("maml", 7), evaluated("platipus", 7, start="noise", samples=3)
    for name, values in plain.items():
        assert np.array_equal(control[name], values)
    assert {"query_nll", "coverage_95", "query_loss_of_best"} <= control.keys() - plain.keys()


def test_samples_of_evaluation_tasks_do_not_depend_on_the_chunk() -> None:
    whole, parts = (evaluated("platipus", chunk, samples=3) for chunk in (7, 3))
    assert (whole["prediction_spread"] > 0).all()
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, rtol=1e-9)
