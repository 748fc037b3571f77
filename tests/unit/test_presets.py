"""Presets are comparisons that can be run, with a published number that is the shipped one."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metaviz.algorithms.registry import find_algorithm
from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig, find_preset, presets, read_comparison
from metaviz.problems.registry import find_problem
from metaviz.runs.analysis.published import PAPERS, beside, differences, distance, published
from metaviz.runs.model.evaluation import Judgement
from metaviz.training.engine import planned_runs
from tests.unit.command_line import metaviz
from tests.unit.test_episodes import small

METHODS = {
    *("maml", "fomaml", "reptile", "imaml", "metasgd", "metacurvature", "mtnet", "warpgrad"),
    *("metalstm", "mirror", "classifier", "tadam"),
}


def test_every_method_with_a_published_row_has_presets() -> None:
    found = {read_comparison(path).algorithms[0] for path in presets().values()}
    assert found == METHODS
    families = {re.match(r".*-\d+way-\d+shot", name)[0] for name in presets()}  # type: ignore[index]
    assert families == {
        *(f"miniimagenet-5way-{shots}shot" for shots in (1, 5)),
        *(f"omniglot-{ways}way-{shots}shot" for ways in (5, 20) for shots in (1, 5)),
    }


@pytest.mark.parametrize("name", list(presets()))
def test_preset_is_a_valid_comparison_with_its_number(name: str) -> None:
    comparison = read_comparison(presets()[name])
    (run,) = planned_runs(comparison)
    ways, shots = re.fullmatch(r".*-(\d+)way-(\d+)shot-.*", name).groups()  # type: ignore[union-attr]
    assert run.shared.ways == int(ways)
    assert comparison.problem == ("omniglot" if name.startswith("omniglot") else "images")
    text = presets()[name].read_text(encoding="utf-8")
    number = re.search(r"# Published: ([\d.]+)(?: ± ([\d.]+))? % \((.*?)[;)]", text)
    assert number, name
    assert "# Source: " in text
    if "not in resources" in text:
        return
    rows = [
        row
        for row in published()
        if f"{row.value:.10g}" == f"{float(number[1]):.10g}"
        and (row.ways, row.shots) == (int(ways), int(shots))
        and row.is_of(run.algorithm)
    ]
    assert rows, name
    assert (rows[0].half_width is None) == (number[2] is None)


def test_preset_runs_with_what_is_set_on_top(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("METAVIZ_HOME", str(tmp_path / "home"))
    small_steps = ("--steps", "1", "--set", "eval_tasks=2", "--set", "eval_steps=1")
    sizes = ("--set", "images.side=16", "--set", "images.channels=4", "--set", "ways=3")
    path = small(tmp_path / "data")
    outcome = metaviz(
        *("compare", "--preset", "miniimagenet-5way-1shot-maml", *small_steps, *sizes),
        *("--set", "query_shots=3", "--set", f"images.path={path}", "--out", tmp_path / "out"),
    )
    assert outcome.code == 0, outcome.error
    stored = read_comparison(tmp_path / "out" / "comparison.toml")
    assert (stored.shared["inner_lr"], stored.shared["ways"], stored.steps) == (0.05, 3, 1)


def test_unknown_preset_names_near_ones() -> None:
    with pytest.raises(OptionError, match="like miniimagenet-5way-1shot-maml"):
        find_preset("miniimagenet-5way-1shot-mam")
    outcome = metaviz("compare", "--preset", "nonsense")
    assert outcome.code == 2
    assert "There is no preset 'nonsense'" in outcome.error
    assert "miniimagenet-5way-1shot-maml" in metaviz("list", "--presets").out.replace("\n", "")


def simpleshot(step: int, **options: object) -> Judgement:
    """SimpleShot's preset on 38 400 images, judged at a step; with other options where given."""
    (run,) = planned_runs(read_comparison(presets()["miniimagenet-5way-1shot-classifier"]))
    config = settled(run, **options)
    examples = {"classes": 64, "examples": 38_400, "batch": 256, "epochs": 90.0}
    protocol = {"tasks": 10_000, "split": "test", "seed": 0, "ways": 5, "shots": 1, "query": 15}
    return Judgement(
        run="classifier-s0",
        label="Classifier",
        config={**config, "training_examples": examples, "inductive": True},
        step=step,
        k=0,
        protocol={**protocol, "together": True, "k": 0, "draws": "own"},
        dataset="miniImageNet",
        per_task={"query_accuracy": np.full((1, 10_000), 0.5)},
    )


def settled(run: RunConfig, **options: object) -> dict[str, Any]:
    """Name every option, as a stored run does."""
    method, problem = find_algorithm(run.algorithm), find_problem(run.problem)
    own = {**method.checked(run.options).stored(), **options}
    theirs = problem.checked(run.problem_options).model_dump()
    return {**run.model_dump(mode="json"), "options": own, "problem_options": theirs}


def held_against(judgement: Judgement) -> dict[str, list[str]]:
    rows = [
        row
        for row in beside(judgement, "miniImageNet")
        if row.is_of("classifier") and row.collection == PAPERS
    ]
    return {row.method: differences(judgement, row) for row in rows}


def test_a_run_shorter_than_its_preset_is_labelled_in_epochs() -> None:
    found = held_against(simpleshot(4500))
    assert found["SimpleShot (CL2N)"] == ["short: 30 of 90 epochs"]
    assert found["SimpleShot (UN)"] == ["head cl2n, not un", "short: 30 of 90 epochs"]
    assert held_against(simpleshot(13_500))["SimpleShot (CL2N)"] == []
    smaller = held_against(simpleshot(13_500, batch_size=64, weight_decay=0.0))
    assert smaller["SimpleShot (CL2N)"] == [
        "batch_size = 64, not 256",
        "weight_decay = 0.0, not 0.0001",
    ]
    longer = held_against(simpleshot(13_499, head="logistic"))
    assert longer["SimpleShot (L2N)"][:2] == ["head logistic, not l2n", "short: 89.99 of 90 epochs"]
    assert longer["Baseline"] == ["trained by SimpleShot's settings or others, not by theirs"]


def test_the_row_of_the_run_s_own_head_is_the_nearest() -> None:
    for head, method in (("un", "SimpleShot (UN)"), ("l2n", "SimpleShot (L2N)")):
        one = simpleshot(13_500, head=head)
        rows = [row for row in beside(one, one.dataset) if row.is_of("classifier")]
        assert min(rows, key=lambda row: distance(one, row)).method == method
