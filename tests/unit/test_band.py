"""Seeds that are computed as one batch train as each does alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metaviz.config.run_config import Amendment, RunConfig
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.meta.sharding import part_of
from metaviz.runs.analysis.reproduction import repeat_sentence
from metaviz.runs.model.events import STEP_COLUMNS, Ended, Event, Noted, Stepped
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import open_run
from metaviz.training import band as bands
from metaviz.training import compiled, stepping
from metaviz.training.band import Band, Joined, bands_of
from metaviz.training.memory_budget import budget_bytes
from metaviz.training.resume import resume_sessions
from metaviz.training.session import Session, open_sessions, repeat_session
from metaviz.training.setting import settle
from metaviz.training.stepping import Eager
from metaviz.training.trainer import begin
from tests.unit.command_line import compare, numbers
from tests.unit.stored import TIMED, config

SEEDS = (0, 1, 2)
TASKS = 4
STEPS = 7
ROWS_BYTES = 3 * 12 * (2 * 61) * 8
"""Three copies of 12 rows of Meta-SGD's two groups for 61 weights."""


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let seeds be computed together on this CPU."""
    monkeypatch.setattr(bands, "pays", lambda _device: True)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect how many tasks each eager meta-step has."""
    real, seen = stepping.sharded_meta_gradient, list[int]()

    def noted(algorithm, context, meta, shards):
        seen.append(len(context.tasks))
        return real(algorithm, context, meta, shards)

    monkeypatch.setattr(stepping, "sharded_meta_gradient", noted)
    return seen


def several(algorithm: str = "metasgd", **changes: Any) -> list[RunConfig]:
    """Short runs of three seeds in float64."""
    asked = config(algorithm, steps=STEPS)
    return [
        asked.model_copy(update={"seed": seed, "dtype": "float64", **changes}) for seed in SEEDS
    ]


def in_turn(sessions: list[Session]) -> Iterator[tuple[Session, Event]]:
    """Advance whoever is behind until all have ended."""
    left = list(sessions)
    while left:
        session = min(left, key=lambda one: one.step)
        event = session.advance()
        if event is None:
            left.remove(session)
        else:
            yield session, event


def trained(sessions: list[Session]) -> list[Record]:
    """Train side by side and return what is stored."""
    for _ in in_turn(sessions):
        pass
    return [open_run(session.folder) for session in sessions]


def apart(
    monkeypatch: pytest.MonkeyPatch, root: Path, asked: list[RunConfig]
) -> list[tuple[Record, Path]]:
    """Train each run alone."""
    with monkeypatch.context() as patched:
        patched.setattr(bands, "pays", lambda _device: False)
        sessions = open_sessions(asked, root)
    assert [session.band for session in sessions] == [None] * len(asked)
    return list(zip(trained(sessions), [s.folder for s in sessions], strict=True))


def assert_alike(session: Session, expected: tuple[Record, Path]) -> None:
    """Compare rows, evaluations and weights."""
    found, (wanted, folder) = open_run(session.folder), expected
    assert (found.state, found.step) == (wanted.state, wanted.step)
    for name in ("step", *STEP_COLUMNS):
        if name not in TIMED:
            one, other = found.column(name), wanted.column(name)
            np.testing.assert_allclose(one, other, rtol=1e-9, err_msg=name)
    assert [e.step for e in found.evaluations] == [e.step for e in wanted.evaluations]
    for mine, theirs in zip(found.evaluations, wanted.evaluations, strict=True):
        for name, curve in theirs.curves.items():
            np.testing.assert_allclose(mine.curves[name], curve, rtol=1e-9, err_msg=name)
    one, other = (load_checkpoint(place / CHECKPOINT)["meta"] for place in (session.folder, folder))
    for group, value in other.items():
        torch.testing.assert_close(one[group], value, rtol=1e-9, atol=1e-12)


def messages(record: Record) -> list[str]:
    return [note.message for note in record.notes]


def test_every_task_of_a_band_has_the_draws_that_it_has_alone():
    amended = Amendment(skip_step=3, skip_task=1)
    settings = [settle(one) for one in several("reptile", amendments=(amended,))]
    whole = Joined.of(settings).draws(2).of("minibatches", 1, 9)
    assert len(whole) == len(SEEDS) * (TASKS - 1)
    alone = [setting.draws(2).of("minibatches", 1, 9) for setting in settings]
    np.testing.assert_array_equal(whole, np.concatenate(alone))
    assert len(np.unique(whole)) == whole.size
    every = settle(several("reptile")[0]).draws(2)
    for place, row in zip((0, 2, 3), alone[0], strict=True):
        np.testing.assert_array_equal(every[place : place + 1].of("minibatches", 1, 9), row[None])


