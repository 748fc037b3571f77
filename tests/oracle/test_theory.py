"""The theory of meta-learning against golden numbers, enumerations and finite differences."""

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from metaviz.theory.accuracy import Logistic, accuracy
from metaviz.theory.expansion import (
    METHODS,
    Quadratics,
    averages,
    coefficients,
    expected_gradients,
    fit,
)
from metaviz.theory.linear import MetaRisk, Minimiser, minimiser, stationary_points
from metaviz.theory.optimality import ball_distances, optimality
from metaviz.theory.prior import effective_dimension, gradient_envelope, implicit_prior

GOLDEN = json.loads((Path(__file__).parent / "golden/theory.json").read_text(encoding="utf-8"))
ONE, MANY = GOLDEN["theorem1"], GOLDEN["expansion"]
CURVE = GOLDEN["nonconvex_logistic_1d"]


def near(expected, rel=1e-9):
    return pytest.approx(np.asarray(expected, dtype=float), rel=rel, abs=1e-12)


def golden_losses() -> tuple[Quadratics, np.ndarray]:
    losses = Quadratics(np.array(MANY["hessians"]), np.array(MANY["linear"]))
    return losses, np.array(MANY["phi1"])


def test_averages_are_golden():
    a, b = averages(*golden_losses())
    assert a == near(MANY["AvgGrad"])
    assert b == near(MANY["AvgGradInner"])


@pytest.mark.parametrize("row", MANY["rows"], ids=lambda row: str(row["alpha"]))
@pytest.mark.parametrize("method", METHODS)
def test_expansion_is_golden(row, method):
    losses, start = golden_losses()
    rate, golden = row["alpha"], row[method]
    expected = expected_gradients(losses, start, rate)[method]
    assert expected == near(golden["expectation"])
    found = fit(method, 4, rate, expected, averages(losses, start))
    # Differences of nearly equal numbers: 1e-16 of them over rate and rate squared.
    assert found.c1 == near(golden["fitted_c1"], max(1e-9, 1e-14 / rate))
    assert coefficients(method, 4)[1] == golden["expected_c1"]
    assert found.remainder == near(golden["remainder_over_alpha2"], max(1e-9, 1e-14 / rate**2))
    assert found.joint_c0 == near(golden["joint_fit_c0"])
    assert found.joint_c1 == near(golden["joint_fit_c1_over_alpha"], max(1e-8, 1e-13 / rate))


def plain_gradient(method: str, order: list[int], losses: Quadratics, start, rate) -> np.ndarray:
    """Return the gradient along one ordering, from the definitions."""
    point, jacobian, total = start, np.eye(len(start)), 0.0
    for place, at in enumerate(order):
        gradient = losses.hessians[at] @ point - losses.linear[at]
        total = total + gradient
        if place == len(order) - 1:
            return {"maml": jacobian.T @ gradient, "fomaml": gradient, "reptile": total}[method]
        point = point - rate * gradient
        jacobian = (np.eye(len(start)) - rate * losses.hessians[at]) @ jacobian
    raise AssertionError("an ordering is not empty")


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("method", METHODS)
def test_expectation_is_the_mean_over_all_orderings(count, method):
    generator = np.random.default_rng(count)
    matrices = generator.standard_normal((count, 4, 4))
    losses = Quadratics(matrices + matrices.mT, generator.standard_normal((count, 4)))
    start = generator.standard_normal(4)
    every = [
        plain_gradient(method, list(o), losses, start, 0.07) for o in permutations(range(count))
    ]
    found = expected_gradients(losses, start, 0.07)[method]
    assert found == pytest.approx(np.mean(every, axis=0), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [3, 6])
