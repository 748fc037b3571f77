"""Repeating a run: every bit the same, or the first difference with both values."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from metaviz.runs.analysis.reproduction import Difference, first_difference, repeat_sentence
from metaviz.runs.storage.store import list_runs, open_run
from metaviz.training import environment
from metaviz.training.environment import describe_environment
from metaviz.training.session import repeat_session
from tests.unit.command_line import compare, metaviz, refusal
from tests.unit.stored import assert_same, config, finish, killed, resume, train


def change(folder: Path, sql: str) -> None:
    with closing(sqlite3.connect(folder / "metrics.db")) as database:
        database.execute(sql)
        database.commit()


@pytest.mark.parametrize(("name", "options"), [("mtnet", {}), ("protonet", {"train_ways": 8})])
def test_a_repetition_is_a_new_run_with_the_same_bits_and_names_its_parent(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    first = train(config(name, **options), tmp_path / "first")
    again = finish(repeat_session(first, tmp_path / "again"))
    assert_same(again, first)
    record = open_run(again)
    assert record.id != first.name
    assert record.parent == {"run": first.name, "kind": "repeat"}
    assert open_run(first).parent == {}
    assert record.notes[-1].message == f"Bit-identical to {first.name} over 7 steps."


def test_the_first_difference_is_shown_with_both_values(tmp_path: Path) -> None:
    first = train(config("maml"), tmp_path)
    before = open_run(first).column("post_query_loss")[4]
    change(first, "UPDATE steps SET post_query_loss = 2.5 WHERE step = 5")
    change(first, "UPDATE steps SET pre_query_loss = 2.5 WHERE step = 6")
    again = open_run(finish(repeat_session(first, tmp_path)))
    assert first_difference(open_run(first), again) == Difference(5, "post_query_loss", 2.5, before)
    said = f"first at step 5: post query loss was 2.5 and is now {float(before)!r}."
    assert again.notes[-1].message == f"Differs from {first.name} {said}"
    assert again.notes[-1].level == "warning"
    other = open_run(first)
    for record, changed in ((other, True), (again, False)):
        record.environment |= {"git_changed": changed, "cudnn": 91000 + changed}
    other.environment |= {"torch": "1.0", "git_commit": "f" * 40, "memory_budget": 2**29}
    del other.environment["shards"]
    again.environment["git_commit"] = "e" * 40
    budget = again.environment["memory_budget"] / 2**30
    assert repeat_sentence(other, again).endswith(
        f"{float(before)!r}. Other than then: commit eeeeeeeeeeee (ffffffffffff), "
        f"uncommitted changes off (on), PyTorch {torch.__version__} (1.0), cuDNN 91000 (91001), "
        f"memory budget {budget:.3g} GiB (0.5 GiB)."
    )
    other.environment = dict(again.environment)
    other.environment["memory_budget"] += 4096
    assert "Other than then" not in repeat_sentence(other, again)


CHANGED = [
    ("reptile", {"batch_size": 4}, "minibatches depended on the parts"),
    ("reptile", {"batch_size": 0}, ""),
    ("ecml", {}, "condition loss of a classification"),
    ("scratch", {}, "gradient evaluations were counted"),
    ("maml", {}, ""),
]


@pytest.mark.parametrize(("name", "options", "sentence"), CHANGED)
@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", None])
def test_older_runs_are_told_what_changed(name, options, sentence, version, tmp_path) -> None:
    asked = config(name, **options)
    shared = asked.shared.model_copy(update={"reading_every": 2})
    folder, _ = killed(asked.model_copy(update={"shared": shared}), tmp_path, 8)
    about = (folder / "run.toml").read_text(encoding="utf-8")
    line = 'metaviz = "0.2.0"\n'
    assert line in about
    before = line.replace("0.2.0", version) if version else ""
    (folder / "run.toml").write_text(about.replace(line, before), encoding="utf-8")
    resumed = open_run(resume(folder)).notes[-1].message
    change(folder, "UPDATE steps SET meta_gradient_norm = 2.5 WHERE step = 1")
    repeated = open_run(finish(repeat_session(folder, tmp_path / "again"))).notes[-1].message
    assert resumed.startswith("Resumed from")
    assert repeated.startswith("Differs from")
    for said in (resumed, repeated):
        assert (bool(sentence) and sentence in said) == (bool(sentence) and version != "0.2.0")
        assert ("Up to version 0.1" in said) == (bool(sentence) and version != "0.2.0")


def test_an_evaluation_that_differs_is_found(tmp_path: Path) -> None:
    first, other = (open_run(train(config("maml"), tmp_path / name)) for name in "ab")
    assert first_difference(first, other) is None
    other.evaluations[1].curves["query_loss"][2] += 1e-12
    found = first_difference(first, other)
    assert found is not None
    assert (found.step, found.quantity) == (3, "evaluation query_loss at k = 2")
    assert found.second - found.first == pytest.approx(1e-12, rel=1e-3)


def test_repeat_command_says_so_and_its_exit_code_too(tmp_path: Path) -> None:
    compare(tmp_path, "--steps", "3")
    (folder,) = list_runs(tmp_path / "runs")
    outcome = metaviz("repeat", folder)
    assert outcome.code == 0, outcome.error
    assert outcome.out.startswith(f"Bit-identical to {folder.name} over 3 steps.\n")
    assert len(list_runs(tmp_path / "runs")) == 2
    change(folder, "UPDATE steps SET gradient_evaluations = 1 WHERE step = 2")
    outcome = metaviz("repeat", folder, "--out", tmp_path / "again")
    assert outcome.code == 1
    assert "first at step 2: gradient evaluations was 1.0 and is now 18.0.\n" in outcome.out
    assert refusal("repeat", tmp_path).endswith("holds 2 runs: name the folder of one.")


def test_the_environment_names_what_decides_on_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    described = describe_environment(torch.device("cpu"), 2, 2**30)
    assert {"deterministic", "cpu", "tf32", "threads", "shards", "torch"} <= set(described)
    answers = {"rev-parse": "abc", "diff": "- old\n+ new"}
    monkeypatch.setattr(environment, "_git", lambda *arguments: answers[arguments[0]])
    described = describe_environment(torch.device("cpu"), 2, 2**30)
    assert (described["git_changed"], described["git_diff"]) == (True, "- old\n+ new")
    assert len(described["git_diff_sha256"]) == 64
    answers["diff"] = "x" * (environment.MOST_DIFF + 1)
    described = describe_environment(torch.device("cpu"), 2, 2**30)
    assert "git_diff" not in described
    assert len(described["git_diff_sha256"]) == 64
