"""Learned geometries against closed forms, against each other, and by finite differences."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metaviz.algorithms.metalstm import processed
from metaviz.algorithms.mtnet import _logistic_noise
from metaviz.config.options import OptionError
from metaviz.meta.algorithm import CannotTrainError, Composed, compose
from metaviz.meta.context import Meta
from metaviz.meta.estimators import Reptile, Unrolled
from metaviz.meta.estimators.conditioned import residual_jacobian, spread_of_curvature
from metaviz.meta.estimators.trajectory import Trajectory
from metaviz.meta.inner import descend
from metaviz.meta.learner import Learner
from metaviz.meta.modes import ModeFactors, mode_product
from metaviz.meta.tasks import TaskBatch
from metaviz.nets.layout import Layout
from metaviz.problems.strokes import Strokes, StrokesOptions
from metaviz.theory.prior import implicit_prior
from tests.oracle.engine import (
    DOUBLE,
    assert_close,
    build,
    initial,
    meta_step,
    quadratic_batch,
    quadratic_learner,
    shared,
    sinusoid,
)
from tests.oracle.test_golden_quadratic import ask

THETA = (1.0, 2.0)


def golden() -> tuple[Learner, TaskBatch, Tensor]:
    """The golden quadratic: learner, one task, start."""

    def numbers(*rows: Any) -> Tensor:
        return torch.tensor(rows, dtype=DOUBLE)

    support = quadratic_batch(numbers([[2.0, 0.5], [0.5, 1.0]]), numbers([1.0, -1.0]))
    query = quadratic_batch(numbers([[1.0, -0.25], [-0.25, 3.0]]), numbers([0.5, 2.0]))
    return quadratic_learner(2), TaskBatch(support, query), torch.tensor(THETA, dtype=DOUBLE)


def noisy(meta: Meta, scale: float = 0.1, seed: int = 5) -> Meta:
    """Move every group away from where it was drawn."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: value + scale * torch.randn(value.shape, generator=generator, dtype=DOUBLE)
        for name, value in sorted(meta.items())
    }


def test_golden_meta_sgd(tmp_path: Path) -> None:
    settings = {"metasgd.rates": "0.1,0.2", "inner_steps": 2}
    for form, expected in (("direct", (0.065, -0.6145)), ("log", (0.0065, -0.1229))):
        row = ask(tmp_path, "metasgd", **settings, **{"metasgd.form": form})["algorithms"]
        assert row["metasgd"]["gradient"] == pytest.approx((-0.027475, 0.07295625), abs=1e-8)
        other = row["metasgd"]["other_gradients"]["rates"]
        assert other == pytest.approx(expected, abs=1e-8)
    learner, tasks, start = golden()
    algorithm = build("metasgd", shared(inner_steps=2), form="direct")
    meta = {"init": start, "rates": torch.tensor([0.1, 0.2], dtype=DOUBLE)}
    assert_close(algorithm.descend(learner, meta, tasks.support, 2).point[0], (0.675, 0.76), 1e-8)


def test_golden_preconditioned_descent() -> None:
    learner, tasks, start = golden()
    algorithm = build("metacurvature")
    matrix = torch.tensor([[1.2, 0.3], [0.3, 0.8]], dtype=DOUBLE)
    meta = {"init": start, "curvature": matrix.flatten()}
    end = algorithm.descend(learner, meta, tasks.support, 3).point[0]
    assert_close(end, (0.28447638, 1.1621965), 1e-7)
    found = meta_step(algorithm, learner, meta, tasks).gradients["init"]
    assert_close(found, (-0.51136744, 1.17542213), 1e-8)


def test_golden_implicit_prior() -> None:
    hessian = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=DOUBLE)
    precision = torch.from_numpy(implicit_prior(hessian.numpy(), 0.1, 3).precision)
    assert_close(precision, [[2.10545922, -0.295673], [-0.295673, 2.69680521]], 1e-7)
    learner, tasks, start = golden()
    linear = torch.tensor([1.0, -1.0], dtype=DOUBLE)
    solved = torch.linalg.solve(hessian + precision, linear + precision @ start)
    meta = {"init": start}
    assert_close(solved, build("maml").descend(learner, meta, tasks.support, 3).point[0], 1e-12)
    flat = torch.from_numpy(implicit_prior(np.zeros((2, 2)), 0.1, 4).precision)
    assert_close(flat, torch.eye(2, dtype=DOUBLE) / 0.4, 1e-12)