def test_error_of_the_coefficient_halves_with_the_rate(method, count):
    generator = np.random.default_rng(7)
    matrices = generator.standard_normal((count, 3, 3))
    losses = Quadratics(matrices @ matrices.mT, generator.standard_normal((count, 3)))
    start = generator.standard_normal(3)
    both, exact = averages(losses, start), coefficients(method, count)[1]
    rates = [1e-4 * 0.5**halving for halving in range(4)]
    errors = [
        fit(method, count, rate, expected_gradients(losses, start, rate)[method], both).c1 - exact
        for rate in rates
    ]
    assert abs(errors[0]) > 1e-6
    assert np.divide(errors[1:], errors[:-1]) == pytest.approx(0.5, abs=0.01)


def golden_risk(loss: str, rate: float) -> MetaRisk:
    arrays = (np.array(ONE[name], dtype=float) for name in ("D", "features", "Y"))
    return MetaRisk(*arrays, loss, rate)


@pytest.mark.parametrize("case", ONE["cases"], ids=lambda one: f"{one['kind']} {one['omega']}")
def test_theorem_1_is_golden(case):
    risk, omega = golden_risk(case["kind"], case["eta"]), np.array(case["omega"])
    radii = np.array([row["R"] for row in case["rows"]])
    found = optimality(risk, omega, radii)
    assert found.theta_star == near(case["theta_star"])
    assert risk.gradient(found.theta_star) == pytest.approx(0, abs=1e-12)
    assert risk.value(omega) == near(case["L_omega"])
    assert found.gap == near(case["gap"])
    assert found.epsilon == near(case["eps"])
    assert found.gradient == near(case["grad"])
    assert found.w_norm == near(case["w_norm"])
    assert found.inner_product == near(case["inner_product_w_u"])
    assert found.approximation == near([row["inf"] for row in case["rows"]])
    assert found.bound == near([row["bound"] for row in case["rows"]])
    assert found.identity_error < 1e-12


@pytest.mark.parametrize("case", GOLDEN["corollary1"]["cases"], ids=lambda one: str(one["eta"]))
def test_corollary_1_is_golden(case):
    given = GOLDEN["corollary1"]
    p, rho = np.array(given["p_y1"]), np.array(given["rho"])
    tables = np.stack([1 - p, p], axis=2) * rho[:, None]
    risk = MetaRisk(tables, np.array(given["features"]), np.array([0.0, 1]), "squared", case["eta"])
    radii, omega = np.array([row["R"] for row in case["rows"]]), np.array(case["omega"])
    found = optimality(risk, omega, radii)
    assert found.theta_star == near(case["theta_star"])
    assert risk.jacobians(omega)[0] == near(case["K"])
    assert (found.gap, found.epsilon) == near((case["gap"], case["eps"]))
    assert found.corollary is not None
    assert found.corollary.slope_norm == near(case["norm_w"])
    assert found.corollary.mean_risk == near(case["Rbar"])
    assert found.corollary.approximation == near([row["inf"] for row in case["rows"]])
    assert found.corollary.bound == near([row["bound"] for row in case["rows"]])
    # Half of the bound's slack is the step by convexity: <w, u> = 2 gap.
    assert found.inner_product == near(2 * case["gap"])


def curve_risk(eta: float) -> MetaRisk:
    p = np.array(CURVE["p_y1"])
    tables = np.stack([1 - p, p], axis=2) / p.shape[1]
    return MetaRisk(tables, np.array(CURVE["x"])[:, None], np.array([0.0, 1]), "logistic", eta)


@pytest.mark.parametrize("row", CURVE["rows"], ids=lambda row: str(row["eta"]))
def test_stationary_points_of_the_example_are_golden(row):
    risk = curve_risk(row["eta"])
    found = stationary_points(risk)
    assert found == near([one["theta"] for one in row["stationary"]])
    for theta, golden in zip(found, row["stationary"], strict=True):
        assert risk.value(np.array([theta])) == near(golden["L"])
        assert risk.hessian(np.array([theta]))[0, 0] == near(golden["curvature"], 1e-8)
        if golden["curvature"] < 0:  # where a Jacobian of adaptation vanishes
            assert np.abs(risk.jacobians(np.array([theta]))).min() < 1e-9
    assert minimiser(risk).value == near(min(one["L"] for one in row["stationary"]))