# Squared distances leave derivatives of rounding errors, by which Adam divides: cosines do not.
COSINES = {"options": {"distance": "cosine", "learn_scale": True, "train_ways": 6}}


@pytest.mark.parametrize(
    ("algorithm", "changes"),
    [
        *((name, {}) for name in ("maml", "fomaml", "metasgd", "metakfo", "penalty")),
        ("protonet", COSINES),
    ],
)
def test_seeds_train_together_as_each_does_alone(
    algorithm, changes, forced, sizes, monkeypatch, tmp_path
):
    asked = several(algorithm, **changes)
    sessions = open_sessions(asked, tmp_path / "together")
    assert isinstance(sessions[0].band, Band)
    assert {id(session.band) for session in sessions} == {id(sessions[0].band)}
    records = trained(sessions)
    assert sizes == [len(SEEDS) * TASKS] * STEPS
    for session, alone in zip(sessions, apart(monkeypatch, tmp_path, asked), strict=True):
        assert_alike(session, alone)
    ends = [record.column("post_query_loss")[-1] for record in records]
    assert len(set(ends)) == len(SEEDS)
    assert {record.environment["band"] for record in records} == {"seeds 0, 1, 2"}


def test_a_seed_that_diverges_leaves_the_others_right(forced, sizes, monkeypatch, tmp_path):
    asked = several()
    alone = apart(monkeypatch, tmp_path, asked)
    sizes.clear()
    sessions = open_sessions(asked, tmp_path / "together")
    for session, event in in_turn(sessions):
        if session is sessions[1] and isinstance(event, Stepped) and event.step == 3:
            session._progress.meta["init"].fill_(torch.nan)
    assert open_run(sessions[1].folder).state == "diverged"
    assert_alike(sessions[0], alone[0])
    assert_alike(sessions[2], alone[2])
    assert sizes == [12] * 4 + [8] * 3


def test_a_seed_that_is_ended_leaves_the_others_right(forced, sizes, monkeypatch, tmp_path):
    asked = several()
    alone = apart(monkeypatch, tmp_path, asked)
    sizes.clear()
    sessions = open_sessions(asked, tmp_path / "together")
    sessions[2].end("aborted")  # before it has begun
    for session, event in in_turn(sessions):
        if session is sessions[0] and isinstance(event, Stepped) and event.step == 4:
            session.end("stopped")
    assert open_run(sessions[0].folder).state == "stopped"
    assert_alike(sessions[1], alone[1])
    assert sizes == [8] * 4 + [4] * 3


def test_a_seed_that_waits_is_right_and_comes_back(forced, sizes, monkeypatch, tmp_path):
    asked = several()
    alone = apart(monkeypatch, tmp_path, asked)
    sizes.clear()
    sessions = open_sessions(asked, tmp_path / "together")
    first = sessions[0]
    while first.step < 3:
        first.advance()
    trained(sessions)
    for session, expected in zip(sessions, alone, strict=True):
        assert_alike(session, expected)
    # The first took two steps by itself, the others as many; they met at the third.
    assert sizes == [12] + [4] * 6 + [12] * 4


def test_weights_that_were_changed_are_not_given_an_old_share(forced, sizes, tmp_path):
    sessions = open_sessions(several(), tmp_path)
    while sessions[0].step == 0:
        sessions[0].advance()
    changed = sessions[1]
    changed._progress.meta["init"].mul_(1.5)
    while not isinstance(event := changed.advance(), Stepped):
        pass
    assert sizes == [12, 4]
    batch = changed._setting.batch(0)
    meta = begin(changed._setting).meta
    meta["init"].mul_(1.5)
    expected = Eager(changed._setting)(meta, batch, 0, reading=True)
    assert event.values["post_query_loss"] == float(expected.readings["post_query_loss"].mean())


def test_what_is_not_alike_in_all_but_the_seed_is_not_computed_together(forced):
    one, two, _ = several("maml")
    shared = two.shared.model_copy(update={"inner_lr": 0.02})
    amended = {"amendments": (Amendment(step=3, shared={"inner_lr": 0.005}),)}
    assert None not in bands_of([settle(one), settle(two)])
    for asked in (
        [one],
        [one, two.model_copy(update={"shared": shared})],
        [one, two.model_copy(update={"dtype": "float32"})],
        [one, two.model_copy(update={"steps": 8})],
        [one, two.model_copy(update={"options": {"inner_steps": 2}})],
        [one.model_copy(update=amended), two.model_copy(update=amended)],
        several("reptile"),
        several("mirror"),
        several("imaml"),
        several("mtnet"),
        several("penalty", options={"variant": "joint"}),
    ):
        assert bands_of([settle(each) for each in asked]) == [None] * len(asked)