LIKE_MAML: list[tuple[str, dict[str, Any]]] = [
    ("metasgd", {"form": "direct"}),
    ("metasgd", {}),
    ("metasgd", {"per": "tensor"}),
    ("metasgd", {"per": "network"}),
    ("metacurvature", {}),
    ("metacurvature", {"modes": "output"}),
    ("metacurvature", {"limit": 4}),
    ("metacurvature", {"vectors": "diagonal"}),
    ("metakfo", {"adapt_transform": False}),
    ("mtnet", {"masks": "none"}),
    ("mtnet", {"masks": "sampled", "zeta": 50.0}),
    ("mtnet", {"masks": "threshold", "zeta": 1.0}),
    ("ecml", {"weight": 0.0}),
]


ESTIMATED = [
    (name, options | ({} if name == "ecml" else {"estimator": estimator}), plain)
    for name, options in LIKE_MAML
    for estimator, plain in (("unrolled", "maml"), ("first_order", "fomaml"))
    if name != "ecml" or plain == "maml"
]


@pytest.mark.parametrize(("name", "options", "plain"), ESTIMATED)
def test_untrained_geometry_is_maml(name: str, options: dict[str, Any], plain: str) -> None:
    learner, tasks = sinusoid()
    algorithm = build(name, **options)
    meta = initial(algorithm, learner)
    expected = meta_step(build(plain), learner, {"init": meta["init"]}, tasks)
    found = meta_step(algorithm, learner, meta, tasks)
    assert_close(found.gradients["init"], expected.gradients["init"], 1e-12)
    for reading, values in expected.readings.items():
        assert_close(found.readings[reading], values, 1e-12)


def test_transform_that_adapts_is_maml_for_one_step_only() -> None:
    learner, tasks = sinusoid()
    for steps, same in ((1, True), (3, False)):
        algorithm = build("metakfo", shared(inner_steps=steps))
        meta = initial(algorithm, learner)
        plain = build("maml", shared(inner_steps=steps))
        expected = meta_step(plain, learner, {"init": meta["init"]}, tasks).gradients["init"]
        found = meta_step(algorithm, learner, meta, tasks).gradients["init"]
        assert bool(torch.allclose(found, expected, rtol=1e-10)) == same


def test_transform_adapts_by_the_slope_of_the_loss() -> None:
    """Two steps by hand: the factors descend L_S at the point that they led to."""
    learner, tasks = sinusoid()
    algorithm = build("metakfo")
    assert isinstance(algorithm, Composed)
    meta = noisy(initial(algorithm, learner))
    rate, rule = 0.1, algorithm.rule
    start = meta["init"].expand(4, -1).requires_grad_()
    factors = meta["transform"].expand(4, -1).clone().requires_grad_()
    (first,) = torch.autograd.grad(learner.losses(start, tasks.support).sum(), start)
    point = (start - rate * rule.precondition(factors, first)).detach()  # type: ignore[attr-defined]
    reached = start.detach() - rate * rule.precondition(factors, first)  # type: ignore[attr-defined]
    (slope,) = torch.autograd.grad(learner.losses(reached, tasks.support).sum(), factors)
    leaf = point.clone().requires_grad_()
    (second,) = torch.autograd.grad(learner.losses(leaf, tasks.support).sum(), leaf)
    end = point - rate * rule.precondition(factors - rate * slope, second)  # type: ignore[attr-defined]
    assert_close(algorithm.descend(learner, meta, tasks.support, 2).point, end.detach(), 1e-10)


def test_kronecker_transform_never_points_uphill() -> None:
    learner, _ = sinusoid()
    algorithm = build("metakfo")
    assert isinstance(algorithm, Composed)
    meta = noisy(initial(algorithm, learner), 1.0)
    gradient = torch.randn(20, learner.net.layout.size, dtype=DOUBLE)
    image = algorithm.rule.precondition(meta["transform"], gradient)  # type: ignore[attr-defined]
    assert ((image * gradient).sum(1) > 0).all()


