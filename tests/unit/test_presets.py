"""Presets are comparisons that can be run, with a published number that is the shipped one."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metaviz.algorithms.registry import ALGORITHMS, find_algorithm
from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig, find_preset, presets, read_comparison
from metaviz.problems.registry import find_problem
from metaviz.runs.analysis.presets import preset_of
from metaviz.runs.analysis.published import (
    PAPERS,
    Published,
    beside,
    differences,
    distance,
    published,
)
from metaviz.runs.model.evaluation import Judgement
from metaviz.training.engine import planned_runs
from tests.unit.command_line import metaviz
from tests.unit.test_episodes import small

METHODS = {
    *("maml", "fomaml", "reptile", "imaml", "metasgd", "metacurvature", "mtnet", "warpgrad"),
    *("metalstm", "mirror", "classifier", "tadam", "protonet", "matching", "relation", "tpn"),
    *("snail", "csn", "r2d2", "deml", "leo", "gidaris", "qiao", "bauer", "ecml", "metakfo"),
    *("llama", "platipus"),
}
DATASETS = {
    **{"miniimagenet": "miniImageNet", "tieredimagenet": "tieredImageNet"},
    **{"omniglot": "Omniglot", "fc100": "FC100"},
}
ON_FEATURES = {"leo", "qiao", "gidaris", "bauer"}


def test_every_method_with_a_published_row_has_presets() -> None:
    found = {read_comparison(path).algorithms[0] for path in presets().values()}
    assert found == METHODS
    families = {re.match(r".*-\d+way-\d+shot", name)[0] for name in presets()}  # type: ignore[index]
    assert families == {
        *(
            f"{data}-5way-{shots}shot"
            for data in ("miniimagenet", "tieredimagenet", "fc100")
            for shots in (1, 5)
        ),
        *(f"omniglot-{ways}way-{shots}shot" for ways in (5, 20) for shots in (1, 5)),
    }


@pytest.mark.parametrize("name", list(presets()))
def test_preset_is_a_valid_comparison_with_its_number(name: str) -> None:
    comparison = read_comparison(presets()[name])
    (run,) = planned_runs(comparison)
    ways, shots = re.fullmatch(r".*-(\d+)way-(\d+)shot-.*", name).groups()  # type: ignore[union-attr]
    assert run.shared.ways == int(ways)
    ending = name.rpartition("shot-")[2]
    on = "features" if ending in ON_FEATURES or ending.endswith("-features") else "images"
    assert comparison.problem == ("omniglot" if name.startswith("omniglot") else on)
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
        and row.dataset == DATASETS[name.partition("-")[0]]
        and row.is_of(run.algorithm)
    ]
    assert rows, name
    assert (rows[0].half_width is None) == (number[2] is None)


def of_papers() -> list[Published]:
    return [row for row in published() if row.collection == PAPERS and not row.is_loss]


def test_every_system_of_the_tables_has_a_row_of_ours_that_can_be_trained() -> None:
    """S000 and S004: a method of ours is known by the row, suits its data, and has a preset."""
    tables = [row for row in of_papers() if row.source in {"000", "004"}]
    assert len(tables) > 50
    assert all(methods_of(row) for row in tables)
    for row in tables:
        for method in methods_of(row):
            problem = "features" if "(LEO features)" in row.method else "images"
            entry, able = find_algorithm(method).entry, ("features", problem)
            assert any(not entry.unsuited(find_problem(one).entry) for one in able), row
            assert preset_at(row, method), row


def test_every_row_that_can_be_run_has_a_preset() -> None:
    left = {
        row.method for row in of_papers() if not any(preset_at(row, m) for m in methods_of(row))
    }
    # No multilayer perceptron on images.
    assert left == {"MAML (no conv)"}


def methods_of(row: Published) -> list[str]:
    return [name for name in ALGORITHMS if row.is_of(name)]


def preset_at(row: Published, method: str) -> list[str]:
    """Return the presets of a row's data, ways, shots and of a method."""
    known = {data: name for name, data in DATASETS.items()}
    begin = f"{known[row.dataset]}-{row.ways}way-{row.shots}shot-"
    if row.method == "MAML (no conv)":
        return []
    return [
        name
        for name, path in presets().items()
        if name.startswith(begin) and read_comparison(path).algorithms == (method,)
    ]


def test_data_of_another_name_are_not_held_to_a_preset() -> None:
    """MiniImageNet and tieredImageNet have presets of one method, problem, ways and shots."""
    config = simpleshot(4500).config
    steps = {name: preset_of(config, name).steps for name in ("miniImageNet", "tieredImageNet")}
    assert steps == {"miniImageNet": 13_500, "tieredImageNet": 157_500}
    assert preset_of(config, "CIFAR-FS") is None


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


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"backbone": "cells", "cell": "0.id+1.conv3"}, "cells 0.id+1.conv3, not conv4 64"),
        ({"backbone": "of a plugin"}, "of a plugin, not conv4 64"),
    ],
)
def test_other_networks_are_named_beside_published_rows(network: dict[str, Any], told: str) -> None:
    one = simpleshot(13_500)
    own = {**one.config["problem_options"], **network}
    other = replace(one, config={**one.config, "problem_options": own})
    assert told in held_against(other)["SimpleShot (CL2N)"]
