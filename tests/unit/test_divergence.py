"""Runs that diverge: what broke is named, and a change lets them go on from what was good."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metaviz.config.episodes import EpisodeShape
from metaviz.config.run_config import EvaluationProtocol, RunConfig, comparison_of
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.tasks import TaskBatch
from metaviz.problems.sinusoid import Sinusoid
from metaviz.runs.analysis.reproduction import first_difference
from metaviz.runs.model.events import Stepped
from metaviz.runs.storage.database import open_to_write, write_facts
from metaviz.runs.storage.store import StoreError, open_run, read_divergence
from metaviz.training.divergence import EXPLODED, PATIENCE, DivergenceError, DivergenceMonitor
from metaviz.training.evaluation import task_curves
from metaviz.training.protocol import judge
from metaviz.training.resume import resume_sessions
from metaviz.training.session import repeat_session
from metaviz.training.setting import settle
from tests.unit.command_line import metaviz, refusal
from tests.unit.stored import config, finish, train
from tests.unit.stored import resume as resumed

BAD_STEP, BAD_TASK = 5, 2
MANY = 2**20


def diverging(**shared: Any) -> RunConfig:
    asked = config("maml", steps=9)
    return asked.model_copy(update={"shared": asked.shared.model_copy(update=shared)})


@pytest.fixture
def broken_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give one task of one meta-batch targets that are not finite."""
    drawn = Sinusoid.tasks

    def tasks(
        self: Sinusoid, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        found = drawn(self, split, first, count, shape)
        place = (BAD_STEP - 1) * 4 + BAD_TASK - first
        if split == "train" and 0 <= place < count:
            found.query.y[place] = math.inf
        return found

    monkeypatch.setattr(Sinusoid, "tasks", tasks)


def mended(folder: Path, remedy: str) -> Path:
    outcome = metaviz("resume", folder, "--remedy", remedy)
    assert outcome.code == 0, outcome.error
    return folder


@pytest.mark.usefixtures("broken_task")
def test_first_bad_number_is_named_with_its_step_and_task(tmp_path: Path) -> None:
    record = open_run(train(diverging(), tmp_path))
    assert record.state == "diverged"
    assert record.message.startswith(
        "The query loss before adaptation of task 2 is not finite at step 5. "
    )
    found = record.divergence
    assert found is not None
    assert (found.quantity, found.step, found.task) == ("pre_query_loss", BAD_STEP, BAD_TASK)
    assert [remedy.id for remedy in found.remedies][-1] == "skip-task"
    assert read_divergence(tmp_path / record.id) == found
    assert load_checkpoint(tmp_path / record.id / CHECKPOINT)["step"] == 3


@pytest.mark.usefixtures("broken_task")
def test_skipping_a_task_averages_over_the_others_and_is_repeated(tmp_path: Path) -> None:
    folder = mended(train(diverging(), tmp_path / "runs"), "skip-task")
    record = open_run(folder)
    assert (record.state, record.step, record.divergence) == ("done", 9, None)
    assert any("Skip task 2 of meta-step 5." in note.message for note in record.notes)

    setting = settle(diverging())
    assert len(setting.batch(BAD_STEP - 1)) == 4
    kept = settle(RunConfig.model_validate(record.config)).batch(BAD_STEP - 1)
    whole = setting.batch(BAD_STEP - 1)
    assert torch.equal(kept.support.x, whole.support.x[[0, 1, 3]])
    assert torch.equal(kept.query.y, whole.query.y[[0, 1, 3]])
    counts = np.diff(record.column("gradient_evaluations"), prepend=0)
    assert counts[BAD_STEP - 1] == 3 / 4 * counts[0]

    again = finish(repeat_session(folder, tmp_path / "again"))
    assert first_difference(open_run(again), record) is None
    assert open_run(again).step == 9


@pytest.mark.usefixtures("broken_task")
def test_amendments_hold_from_the_checkpoint_on_and_survive_an_interruption(tmp_path: Path) -> None:
    folder = train(diverging(), tmp_path / "runs")
    before = open_run(folder)
    outcome = metaviz("resume", folder, "--remedy", "half-outer")
    assert outcome.code == 1  # the broken task is still there
    mended(folder, "skip-task")
    record = open_run(folder)
    amendments = record.config["amendments"]
    assert [a["step"] for a in amendments] == [3, 3]
    assert amendments[0]["shared"] == {"outer_lr": 0.0005}
    losses, first = record.column("post_query_loss"), before.column("post_query_loss")
    assert (losses[:4] == first[:4]).all()  # the fourth step is taken with the weights of the third
    state = load_checkpoint(folder / CHECKPOINT)["optimizer"]
    assert {group["lr"] for group in state["param_groups"]} == {0.0005}
    assert comparison_of(record.config).shared["outer_lr"] == 0.0005
    again = finish(repeat_session(folder, tmp_path / "again"))
    assert first_difference(open_run(again), record) is None
    longer = resumed(folder, 12)
    assert open_run(longer).step == 12


@pytest.mark.parametrize(
    ("shared", "best", "label"),
    [
        ({"inner_lr": 800.0}, "half-inner", "Halve the inner step size to α = 400"),
        ({"outer_lr": 500.0}, "half-outer", "Halve the outer step size to β = 250"),
    ],
)
def test_the_step_size_that_is_to_blame_comes_first(
    tmp_path: Path, shared: dict[str, float], best: str, label: str
) -> None:
    record = open_run(train(diverging(**shared), tmp_path))
    assert record.divergence is not None
    remedy = record.divergence.remedies[0]
    assert (remedy.id, remedy.label) == (best, label)
    assert f"What may help: h{label[1:]}, " in record.message


def test_method_with_learned_step_sizes_is_not_offered_smaller_ones(tmp_path: Path) -> None:
    asked = config("metasgd", geometry_lr=900.0)
    record = open_run(train(asked, tmp_path))
    assert record.divergence is not None
    offered = {remedy.id: remedy.amendment for remedy in record.divergence.remedies}
    assert "half-inner" not in offered
    assert offered["half-outer"]["options"] == {"geometry_lr": 450.0}
    assert offered["clip"]["options"]["clip_norm"] < 10


def step_with(losses: list[float]) -> MetaStep:
    values = torch.tensor(losses, dtype=torch.float64)
    readings = {"pre_support_loss": values, "pre_query_loss": values, "post_query_loss": values}
    gradients = {"init": torch.ones(4)}
    return MetaStep(gradients, readings, values[None], values[None], 1)


def test_losses_explode_where_half_of_the_tasks_stay_far_beyond_the_first() -> None:
    monitor = DivergenceMonitor()
    monitor.read(step_with([1.0, 2.0, 3.0]), 1, [0, 1, 2])
    assert monitor.first == 2.0
    bad = 2.0 * EXPLODED * 1.01
    for step in range(2, 60):  # one task alone does not end a run
        monitor.read(step_with([1.0, 2.0, MANY * bad]), step, [0, 1, 2])
    for step in range(60, 60 + PATIENCE - 1):
        monitor.read(step_with([1.0, bad, bad]), step, [0, 1, 2])
    monitor.read(step_with([1.0, 2.0, bad]), 70, [0, 1, 2])
    for step in range(71, 71 + PATIENCE - 1):
        monitor.read(step_with([1.0, bad, 2 * bad]), step, [0, 1, 4])
    restored = DivergenceMonitor.restored(monitor.state())
    for one in (monitor, restored):
        with pytest.raises(DivergenceError, match=r"exploded.*task 4 most, at step 80"):
            one.read(step_with([1.0, bad, 2 * bad]), 80, [0, 1, 4])


def test_explosion_ends_a_run_and_keeps_the_weights_before_it(tmp_path: Path) -> None:
    asked = config("scratch", steps=80, inner_lr=0.5)
    quick = asked.shared.model_copy(update={"outer_lr": 3.0, "outer_optimizer": "sgd"})
    asked = asked.model_copy(update={"shared": quick, "algorithm": "joint", "options": {}})
    record = open_run(train(asked, tmp_path))
    assert record.state == "diverged"
    assert record.divergence is not None
    kept = load_checkpoint(tmp_path / record.id / CHECKPOINT)["step"]
    (good,) = [e for e in record.evaluations if e.step == kept]
    first = record.column("pre_query_loss")[0]
    assert np.median(good.per_task["query_loss"]) <= EXPLODED * first


def test_remedy_that_was_not_offered_is_refused(tmp_path: Path) -> None:
    healthy = train(config("fomaml", steps=2), tmp_path / "a")
    sentence = refusal("resume", healthy, "--remedy", "clip", "--steps", "5")
    assert sentence.endswith("has none, as it has not diverged.")
    ill = train(diverging(inner_lr=800.0), tmp_path / "b")
    sentence = refusal("resume", ill, "--remedy", "pray")
    assert sentence.startswith("remedy = 'pray' is not valid: ")
    assert "has half-inner, " in sentence
    assert open_run(ill).state == "diverged"


@pytest.mark.parametrize(
    "told", ['{"quantity": 1}', "[]", "{", '{"quantity":"x","step":1,"task":null,"remedies":[3]}']
)
def test_damaged_divergence_is_one_sentence(tmp_path: Path, told: str) -> None:
    folder = train(diverging(inner_lr=800.0), tmp_path)
    database = open_to_write(folder)
    write_facts(database, divergence=told)
    database.close()
    with pytest.raises(StoreError, match="is not a readable run"):
        read_divergence(folder)
    with pytest.raises(StoreError, match="is not a readable run"):
        open_run(folder)


def test_tampered_remedy_is_refused_before_the_run_is_changed(tmp_path: Path) -> None:
    folder = train(diverging(inner_lr=800.0), tmp_path)
    change = '{"shared": {"outer_lr": "os.system"}}'
    told = f'{{"id": "clip", "label": "Clip", "amendment": {change}}}'
    database = open_to_write(folder)
    write_facts(database, divergence=f'{{"quantity":"x","step":1,"task":null,"remedies":[{told}]}}')
    database.close()
    assert "outer_lr" in refusal("resume", folder, "--remedy", "clip")
    assert open_run(folder).state == "diverged"


@pytest.mark.usefixtures("broken_task")
def test_tables_and_reports_tell_amendments(tmp_path: Path) -> None:
    folder = mended(train(diverging(), tmp_path / "runs"), "skip-task")
    assert metaviz("export", folder.parent, "--out", tmp_path / "out").code == 0
    assert "meta-step 5 without task 2" in (tmp_path / "out/summary.csv").read_text()
    page = tmp_path / "report.html"
    assert metaviz("report", folder.parent, "--out", page).code == 0
    assert f"metaviz repeat {folder.name} --out repeated" in page.read_text()


@pytest.mark.usefixtures("broken_task")
def test_smaller_inner_steps_hold_from_the_next_meta_step_on_and_when_judged(
    tmp_path: Path,
) -> None:
    folder = train(diverging(), tmp_path / "runs")
    before = open_run(folder)
    assert metaviz("resume", folder, "--remedy", "half-inner").code == 1
    mended(folder, "skip-task")
    record = open_run(folder)
    for name, same in (("pre_query_loss", True), ("post_query_loss", False)):
        assert (record.column(name)[:3] == before.column(name)[:3]).all()
        assert (record.column(name)[3] == before.column(name)[3]) == same
    # The evaluation at step 3 belongs to the steps before it, in a repetition, too.
    again = finish(repeat_session(folder, tmp_path / "again"))
    assert first_difference(open_run(again), record) is None

    protocol = EvaluationProtocol(tasks=4, seed=3, draws="training")
    found = judge(folder, protocol).per_task["query_loss"]
    last = settle(RunConfig.model_validate(record.config).at(9))
    meta = load_checkpoint(folder / CHECKPOINT)["meta"]
    wanted = task_curves(last, meta, 4, last.algorithm.steps)["query_loss"]
    base = task_curves(settle(diverging()), meta, 4, last.algorithm.steps)["query_loss"]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert (np.abs(base[-1] - wanted[-1]) > 1e-3 * wanted[-1]).any()


@pytest.mark.usefixtures("broken_task")
def test_an_evaluation_that_was_pending_uses_the_amended_steps(tmp_path: Path) -> None:
    folder = train(diverging(), tmp_path / "runs")
    assert metaviz("resume", folder, "--remedy", "half-inner").code == 1
    (session,) = resume_sessions([folder], remedy="skip-task")
    while not (isinstance(event := session.advance(), Stepped) and event.step == 6):
        pass
    session.end("stopped")
    assert load_checkpoint(folder / CHECKPOINT)["looked"] == 3
    resumed(folder)
    again = finish(repeat_session(folder, tmp_path / "again"))
    assert [e.step for e in open_run(again).evaluations] == [0, 3, 6, 9]
    assert first_difference(open_run(again), open_run(folder)) is None


@pytest.mark.parametrize(
    ("algorithm", "named"), [("joint", True), ("scratch", True), ("maml", False)]
)
def test_adaptation_that_is_only_measured_is_named_where_it_diverges(
    algorithm: str, named: bool, tmp_path: Path
) -> None:
    asked = config(algorithm, steps=9)
    shared = asked.shared.model_copy(update={"inner_lr": 900.0, "inner_steps": 40})
    asked = asked.model_copy(update={"shared": shared, "options": {}})
    record = open_run(train(asked, tmp_path))
    assert record.state == "diverged"
    assert ("measured beside the training and has no part in it" in record.message) is named
    assert record.divergence is not None
    remedies = [remedy.id for remedy in record.divergence.remedies]
    assert remedies[0] == "half-inner"
    assert (len(remedies) == 1) is named
    if named:
        assert record.message.endswith("What may help: halve the inner step size to α = 450.")


def test_an_outer_step_that_is_too_large_is_no_matter_of_adaptation(tmp_path: Path) -> None:
    asked = config("joint", steps=9)
    update = {"outer_lr": 1e30, "outer_optimizer": "sgd"}
    asked = asked.model_copy(update={"shared": asked.shared.model_copy(update=update)})
    record = open_run(train(asked, tmp_path))
    assert record.state == "diverged"
    assert "beside the training" not in record.message