def test_mode_factors_are_a_kronecker_product() -> None:
    layout = Layout((("kernel", (3, 2, 2, 2)), ("matrix", (3, 2)), ("bias", (3,))))
    modes = {3: (0, 1, 2), 2: (0, 1), 1: (0,)}
    plan = ModeFactors(layout, limit=10, modes=modes)
    factors = noisy({"f": plan.identity()}, 0.5)["f"]
    named = plan.parameters.split(factors)
    gradient = torch.randn(2, layout.size, dtype=DOUBLE)
    found, parts = layout.split(plan(factors, gradient)), layout.split(gradient)
    dense = torch.kron(
        torch.kron(named["kernel.mode1"], named["kernel.mode2"]), named["kernel.mode3"]
    )
    assert_close(found["kernel"].reshape(2, -1), parts["kernel"].reshape(2, -1) @ dense.mT, 1e-12)
    dense = torch.kron(named["matrix.mode1"], named["matrix.mode2"])
    assert_close(found["matrix"].reshape(2, -1), parts["matrix"].reshape(2, -1) @ dense.mT, 1e-12)
    assert_close(found["bias"], parts["bias"] @ named["bias.mode1"].mT, 1e-12)
    squared = layout.split(plan(factors, gradient, gram=True))["matrix"]
    left, right = (named[f"matrix.mode{i}"].mT @ named[f"matrix.mode{i}"] for i in (1, 2))
    assert_close(squared, left @ parts["matrix"] @ right, 1e-12)
    each = torch.stack([factors, 2 * factors])
    assert_close(plan(each, gradient)[:1], plan(factors, gradient[:1]), 1e-12)
    per_task = torch.randn(2, 3, 3, dtype=DOUBLE)
    x = torch.randn(2, 4, 3, dtype=DOUBLE)
    assert_close(mode_product(x, per_task, 1), torch.einsum("tij,tkj->tki", per_task, x), 1e-12)


def test_diagonal_factors_are_rates_of_rank_one() -> None:
    learner, tasks = sinusoid()
    curvature, sgd = build("metacurvature", limit=1), build("metasgd", form="direct")
    assert isinstance(curvature, Composed)
    meta = noisy(initial(curvature, learner))
    ones = torch.ones(1, learner.net.layout.size, dtype=DOUBLE)
    rates = 0.1 * curvature.rule.precondition(meta, ones)[0]  # type: ignore[attr-defined]
    weight = learner.net.layout.split(rates)["layer2.weight"]
    assert torch.linalg.matrix_rank(weight) == 1
    end = curvature.descend(learner, meta, tasks.support, 3).point
    other = {"init": meta["init"], "rates": rates}
    initial(sgd, learner)
    assert_close(sgd.descend(learner, other, tasks.support, 3).point, end, 1e-12)


def test_masked_layers_step_along_their_own_preconditioner() -> None:
    """One step on A = T W is A - alpha T diag(m) T' grad_A."""
    learner, tasks = sinusoid()
    algorithm = build("mtnet", zeta=0.0)
    assert isinstance(algorithm, Composed)
    meta = noisy(initial(algorithm, learner))
    rule = algorithm.rule
    state = rule.start(meta, tasks.support)
    layout = learner.net.layout
    mask = layout.split(state.mask)["layer2.weight"]
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert (mask == mask[:, :, :1]).all()
    assert len({tuple(row) for row in mask[:, :, 0].tolist()}) > 1
    effective = rule.decode(meta, rule.point(meta, state))
    assert isinstance(effective, dict)
    leaf = layout.join({n: v.detach() for n, v in effective.items()}).requires_grad_()
    (gradient,) = torch.autograd.grad(learner.losses(leaf, tasks.support).sum(), leaf)
    gradient = layout.split(gradient)["layer2.weight"]
    transform = rule.transforms.split(meta["transform"])["layer2"]  # type: ignore[attr-defined]
    diagonal = torch.diag_embed(mask[:, :, 0])
    expected = effective["layer2.weight"] - 0.1 * transform @ diagonal @ transform.mT @ gradient
    end = rule.decode(meta, algorithm.descend(learner, meta, tasks.support, 1).point)
    assert isinstance(end, dict)
    assert_close(end["layer2.weight"], expected, 1e-12)


