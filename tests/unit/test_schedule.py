"""When runs are evaluated, and on how many tasks."""

from itertools import pairwise
from pathlib import Path

import pytest

from metaviz.algorithms.registry import ALGORITHMS
from metaviz.config.catalogue import shipped_catalogue
from metaviz.config.run_config import Comparison, RunConfig, Shared
from metaviz.config.schedule import FEWEST_TASKS, schedule, schedule_of
from metaviz.config.sweep import parse_axis, plan_sweep
from metaviz.problems.registry import find_problem
from metaviz.runs.storage.store import open_run
from metaviz.training.estimate import Probe
from metaviz.training.evaluation import evaluate
from metaviz.training.operations import ProductRecorder, operations, operations_per_step
from metaviz.training.resume import resume_sessions
from metaviz.training.session import new_session, repeat_session
from metaviz.training.setting import Setting, settle
from tests.unit.command_line import metaviz

CATALOGUE = shipped_catalogue()
SINUSOID = find_problem("sinusoid").entry
SMALL = {"meta_batch": 4, "inner_steps": 1, "eval_steps": 2, "eval_tasks": 50}


def shared(problem: str = "sinusoid", **changes: object) -> Shared:
    entry = CATALOGUE.problem(problem)
    assert entry is not None
    return Shared.model_validate({**entry.shared, **changes})


def small(steps: int, algorithm: str = "maml", **changes: object) -> RunConfig:
    return RunConfig(
        problem="sinusoid",
        algorithm=algorithm,
        seed=0,
        steps=steps,
        device="cpu",
        shared=Shared.model_validate({**SINUSOID.shared, **SMALL, **changes}),
    )


def trained(setting: Setting, root: Path) -> Path:
    session = new_session(setting, root)
    while session.advance() is not None:
        pass
    return session.folder


def places(folder: Path) -> list[tuple[int, int]]:
    return [(one.step, one.tasks) for one in open_run(folder).evaluations]


@pytest.mark.parametrize("steps", [100, 2000, 13_500, 60_000, 10_000_000])
def test_about_forty_evaluations_with_more_of_them_at_the_beginning(steps: int) -> None:
    found = schedule(shared(meta_batch=500), steps, SINUSOID)
    assert found.points[0] == 0
    assert found.points[-1] == steps
    assert 36 <= found.count <= 41
    gaps = [here - before for before, here in pairwise(found.points)]
    assert min(gaps) > 0
    half = len(gaps) // 2
    assert 1.5 * sum(gaps[:half]) < sum(gaps[half:])
    assert [step for step in range(min(steps, 3000) + 1) if found.due(step)] == [
        step for step in found.points if step <= 3000
    ]


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 40])
def test_a_short_run_is_no_curve_of_two_points(steps: int) -> None:
    found = schedule(shared(), steps, SINUSOID)
    assert found.points[:2] == (0, 1)
    assert found.points[-1] == steps
    assert found.count >= min(steps + 1, 17)


@pytest.mark.parametrize("inner_steps", [1, 5])
@pytest.mark.parametrize("reading_every", [1, 10])
def test_evaluating_takes_a_tenth_of_the_counted_operations(
    inner_steps: int, reading_every: int
) -> None:
    asked = shared(inner_steps=inner_steps, reading_every=reading_every)
    run = RunConfig(problem="sinusoid", algorithm="maml", seed=0, steps=20_000, shared=asked)
    setting = settle(run)
    found = setting.schedule
    assert FEWEST_TASKS < found.tasks < asked.eval_tasks
    with ProductRecorder() as recorder:
        evaluate(setting, setting.init(), 0, 2)
    evaluating = found.count * found.tasks * operations(recorder.products) / 2
    share = evaluating / (run.steps * operations_per_step(setting))
    assert 0.08 < share < 0.12


def test_fewer_tasks_before_fewer_points_and_never_below_either_least() -> None:
    found = [schedule(shared(), steps, SINUSOID) for steps in (50_000, 2000, 500, 40)]
    assert [one.tasks for one in found] == [600, 41, 20, 20]
    assert found[1].count == 41
    assert 20 <= found[2].count < 41
    assert schedule(shared(eval_tasks=5), 40, SINUSOID).tasks == 5


def test_every_method_of_a_comparison_is_evaluated_alike() -> None:
    suited = [
        one.entry.id
        for one in (ALGORITHMS[name] for name in ALGORITHMS)
        if not one.entry.unsuited(SINUSOID)
    ]
    runs = Comparison(algorithms=tuple(suited), seeds=(0, 1)).runs(SINUSOID.shared)
    settled = [settle(run).schedule for run in runs[: len(suited)]]
    assert len(settled) > 10
    assert set(settled) == {schedule(shared(), 2000, SINUSOID)}


