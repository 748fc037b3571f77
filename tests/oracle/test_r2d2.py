"""R2-D2: a second implementation in NumPy, stored numbers of it, identities."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.oracle.engine import assert_close
from tests.oracle.episodes import Episode, double, drawn, episode_of, golden

PUBLISHED = golden("r2d2")
FIXED = {"learn_scale": False, "learn_ridge": False}
CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "light": {"ridge": 0.01, "scale": 2.0},
    "without_bias": {"ridge": 0.3, "bias": False},
}


def plain(
    support: np.ndarray,
    labels: np.ndarray,
    query: np.ndarray,
    *,
    ridge: float = 1.0,
    scale: float = 10.0,
    bias: bool = True,
) -> dict[str, np.ndarray]:
    """Solve the normal equations of |X W - Y|^2 / S + ridge |W|^2, with a gradient of zero."""
    ways = labels.max() + 1
    targets = np.eye(ways)[labels]
    if bias:
        support, query = (np.hstack([z, np.ones((len(z), 1))]) for z in (support, query))
    count, size = support.shape
    normal = support.T @ support / count + ridge * np.eye(size)
    weights = np.linalg.inv(normal) @ (support.T @ targets / count)
    slope = 2 * support.T @ (support @ weights - targets) / count + 2 * ridge * weights
    assert np.abs(slope).max() < 1e-12
    return {"weights": weights, "logits": scale * query @ weights}


def loss_of(logits: np.ndarray, answers: np.ndarray) -> float:
    """Return the mean cross-entropy."""
    shifted = logits - logits.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return float(-logs[np.arange(len(answers)), answers].mean())


def numbers(case: str) -> dict[str, Any]:
    """Return what is stored of a case: weights, logits, loss, and central differences of it."""
    inputs = {name: np.array(value) for name, value in PUBLISHED["inputs"].items()}
    support, query = inputs["z_support"], inputs["z_query"]

    def loss(moved: np.ndarray, ridge: float, scale: float) -> float:
        options = {**CASES[case], "ridge": ridge, "scale": scale}
        made = plain(moved[: len(support)], inputs["y_support"], moved[len(support) :], **options)
        return loss_of(made["logits"], inputs["y_query"])

    z = np.vstack([support, query])
    ridge, scale = (CASES[case].get(key, usual) for key, usual in (("ridge", 1), ("scale", 10)))
    step = 1e-5
    by_z = np.zeros_like(z)
    for place in np.ndindex(*z.shape):
        moved = [z.copy(), z.copy()]
        for way, one in zip((step, -step), moved, strict=True):
            one[place] += way
        by_z[place] = (loss(moved[0], ridge, scale) - loss(moved[1], ridge, scale)) / (2 * step)
    more, less = np.exp(step), np.exp(-step)
    made = plain(support, inputs["y_support"], query, **CASES[case])
    return {
        **{name: value.tolist() for name, value in made.items()},
        "loss": loss_of(made["logits"], inputs["y_query"]),
        "by_z": by_z.tolist(),
        "by_log_ridge": (loss(z, ridge * more, scale) - loss(z, ridge * less, scale)) / (2 * step),
        "by_scale": (loss(z, ridge, scale + step) - loss(z, ridge, scale - step)) / (2 * step),
    }


def published() -> Episode:
    return episode_of(PUBLISHED["inputs"], "r2d2")


@pytest.mark.parametrize("case", CASES)
def test_a_second_implementation_gives_the_stored_numbers(case: str) -> None:
    for name, value in numbers(case).items():
        np.testing.assert_allclose(value, PUBLISHED["cases"][case][name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("learned", [True, False])
def test_stored_weights_logits_and_loss(case: str, *, learned: bool) -> None:
    expected, episode = PUBLISHED["cases"][case], published()
    options = CASES[case] if learned else {**CASES[case], **FIXED}
    for found in (episode.found(**options), episode.on_identity(**options)):
        assert_close(found.maps["weights"][0], expected["weights"], 1e-9)
        assert_close(found.outputs[0], expected["logits"], 1e-9)
    loss = float(episode.step(**options).readings["post_query_loss"])
    assert loss == pytest.approx(expected["loss"], abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_stored_derivatives(case: str) -> None:
    expected, episode = PUBLISHED["cases"][case], published()
    by_z = torch.cat(episode.gradients(**CASES[case]))
    assert_close(by_z, expected["by_z"], 1e-7)
    gradients = episode.step(**CASES[case]).gradients
    assert float(gradients["ridge"]) == pytest.approx(expected["by_log_ridge"], abs=1e-8)
    assert float(gradients["scale"]) == pytest.approx(expected["by_scale"], abs=1e-8)


def test_more_features_than_examples_are_solved_all_the_same() -> None:
    """In primal form a system of 40 equations, in Woodbury's of 6."""
    episode = drawn(width=40, method="r2d2")
    expected = plain(*(z.numpy() for z in (episode.support, episode.support_y, episode.query)))
    assert_close(episode.outputs(), double(expected["logits"]), 1e-10)


def test_a_heavy_ridge_leaves_a_multiple_of_class_sums() -> None:
    """X' (X X' + m I)^-1 Y tends to X' Y / m, m = ridge times examples."""
    episode = drawn(method="r2d2")
    members = torch.nn.functional.one_hot(episode.support_y).double()
    expected = episode.query @ episode.support.mT @ members / 6
    found = episode.outputs(ridge=1e8, scale=1, bias=False) * 1e8
    assert_close(found, expected, 1e-6)


def test_a_light_ridge_reproduces_the_labels_of_independent_examples() -> None:
    episode = drawn(shots=1, width=5, method="r2d2")
    copies = replace(episode, query=episode.support, query_y=episode.support_y)
    found = copies.outputs(ridge=1e-9, scale=1)
    assert_close(found, torch.eye(3, dtype=torch.float64), 1e-6)


def test_repeated_support_examples_change_nothing() -> None:
    """The ridge belongs to a mean, not to a sum."""
    episode = drawn(method="r2d2")
    twice = replace(
        episode, support=episode.support.repeat(2, 1), support_y=episode.support_y.repeat(2)
    )
    assert_close(twice.outputs(), episode.outputs(), 1e-12)