def test_masks_belong_to_tasks_not_to_places() -> None:
    learner, tasks = sinusoid()
    algorithm = build("mtnet")
    assert isinstance(algorithm, Composed)
    meta = initial(algorithm, learner)
    masks = algorithm.rule.start(meta, tasks.support).mask
    later = algorithm.rule.start(meta, tasks.support[2:]).mask
    assert torch.equal(masks[2:], later)
    none = {**meta, "masks": torch.full_like(meta["masks"], -torch.inf)}
    still = algorithm.descend(learner, none, tasks.support, 3).point
    assert torch.equal(still, meta["init"].expand(4, -1))
    gradients = meta_step(algorithm, learner, none, tasks).gradients
    assert torch.isfinite(gradients["masks"]).all()


def test_processed_numbers() -> None:
    given = torch.tensor([1.0, -2.5, 1e-5, 0.0, math.exp(-10)], dtype=DOUBLE)
    expected = [(0, 1), (0.0916291, -1), (-1, 0.2202647), (-1, 0), (-1, 1)]
    torch.testing.assert_close(
        processed(given), torch.tensor(expected, dtype=DOUBLE), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("gates", ["lstm", "affine"])
def test_forced_gates_are_first_order_steps(gates: str) -> None:
    learner, tasks = sinusoid()
    algorithm, plain = build("metalstm", gates=gates), build("fomaml", shared(inner_lr=0.02))
    assert isinstance(algorithm, Composed)
    meta = initial(algorithm, learner)
    bias = torch.tensor([60.0, math.log(0.02 / 0.98)], dtype=DOUBLE)
    layout = algorithm.rule.parameters  # type: ignore[attr-defined]
    forced = {name: torch.zeros(shape, dtype=DOUBLE) for name, shape in layout.shapes}
    meta["gates"] = layout.join({**forced, "gate.bias": bias})
    expected = meta_step(plain, learner, {"init": meta["init"]}, tasks)
    found = meta_step(algorithm, learner, meta, tasks)
    assert_close(found.gradients["init"], expected.gradients["init"], 1e-12)
    assert_close(found.support_loss, expected.support_loss, 1e-12)


@pytest.mark.parametrize("inputs", ["raw", "processed"])
def test_affine_gates_are_a_plain_loop_over_weights(inputs: str) -> None:
    """Each gate is i = sigmoid(W [grad L, L, phi, i] + b), and 1/2 before the first step."""
    learner, tasks = sinusoid(tasks=1)
    algorithm = build("metalstm", gates="affine", inputs=inputs)
    assert isinstance(algorithm, Composed)
    meta = noisy(initial(algorithm, learner), 0.3)
    matrix, bias = algorithm.rule.parameters.split(meta["gates"]).values()  # type: ignore[attr-defined]
    point = meta["init"].clone()
    last = torch.full((len(point), 2), 0.5, dtype=DOUBLE)
    for _ in range(3):
        leaf = point.unsqueeze(0).clone().requires_grad_()
        loss = learner.losses(leaf, tasks.support)
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        moved = []
        for place, slope in enumerate(gradient[0]):
            read = [slope, loss[0].detach()]
            seen = torch.stack(read) if inputs == "raw" else processed(torch.stack(read)).flatten()
            gates = torch.stack(
                [
                    torch.sigmoid(row @ torch.cat([seen, point[place, None], one[None]]) + shift)
                    for row, one, shift in zip(matrix, last[place], bias, strict=True)
                ]
            )
            last[place] = gates
            moved.append(gates[0] * point[place] - gates[1] * slope)
        point = torch.stack(moved)
    found = descend(algorithm.rule, learner, meta, tasks.support, 3).point[0]
    assert_close(found, point, 1e-12)


def test_gates_treat_all_weights_alike() -> None:
    """Permuting the weights and their gradients permutes the step."""
    algorithm = build("metalstm")
    assert isinstance(algorithm, Composed)
    learner, tasks = sinusoid(tasks=1)
    meta = noisy(initial(algorithm, learner), 0.5)
    state = algorithm.rule.start(meta, tasks.support)
    gradient = torch.randn_like(state.point)
    order = torch.randperm(state.point.shape[1])
    moved = algorithm.rule.step(meta, state, gradient, torch.tensor([0.7], dtype=DOUBLE), 0)
    swapped = type(state)(*(part[:, order] for part in state))
    other = algorithm.rule.step(
        meta, swapped, gradient[:, order], torch.tensor([0.7], dtype=DOUBLE), 0
    )
    assert_close(other.point, moved.point[:, order], 1e-12)


def test_warps_left_alone_are_reptile_and_maml() -> None:
    learner, tasks = sinusoid()
    algorithm = build("warpgrad", init_objective="path")
    assert isinstance(algorithm, Composed)
    meta = initial(algorithm, learner)
    plain = {"init": meta["init"]}
    maml = build("maml")
    assert isinstance(maml, Composed)
    reptile = compose(maml.rule, Reptile(pooled=False), 3)
    expected = meta_step(reptile, learner, plain, tasks)
    found = meta_step(algorithm, learner, meta, tasks)
    assert_close(found.gradients["init"], expected.gradients["init"], 1e-12)
    assert_close(found.support_loss, expected.support_loss, 1e-12)


def test_linear_warp_preconditions_by_its_square() -> None:
    """Without biases, W2 T: a step on W2 moves the product along grad T'T."""
    learner, tasks = sinusoid(hidden=8)
    algorithm = build("warpgrad")
    assert isinstance(algorithm, Composed)
    meta = noisy(initial(algorithm, learner), 0.3)
    rule, layout = algorithm.rule, learner.net.layout
    warp = rule.warps.split(meta["warp"])["warp2.weight"]  # type: ignore[attr-defined]
    before = meta["init"].expand(4, -1)
    after = algorithm.descend(learner, meta, tasks.support, 1).point
    weights = rule.decode(meta, before)
    assert isinstance(weights, dict)
    head = "layer3.weight"
    product = (weights[head] @ warp).detach().requires_grad_()
    changed = {
        **weights,
        head: product,
        "warp2.weight": torch.eye(8, dtype=DOUBLE).expand(4, -1, -1),
    }
    changed["warp2.bias"] = torch.linalg.solve(warp, weights["warp2.bias"].mT).mT
    (slope,) = torch.autograd.grad(learner.losses(changed, tasks.support).sum(), product)
    moved = layout.split(after)[head] @ warp
    assert_close(moved, product.detach() - 0.1 * slope @ warp.mT @ warp, 1e-10)


@pytest.mark.parametrize("warp", ["linear", "residual"])
def test_approximate_warp_objective_at_one_step_is_the_joint_loss(warp: str) -> None:
    learner, tasks = sinusoid()
    algorithm = build("warpgrad", shared(inner_steps=1), objective="approximate", warp=warp)
    assert isinstance(algorithm, Composed)
    meta = noisy(initial(algorithm, learner))
    leaf = meta["warp"].clone().requires_grad_()
    start = meta["init"].expand(4, -1)
    weights = algorithm.rule.decode({"warp": leaf}, start)
    (expected,) = torch.autograd.grad(learner.losses(weights, tasks.query).mean(), leaf)
    assert_close(meta_step(algorithm, learner, meta, tasks).gradients["warp"], expected, 1e-12)


def test_exact_warp_gradient_by_finite_differences() -> None:
    learner, tasks = sinusoid()
    algorithm = build("warpgrad", warp="residual", warp_start="random")
    assert isinstance(algorithm, Composed)
    meta = initial(algorithm, learner)
    points = [step.point for step in algorithm.descend(learner, meta, tasks.support, 3).steps]

    def objective(warp: Tensor) -> float:
        total = 0.0
        for point in points:
            here = {"init": meta["init"], "warp": warp}
            leaf = point.clone().requires_grad_()
            loss = learner.losses(algorithm.rule.decode(here, leaf), tasks.support).sum()
            (gradient,) = torch.autograd.grad(loss, leaf)
            moved = algorithm.rule.decode(here, point - 0.1 * gradient)
            total += float(learner.losses(moved, tasks.query).mean())
        return total / len(points)

    found = meta_step(algorithm, learner, meta, tasks).gradients["warp"]
    along = torch.randn(found.shape, generator=torch.Generator().manual_seed(2), dtype=DOUBLE)
    ahead, behind = (objective(meta["warp"] + sign * 1e-5 * along) for sign in (1, -1))
    assert (ahead - behind) / 2e-5 == pytest.approx(float(found @ along), rel=1e-6)


def test_start_without_objective_is_kept() -> None:
    learner, tasks = sinusoid()
    algorithm = build("warpgrad", init_objective="none")
    assert algorithm.trained() == {"warp"}
    meta = initial(algorithm, learner)
    assert set(meta_step(algorithm, learner, meta, tasks).gradients) == {"warp"}


def test_spread_of_curvature() -> None:
    generator = torch.Generator().manual_seed(0)
    jacobian = torch.randn(3, 4, 9, generator=generator, dtype=DOUBLE)
    spread = spread_of_curvature(jacobian)
    assert (spread > 0).all()
    assert_close(spread_of_curvature(7 * jacobian), spread, 1e-10)
    rows = torch.linalg.qr(jacobian.mT)[0].mT
    assert spread_of_curvature(rows).abs().max() < 1e-20
    singular = torch.cat([jacobian, jacobian[:, :1]], dim=1).requires_grad_()
    (gradient,) = torch.autograd.grad(spread_of_curvature(singular).sum(), singular)
    assert torch.isfinite(gradient).all()
    values = torch.linalg.eigvalsh(jacobian[0] @ jacobian[0].mT).log10()
    assert_close(spread[0], values.var(correction=0), 1e-12)


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("metasgd", {"form": "direct"}),
    ("metasgd", {}),
    ("metasgd", {"per": "tensor"}),
    ("metacurvature", {}),
    ("metacurvature", {"limit": 4}),
    ("metakfo", {}),
    ("metakfo", {"adapt_transform": False}),
    ("mtnet", {}),
    ("mtnet", {"masks": "none"}),
    ("metalstm", {"estimator": "unrolled"}),
    ("metalstm", {"estimator": "unrolled", "gates": "affine"}),
    ("mirror", {}),
    ("mirror", {"form": "official"}),
    ("mirror", {"form": "bounded", "partition": "tensor"}),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_every_group_by_finite_differences(name: str, options: dict[str, Any]) -> None:
    learner, tasks = sinusoid()
    algorithm = build(name, shared(inner_lr=0.05), **options)
    assert isinstance(algorithm, Composed)
    meta = noisy(initial(algorithm, learner), 0.05)
    gradients = meta_step(algorithm, learner, meta, tasks).gradients

    def objective(at: Meta) -> float:
        end = algorithm.descend(learner, at, tasks.support, algorithm.steps).point
        return float(learner.losses(algorithm.rule.decode(at, end), tasks.query).mean())

    for group in sorted(algorithm.trained() - {"masks"}):
        along = torch.randn(
            meta[group].shape, generator=torch.Generator().manual_seed(2), dtype=DOUBLE
        )
        along /= along.norm()
        slope = float(gradients[group] @ along)
        errors = []
        for step in (1e-3, 1e-4):
            ahead, behind = (
                objective({**meta, group: meta[group] + sign * step * along}) for sign in (1, -1)
            )
            errors.append(abs((ahead - behind) / (2 * step) - slope))
        assert errors[1] < 1e-5 * max(abs(slope), 1e-2), group


def test_pairs_that_cannot_train_are_refused_with_a_sentence() -> None:
    for name in ("metasgd", "metacurvature", "metakfo", "mtnet", "mirror"):
        for estimator in ("reptile", "implicit"):
            with pytest.raises(OptionError, match="cannot train"):
                build(name, estimator=estimator)
    with pytest.raises(CannotTrainError):
        compose(build("metasgd").rule, Trajectory(approximate=False, init_objective="path"), 3)  # type: ignore[attr-defined]
    assert Unrolled(first_order=True).trains(build("metasgd").rule) == {"init", "rates"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "form"), [("0.1,x", "direct"), ("0.1,-0.2", "log"), ("inf", "direct")]
)
def test_wrong_rates_are_refused(text: str, form: str) -> None:
    with pytest.raises(OptionError, match=r"metasgd\.rates"):
        build("metasgd", rates=text, form=form)