@pytest.mark.parametrize("case", CURVE["theorem1_eta4"], ids=lambda one: str(one["omega"]))
def test_theorem_1_at_stationary_points_that_are_not_optimal_is_golden(case):
    risk, omega = curve_risk(4.0), np.array([case["omega"]])
    star = np.array([case["theta_star"]])
    radii = np.array([row["R"] for row in case["rows"]])
    found = optimality(risk, omega, radii, Minimiser(star, risk.value(star), agree=False))
    assert found.gap == near(case["gap"])
    assert found.w_norm == near(case["w_norm"])
    assert found.epsilon == (
        near(case["eps"]) if case["eps"] > 1e-12 else pytest.approx(0, abs=1e-12)
    )
    assert found.approximation == near([row["inf"] for row in case["rows"]])
    assert found.bound == near([row["bound"] for row in case["rows"]])


def random_risk(generator: np.random.Generator) -> MetaRisk:
    tasks, points, width = (int(generator.integers(*ends)) for ends in ((1, 5), (2, 7), (1, 4)))
    outcomes = int(generator.integers(2, 4))
    tables = generator.dirichlet(np.full(points * outcomes, 0.7), tasks)
    loss = ("squared", "logistic")[int(generator.integers(2))]
    values = np.array([0.0, 1.0]) if loss == "logistic" else generator.standard_normal(outcomes)
    tables = tables.reshape(tasks, points, outcomes)
    if loss == "logistic":
        tables = np.stack([tables[:, :, 0], tables[:, :, 1:].sum(2)], axis=2)
    features = generator.standard_normal((points, min(width, points)))
    return MetaRisk(tables, features, values, loss, float(generator.uniform(0, 2)))


def test_no_random_problem_violates_the_bound_and_the_identity_holds():
    generator = np.random.default_rng(0)
    radii = np.array([0.01, 0.1, 0.5, 1.0, 4.0])
    gaps = []
    for _ in range(1000):
        risk = random_risk(generator)
        omega = generator.standard_normal(risk.features.shape[1])
        # The theorem holds against any point, so that none has to be the minimiser.
        other = generator.standard_normal(len(omega))
        found = optimality(risk, omega, radii, Minimiser(other, risk.value(other), agree=True))
        scale = 1 + found.w_norm + found.epsilon
        assert found.identity_error < 1e-12 * scale
        assert found.inner_product >= found.gap - 1e-12 * scale
        assert (found.bound >= found.gap - 1e-12 * scale).all()
        gaps.append(found.gap)
    assert np.max(gaps) > 1


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_gradient_and_hessian_are_finite_differences(loss):
    generator = np.random.default_rng(3)
    tables = generator.dirichlet(np.ones(10), 3).reshape(3, 5, 2)
    risk = MetaRisk(tables, generator.standard_normal((5, 3)), np.array([0.0, 1]), loss, 0.8)
    theta, step = generator.standard_normal(3), 1e-5
    shifts = step * np.eye(3)
    slopes = [(risk.value(theta + s) - risk.value(theta - s)) / (2 * step) for s in shifts]
    curves = [(risk.gradient(theta + s) - risk.gradient(theta - s)) / (2 * step) for s in shifts]
    assert risk.gradient(theta) == pytest.approx(slopes, abs=1e-8)
    assert risk.hessian(theta) == pytest.approx(np.array(curves), abs=1e-8)


def test_no_point_of_a_dense_grid_is_below_the_minimum_that_was_found():
    generator = np.random.default_rng(11)
    grid = np.stack(np.meshgrid(*2 * [np.linspace(-9, 9, 181)]), axis=-1)
    several = 0
    for _ in range(8):
        tables = generator.dirichlet(np.full(8, 0.8), 2).reshape(2, 4, 2)
        features = generator.standard_normal((4, 2))
        risk = MetaRisk(tables, features, np.array([0.0, 1]), "logistic", 6.0)
        found = minimiser(risk)
        several += not found.agree
        assert risk.gradient(found.theta) == pytest.approx(0, abs=1e-12)
        assert risk.values(grid).min() >= found.value
    assert several > 0


