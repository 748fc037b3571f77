"""Closed forms on random quadratics of random sizes."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from metaviz.meta.estimators.implicit import UNSOLVED
from metaviz.meta.inner import Graph, descend
from metaviz.meta.rules import GradientDescent
from metaviz.meta.solvers import INDEFINITE
from metaviz.meta.tasks import TaskBatch
from tests.oracle.engine import (
    DOUBLE,
    assert_close,
    build,
    meta_step,
    quadratic_batch,
    quadratic_learner,
    shared,
)

TASKS = 3


class Quadratics:
    """Random positive definite support and query losses with closed-form meta-gradients."""

    def __init__(self, seed: int, size: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.size = size
        self.learner = quadratic_learner(size)
        self.theta = torch.randn(size, generator=draw, dtype=DOUBLE)
        self.a, self.c = self._matrices(draw), self._matrices(draw)
        self.b, self.d = (torch.randn(TASKS, size, generator=draw, dtype=DOUBLE) for _ in range(2))
        self.tasks = TaskBatch(quadratic_batch(self.a, self.b), quadratic_batch(self.c, self.d))

    def _matrices(self, draw: torch.Generator) -> Tensor:
        root = torch.randn(TASKS, self.size, self.size, generator=draw, dtype=DOUBLE)
        return root @ root.mT / self.size + 0.2 * torch.eye(self.size, dtype=DOUBLE)

    def gradient(self, name: str, steps: int, rate: float, **options: object) -> Tensor:
        algorithm = build(name, shared(inner_lr=rate, inner_steps=steps), **options)
        return meta_step(algorithm, self.learner, {"init": self.theta}, self.tasks).gradients[
            "init"
        ]

    def adapted(self, steps: int, rate: float) -> Tensor:
        point = self.theta.expand(TASKS, -1)
        for _ in range(steps):
            point = point - rate * ((self.a @ point.unsqueeze(2)).squeeze(2) - self.b)
        return point

    def query_gradient(self, point: Tensor) -> Tensor:
        return (self.c @ point.unsqueeze(2)).squeeze(2) - self.d

    def solution(self, prox: float) -> Tensor:
        system = self.a + prox * torch.eye(self.size, dtype=DOUBLE)
        return torch.linalg.solve(system, self.b + prox * self.theta)


quadratics = st.builds(Quadratics, st.integers(0, 10_000), st.integers(1, 6))
few = settings(max_examples=20, deadline=None)


@few
@given(quadratics, st.integers(1, 6), st.floats(0.01, 0.3))
def test_maml_is_the_product_of_step_jacobians(case: Quadratics, steps: int, rate: float) -> None:
    v = case.query_gradient(case.adapted(steps, rate)).unsqueeze(2)
    jacobian = torch.eye(case.size, dtype=DOUBLE) - rate * case.a
    expected = (torch.linalg.matrix_power(jacobian, steps) @ v).squeeze(2).mean(0)
    assert_close(case.gradient("maml", steps, rate), expected, 1e-10)
    assert_close(case.gradient("maml", steps, rate, memory="recompute"), expected, 1e-10)


@few
@given(quadratics, st.integers(1, 6), st.floats(0.01, 0.3))
def test_fomaml_is_the_query_gradient_after_adaptation(
    case: Quadratics, steps: int, rate: float
) -> None:
    expected = case.query_gradient(case.adapted(steps, rate)).mean(0)
    assert_close(case.gradient("fomaml", steps, rate), expected, 1e-10)


@few
@given(quadratics, st.integers(1, 6), st.floats(0.01, 0.3))
def test_reptile_is_the_displacement(case: Quadratics, steps: int, rate: float) -> None:
    expected = (case.theta - case.adapted(steps, rate)).mean(0)
    assert_close(case.gradient("reptile", steps, rate, scale="none"), expected, 1e-9)
    assert_close(case.gradient("reptile", steps, rate, scale="rate"), expected / rate, 1e-9)


@few
@given(quadratics, st.floats(0.3, 10))
def test_imaml_is_the_dense_implicit_gradient(case: Quadratics, prox: float) -> None:
    rate = 1 / (float(torch.linalg.eigvalsh(case.a).max()) + prox)
    v = case.query_gradient(case.solution(prox)).unsqueeze(2)
    system = torch.eye(case.size, dtype=DOUBLE) + case.a / prox
    expected = torch.linalg.solve(system, v).squeeze(2).mean(0)
    for operator in ("gauss_newton", "hessian"):
        options = {"prox": prox, "operator": operator, "inner_steps": 600, "cg_steps": 20}
        assert_close(case.gradient("imaml", 1, rate, **options), expected, 1e-8)
    series = {"prox": prox, "inner_steps": 600, "terms": 600}
    assert_close(case.gradient("neumann", 1, rate, **series), expected, 1e-8)
    assert_close(case.gradient("neumann", 1, rate, variant="truncated", **series), expected, 1e-8)


@few
@given(quadratics, st.integers(0, 5))
def test_a_truncated_series_of_n_is_the_last_n_plus_one_proximal_steps(
    case: Quadratics, terms: int
) -> None:
    rate, prox, steps = 0.1, 1.5, 9
    centre = case.theta.clone().requires_grad_()
    point = case.theta.expand(TASKS, -1)
    for step in range(steps):
        here = centre if step >= steps - (terms + 1) else case.theta
        slope = (case.a @ point.unsqueeze(2)).squeeze(2) - case.b
        point = point - rate * (slope + prox * (point - here))
    loss = case.learner.losses(point, case.tasks.query).mean()
    (expected,) = torch.autograd.grad(loss, centre)
    options = {"variant": "truncated", "terms": terms, "prox": prox, "inner_steps": steps}
    assert_close(case.gradient("neumann", 1, rate, **options), expected, 1e-12)


@few
@given(quadratics)
def test_prox_gradient_is_the_derivative_of_the_solved_loss(case: Quadratics) -> None:
    prox, epsilon = 1.5, 1e-5

    def value(weight: float) -> float:
        point = case.solution(weight)
        return float(case.learner.losses(point, case.tasks.query).mean())

    expected = (value(prox + epsilon) - value(prox - epsilon)) / (2 * epsilon)
    rate = 1 / (float(torch.linalg.eigvalsh(case.a).max()) + prox)
    options = {"prox": prox, "learn_prox": True, "inner_steps": 300, "cg_steps": 20}
    algorithm = build("imaml", shared(inner_lr=rate), **options)
    meta = {"init": case.theta, "prox": torch.tensor([prox], dtype=DOUBLE)}
    found = meta_step(algorithm, case.learner, meta, case.tasks).gradients["prox"]
    assert float(found) == pytest.approx(expected, rel=1e-6, abs=1e-8)


@few
@given(quadratics)
def test_a_large_prox_weight_gives_joint_training(case: Quadratics) -> None:
    joint = case.gradient("joint", 1, 0.1)

    def distance(prox: float) -> float:
        options = {"prox": prox, "inner_steps": 50, "cg_steps": 10}
        return float((case.gradient("imaml", 1, 1 / prox, **options) - joint).abs().max())

    # Each task is off by its own gradient over the prox weight; the mean may cancel, that does not.
    scale = case.query_gradient(case.theta.expand(TASKS, -1)).abs().max()
    assert distance(1e6) <= 2e-5 * float(scale)
    assert distance(1e6) <= distance(1e4) / 50 + 1e-10 * float(scale)


@few
@given(quadratics)
def test_penalties_on_the_gradient(case: Quadratics) -> None:
    weight, rate, steps = 0.3, 0.1, 3
    slope = (case.a @ case.theta) - case.b
    expected = case.query_gradient(case.theta.expand(TASKS, -1))
    expected = expected + 2 * weight * (case.a @ slope.unsqueeze(2)).squeeze(2)
    found = case.gradient("penalty", steps, rate, variant="start", weight=weight)
    assert_close(found, expected.mean(0), 1e-10)

    end = case.adapted(steps, rate)
    left = (case.a @ end.unsqueeze(2)).squeeze(2) - case.b
    pull = case.query_gradient(end) + 2 * weight * (case.a @ left.unsqueeze(2)).squeeze(2)
    jacobian = torch.linalg.matrix_power(torch.eye(case.size, dtype=DOUBLE) - rate * case.a, steps)
    expected = (jacobian @ pull.unsqueeze(2)).squeeze(2).mean(0)
    assert_close(case.gradient("penalty", steps, rate, weight=weight), expected, 1e-10)


@few
@given(quadratics)
def test_joint_penalty_descends_both_and_returns_the_pull(case: Quadratics) -> None:
    weight, pull, rate = 0.2, 0.7, 0.05
    eye = torch.eye(case.size, dtype=DOUBLE)
    point = case.theta.expand(TASKS, -1)

    def residual(at: Tensor) -> Tensor:
        return (case.a @ at.unsqueeze(2)).squeeze(2) - case.b + pull * (at - case.theta)

    for _ in range(4):
        bent = ((case.a + pull * eye) @ residual(point).unsqueeze(2)).squeeze(2)
        point = point - rate * (case.query_gradient(point) + 2 * weight * bent)
    expected = (-2 * weight * pull * residual(point)).mean(0)
    options = {"variant": "joint", "weight": weight, "pull": pull, "joint_lr": rate}
    assert_close(case.gradient("penalty", 4, 0.1, **options), expected, 1e-10)


def test_indefinite_system_stops_and_is_flagged() -> None:
    learner = quadratic_learner(2)
    bent = torch.tensor([[[1.0, 0.0], [0.0, -3.0]]], dtype=DOUBLE)
    plain = torch.eye(2, dtype=DOUBLE).unsqueeze(0)
    tasks = TaskBatch(
        quadratic_batch(bent, torch.zeros(1, 2, dtype=DOUBLE)),
        quadratic_batch(plain, torch.tensor([[0.0, 1.0]], dtype=DOUBLE)),
    )
    algorithm = build("imaml", shared(inner_steps=1), prox=1.0, operator="hessian", inner_steps=1)
    theta = torch.tensor([1.0, 0.0], dtype=DOUBLE)
    step = meta_step(algorithm, learner, {"init": theta}, tasks)
    assert step.warnings[INDEFINITE].all()
    # v = phi - (0, 1) with phi = (0.9, 0): p'Mp = 2 * 0.81 - 2 < 0 at once, so v itself comes back.
    assert_close(step.gradients["init"], [0.9, -1.0], 1e-12)
    # (I + A) v = (1.8, 2), so v - (I + A) v = (-0.9, -3).
    expected = (0.81 + 9) ** 0.5 / (0.81 + 1) ** 0.5
    assert float(step.readings["solver_residual"]) == pytest.approx(expected)


@pytest.mark.parametrize(("method", "expected"), [("maml", 6.0), ("fomaml", 3.0), ("reptile", 6.0)])
def test_expansion_coefficients_over_all_orderings(method: str, expected: float) -> None:
    """E g = c0 AvgGrad - c1 alpha AvgGradInner + O(alpha^2), over all k! orders of k losses.

    For k = 4: c1 = 2(k-1), k-1, k(k-1)/2. Source: Nichol et al. 2018, section 5.1.
    """
    k, size = 4, 3
    draw = torch.Generator().manual_seed(5)
    root = torch.randn(k, size, size, generator=draw, dtype=DOUBLE)
    hessians, linear = root @ root.mT, torch.randn(k, size, generator=draw, dtype=DOUBLE)
    theta = torch.randn(size, generator=draw, dtype=DOUBLE)
    orders = torch.tensor(list(itertools.permutations(range(k))))
    gradients = hessians @ theta - linear
    pairs = [(i, j) for i in range(k) for j in range(k) if i != j]
    first = gradients.mean(0)
    second = torch.stack([hessians[i] @ gradients[j] for i, j in pairs]).mean(0)

    def coefficient(alpha: float) -> float:
        g = _ordered_gradient(method, orders, hessians, linear, theta, alpha)
        scale = k if method == "reptile" else 1
        rest = (scale * first - g) / alpha
        return float(rest @ second / (second @ second))

    errors = [abs(coefficient(alpha) - expected) for alpha in (2e-4, 1e-4)]
    assert errors[1] < 0.02
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.1)


def _ordered_gradient(
    method: str, orders: Tensor, hessians: Tensor, linear: Tensor, theta: Tensor, alpha: float
) -> Tensor:
    learner = quadratic_learner(len(theta))
    batches = [
        quadratic_batch(hessians[orders[:, i]], linear[orders[:, i]])
        for i in range(orders.shape[1])
    ]
    rule = GradientDescent(alpha)
    if method == "reptile":
        end = descend(
            rule, learner, {"init": theta}, batches[0], len(batches), batches=iter(batches)
        )
        return (theta - end.point.mean(0)) / alpha
    graph = Graph.SECOND_ORDER if method == "maml" else Graph.FIRST_ORDER
    leaf = theta.clone().requires_grad_()
    count = len(batches) - 1
    end = descend(rule, learner, {"init": leaf}, batches[0], count, graph, batches=iter(batches))
    loss = learner.losses(end.point, batches[-1]).mean()
    (gradient,) = torch.autograd.grad(loss, leaf)
    return gradient


def test_guarded_steps_solve_what_a_fixed_step_cannot() -> None:
    """Curvature 30 and a step of 0.1: a fixed step diverges, the guarded one converges."""
    learner = quadratic_learner(2)
    bent = torch.diag(torch.tensor([30.0, 1.0], dtype=DOUBLE)).unsqueeze(0)
    plain = torch.eye(2, dtype=DOUBLE).unsqueeze(0)
    linear = torch.tensor([[1.0, 2.0]], dtype=DOUBLE)
    tasks = TaskBatch(quadratic_batch(bent, linear), quadratic_batch(plain, linear))
    theta = torch.tensor([1.0, -1.0], dtype=DOUBLE)
    solved = torch.linalg.solve(bent[0] + torch.eye(2, dtype=DOUBLE), linear[0] + theta)
    ends = {}
    for control in ("guarded", "fixed"):
        algorithm = build("imaml", shared(inner_steps=300), prox=1.0, step_control=control)
        step = meta_step(algorithm, learner, {"init": theta}, tasks)
        ends[control] = algorithm.descend(learner, {"init": theta}, tasks.support, 300).point[0]
        assert bool(step.warnings[UNSOLVED].all()) == (control == "fixed")
    assert_close(ends["guarded"], solved, 1e-5)
    assert float(ends["fixed"].abs().max()) > 1e10