def test_golden_mirror_map() -> None:
    learner, tasks, start = golden()
    algorithm = build("mirror", partition="1")
    meta = initial(algorithm, learner)
    scale, shift = torch.tensor([1.5, 0.5], dtype=DOUBLE), torch.tensor([0.1, -0.2], dtype=DOUBLE)
    assert isinstance(algorithm, Composed)
    flow = algorithm.rule.flow  # type: ignore[attr-defined]
    meta["flow"] = flow.parameters.join(
        {
            name: scale.log() if name.endswith("scale") else shift
            for name, _ in flow.parameters.shapes
        }
    )
    meta["init"] = start
    end = algorithm.descend(learner, meta, tasks.support, 3)
    assert_close(end.state[0], (0.4473375, 1.3095375), 1e-7)
    assert_close(end.point[0], (0.77100625, 0.45476875), 1e-7)
    found = meta_step(algorithm, learner, meta, tasks).gradients["init"]
    assert_close(found, (0.14595582, -0.36931231), 1e-7)


@pytest.mark.parametrize("form", ["official", "fixed", "bounded"])
@pytest.mark.parametrize("partition", ["tensor", "layer", "2", "4"])
def test_identity_map_is_maml(form: str, partition: str) -> None:
    learner, tasks = sinusoid()
    algorithm = build("mirror", form=form, partition=partition)
    meta = initial(algorithm, learner)
    expected = meta_step(build("maml"), learner, {"init": meta["init"]}, tasks)
    found = meta_step(algorithm, learner, meta, tasks)
    assert_close(found.gradients["init"], expected.gradients["init"], 1e-12)
    assert_close(found.support_loss, expected.support_loss, 1e-12)


