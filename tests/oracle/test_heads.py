"""Heads for new classes against NumPy, and logistic regression against other ways to solve it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from metaviz.meta.heads import HeadName, Heads
from metaviz.meta.logistic import solve
from tests.oracle.engine import DOUBLE, assert_close

TASKS, WAYS, SHOTS, D = 3, 4, 2, 6


def drawn(seed: int = 0, shots: int = SHOTS, d: int = D) -> tuple[Tensor, Tensor, Tensor]:
    """Features of support examples, their labels (interleaved), and features of query examples."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(TASKS, WAYS * shots, d, generator=generator, dtype=DOUBLE) + 0.5
    asked = torch.randn(TASKS, 5, d, generator=generator, dtype=DOUBLE) + 0.5
    return z, torch.arange(WAYS).repeat(shots).expand(TASKS, -1), asked


@pytest.mark.parametrize("head", ["un", "l2n", "cl2n", "cosine"])
def test_nearest_means_are_those_of_numpy(head: HeadName) -> None:
    z, y, asked = drawn()
    centre = torch.linspace(0.1, 0.7, D, dtype=DOUBLE)
    found = Heads(scale=7.0).logits(head, z, y, asked, WAYS, centre)
    for task in range(TASKS):
        support, query, labels = z[task].numpy(), asked[task].numpy(), y[task].numpy()
        if head == "cl2n":
            support, query = support - centre.numpy(), query - centre.numpy()
        if head in {"l2n", "cl2n"}:
            support = support / np.linalg.norm(support, axis=1, keepdims=True)
            query = query / np.linalg.norm(query, axis=1, keepdims=True)
        means = np.stack([support[labels == n].mean(0) for n in range(WAYS)])
        expected = -((query[:, None] - means[None]) ** 2).sum(2)
        if head == "cosine":
            lengths = np.linalg.norm(query, axis=1)[:, None] * np.linalg.norm(means, axis=1)
            expected = 7.0 * query @ means.T / lengths
        assert_close(found[task], expected.tolist(), 1e-12)


def objective(w: Tensor, z: Tensor, y: Tensor, ridge: float, offset: Tensor | None) -> Tensor:
    """The mean cross-entropy and the ridge, written down once more, of one task."""
    logits = z @ w.T + (0 if offset is None else offset)
    return torch.nn.functional.cross_entropy(logits, y) + ridge / 2 * (w * w).sum()


@pytest.mark.parametrize("ridge", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("d", [3, 40])
@pytest.mark.parametrize("with_offset", [False, True])
def test_logistic_regression_ends_where_the_gradient_is_zero(
    ridge: float, d: int, with_offset: bool
) -> None:
    z, y, _ = drawn(d=d)
    offset = None
    if with_offset:
        generator = torch.Generator().manual_seed(8)
        offset = torch.randn(TASKS, z.shape[1], WAYS, generator=generator, dtype=DOUBLE)
    found = solve(z, y, WAYS, ridge, offset)
    weights = found.weights(z)
    for task in range(TASKS):
        w = weights[task].clone().requires_grad_()
        own = None if offset is None else offset[task]
        loss = objective(w, z[task], y[task], ridge, own)
        (gradient,) = torch.autograd.grad(loss, w)
        assert float(gradient.abs().max()) < 1e-8
        moved = w.detach() + 1e-3 * torch.randn(
            w.shape, generator=torch.Generator().manual_seed(1), dtype=DOUBLE
        )
        assert objective(moved, z[task], y[task], ridge, own) > loss
    assert 0 < found.steps < 40


def test_logistic_regression_is_what_gradient_descent_comes_to() -> None:
    z, y, _ = drawn()
    found = solve(z, y, WAYS, 0.1).weights(z)
    for task in range(TASKS):
        w = torch.zeros(WAYS, D, dtype=DOUBLE, requires_grad=True)
        for _ in range(20_000):
            (gradient,) = torch.autograd.grad(objective(w, z[task], y[task], 0.1, None), w)
            w = (w - 0.2 * gradient).detach().requires_grad_()
        assert_close(found[task], w.detach(), 1e-8)


def test_equal_and_huge_examples_are_solved_too() -> None:
    z, y, _ = drawn()
    same = z[:, :1].expand_as(z)
    weights = solve(same, y, WAYS, 0.01).weights(same)
    assert float(weights.abs().max()) < 1e-9  # nothing tells the classes apart
    huge = solve(1e4 * z, y, WAYS, 1e-3)
    assert bool(torch.isfinite(huge.coefficients).all())


def test_the_logistic_head_has_a_bias_that_is_weighed_like_the_rest() -> None:
    z, y, asked = drawn()
    found = Heads(ridge=0.05).logits("logistic", z, y, asked, WAYS)
    ones = torch.ones(TASKS, z.shape[1], 1, dtype=DOUBLE)
    weights = solve(torch.cat([z, ones], 2), y, WAYS, 0.05).weights(torch.cat([z, ones], 2))
    expected = asked @ weights[..., :-1].mT + weights[..., -1].unsqueeze(1)
    assert_close(found, expected, 1e-10)
