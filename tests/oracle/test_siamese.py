"""Siamese networks: a second implementation in NumPy, stored numbers of it, identities."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.oracle.engine import assert_close
from tests.oracle.episodes import Episode, double, drawn, episode_of, golden

PUBLISHED = golden("siamese")
CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "plain": {"squash": "none", "balance": False},
    "balanced": {"squash": "none"},
}


def plain(
    z: np.ndarray,
    weights: np.ndarray,
    *,
    squash: str = "sigmoid",
    balance: bool = True,
) -> dict[str, np.ndarray]:
    """Compare every query with every support example, one pair at a time."""
    inputs = PUBLISHED["inputs"]
    labels, answers = inputs["y_support"], inputs["y_query"]
    if squash == "sigmoid":
        z = 1 / (1 + np.exp(-z))
    support, query = z[: len(labels)], z[len(labels) :]
    similar = np.zeros((len(query), len(support)))
    kinds: dict[bool, list[float]] = {True: [], False: []}
    for q, one in enumerate(query):
        for s, other in enumerate(support):
            similar[q, s] = weights[-1] + sum(weights[:-1] * abs(one - other))
            same = labels[s] == answers[q]
            shown = 1 / (1 + np.exp(-similar[q, s]))
            kinds[same].append(-np.log(shown if same else 1 - shown))
    logits = [
        [max(row[s] for s, label in enumerate(labels) if label == n) for n in range(inputs["ways"])]
        for row in similar
    ]
    means = [np.mean(kind) for kind in kinds.values()]
    every = np.mean(means) if balance else np.mean(kinds[True] + kinds[False])
    return {"similar": similar, "logits": np.array(logits), "loss": every}


def numbers(case: str) -> dict[str, Any]:
    """Return what is stored of a case, with central differences of the loss."""
    inputs = PUBLISHED["inputs"]
    z = np.array(inputs["z_support"] + inputs["z_query"])
    weights = np.array(PUBLISHED["weights"])
    step = 1e-5
    derivatives = []
    for changed in (z, weights):
        by = np.zeros_like(changed)
        for place in np.ndindex(*changed.shape):
            ends = []
            for way in (step, -step):
                moved = changed.copy()
                moved[place] += way
                both = (moved, weights) if changed is z else (z, moved)
                ends.append(plain(*both, **CASES[case])["loss"])
            by[place] = (ends[0] - ends[1]) / (2 * step)
        derivatives.append(by.tolist())
    made = plain(z, weights, **CASES[case])
    return {
        **{name: value.tolist() for name, value in made.items()},
        "by_z": derivatives[0],
        "by_weights": derivatives[1],
    }


def published() -> Episode:
    episode = episode_of(PUBLISHED["inputs"], "siamese")
    return replace(episode, own={"similarity": double(PUBLISHED["weights"])})


@pytest.mark.parametrize("case", CASES)
def test_a_second_implementation_gives_the_stored_numbers(case: str) -> None:
    for name, value in numbers(case).items():
        np.testing.assert_allclose(value, PUBLISHED["cases"][case][name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_stored_similarities_logits_loss_and_derivatives(case: str) -> None:
    expected, episode, options = PUBLISHED["cases"][case], published(), CASES[case]
    for found in (episode.found(**options), episode.on_identity(**options)):
        assert_close(found.maps["similar"][0], expected["similar"], 1e-9)
        assert_close(found.outputs[0], expected["logits"], 1e-9)
    step = episode.step(**options)
    assert float(step.readings["training_objective"]) == pytest.approx(expected["loss"], abs=1e-9)
    assert_close(torch.cat(episode.gradients(**options)), expected["by_z"], 1e-7)
    assert_close(step.gradients["similarity"], expected["by_weights"], 1e-7)


def test_the_most_similar_support_example_answers() -> None:
    """At the start similarity falls with the distance: a copy is the nearest there is."""
    episode = drawn(method="siamese")
    copies = replace(episode, query=episode.support.flip(0), query_y=episode.support_y.flip(0))
    found = copies.found()
    assert found.maps["similar"][0].argmax(1).tolist() == [5, 4, 3, 2, 1, 0]
    assert torch.equal(found.outputs[0].argmax(1), copies.query_y)
    assert_close(found.outputs[0].amax(1), torch.full((6,), 3.0, dtype=torch.float64), 1e-14)
    colder = copies.found(start=5.0).outputs[0].amax(1)
    assert_close(colder, torch.full((6,), 0.5, dtype=torch.float64), 1e-14)


def test_swapping_a_pair_changes_nothing() -> None:
    episode = drawn(shots=1, queries=3, method="siamese")
    there = episode.found().maps["similar"][0]
    back = replace(episode, support=episode.query, query=episode.support).found()
    assert_close(back.maps["similar"][0], there.mT, 1e-13)