def test_distance_from_a_ball_is_what_a_fine_search_finds():
    generator = np.random.default_rng(1)
    matrix, target = generator.standard_normal((7, 2)), generator.standard_normal(7)
    angles = np.linspace(0, 2 * np.pi, 20001)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    for radius in (0.05, 0.2):
        searched = np.linalg.norm(target[:, None] - radius * matrix @ circle, axis=0).min()
        assert ball_distances(matrix, target, np.array([radius]))[0] == pytest.approx(
            searched, abs=1e-6
        )


@pytest.mark.parametrize("row", GOLDEN["prior"]["rows"], ids=lambda row: str(row["K"]))
def test_implicit_prior_is_golden(row):
    hessian, rate = np.array(GOLDEN["prior"]["H"]), GOLDEN["prior"]["alpha"]
    found = implicit_prior(hessian, rate, row["K"])
    assert found.precision == pytest.approx(np.array(row["precision"]), rel=1e-8)
    assert np.linalg.slogdet(found.precision)[1] == near(row["logdet"])
    mean = np.trace(found.precision) / 2 * rate * row["K"]
    assert mean == near(row["mean_precision_times_alphaK"])
    linear, start = np.array([1.0, -1]), np.array([1.0, 2])
    best = np.linalg.solve(hessian + found.precision, linear + found.precision @ start)
    assert best == near(row["phiK"])


def test_flat_and_overshot_directions_of_the_prior_are_golden():
    one, other = GOLDEN["prior"]["singular"], GOLDEN["prior"]["negative"]
    found = implicit_prior(np.diag(one["H"]).astype(float), one["alpha"], one["K"])
    assert np.diag(found.precision) == near(one["precision_diag"])
    for steps, precision in zip(other["K"], other["precision"], strict=True):
        found = implicit_prior(np.array([[other["h"]]]), other["alpha"], steps)
        assert found.precision == near([[precision]])
        assert found.is_prior == (precision > 0)
    # Where steps are tiny, h / expm1(K log1p(...)) keeps all digits: 1/(rate K) - h(K+1)/(2K).
    tiny = implicit_prior(np.array([[1e-9]]), 0.1, 10).precision[0, 0]
    assert tiny - 1 == pytest.approx(-0.55e-9, rel=1e-6)


def test_effective_dimension_and_envelope_are_golden():
    given = GOLDEN["effective_dimension"]
    for row in given["rows"]:
        found = effective_dimension(np.array(given["h"]), given["alpha"], row["K"])
        assert found == near(row["d_eff"])
    for row in GOLDEN["prior"]["envelope"]:
        assert gradient_envelope(np.array([row["K"]])) == near([row["bound"]])


def test_meta_gradient_errors_are_golden():
    given = GOLDEN["metagrad_error"]
    arrays = {name: np.array(given[name]) for name in ("X", "y", "XQ", "yQ", "theta")}
    losses = Logistic(arrays["X"], arrays["y"]), Logistic(arrays["XQ"], arrays["yQ"])
    steps = [row["K"] for row in given["rows"]]
    found = accuracy(losses, arrays["theta"], given["alpha"], given["lam"], steps)
    assert found.solution == near(given["phi_star"])
    assert found.exact == near(given["g_star"])
    for at, row in enumerate(given["rows"]):
        measured = found.distance[at], found.residual[at], found.unrolled[at], found.implicit[at]
        names = ("distance", "inner_residual", "unrolled_error", "implicit_error")
        # At K = 50 errors of 1e-7 are differences of numbers of size 0.1.
        rel = 1e-9 if row["K"] < 50 else 1e-7
        assert measured == near([row[name] for name in names], rel)
        assert found.implicit[at] / found.distance[at] == near(row["implicit_ratio"], rel)