def test_an_interval_that_was_asked_for_is_kept_with_all_tasks() -> None:
    found = schedule(shared(eval_every=30), 100, SINUSOID)
    assert found.tasks == 600
    assert [step for step in range(101) if found.due(step)] == [0, 30, 60, 90, 100]
    assert found.count == 5
    assert schedule(shared(eval_every=50), 100, SINUSOID).count == 3


def test_a_run_is_evaluated_where_its_file_says(tmp_path: Path) -> None:
    setting = settle(small(60))
    folder = trained(setting, tmp_path)
    told = open_run(folder).resolved["evaluation"]
    assert told == {"tasks": setting.schedule.tasks, "steps": list(setting.schedule.points)}
    assert places(folder) == [(step, told["tasks"]) for step in told["steps"]]
    assert open_run(folder).config["shared"]["eval_every"] is None
    asked = settle(small(4, eval_every=2))
    folder = trained(asked, tmp_path)
    assert open_run(folder).resolved["evaluation"] == {"tasks": 50, "every": 2}
    assert places(folder) == [(0, 50), (2, 50), (4, 50)]


def test_a_run_that_was_stopped_and_one_that_repeats_it_are_evaluated_alike(
    tmp_path: Path,
) -> None:
    whole = trained(settle(small(60)), tmp_path / "a")
    session = new_session(settle(small(60)), tmp_path / "b")
    while session.step < 33:
        session.advance()
    session.end("stopped")
    (resumed,) = resume_sessions([session.folder])
    while resumed.advance() is not None:
        pass
    again = repeat_session(session.folder, tmp_path / "b")
    while again.advance() is not None:
        pass
    assert places(whole) == places(session.folder) == places(again.folder)
    one, other = (open_run(folder).column("post_query_loss") for folder in (whole, again.folder))
    assert one.tobytes() == other.tobytes()
    assert "Bit-identical" in open_run(again.folder).notes[-1].message


def test_more_steps_leave_a_run_on_as_many_tasks_as_before(tmp_path: Path) -> None:
    folder = trained(settle(small(60)), tmp_path)
    before = places(folder)
    (longer,) = resume_sessions([folder], 4000)
    assert longer.config["shared"]["eval_tasks"] == before[0][1] < 50
    asked = RunConfig.model_validate(longer.config)
    longer.end("stopped")
    assert schedule_of(asked, SINUSOID).tasks == before[0][1]
    told = open_run(folder).resolved["evaluation"]
    assert told["tasks"] == before[0][1]
    assert told["steps"][-1] == 4000


def test_runs_of_a_sweep_are_evaluated_on_equally_many_tasks() -> None:
    asked = Comparison(algorithms=("maml", "reptile"))
    axes = [parse_axis("inner_steps=1,5"), parse_axis("steps=2000,4000")]
    runs = plan_sweep(asked, axes, CATALOGUE).runs()
    alone = {schedule_of(run, SINUSOID).tasks for run in Comparison().runs(SINUSOID.shared)}
    found = {schedule_of(run, SINUSOID).tasks for run in runs}
    assert len(found) == 1
    assert found < alone | set(range(20, min(alone)))
    own = Comparison(shared={"eval_every": 100})
    kept = plan_sweep(own, axes, CATALOGUE).runs()
    assert {run.shared.eval_tasks for run in kept} == {600}


def test_an_estimate_counts_the_evaluations_that_are_due() -> None:
    run = small(2000, eval_tasks=600)
    when = schedule_of(run, SINUSOID)
    assert Probe(0.0, 0.0, 1.0).seconds(run) == when.count * when.tasks
    asked = small(2000, eval_every=100, eval_tasks=600)
    assert Probe(0.0, 0.0, 1.0).seconds(asked) == 21 * 600


def test_the_command_line_tells_the_default_in_force() -> None:
    assert "41 evaluations on 41 tasks, after steps 0" in told("--problem", "sinusoid")
    assert "about 40 evaluations" in told()


def told(*asked: str) -> str:
    """Return what the column of defaults says of the interval."""
    lines = metaviz("options", *asked).out.splitlines()
    first = next(place for place, line in enumerate(lines) if "eval_every" in line)
    cells = [line.split("│")[2].strip() for line in lines[first : first + 6] if "│" in line]
    return " ".join(cells)