def test_affine_map_is_meta_sgd() -> None:
    """g(z) = s z + m: phi moves from g(z^0) with step sizes alpha s."""
    learner, tasks = sinusoid()
    everything = "+".join(name for name, _ in learner.net.layout.shapes)
    algorithm, sgd = build("mirror", partition=everything), build("metasgd", form="direct")
    meta = noisy(initial(algorithm, learner), 0.3)
    initial(sgd, learner)
    assert isinstance(algorithm, Composed)
    flow = algorithm.rule.flow  # type: ignore[attr-defined]
    scale = flow.log_scale(meta["flow"], meta["init"].unsqueeze(0))[0].exp()
    start = flow(meta["flow"], meta["init"].unsqueeze(0))[0]
    other = {"init": start, "rates": 0.1 * scale}
    expected = sgd.descend(learner, other, tasks.support, 4).point
    assert_close(algorithm.descend(learner, meta, tasks.support, 4).point, expected, 1e-10)


def test_partition_that_does_not_fit_is_refused() -> None:
    learner, _ = sinusoid()
    for text in ("layer1.weight", "0", "nonsense"):
        with pytest.raises(OptionError, match=r"mirror\.partition"):
            initial(build("mirror", partition=text), learner)


@pytest.mark.parametrize("subset", ["head", "all"])
def test_condition_loss_by_finite_differences(subset: str) -> None:
    learner, tasks = sinusoid()
    weight, support = 0.3, tasks.support
    algorithm = build("ecml", shared(inner_lr=0.05), weight=weight, subset=subset)
    meta = initial(algorithm, learner)
    last = sum(learner.net.layout.sizes[-2:])

    def spread(point: Tensor) -> Tensor:
        leaf = point.detach().requires_grad_()
        jacobian = residual_jacobian(learner.outputs(leaf, support), support.y, leaf).detach()
        return spread_of_curvature(jacobian if subset == "all" else jacobian[:, :, -last:])

    def objective(start: Tensor) -> float:
        end = algorithm.descend(learner, {"init": start}, support, 3)
        points = [*(step.point for step in end.steps), end.point]
        mean = torch.stack([spread(point) for point in points]).mean()
        return float(learner.losses(end.point, tasks.query).mean() + weight * mean)

    found = meta_step(algorithm, learner, meta, tasks)
    along = torch.randn(
        meta["init"].shape, generator=torch.Generator().manual_seed(2), dtype=DOUBLE
    )
    along /= along.norm()
    ahead, behind = (objective(meta["init"] + sign * 1e-5 * along) for sign in (1, -1))
    slope = float(found.gradients["init"] @ along)
    assert (ahead - behind) / 2e-5 == pytest.approx(slope, rel=1e-5)
    # Five residuals at each of the four points, besides MAML's own four and three.
    assert (found.gradient_evaluations, found.hessian_vector_products) == (4 + 20, 3 + 20)