def test_on_a_cpu_seeds_are_computed_one_by_one(tmp_path):
    assert bands_of([settle(each) for each in several("maml")]) == [None] * 3
    assert bands.pays(torch.device("cuda"))


def test_several_algorithms_are_bands_of_their_own(forced):
    pairs = zip(several("maml"), several("fomaml"), strict=True)
    found = bands_of([settle(one) for pair in pairs for one in pair])
    assert found[0] is found[2] is found[4]
    assert found[1] is found[3] is found[5]
    assert found[0] is not found[1]
    assert found[0] is not None
    assert found[0].description == "seeds 0, 1, 2"


def test_the_time_of_a_batch_is_shared(forced):
    settings = [settle(one) for one in several("maml")]
    (band, *_) = bands_of(settings)
    members = [band.enter(setting, begin(setting)) for setting in settings]
    assert list(members[0].ready(members[0].progress.meta, 0)) == []
    costs = []
    for member, seconds in zip(members, (3.0, 0.25, 0.5), strict=True):
        member.take(member.progress.meta, 0, reading=True)
        costs.append(member.cost(seconds))
    assert costs == [1.0, 1.25, 1.5]
    members[0].take(members[0].progress.meta, 0, reading=False)
    members[1].leave()
    members[1].take(members[1].progress.meta, 0, reading=True)
    assert members[1].cost(2.0) == 2.0


def plain_compiler(recipe: Any, _given: object) -> Callable[..., Any]:
    """Stand in for a compiler: a recorded step is its recipe."""
    return lambda given: recipe(*given)


def test_a_batch_of_seeds_is_recorded_as_any_step(forced, sizes, monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "compile_recipe", plain_compiler)
    asked = several(engine="compiled")
    sessions = open_sessions(asked, tmp_path / "together")
    trained(sessions)
    assert sizes == [12, 12]  # the recorded step is compared with two eager ones
    for session, alone in zip(sessions, apart(monkeypatch, tmp_path, several()), strict=True):
        assert_alike(session, alone)
        assert not [note for note in messages(open_run(session.folder)) if "batch" in note]


def test_seeds_whose_batch_cannot_be_recorded_are_computed_one_by_one(
    forced, sizes, monkeypatch, tmp_path
):
    recorded = []

    def small_only(recipe, given):
        count = len(given[-1])
        if count > TASKS:
            raise compiled.CannotRecordError("its operations are too large")
        recorded.append(count)
        return plain_compiler(recipe, given)

    monkeypatch.setattr(compiled, "compile_recipe", small_only)
    sessions = open_sessions(several(engine="compiled"), tmp_path / "together")
    for record in trained(sessions):
        (note,) = [message for message in messages(record) if "batch" in message]
        assert note == (
            "Seeds are not computed as one batch: its operations are too large. Each computes its "
            "own."
        )
    assert recorded == [TASKS] * 3
    assert sizes == [TASKS] * 6
    for session, alone in zip(sessions, apart(monkeypatch, tmp_path, several()), strict=True):
        assert_alike(session, alone)


def test_memory_that_does_not_suffice_for_all_suffices_for_each(
    forced, sizes, monkeypatch, tmp_path
):
    real = Joined.batch

    def cramped(self, step):
        if step == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return real(self, step)

    monkeypatch.setattr(Joined, "batch", cramped)
    asked = several()
    sessions = open_sessions(asked, tmp_path / "together")
    for record in trained(sessions):
        (note,) = [message for message in messages(record) if "batch" in message]
        assert note.startswith("Seeds are not computed as one batch: memory does not suffice.")
    assert sizes == [12] * 3 + [4] * 12
    for session, alone in zip(sessions, apart(monkeypatch, tmp_path, asked), strict=True):
        assert_alike(session, alone)


def test_rows_that_would_take_much_of_the_budget_are_not_made(forced, tmp_path):
    enough, little = (ROWS_BYTES * factor / bands.ROWS / 2**30 for factor in (1.01, 0.99))
    for budget, together in ((enough, True), (little, False)):
        settings = [settle(one) for one in several(memory_gib=budget)]
        assert budget_bytes(settings[0].device, budget) == pytest.approx(budget * 2**30, abs=1)
        (band, *_) = bands_of(settings)
        members = [band.enter(setting, begin(setting)) for setting in settings]
        assert list(members[0].ready(members[0].progress.meta, 0)) == []
        assert band.is_ready(0) is together


