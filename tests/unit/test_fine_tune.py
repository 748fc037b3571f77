"""New runs that start from the weights of stored ones."""

from pathlib import Path

import pytest
import torch

from metaviz.config.options import OptionError
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.runs.storage.store import StoreError, list_runs, open_run
from metaviz.training.session import open_sessions, repeat_session
from tests.unit.command_line import compare, metaviz, refusal
from tests.unit.stored import assert_same, config, finish, killed, next_stored, resume, train


def test_a_run_starts_from_the_weights_of_another_and_names_it(tmp_path: Path) -> None:
    source = train(config("mirror"), tmp_path / "source")
    (session,) = open_sessions([config("mirror")], tmp_path / "tuned", source)
    folder = finish(session)
    record, before = open_run(folder), open_run(source)
    assert record.parent == {"run": source.name, "kind": "fine-tune"}
    for name, curve in before.evaluations[-1].curves.items():
        assert record.evaluations[0].curves[name].tolist() == curve.tolist()
    last, first = (load_checkpoint(place / CHECKPOINT)["meta"] for place in (folder, source))
    assert not torch.equal(last["flow"], first["flow"])
    assert_same(finish(repeat_session(folder, tmp_path / "again")), folder)


def test_groups_that_the_source_lacks_start_as_drawn(tmp_path: Path) -> None:
    source = train(config("maml"), tmp_path / "source")
    (session,) = open_sessions([config("metasgd")], tmp_path / "tuned", source)
    next_stored(session)
    next_stored(session)
    state = load_checkpoint(session.folder / CHECKPOINT)
    session.end("stopped")
    assert state["step"] == 0
    assert torch.equal(state["meta"]["init"], load_checkpoint(source / CHECKPOINT)["meta"]["init"])


def test_a_fine_tuned_run_that_is_interrupted_at_once_begins_from_the_same_weights(
    tmp_path: Path,
) -> None:
    source = train(config("maml"), tmp_path / "source")
    (session,) = open_sessions([config("maml")], tmp_path / "a", source)
    session.end("stopped")
    (other,) = open_sessions([config("maml")], tmp_path / "b", source)
    assert_same(resume(session.folder), finish(other))


def test_weights_that_do_not_fit_are_refused_in_one_sentence(tmp_path: Path) -> None:
    source = train(config("maml"), tmp_path / "source")
    wider = config("maml").model_copy(update={"problem_options": {"hidden": 7}})
    needed = r"maml-.* has 61 values of 'init', but maml on sinusoid needs 78 here: choose a run"
    with pytest.raises(OptionError, match=needed):
        open_sessions([wider], tmp_path / "tuned", source)
    assert list_runs(tmp_path / "tuned") == []
    bare, _ = killed(config("maml"), tmp_path / "bare", 0)
    with pytest.raises(StoreError, match="has no checkpoint"):
        open_sessions([config("maml")], tmp_path / "tuned", bare)


def test_compare_from_a_run_takes_its_settings_and_those_that_are_given(tmp_path: Path) -> None:
    compare(tmp_path / "a", "--steps", "2", "--set", "inner_lr=0.02")
    (source,) = list_runs(tmp_path / "a" / "runs")
    outcome = metaviz("compare", "--from", source, "--steps", "3", "--out", tmp_path / "b")
    assert outcome.code == 0, outcome.error
    (folder,) = list_runs(tmp_path / "b" / "runs")
    record = open_run(folder)
    assert (record.step, record.config["shared"]["inner_lr"]) == (3, 0.02)
    assert record.parent["run"] == source.name
    wide = ("compare", "--from", source, "--set", "sinusoid.hidden=5", "--out", tmp_path / "c")
    assert "'init'" in refusal(*wide)
