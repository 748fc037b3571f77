"""What the engine computes of runs for the theory, against closed forms and finite differences."""

from pathlib import Path

import numpy as np
import pytest
import torch

from metaviz.config.run_config import Comparison
from metaviz.meta.context import Context
from metaviz.meta.learner import Learner
from metaviz.problems.linear import LinearModels, LinearOptions
from metaviz.runs.analysis.optimality import RADII, history, risk_of
from metaviz.runs.storage.store import open_run
from metaviz.theory.expansion import METHODS, Quadratics, averages, expected_gradients
from metaviz.theory.linear import minimiser
from metaviz.theory.optimality import optimality
from metaviz.training.engine import LocalEngine
from metaviz.training.theory.losses import TaskLoss
from tests.oracle.engine import DOUBLE, build, shared, sinusoid


def quiet(_line: str) -> None:
    """Take progress and say nothing."""


def trained(folder: Path, **settings: object) -> Path:
    """Train one small run and return its folder."""
    comparison = Comparison(dtype="float64", **settings)  # type: ignore[arg-type]
    (session,) = LocalEngine().start(comparison, folder)
    assert list(iter(session.advance, None))
    return session.folder


@pytest.fixture(scope="module")
def linear_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(
        tmp_path_factory.mktemp("linear"),
        problem="linear",
        algorithms=("maml",),
        steps=12,
        shared={"eval_every": 4, "inner_lr": 0.7, "outer_lr": 0.05},
        problem_options={"marginals": "shifted", "loss": "logistic", "width": 3},
    )


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("marginals", ["shared", "shifted"])
@pytest.mark.parametrize("features", ["fourier", "polynomial", "relu"])
def test_maml_on_linear_models_follows_the_exact_meta_gradient(loss, marginals, features):
    options = LinearOptions(loss=loss, marginals=marginals, features=features, width=4)
    problem = LinearModels(options, shared(inner_lr=0.6, inner_steps=1), seed=3)
    assert problem.tables.sum((1, 2)) == pytest.approx(1)
    algorithm, theta = (
        build("maml", shared(inner_lr=0.6, inner_steps=1)),
        np.array([0.4, -1.1, 0.3, 0.8]),
    )
    learner = Learner(problem.net(), problem)
    tasks = problem.tasks("train", 0, options.family)
    meta = {"init": torch.tensor(theta, dtype=DOUBLE)}
    step = algorithm.meta_gradient(Context(learner, tasks, 1), meta)
    found = step.gradients["init"].numpy()
    assert found == pytest.approx(problem.risk.gradient(theta), rel=1e-10, abs=1e-14)
    rows = torch.tensor(theta, dtype=DOUBLE).repeat(options.family, 1)
    risks = learner.losses(rows, tasks.support).numpy()
    assert risks == pytest.approx(problem.risk.risks(np.tile(theta, (options.family, 1))))


def test_the_tasks_of_linear_models_repeat_and_lose_nothing_by_minibatches():
    problem = LinearModels(LinearOptions(family=3, points=6), shared(), seed=0)
    tasks = problem.tasks("train", 2, 4)
    assert torch.equal(tasks.support.y[0], tasks.support.y[3])
    rows = torch.zeros(4, 3, dtype=DOUBLE)
    halves = [tasks.support.examples(slice(at, at + 3)) for at in (0, 3)]
    net = problem.net()
    parts = [problem.loss(net(rows, half.x), half) for half in halves]
    whole = problem.loss(net(rows, tasks.support.x), tasks.support)
    assert torch.stack(parts).mean(0).numpy() == pytest.approx(whole.numpy())


def test_the_stored_history_of_a_run_is_theorem_1_at_its_points(linear_run):
    record = open_run(linear_run)
    found = history(record)
    assert found is not None
    assert [one.step for one in found.judged] == [0, 4, 8, 12]
    assert found.off_step < 1e-12
    risk = risk_of(record.pictures[0])
    assert (risk.loss, risk.rate) == ("logistic", 0.7)
    least = minimiser(risk)
    assert found.judged[0].omega == pytest.approx(np.zeros(3))
    for one in found.judged:
        again = optimality(risk, one.omega, RADII, least)
        assert one.found.gap == pytest.approx(again.gap)
        assert (one.found.bound >= one.found.gap).all()
    gaps = [one.found.gap for one in found.judged]
    assert gaps[-1] < 0.5 * gaps[0]
    value = risk.value(found.judged[-1].omega)
    assert record.evaluations[-1].at("query_loss", 1) == pytest.approx(value, rel=1e-9)