def test_the_budget_of_a_batch_has_room_for_its_rows(forced):
    settings = [settle(one) for one in several()]
    joined = Joined.of(settings)
    metas = [begin(setting).meta for setting in settings]
    rows = bands.rows_of(metas, [TASKS] * 3)
    given = []

    def note(_shards, _one, budget, _device):
        given.append(budget)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stepping, "plan_parts", note)
        list(Eager(joined).prepare(rows, 0))
        list(Eager(settings[0]).prepare(metas[0], 0))
    assert given[1] - given[0] == bands.rows_bytes(rows) == ROWS_BYTES


def test_what_tf32_costs_is_told_of_a_batch_with_rows(forced):
    settings = [settle(one) for one in several(options={"per": "tensor"})]
    compute = Eager(Joined.of(settings))
    rows = bands.rows_of([begin(setting).meta for setting in settings], [TASKS] * 3)
    compute._tell_tf32(*part_of(settings[0].context(0, compute.batch(0)), rows, (0, 1)))
    assert compute.notes == [
        "TF32 changes the meta-gradient of the first task by 0.0e+00 of its length."
    ]


def test_a_seed_with_broken_data_fails_alone(forced, monkeypatch, tmp_path):
    asked = several()
    sessions = open_sessions(asked, tmp_path / "together")
    problem = sessions[1]._setting.problem
    real = problem.tasks

    def broken(split, first, count, shape=None):
        if first >= 3 * TASKS and split == "train":
            raise ValueError("An image is damaged.")
        return real(split, first, count, shape)

    problem.tasks = broken
    ends = [event for _, event in in_turn(sessions) if isinstance(event, Ended)]
    assert sorted((end.state, end.step, end.message) for end in ends) == [
        ("done", 7, ""),
        ("done", 7, ""),
        ("failed", 3, "An image is damaged."),
    ]
    alone = apart(monkeypatch, tmp_path, asked)
    assert_alike(sessions[0], alone[0])
    assert_alike(sessions[2], alone[2])


def test_seeds_that_are_resumed_are_together_again(forced, sizes, monkeypatch, tmp_path):
    asked = several()
    alone = apart(monkeypatch, tmp_path, asked)
    sizes.clear()
    sessions = open_sessions(asked, tmp_path / "together")
    for session, event in in_turn(sessions):
        if isinstance(event, Stepped) and event.step == 4 and session is sessions[-1]:
            break
    for session in sessions:
        session.end("stopped")
    again = resume_sessions([session.folder for session in sessions])
    trained(again)
    assert sizes == [12] * 7
    for session, expected in zip(again, alone, strict=True):
        assert_alike(session, expected)
    (note, *_) = messages(open_run(again[0].folder))
    seeds = "with seeds 0, 1, 2"
    assert note.endswith(f"Rounding may differ: computed {seeds} at first, {seeds} now.")


def test_a_repetition_that_rounds_differently_says_why(forced, tmp_path):
    sessions = open_sessions(several(), tmp_path)
    record = trained(sessions)[1]
    repeated = repeat_session(sessions[1].folder, tmp_path / "again")
    assert repeated.band is None
    (again,) = trained([repeated])
    again.column("post_query_loss")[4] *= 2
    sentence = repeat_sentence(record, again)
    assert "first at step" in sentence
    assert sentence.endswith(
        "It was computed as one batch with seeds 0, 1, 2, which rounds differently."
    )
    assert "rounds" not in repeat_sentence(again, record)


def test_the_command_line_trains_a_band_side_by_side(forced, sizes, monkeypatch, tmp_path):
    asked = ("--algorithms", "maml,reptile", "--seeds", "0-2", "--steps", "4", "--dtype", "float64")
    compare(tmp_path / "together", *asked)
    assert sizes[:4] == [9] * 4  # then Reptile's, seed by seed
    assert sizes[4:] == [3] * 12
    monkeypatch.setattr(bands, "pays", lambda _device: False)
    compare(tmp_path / "apart", *asked)
    both = (numbers(tmp_path / name) for name in ("together", "apart"))
    for one, other in zip(*both, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            assert mine == theirs or float(mine) == pytest.approx(float(theirs), rel=1e-9)


def test_notes_of_a_batch_are_told_in_every_run(forced, tmp_path):
    sessions = open_sessions(several(), tmp_path)
    band = sessions[0].band
    events = []
    for session, event in in_turn(sessions):
        if isinstance(event, Stepped) and event.step == 1 and session is sessions[0]:
            band._compute.notes.append("Something happened.")
        events.append((session.id, event))
    told_by = {name for name, e in events if isinstance(e, Noted) and e.message.startswith("Some")}
    assert told_by == {session.id for session in sessions}
