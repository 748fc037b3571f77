"""Runs that go on: the same bits as without interruption, from whole checkpoints only."""

import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from metaviz.config.options import OptionError
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.runs.model.events import Evaluated, Stepped
from metaviz.runs.storage.store import StoreError, checkpoint_hashes, list_runs, open_run
from metaviz.training.checkpoints import BEFORE, BEST
from metaviz.training.resume import resume_sessions
from tests.unit.command_line import compare, metaviz, numbers, refusal
from tests.unit.stored import assert_same, begin, config, finish, killed, resume, train

METHODS: list[tuple[str, dict[str, Any]]] = [
    ("maml", {}),
    ("reptile", {"inner_optimizer": "adam", "batch_size": 4}),
    ("imaml", {"learn_prox": True, "inner_steps": 8}),
    ("metasgd", {}),
    ("mirror", {}),
    ("warpgrad", {}),
    ("mtnet", {}),
    ("ecml", {}),
    ("protonet", {"train_ways": 8, "learn_scale": True, "steps": 9}),
]


@pytest.mark.parametrize(("name", "options"), METHODS)
def test_a_killed_run_resumes_to_the_same_bits(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    asked = config(name, **options)
    whole = train(asked, tmp_path / "whole")
    for after in (0, 1, 2, 5, 8, 12):
        folder, _ = killed(asked, tmp_path / str(after), after, committed=after != 5)
        assert open_run(folder).state == "interrupted"
        assert_same(resume(folder), whole)


def test_a_stopped_run_goes_on_from_its_very_step(tmp_path: Path) -> None:
    asked = config("metasgd")
    whole = train(asked, tmp_path / "whole")
    session = begin(asked, tmp_path / "stopped")
    while True:
        event = session.advance()
        if isinstance(event, Stepped) and event.step == 5:
            break
    session.end("stopped")
    (again,) = resume_sessions([session.folder])
    assert again.id == session.id
    first = next(e for e in iter(again.advance, None) if isinstance(e, Stepped))
    assert first.step == 6
    finish(again)
    assert_same(session.folder, whole)
    notes = [note.message for note in open_run(session.folder).notes]
    assert notes == ["Resumed from the checkpoint of step 5."]


def test_an_evaluation_that_was_cut_short_is_made_up_for(tmp_path: Path) -> None:
    asked = config("maml")
    whole = train(asked, tmp_path / "whole")
    session = begin(asked, tmp_path / "stopped")
    while not (isinstance(event := session.advance(), Stepped) and event.step == 3):
        pass
    session.cut_short()
    session.advance()
    session.end("stopped")
    assert [e.step for e in open_run(session.folder).evaluations] == [0]
    assert_same(resume(session.folder), whole)


def test_a_finished_evaluation_is_not_done_again(tmp_path: Path) -> None:
    folder, _ = killed(config("maml"), tmp_path, 8)
    (session,) = resume_sessions([folder])
    note, event = session.advance(), session.advance()
    session.end("stopped")
    assert (note.message, event.step) == ("Resumed from the checkpoint of step 3.", 4)
    assert isinstance(event, Stepped)


def test_warnings_are_counted_on(tmp_path: Path) -> None:
    options = {"variant": "implicit", "prox": 0.01, "terms": 4, "inner_steps": 1}
    asked = config("neumann", **options).model_copy(
        update={"problem": "quadratic", "problem_options": {}}
    )
    whole = train(asked, tmp_path / "whole")
    assert {note.step for note in open_run(whole).notes if note.level == "warning"} >= {1, 3, 6}
    for steps in range(1, 7):
        session = begin(asked, tmp_path / str(steps))
        while not (isinstance(event := session.advance(), Stepped) and event.step == steps):
            pass
        session.end("stopped")
        assert_same(resume(session.folder), whole)


def test_the_last_two_and_the_best_checkpoint_are_kept_with_their_hashes(tmp_path: Path) -> None:
    session = begin(config("maml", steps=12), tmp_path)
    scores = {}
    for event in iter(session.advance, None):
        if isinstance(event, Evaluated):
            scores[event.step] = -event.per_task["query_loss"].mean()
    folder = session.folder
    steps = {name: load_checkpoint(folder / name)["step"] for name in (CHECKPOINT, BEFORE, BEST)}
    assert steps == {CHECKPOINT: 12, BEFORE: 9, BEST: max(scores, key=scores.__getitem__)}
    wanted = {hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in steps}
    assert set(checkpoint_hashes(folder)) == wanted


@pytest.mark.parametrize("damage", ["cut", "flip", "missing"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, damage: str) -> None:
    asked = config("maml")
    whole = train(asked, tmp_path / "whole")
    folder, _ = killed(asked, tmp_path, 13)
    assert load_checkpoint(folder / CHECKPOINT)["step"] == 6
    data = bytearray((folder / CHECKPOINT).read_bytes())
    data[len(data) // 2] ^= 1
    for name in (CHECKPOINT, BEST):
        if damage == "missing":
            (folder / name).unlink(missing_ok=True)
        else:
            (folder / name).write_bytes(data if damage == "flip" else data[:-400])
    (session,) = resume_sessions([folder])
    note = session.advance()
    assert note.step == 3
    said = r"A checkpoint is damaged \(checkpoint.pt is not what was written; .*\): the one of step"
    assert bool(re.search(said, note.message)) == (damage != "missing")
    finish(session)
    assert_same(folder, whole)


def test_a_run_without_a_whole_checkpoint_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    folder, _ = killed(config("maml"), tmp_path, 9)
    for name in (CHECKPOINT, BEFORE, BEST):
        (folder / name).write_bytes(b"no checkpoint")
    before = len(open_run(folder))
    with pytest.raises(StoreError, match=r"No checkpoint of maml-s3-.* is readable: "):
        resume_sessions([folder])
    for name in (CHECKPOINT, BEFORE, BEST):
        (folder / name).unlink()
    with pytest.raises(StoreError, match="has no checkpoint and cannot be resumed"):
        resume_sessions([folder])
    assert len(open_run(folder)) == before


def test_a_run_of_an_earlier_version_is_resumed(tmp_path: Path) -> None:
    asked = config("mirror")
    whole = train(asked, tmp_path / "whole")
    folder, _ = killed(asked, tmp_path, 9)
    state = load_checkpoint(folder / CHECKPOINT)
    del state["looked"], state["warnings"]
    torch.save(state, folder / CHECKPOINT)
    for name in (BEFORE, BEST, "run.lock"):
        (folder / name).unlink()
    with closing(sqlite3.connect(folder / "metrics.db")) as database:
        database.execute("DROP TABLE checkpoints")
        database.execute("UPDATE about SET value = '999999999' WHERE key = 'pid'")
        database.commit()
    assert_same(resume(folder), whole)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder, _ = killed(config("maml"), tmp_path, 9)
    for name in (BEFORE, BEST):
        (folder / name).unlink()
    whole = load_checkpoint(folder / CHECKPOINT)
    vast = torch.zeros(1).expand(10**9)
    optimizer = {**whole["optimizer"], "state": {0: {"step": torch.ones(()), "exp_avg": vast}}}
    changes: list[dict[str, Any]] = [
        {"meta": {"init": vast}},
        {"meta": {}},
        {"meta": 3},
        {"optimizer": {}},
        {"optimizer": optimizer},
        {"seconds": "much"},
    ]
    for change in changes:
        torch.save({**whole, **change}, folder / CHECKPOINT)
        with closing(sqlite3.connect(folder / "metrics.db")) as database:
            database.execute("DELETE FROM checkpoints")
            database.commit()
        with pytest.raises(StoreError, match="cannot be resumed: The checkpoint"):
            resume_sessions([folder])
        assert open_run(folder).state == "interrupted"


def test_a_done_run_is_trained_further_to_what_a_longer_run_reaches(tmp_path: Path) -> None:
    whole = train(config("maml", steps=12), tmp_path / "whole")
    folder = train(config("maml", steps=6), tmp_path / "short")
    with pytest.raises(StoreError, match="is done with its 6 steps: give --steps"):
        resume_sessions([folder])
    with pytest.raises(OptionError, match=r"steps = 6 is not valid: maml-.* has done 6; use more"):
        resume_sessions([folder], 6)
    assert_same(resume(folder, 12), whole)
    assert open_run(folder).total_steps == 12


def test_a_run_that_trains_elsewhere_is_refused(tmp_path: Path) -> None:
    session = begin(config("maml"), tmp_path)
    session.advance()
    with pytest.raises(StoreError, match="is being trained by another window or command"):
        resume_sessions([session.folder])
    code = (
        "import sys; from pathlib import Path\n"
        "from metaviz.runs.storage.store import reopen_run\n"
        "reopen_run(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(session.folder)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "is being trained by another window or command" in done.stderr
    session.end("stopped")
    assert open_run(resume(session.folder)).state == "done"


def test_a_process_id_that_is_used_again_locks_nothing(tmp_path: Path) -> None:
    folder, _ = killed(config("maml"), tmp_path, 5)
    with closing(sqlite3.connect(folder / "metrics.db")) as database:
        query = "SELECT value FROM about WHERE key = 'pid'"
        assert database.execute(query).fetchone() == (str(os.getpid()),)
    assert open_run(folder).state == "interrupted"
    assert open_run(resume(folder)).state == "done"


def test_temporary_files_are_swept_when_a_run_is_opened_for_writing(tmp_path: Path) -> None:
    folder, _ = killed(config("maml"), tmp_path, 5)
    for name in ("checkpoint.pt.tmp-17", "run.toml.tmp-18"):
        (folder / name).write_bytes(b"half")
    resume(folder)
    assert not list(folder.glob("*.tmp-*"))


def test_nothing_is_changed_where_one_of_several_runs_is_refused(tmp_path: Path) -> None:
    good, _ = killed(config("maml"), tmp_path / "good", 8)
    done = train(config("reptile"), tmp_path / "done")
    before = len(open_run(good))
    with pytest.raises(StoreError, match="is done with its 7 steps"):
        resume_sessions([good, done])
    assert (open_run(good).state, len(open_run(good))) == ("interrupted", before)
    resume(good)


def test_resume_command_finishes_a_folder_of_runs(tmp_path: Path) -> None:
    arguments = ("--algorithms", "maml,reptile", "--steps", "6", "--set", "eval_every=2")
    compare(tmp_path / "whole", *arguments)
    compare(tmp_path / "broken", *arguments)
    first = next(f for f in list_runs(tmp_path / "broken" / "runs") if f.name.startswith("maml"))
    with closing(sqlite3.connect(first / "metrics.db")) as database:
        database.execute("UPDATE about SET value = 'running' WHERE key = 'state'")
        database.execute("DELETE FROM steps WHERE step > 4")
        database.commit()
    shutil.copyfile(first / BEFORE, first / CHECKPOINT)
    (first / BEST).unlink()
    outcome = metaviz("resume", tmp_path / "broken")
    assert outcome.code == 0, outcome.error
    assert "Resumed from the checkpoint of step 4." in outcome.error
    assert "reptile" not in outcome.out
    metaviz("export", tmp_path / "broken", "--out", tmp_path / "tables")
    assert numbers(tmp_path / "tables") == numbers(tmp_path / "whole")
    said = refusal("resume", tmp_path / "broken")
    assert (
        said == f"All runs in {tmp_path / 'broken'} are done: give --steps to train them further."
    )
    assert refusal("resume", first).endswith("give --steps, more than that, to train it further.")
    assert metaviz("resume", first, "--steps", "8").code == 0
    assert open_run(first).step == 8