def test_a_run_of_two_steps_is_told_that_the_bound_is_of_one(tmp_path):
    folder = trained(
        tmp_path,
        problem="linear",
        algorithms=("metasgd",),
        steps=4,
        shared={"eval_every": 4, "inner_lr": 0.3, "inner_steps": 2, "outer_lr": 0.05},
    )
    found = history(open_run(folder))
    assert found is not None
    first = found.assumptions(-1)[0]
    assert not first.holds
    assert "does not hold here" in first.text


def test_expansion_of_a_run_is_that_of_its_quadratics(tmp_path):
    folder = trained(
        tmp_path, problem="linear", algorithms=("maml",), steps=3, shared={"eval_every": 3}
    )
    found = LocalEngine().expansion(folder, quiet)
    omega = history(open_run(folder)).judged[-1].omega  # type: ignore[union-attr]
    problem = LinearModels(LinearOptions(), shared(inner_lr=0.2), seed=0)
    assert (found.count, found.orderings, found.rate) == (4, 24, 0.2)
    for task in range(8):
        table = problem.tables[task % 5]
        parts = np.split(np.arange(16), 4)
        hessians = [
            8 * (problem.features[at].T * table[at].sum(1)) @ problem.features[at] for at in parts
        ]
        linear = [8 * problem.features[at].T @ table[at][:, 1] for at in parts]
        losses = Quadratics(np.array(hessians), np.array(linear))
        a, b = averages(losses, omega)
        for place, rate in enumerate(found.rates.tolist()):
            expected = expected_gradients(losses, omega, rate)
            for method in METHODS:
                g = expected[method]
                products = [g @ a, g @ b, a @ a, a @ b, b @ b, g @ g]
                assert found.products[method][place, task] == pytest.approx(products, rel=1e-8)


def test_over_training_the_expansion_is_that_of_the_runs_own_weights(tmp_path):
    settings = {"problem": "linear", "algorithms": ("maml",), "shared": {"eval_every": 5}}
    whole = trained(tmp_path / "whole", steps=13, **settings)
    found = LocalEngine().expansion_over_training(whole, quiet)
    # The start, meta-steps on the way, and the checkpoints of steps 10 and 13.
    assert found.steps.tolist() == [0, 1, 3, 10, 13]
    assert found.retaken == 4
    for at, steps in enumerate((3, 10, 13), 2):
        folder = whole if steps == 13 else trained(tmp_path / str(steps), steps=steps, **settings)
        alone = LocalEngine().expansion(folder, quiet)
        place = int(np.abs(alone.rates - alone.rate).argmin())
        for method in METHODS:
            np.testing.assert_array_equal(found.products[method][at], alone.products[method][place])


def test_a_run_that_began_with_anothers_weights_has_its_checkpoints_alone(tmp_path):
    settings = {"problem": "linear", "algorithms": ("maml",), "shared": {"eval_every": 2}}
    first = trained(tmp_path / "first", steps=3, **settings)
    comparison = Comparison(dtype="float64", steps=4, **settings)
    (session,) = LocalEngine().start(comparison, tmp_path / "second", first)
    assert list(iter(session.advance, None))
    found = LocalEngine().expansion_over_training(session.folder, quiet)
    assert found.retaken == 0
    assert found.steps[-1] == 4


def test_where_inner_steps_move_a_dual_state_the_weights_are_the_start(tmp_path):
    folder = trained(
        tmp_path,
        problem="linear",
        algorithms=("mirror",),
        steps=30,
        shared={"eval_every": 30, "outer_lr": 0.1},
    )
    judged = history(open_run(folder))
    assert judged is not None
    omega = judged.judged[-1].omega
    problem = LinearModels(LinearOptions(), shared(inner_lr=0.2), seed=0)
    gradients = problem.risk.gradients(np.tile(omega, (5, 1)))[[0, 1, 2, 3, 4, 0, 1, 2]]
    found = LocalEngine().expansion(folder, quiet)
    lengths = found.products["maml"][0, :, 2]
    assert lengths == pytest.approx((gradients**2).sum(1), rel=1e-8)


