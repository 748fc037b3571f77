"""Following a run of another writer: what arrives piece by piece is what is read whole."""

import shutil

import numpy as np
import pytest

from metaviz.runs.model.events import STEP_COLUMNS, Ended
from metaviz.runs.storage import tail as follow
from metaviz.runs.storage.store import StoreError, open_run, reopen_run
from metaviz.runs.storage.tail import Follower
from metaviz.training.resume import resume_sessions
from tests.unit.stored import assert_same_arrays, begin, config, finish, next_stored


def advance(session, events):
    for _ in range(events):
        next_stored(session)
    session.set_state("running")


def assert_same_record(followed, folder):
    whole = open_run(folder)
    assert followed.quantities == whole.quantities
    for name in ("step", *STEP_COLUMNS, *(own.id for own in whole.quantities)):
        np.testing.assert_array_equal(followed.column(name), whole.column(name), err_msg=name)
    assert_same_arrays(followed, whole)
    assert followed.notes == whole.notes
    assert (followed.state, followed.message) == (whole.state, whole.message)
    for mine, theirs in zip(followed.last_inner, whole.last_inner, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("most", [1000, 2])
@pytest.mark.parametrize("algorithm", ["metasgd", "ecml"])
def test_a_followed_run_holds_what_a_run_read_whole_holds(tmp_path, monkeypatch, algorithm, most):
    monkeypatch.setattr(follow, "MOST_STEPS", most)
    session = begin(config(algorithm, steps=17), tmp_path)
    advance(session, 4)
    record = open_run(session.folder)
    follower = Follower(session.folder, record)
    largest = 0
    for _ in range(40):
        advance(session, 3)
        news = follower.poll()
        largest = max(largest, sum(type(event).__name__ == "Stepped" for event in news.events))
        for event in news.events:
            record.apply(event)
        if news.over:
            break
    assert record.state == "done"
    assert largest <= most
    assert_same_record(record, session.folder)
    follower.close()


def test_a_run_that_is_rolled_back_is_read_whole_again(tmp_path):
    session = begin(config("maml", steps=9), tmp_path)
    advance(session, 14)
    follower = Follower(session.folder, open_run(session.folder))
    assert not follower.poll().over
    copy = tmp_path / "copy" / session.folder.name
    shutil.copytree(session.folder, copy)
    session.end("aborted")
    seen = open_run(copy)
    assert seen.step > 6
    second = Follower(copy, seen)
    (resumed,) = resume_sessions([copy])
    finish(resumed)  # takes the steps after the checkpoint again, and goes beyond them
    news = second.poll()
    assert news.events == []
    assert news.fresh is not None
    assert news.over
    assert_same_record(news.fresh, copy)
    follower.close()
    second.close()


def test_a_run_whose_writer_was_killed_is_told_to_be_interrupted(tmp_path):
    session = begin(config("maml", steps=9), tmp_path)
    advance(session, 5)
    copy = tmp_path / "copy" / session.folder.name
    shutil.copytree(session.folder, copy)  # nobody holds the copy's lock
    follower = Follower(copy, open_run(session.folder))
    news = follower.poll()
    assert news.over
    assert news.fresh.state == "interrupted"
    follower.close()
    session.end("aborted")


def test_a_paused_run_is_followed_as_paused_and_its_writer_is_not_held_up(tmp_path):
    session = begin(config("maml", steps=9), tmp_path)
    advance(session, 3)
    follower = Follower(session.folder, open_run(session.folder))
    session.set_state("paused")
    assert follower.poll().state == "paused"
    assert not follower.poll().over
    # The follower is open all the while, and the run is written to and ended.
    session.set_state("running")
    finish(session)
    assert isinstance(follower.poll().events[-1], Ended)
    follower.close()
    record, writer = reopen_run(session.folder)
    writer.close()
    assert record.state == "done"


def test_a_run_that_vanished_is_a_sentence(tmp_path):
    session = begin(config("maml", steps=3), tmp_path)
    record = open_run(finish(session))
    shutil.rmtree(session.folder)
    with pytest.raises(StoreError, match=r"cannot be followed: metrics\.db is missing\."):
        Follower(session.folder, record)