@pytest.mark.parametrize("shots", [1, 2, 3])
def test_condition_loss_counts_only_eigenvalues_that_weights_can_make(shots: int) -> None:
    """With the scores of classes written in N - 1 directions, no direction of weights is idle."""
    problem = Strokes(StrokesOptions(channels=8), shared(ways=5, shots=shots, query_shots=1), 3)
    learner, tasks = Learner(problem.net(), problem), problem.tasks("train", 0, 3)
    tasks = tasks.to("cpu", DOUBLE)
    algorithm = build("ecml", shared(inner_lr=0.05, inner_steps=2))
    meta = initial(algorithm, learner)
    end = algorithm.descend(learner, meta, tasks.support, 2)
    basis = torch.linalg.qr(torch.eye(5, 4, dtype=DOUBLE) - 1 / 5)[0]
    spreads = []
    for point in [*(step.point for step in end.steps), end.point]:
        head = learner.net.layout.split(point)["head.weight"]
        leaf = point.detach().requires_grad_()
        outputs = learner.outputs(leaf, tasks.support)
        for task in range(3):
            rows = []
            for scores in outputs[task]:
                (slope,) = torch.autograd.grad(scores[0], leaf, retain_graph=True)
                features = learner.net.layout.split(slope)["head.weight"][task, 0]
                chances = scores.detach().softmax(0)
                spread = torch.diag(chances) - torch.outer(chances, chances)
                seen = torch.cat([features, torch.ones(1, dtype=DOUBLE)])
                rows.append(torch.kron(basis.T @ spread @ basis, seen.unsqueeze(0)))
            assert head.shape[1:] == (5, 8)
            values = torch.linalg.svdvals(torch.cat(rows))
            assert len(values) == 4 * min(5 * shots, 9)
            spreads.append(values.clamp_min(1e-6 * values[0]).square().log10().var(correction=0))
    expected = torch.stack(spreads).view(3, 3).mean(0)
    found = meta_step(algorithm, learner, meta, tasks).readings["condition_loss"]
    assert_close(found, expected, 1e-8)


def test_mask_gradient_is_that_of_the_soft_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Straight through: d F / d zeta = d F / d m times the slope of the soft mask."""
    learner, tasks = sinusoid()
    algorithm = build("mtnet")
    assert isinstance(algorithm, Composed)
    rule: Any = algorithm.rule
    meta = noisy(initial(algorithm, learner))
    found = meta_step(algorithm, learner, meta, tasks).gradients["masks"]
    soft = torch.sigmoid(meta["masks"] + _logistic_noise(tasks.support, len(meta["masks"])))
    along = torch.randn(len(found), generator=torch.Generator().manual_seed(2), dtype=DOUBLE)

    def objective(move: float) -> float:
        units = (soft > 0.5).to(DOUBLE) + move * soft * (1 - soft) * along
        monkeypatch.setattr(rule, "_mask", lambda *_: rule._spread(units))
        end = algorithm.descend(learner, meta, tasks.support, 3).point
        return float(learner.losses(rule.decode(meta, end), tasks.query).mean())

    measured = (objective(1e-5) - objective(-1e-5)) / 2e-5
    assert measured == pytest.approx(float(found @ along), rel=1e-6)