def test_accuracy_of_a_run_has_errors_that_vanish(linear_run):
    found = LocalEngine().accuracy(linear_run, quiet)
    assert found.strength == pytest.approx(1 / 0.7)
    for errors in (found.distance, found.residual, found.unrolled, found.implicit):
        assert (errors[:, 0] > 1e-6).all()
        assert (errors[:, -1] < 1e-9).all()
    record = open_run(linear_run)
    risk, judged = risk_of(record.pictures[-1]), history(record)
    assert judged is not None
    omega = judged.judged[-1].omega
    hessian = risk.hessians(np.tile(omega, (5, 1)))[0]
    assert found.spectrum[::-1] == pytest.approx(np.linalg.eigvalsh(hessian), rel=1e-6)
    assert found.matrix == pytest.approx(hessian, rel=1e-6)


def test_derivatives_of_a_task_loss_are_finite_differences():
    learner, tasks = sinusoid(1, hidden=3)
    loss = TaskLoss(learner, tasks.support)
    generator = np.random.default_rng(0)
    point = 0.5 * generator.standard_normal(learner.net.layout.size)
    step, shifts = 1e-6, np.eye(len(point)) * 1e-6
    slopes = [(loss.value(point + s) - loss.value(point - s)) / (2 * step) for s in shifts]
    curves = [(loss.gradient(point + s) - loss.gradient(point - s)) / (2 * step) for s in shifts]
    hessian, vector = loss.hessian(point), generator.standard_normal(len(point))
    assert loss.gradient(point) == pytest.approx(np.array(slopes), abs=1e-7)
    assert hessian == pytest.approx(np.array(curves), abs=1e-6)
    assert loss.product(point, vector) == pytest.approx(hessian @ vector, rel=1e-9, abs=1e-12)
    assert np.linalg.eigvalsh(loss.gauss_newton(point)).min() > -1e-12


def test_tasks_with_a_single_example_and_large_networks_are_refused(tmp_path):
    quadratic = trained(tmp_path, problem="quadratic", algorithms=("maml",), steps=1)
    with pytest.raises(ValueError, match="single support example"):
        LocalEngine().expansion(quadratic, quiet)
    wide = trained(
        tmp_path,
        problem="sinusoid",
        algorithms=("maml",),
        steps=1,
        shared={"eval_tasks": 2},
        problem_options={"hidden": 60},
    )
    with pytest.raises(ValueError, match="weights, and whole Hessians"):
        LocalEngine().accuracy(wide, quiet)


@pytest.mark.parametrize(
    ("method", "flow", "dual"),
    [
        ("maml", "path", False),
        ("fomaml", "end", False),
        ("reptile", "sum", False),
        ("imaml", "solve", False),
        ("mirror", "path", True),
        ("joint", "start", False),
    ],
)
def test_a_replayed_run_has_the_numbers_that_are_stored(tmp_path, method, flow, dual):
    folder = trained(
        tmp_path,
        problem="sinusoid",
        algorithms=(method,),
        steps=4,
        shared={"eval_every": 2, "eval_tasks": 3, "meta_batch": 3, "inner_steps": 3},
        problem_options={"hidden": 6},
    )
    record = open_run(folder)
    found = LocalEngine().replay(folder, quiet)
    assert (found.flow, found.dual) == (flow, dual)
    assert [one.step for one in found.steps] == [1, 2, 3, 4]
    for name in ("pre_query_loss", "post_query_loss", "post_support_loss", "meta_gradient_norm"):
        replayed = [one.readings[name] for one in found.steps if name in one.readings]
        stored = record.column(name)[: len(replayed)].tolist()
        assert replayed == stored, name
    for at, one in enumerate(found.steps):
        # Reading every step anew, and as training does, are sums in another order.
        if not np.isnan(record.column("pre_query_loss")[at]):
            before, after = (
                record.column("pre_query_loss")[at],
                record.column("post_query_loss")[at],
            )
            assert one.query_loss[[0, -1]] == pytest.approx([before, after], rel=1e-9)
        assert len(one.support_loss) == len(one.moved) == len(one.query_loss)
        assert one.moved[0] == 0
        assert one.moved[-1] > 0
        assert all(value > 0 for value in one.change.values())


def test_a_method_without_steps_of_one_network_is_not_replayed(tmp_path):
    folder = trained(
        tmp_path,
        problem="strokes",
        algorithms=("protonet",),
        steps=1,
        shared={"eval_tasks": 2, "meta_batch": 1, "ways": 2},
    )
    with pytest.raises(ValueError, match="no inner steps"):
        LocalEngine().replay(folder, quiet)
