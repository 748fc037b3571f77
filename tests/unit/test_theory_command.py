"""`metaviz theory`: numbers of problems in files, and one sentence for what is wrong in them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from metaviz.theory.expansion import Quadratics, averages, expected_gradients
from tests.unit.command_line import metaviz, refusal

OPTIMALITY: dict[str, Any] = {
    "tables": [
        [[0.20, 0.10], [0.05, 0.25], [0.30, 0.10]],
        [[0.05, 0.35], [0.20, 0.10], [0.10, 0.20]],
    ],
    "features": [[1, 0], [0, 1], [1, 1]],
    "outcomes": [0, 1],
    "loss": "squared",
    "rate": 0.1,
    "omega": [0.5, 0.3],
    "radii": [0.25, 1.0, 4.0],
}
EXPANSION: dict[str, Any] = {
    "hessians": [[[2.0, 0.5], [0.5, 1.0]], [[1.0, 0.0], [0.0, 3.0]], [[1.5, 0.2], [0.2, 0.5]]],
    "linear": [[1.0, -1.0], [0.5, 2.0], [0, 0.3]],
    "start": [1.0, 2.0],
    "rates": [0.01, 0.001],
}
PRIOR: dict[str, Any] = {"hessian": [[2.0, 0.5], [0.5, 1.0]], "rate": 0.1, "steps": 3}
GIVEN = {"optimality": OPTIMALITY, "expansion": EXPANSION, "prior": PRIOR}


def written(folder: Path, values: dict[str, Any]) -> Path:
    path = folder / "problem.toml"
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return path


def answer(folder: Path, view: str, values: dict[str, Any]) -> dict[str, Any]:
    outcome = metaviz("theory", view, "--problem-file", written(folder, values), "--json")
    assert (outcome.code, outcome.error) == (0, "")
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def test_optimality_answers_with_the_theorems_numbers(tmp_path):
    found = answer(tmp_path, "optimality", OPTIMALITY)
    assert found["theta_star"] == pytest.approx([0.387433720, 0.298185345], rel=1e-8)
    assert found["gap"] == pytest.approx(0.0061328381, rel=1e-8)
    assert found["epsilon"] == pytest.approx(0.116297175, rel=1e-8)
    assert found["w_norm"] == pytest.approx(0.597212554, rel=1e-8)
    assert found["gradient"] == pytest.approx([0.10828, 0.042432], rel=1e-8)
    assert found["approximation"] == pytest.approx(
        [0.872309929, 0.850042754, 0.850042754], rel=1e-8
    )
    assert found["bound"] == pytest.approx([0.550028734, 0.623953379, 0.972844906], rel=1e-8)
    assert not found["shared_marginal"]
    assert "corollary" not in found


def test_logistic_loss_finds_the_lower_of_two_minima(tmp_path):
    tables = np.array([[9, 0, 20, 8, 6, 20, 25, 13], [39, 3, 0, 15, 12, 16, 16, 1]], dtype=float)
    tables = (tables / tables.sum(1, keepdims=True)).reshape(2, 4, 2)
    values = {
        **OPTIMALITY,
        "tables": tables.tolist(),
        "features": [[1], [-1], [2], [0.5]],
        "loss": "logistic",
        "rate": 8.0,
        "omega": [0.5],
    }
    found = answer(tmp_path, "optimality", values)
    assert not found["starts_agree"]
    assert found["gap"] >= 0
    assert all(bound >= found["gap"] for bound in found["bound"])


def test_a_logistic_loss_that_falls_for_ever_has_no_minimiser(tmp_path):
    certain = {
        **OPTIMALITY,
        "tables": [[[1.0, 0.0]]],
        "features": [[-1.5]],
        "loss": "logistic",
        "rate": 2.0,
        "omega": [0.5],
    }  # L has a minimum of 0.09 near -0.5, and falls to 0 as theta grows
    told = refusal("theory", "optimality", "--problem-file", written(tmp_path, certain))
    assert "keeps falling as theta grows" in told
    # One point of three is certain, and along its feature alone L falls for ever.
    partly = {**OPTIMALITY, "features": [[1, 0], [0, 1], [0, 1]], "loss": "logistic"}
    partly["tables"] = [[[0.4, 0.0], [0.1, 0.2], [0.2, 0.1]], [[0.3, 0.0], [0.2, 0.2], [0.2, 0.1]]]
    told = refusal("theory", "optimality", "--problem-file", written(tmp_path, partly))
    assert "keeps falling as theta grows" in told


def test_in_one_dimension_the_expansion_has_no_joint_fit(tmp_path):
    losses = {"hessians": [[[2.0]], [[3.0]]], "linear": [[1.0], [2.0]], "start": [0.1]}
    found = answer(tmp_path, "expansion", {**losses, "rates": [0.1]})
    # The gradients at 0.1 are -0.8 and -1.7; either loss comes first.
    expected = (-1.7 + 0.1 * 3 * 0.8 - 0.8 + 0.1 * 2 * 1.7) / 2
    assert found["fomaml"]["expected"][0] == pytest.approx([expected])
    assert found["fomaml"]["c1"] == pytest.approx([1.0])
    assert found["fomaml"]["joint_c0"] == found["fomaml"]["joint_c1"] == [None]


def test_at_a_minimum_of_all_losses_the_expansion_has_no_coefficient(tmp_path):
    losses = {"hessians": [[[2.0]], [[4.0]]], "linear": [[1.0], [2.0]], "start": [0.5]}
    found = answer(tmp_path, "expansion", {**losses, "rates": [0.25]})
    for method in ("maml", "fomaml", "reptile"):
        assert found[method]["expected"] == [[0.0]]
        assert found[method]["c1"] == [None]
        assert found[method]["remainder"] == [0.0]


def test_expansion_answers_with_lists_in_the_order_of_rates(tmp_path):
    found = answer(tmp_path, "expansion", EXPANSION)
    losses = Quadratics(np.array(EXPANSION["hessians"]), np.array(EXPANSION["linear"], dtype=float))
    start = np.array(EXPANSION["start"])
    assert found["rates"] == EXPANSION["rates"]
    a, b = averages(losses, start)
    assert found["avg_grad"] == pytest.approx(a.tolist(), rel=1e-12)
    for method, c0, c1 in (("maml", 1, 4), ("fomaml", 1, 2), ("reptile", 3, 3)):
        one = found[method]
        assert one["c0"] == [c0, c0]
        assert one["c1"][1] == pytest.approx(c1, rel=0.01)
        for at, rate in enumerate(found["rates"]):
            expected = expected_gradients(losses, start, rate)[method]
            assert one["expected"][at] == pytest.approx(expected.tolist(), rel=1e-12)
            left = np.linalg.norm(expected - c0 * a + rate * c1 * b) / rate**2
            assert one["remainder"][at] == pytest.approx(left, rel=1e-8)


def test_prior_answers_with_precision_and_dimension(tmp_path):
    found = answer(tmp_path, "prior", PRIOR)
    rows = np.array([[2.10545922, -0.295673], [-0.295673, 2.69680521]])
    assert np.array(found["precision"]) == pytest.approx(rows, rel=1e-6)
    values = np.linalg.eigvalsh(np.array(PRIOR["hessian"]))
    assert found["effective_dimension"] == pytest.approx((1 - (1 - 0.1 * values) ** 3).sum())


@pytest.mark.parametrize("view", GIVEN)
def test_without_json_a_table_is_shown(tmp_path, view):
    outcome = metaviz("theory", view, "--problem-file", written(tmp_path, GIVEN[view]))
    assert (outcome.code, outcome.error) == (0, "")
    words = {"optimality": "does not hold here", "expansion": "predicted", "prior": "learnt"}
    assert words[view] in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 120


NAN, INF = float("nan"), float("inf")
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("optimality", {"tables": [[[0.2, 0.1], [0.05, 0.25], [0.3, 0.2]]]}, "sums to 1.1"),
    ("optimality", {"tables": [[[0.2, 0.1], [-0.05, 0.35], [0.3, 0.1]]]}, "below 0"),
    ("optimality", {"tables": [[[0.2, NAN], [0.05, 0.25], [0.3, 0.2]]]}, "not a finite number"),
    ("optimality", {"tables": [[[0.2, 0.1], [0.3], [0.3, 0.1]]]}, "tables[0][1] has 1 numbers"),
    ("optimality", {"tables": [[0.5, 0.5]]}, "is not a list"),
    ("optimality", {"tables": []}, "tables is empty"),
    ("optimality", {"features": [[1, 2], [2, 4], [3, 6]]}, "features is singular"),
    ("optimality", {"features": [[1, 0], [0, 1]]}, "do not fit together"),
    ("optimality", {"features": [["a", 0], [0, 1], [1, 1]]}, "is not a number"),
    ("optimality", {"loss": "hinge"}, "not squared or logistic"),
    ("optimality", {"loss": 3}, "is not a text"),
    ("optimality", {"rate": -1}, "not above 0"),
    ("optimality", {"rate": INF}, "not a finite number"),
    ("optimality", {"omega": [1, 2, 3]}, "do not fit together"),
    ("optimality", {"radii": [-1.0]}, "not below 0"),
    ("optimality", {"omega": [1e200, 1e200]}, "too large"),
    ("optimality", {"more": 1}, "it may have"),
    (
        "optimality",
        {"loss": "logistic", "tables": [[[0.5, 0], [0, 0.5], [0, 0]]], "features": [[1], [-1], [0]],
         "omega": [1]},
        "keeps falling",
    ),
    ("expansion", {"hessians": [[[1, 2], [3, 4]]]}, "do not fit together"),
    ("expansion", {"hessians": [[[1.0, 2], [3, 4]]] * 3}, "not symmetric"),
    ("expansion", {"rates": [0]}, "above 0"),
    ("expansion", {"rates": [1e300]}, "too large"),
    ("expansion", {"rates": [1e99]}, "not finite"),
    ("expansion", {"start": [1.0]}, "do not fit together"),
    ("expansion", {"hessians": [[[1, 0], [0, 1]]] * 20, "linear": [[0, 1]] * 20}, "2 to 12"),
    ("prior", {"hessian": [[1.0, 2.0]]}, "must be square"),
    ("prior", {"hessian": [[NAN]]}, "not a finite number"),
    ("prior", {"hessian": [[10**400]]}, "not a finite number"),
    ("prior", {"rate": 10**400}, "not a finite number"),
    ("prior", {"steps": 0}, "is not from 1"),
    ("prior", {"steps": 2.5}, "is not a whole number"),
    ("prior", {"rate": 0}, "not above 0"),
    ("prior", {"hessian": [[20.0]], "steps": 2}, "lead back"),
]  # fmt: skip


@pytest.mark.parametrize(("view", "change", "words"), BAD, ids=lambda one: str(one)[:40])
def test_bad_input_is_told_in_one_sentence(tmp_path, view, change, words):
    path = written(tmp_path, {**GIVEN[view], **change})
    assert words in refusal("theory", view, "--problem-file", path, "--json")


@pytest.mark.parametrize("view", GIVEN)
def test_missing_keys_and_files_are_named(tmp_path, view):
    assert "lacks" in refusal("theory", view, "--problem-file", written(tmp_path, {"rate": 0.1}))
    assert "Cannot read" in refusal("theory", view, "--problem-file", tmp_path / "none.toml")
    path = tmp_path / "broken.toml"
    path.write_text("rate = [", encoding="utf-8")
    assert "not valid TOML" in refusal("theory", view, "--problem-file", path)
