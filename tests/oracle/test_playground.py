"""Mirror maps of the plane against golden numbers, identities and finite differences."""

import json
from pathlib import Path

import numpy as np
import pytest

from metaviz.theory.mirror_maps import (
    Burg,
    Entropy,
    Euclid,
    Hypentropy,
    PNorm,
    Quadratic,
    Simplex,
    divergence,
)
from metaviz.theory.playground import (
    LogisticLoss,
    QuadraticLoss,
    Rosenbrock,
    TwoBasins,
    ball,
    ellipse,
    ellipse_axes,
    ellipse_matrix,
    path,
    rate_for,
    smoothness,
)

GOLDEN = json.loads((Path(__file__).parent / "golden/theory.json").read_text(encoding="utf-8"))[
    "geometry"
]
MAPS = {
    "euclid": Euclid(),
    "quadratic_P": Quadratic(),
    "entropy": Entropy(),
    "burg": Burg(),
    "hypentropy": Hypentropy(),
    "pnorm3": PNorm(),
}
X, Y, Z = np.array([1.0, 2.0]), np.array([0.7, 1.1]), np.array([1.6, 0.4])
LOSSES = [QuadraticLoss(), Rosenbrock(), TwoBasins(), LogisticLoss()]


@pytest.mark.parametrize("name", MAPS)
def test_paths_and_divergences_are_golden(name):
    chosen, golden = MAPS[name], GOLDEN["maps"][name]
    found = path(QuadraticLoss(), chosen, np.array(GOLDEN["start"]), GOLDEN["alpha"], GOLDEN["K"])
    assert found.points == pytest.approx(np.array(golden["path"]), rel=1e-9)
    assert not found.stopped
    assert divergence(chosen, X, Y) == pytest.approx(golden["bregman_x0_y0"], rel=1e-9)
    assert divergence(chosen, Y, X) == pytest.approx(golden["bregman_y0_x0"], rel=1e-9)
    assert chosen.dual(X) == pytest.approx(golden["grad_h_x0"], rel=1e-9)
    assert chosen.value(X) == pytest.approx(golden["h_x0"], rel=1e-9)
    assert chosen.primal(chosen.dual(X)) == pytest.approx(X, abs=1e-12)


@pytest.mark.parametrize("name", MAPS)
def test_divergences_keep_their_identities(name):
    chosen = MAPS[name]
    generator = np.random.default_rng(0)
    points = generator.uniform(0.05, 3.0, (200, 3, 2))
    if not chosen.positive:
        points *= generator.choice([-1, 1], points.shape)
    a, b, c = np.moveaxis(points, 1, 0)
    assert (divergence(chosen, a, b) >= -1e-12).all()
    crossed = ((chosen.dual(b) - chosen.dual(c)) * (a - b)).sum(-1)
    three = divergence(chosen, a, b) + divergence(chosen, b, c) + crossed
    assert divergence(chosen, a, c) == pytest.approx(three, rel=1e-9, abs=1e-9)

    def conjugate(z: np.ndarray) -> np.ndarray:
        p = chosen.primal(z)
        return np.asarray((z * p).sum(-1) - chosen.value(p))

    za, zb = chosen.dual(a), chosen.dual(b)
    dual = conjugate(zb) - conjugate(za) - (chosen.primal(za) * (zb - za)).sum(-1)
    assert divergence(chosen, a, b) == pytest.approx(dual, rel=1e-8, abs=1e-8)
    step = 1e-6
    slopes = [
        (chosen.value(a + step * e) - chosen.value(a - step * e)) / (2 * step) for e in np.eye(2)
    ]
    assert np.stack(slopes, axis=-1) == pytest.approx(chosen.dual(a), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", MAPS)
def test_a_step_touches_the_ball_around_its_start(name):
    chosen, loss, start = MAPS[name], QuadraticLoss(), np.array([1.2, 1.5])
    reached = path(loss, chosen, start, 0.1, 1).points[1]
    radius = float(divergence(chosen, reached, start))
    edge = ball(chosen, start, radius)
    assert divergence(chosen, edge, start) == pytest.approx(radius, rel=1e-9)
    # No point of the ball lies farther along -g than the step's end.
    gradient = loss.gradient(start)
    lowest = (edge @ gradient).min()
    assert lowest >= reached @ gradient - 1e-12
    assert lowest == pytest.approx(reached @ gradient, abs=3e-3 * np.linalg.norm(gradient))
    assert rate_for(loss, chosen, start, radius, 10.0) == pytest.approx(0.1, rel=1e-9)


def test_a_step_solves_the_proximal_problem_of_the_simplex():
    loss, rate = QuadraticLoss(), 0.7
    start = Simplex().project(np.array([1.0, 2.0]))
    assert start == pytest.approx([1 / 3, 2 / 3])
    shares = np.linspace(1e-4, 1 - 1e-4, 200_001)
    line = np.stack([shares, 1 - shares], axis=1)
    aim = line @ loss.gradient(start) + divergence(Entropy(), line, start) / rate
    found = path(loss, Simplex(), np.array([1.0, 2.0]), rate, 1).points[1]
    assert found == pytest.approx(line[aim.argmin()], abs=1e-5)


def test_burg_stops_where_it_leaves_its_dual_domain_and_descent_where_it_diverges():
    far = path(QuadraticLoss((9.0, 9.0)), Burg(), X, 1.0, 5)
    assert far.stopped == "step 1 leaves the dual domain"
    assert len(far.points) == len(far.duals) == 1
    wild = path(QuadraticLoss(), Euclid(), X, 3.0, 60)
    assert wild.stopped.startswith("diverges at step")


def test_preconditioning_by_the_inverse_hessian_ends_after_one_step():
    loss = QuadraticLoss()
    inverse = np.linalg.inv(np.array(loss.hessian))
    (a, b), (c, d) = inverse.tolist()
    chosen = Quadratic(((a, b), (c, d)))
    assert path(loss, chosen, X, 1.0, 1).points[1] == pytest.approx(loss.centre, abs=1e-12)
    assert smoothness(loss, chosen.matrix) == pytest.approx(1.0)


def test_large_beta_is_gradient_descent_with_a_longer_step():
    plain = path(QuadraticLoss(), Euclid(), X, 0.1, 5).points
    wide = path(QuadraticLoss(), Hypentropy(1e4), X, 1e-5, 5).points
    assert wide == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda one: type(one).__name__)
def test_gradients_of_losses_are_finite_differences(loss):
    points = np.random.default_rng(1).uniform(-1, 2, (20, 2))
    step = 1e-6
    slopes = [
        (loss.value(points + step * e) - loss.value(points - step * e)) / (2 * step)
        for e in np.eye(2)
    ]
    assert loss.gradient(points) == pytest.approx(np.stack(slopes, axis=-1), abs=1e-7)


def test_ellipses_are_those_of_their_matrices():
    lengths, angle = (1.3, 0.4), 0.7
    matrix = ellipse_matrix(lengths, angle)
    found, turned = ellipse_axes(matrix)
    assert found == pytest.approx(lengths)
    assert np.sin(turned - angle) == pytest.approx(0, abs=1e-12)  # an axis has two ends
    apart = ellipse(matrix, X, 2.0) - X
    sizes = (apart @ np.linalg.inv(np.array(matrix)) * apart).sum(-1)
    assert sizes == pytest.approx(4.0)
