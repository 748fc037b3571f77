"""`metaviz gradients --problem chain`: numbers against others, and one sentence for bad files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from tests.unit.command_line import metaviz, refusal

RNG = np.random.default_rng(5)
WORLD: dict[str, Any] = {
    "transition": RNG.dirichlet(np.ones(3), (3, 2)).tolist(),
    "rewards": RNG.normal(size=(2, 3, 2)).tolist(),
    "horizon": 3,
    "start": RNG.normal(size=(3, 2)).tolist(),
    "exact": True,
    "rate": 0.2,
}


def asked(folder: Path, **changes: Any) -> Path:
    file = folder / "world.toml"
    values = {key: value for key, value in {**WORLD, **changes}.items() if value is not None}
    file.write_text(tomli_w.dumps(values), encoding="utf-8")
    return file


def answer(folder: Path, **changes: Any) -> dict[str, Any]:
    file = asked(folder, **changes)
    outcome = metaviz("gradients", "--problem", "chain", "--problem-file", file, "--json")
    assert outcome.code == 0, outcome.error
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def value(world: dict[str, Any], logits: np.ndarray) -> np.ndarray:
    """Return the returns by going back in time."""
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    later = np.zeros((2, 3))
    for _ in range(world["horizon"]):
        ahead = np.einsum("sax,tx->tsa", np.array(world["transition"]), later)
        later = (chances * (np.array(world["rewards"]) + ahead)).sum(2)
    return later[:, 0]


def test_the_answer_is_the_slope_of_the_mean_return_after_one_step(tmp_path: Path) -> None:
    found = answer(tmp_path)
    logits = np.array(WORLD["start"])
    np.testing.assert_allclose(found["returns"], value(WORLD, logits), rtol=1e-12)

    def slope(at: np.ndarray, task: int) -> np.ndarray:
        out = np.zeros_like(at)
        for place in np.ndindex(at.shape):
            moved = np.zeros_like(at)
            moved[place] = 1e-4
            out[place] = (value(WORLD, at + moved) - value(WORLD, at - moved))[task] / 2e-4
        return out

    def objective(at: np.ndarray) -> float:
        return float(np.mean([value(WORLD, at + 0.2 * slope(at, n))[n] for n in range(2)]))

    assert found["objective"] == pytest.approx(objective(logits), abs=1e-8)
    direction = RNG.normal(size=logits.shape)
    ahead, behind = (objective(logits + sign * 1e-3 * direction) for sign in (1, -1))
    along = float((np.array(found["exact"]) * direction).sum())
    assert along == pytest.approx((ahead - behind) / 2e-3, abs=1e-5)
    np.testing.assert_allclose(found["dice"], found["exact"], atol=1e-12)
    for name in ("lvc", "plain", "first_order"):
        away = np.linalg.norm(np.array(found[name]) - found["exact"])
        assert found["distance"][name] == pytest.approx(away, rel=1e-9)
        assert away > 1e-3
    assert found["enumerated"] == 2**3 * 3**2


def test_logits_in_one_row_are_answered_in_one_row(tmp_path: Path) -> None:
    nested = answer(tmp_path)
    flat = answer(tmp_path, start=np.array(WORLD["start"]).ravel().tolist())
    assert flat["exact"] == np.array(nested["exact"]).ravel().tolist()


def test_alpha_is_another_word_for_rate_and_0_makes_all_alike(tmp_path: Path) -> None:
    named = answer(tmp_path, alpha=0.2, rate=None)
    assert named == answer(tmp_path)
    found = answer(tmp_path, rate=0)
    for name in ("lvc", "plain", "dice", "first_order"):
        np.testing.assert_allclose(found[name], found["exact"], atol=1e-14)


def test_the_shared_step_size_stands_for_a_rate_that_the_file_has_not(tmp_path: Path) -> None:
    file = asked(tmp_path, rate=None)
    call = ("gradients", "--problem", "chain", "--problem-file", file, "--json")
    found = json.loads(metaviz(*call, "--set", "inner_lr=0.2").out)
    assert found == answer(tmp_path)
    file = asked(tmp_path)
    said = refusal(*call, "--set", "inner_lr=0.2")
    assert said == "rate stands in the file: leave out --set inner_lr."
    said = refusal(*call, "--set", "meta_batch=3")
    assert said == "meta_batch=3 means nothing for the file of a chain: only inner_lr does."


def test_sampled_updates_tell_what_their_probabilities_add(tmp_path: Path) -> None:
    found = answer(tmp_path, trajectories=1)
    assert (found["update"], found["trajectories"]) == ("sampled", 1)
    together = np.array(found["plain"]) + found["score"]
    np.testing.assert_allclose(together, found["exact"], atol=1e-12)


def test_impossible_transitions_are_not_gone_through(tmp_path: Path) -> None:
    sure = np.zeros((3, 2, 3))
    sure[:, 0, 0] = sure[:, 1, 2] = 1
    found = answer(tmp_path, transition=sure.tolist(), horizon=10)
    assert found["enumerated"] == 2**10


def test_long_horizons_of_few_trajectories_are_gone_through(tmp_path: Path) -> None:
    alone = {"transition": [[[1.0]]], "rewards": [[[0.5]]], "start": [[0.0]]}
    found = answer(tmp_path, **alone, horizon=3000)
    assert found["returns"] == [1500.0]
    assert found["exact"] == [[0.0]]


def test_without_json_there_is_a_table(tmp_path: Path) -> None:
    outcome = metaviz("gradients", "--problem", "chain", "--problem-file", asked(tmp_path))
    assert outcome.code == 0
    assert "exact" in outcome.out
    assert "lvc" in outcome.out


_OFF = np.array(WORLD["transition"])
_OFF[1, 0] *= 1.1
_NAN = np.array(WORLD["rewards"])
_NAN[1, 2, 0] = np.nan


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"transition": _OFF.tolist()}, "transition[1][0] sums to 1.1, but must sum to 1."),
        ({"rewards": _NAN.tolist()}, "rewards[1][2][0] = nan is not a finite number."),
        (
            {"horizon": 40},
            "horizon = 40 is too large to enumerate: there are more than 200000 trajectories.",
        ),
        ({"horizon": 0}, "horizon = 0 is not from 1 to 100000."),
        ({"horizon": 2.5}, "horizon = 2.5 is not a whole number."),
        ({"horizon": None}, "world.toml lacks horizon."),
        ({"exact": False}, "exact = false is not valid: trajectories of a file are enumerated."),
        ({"rate": -0.1}, "rate = -0.1 is not valid: a step size is at least 0."),
        ({"alpha": 0.1}, "rate and alpha are the same: give one of them."),
        (
            {"start": [[0.0, 1.0]]},
            "start has 1 x 2 numbers, but transition tells of 3 states and 2 actions: give a logit "
            "for each pair.",
        ),
        (
            {"rewards": [[[1.0, 2.0]]]},
            "rewards has 1 x 2 numbers for each task, but transition tells of 3 states and 2 "
            "actions.",
        ),
        (
            {"transition": [[[0.5, 0.5]]]},
            "transition has 2 next states, but there are 1 states: give probabilities for (state, "
            "action, next state).",
        ),
        (
            {"trajectories": 9},
            "trajectories = 9 of 72 are too many choices to enumerate.",
        ),
        ({"gamma": 0.9}, "it may have transition, rewards, horizon, start, exact, rate, alpha"),
    ],
)
def test_bad_files_are_told_in_one_sentence(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    file = asked(tmp_path, **changes)
    said = refusal("gradients", "--problem", "chain", "--problem-file", file, "--json")
    assert sentence in said
