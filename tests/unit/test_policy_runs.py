"""Runs of policies: bits that are the same after resuming and repeating, tables, and refusals."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metaviz.config.options import OptionError, checked
from metaviz.config.quantities import primary_of
from metaviz.config.run_config import EvaluationProtocol, RunConfig, Shared
from metaviz.meta.tasks import Batch
from metaviz.problems.registry import find_problem
from metaviz.runs.analysis.comparison import usual_view
from metaviz.runs.analysis.reproduction import first_difference
from metaviz.runs.export.tables import evaluations_csv, summary_csv
from metaviz.runs.storage.store import open_run
from metaviz.training.protocol import judge, robustness
from metaviz.training.session import repeat_session
from metaviz.training.setting import settle
from tests.unit.command_line import metaviz, refusal
from tests.unit.stored import assert_same, finish, killed, resume, train

SMALL: dict[str, dict[str, Any]] = {
    "navigation": {"hidden": 6, "horizon": 4, "eval_horizon": 6},
    "chain": {"states": 3, "actions": 2, "horizon": 3},
    "bandit": {"arms": 3},
}


def config(name: str, problem: str = "navigation", **more: Any) -> RunConfig:
    sizes = {"meta_batch": 4, "shots": 3, "query_shots": 3, "eval_tasks": 4, "eval_every": 3}
    usual = dict(find_problem(problem).entry.shared)
    shared = checked(Shared, {**usual, **sizes, **more.pop("shared", {})})
    values = {"problem_options": {**SMALL[problem], **more.pop("problem_options", {})}, **more}
    return RunConfig(
        problem=problem, algorithm=name, seed=3, steps=7, device="cpu", shared=shared, **values
    )


@pytest.mark.parametrize(
    ("name", "problem", "options"),
    [
        ("maml", "navigation", {"inner_steps": 2}),
        ("reptile", "navigation", {"batch_size": 2}),
        ("mtnet", "navigation", {}),
        ("metasgd", "chain", {}),
        ("fomaml", "bandit", {}),
    ],
)
def test_killed_runs_resume_and_repeat_to_the_same_bits(
    name: str, problem: str, options: dict[str, Any], tmp_path: Path
) -> None:
    asked = config(name, problem, options=options)
    whole = train(asked, tmp_path / "whole")
    for after in (2, 5, 8):
        folder, _ = killed(asked, tmp_path / str(after), after)
        assert_same(resume(folder), whole)
    again = finish(repeat_session(whole, tmp_path / "again"))
    assert_same(again, whole)
    assert first_difference(open_run(whole), open_run(again)) is None


def test_runs_in_a_trust_region_resume_and_repeat_to_the_same_bits(tmp_path: Path) -> None:
    asked = config("maml", problem_options={"outer": "trpo", "trust_products": 3})
    whole = train(asked, tmp_path / "whole")
    shares = open_run(whole).column("trust_share")
    assert max(shares) > 0
    folder, _ = killed(asked, tmp_path / "killed", 5)
    assert_same(resume(folder), whole)
    assert_same(finish(repeat_session(whole, tmp_path / "again")), whole)


def test_methods_without_a_gradient_of_the_return_have_no_trust_region() -> None:
    with pytest.raises(OptionError, match=r"navigation\.outer = trpo does not suit reptile"):
        settle(config("reptile", problem_options={"outer": "trpo"}))


def same(one: Batch, other: Batch, k: int = 0) -> bool:
    return torch.equal(one.at(k).x, other.at(k).x) and torch.equal(one.y, other.y)


def test_methods_act_by_the_same_noise_however_many_steps_they_take() -> None:
    one = settle(config("maml"))
    other = settle(config("reptile", options={"inner_steps": 5}, shared={"eval_steps": 6}))
    for here, there in (
        (one.batch(2), other.batch(2)),
        (one.problem.evaluation_tasks(1, 2), other.problem.evaluation_tasks(1, 2)),
    ):
        assert there.support.rounds > here.support.rounds > 1
        assert all(same(here.support, there.support, k) for k in range(here.support.rounds))
        assert same(here.query, there.query)
    assert not torch.equal(one.batch(2).support.at(0).x, one.batch(3).support.at(0).x)


def test_parts_of_a_batch_have_the_gradient_of_the_whole() -> None:
    made = settle(config("maml", dtype="float64"))
    meta, context = made.init(), made.context(0)
    whole = made.algorithm.meta_gradient(context, meta).gradients["init"]
    halves = [
        made.algorithm.meta_gradient(context[part], meta).gradients["init"]
        for part in (slice(0, 2), slice(2, 4))
    ]
    torch.testing.assert_close(sum(halves) / 2, whole, rtol=1e-9, atol=1e-12)


def test_a_run_is_judged_by_its_return_everywhere(tmp_path: Path) -> None:
    folder = train(config("maml"), tmp_path)
    record = open_run(folder)
    judged = primary_of(record.evaluations[-1].curves)
    assert judged is not None
    assert (judged.id, judged.better) == ("query_return", "larger")
    assert usual_view([record]).measure == "eval_query_return"
    (row,) = csv.DictReader(io.StringIO(summary_csv([record])))
    last = record.evaluations[-1]
    assert float(row["query_return"]) == pytest.approx(last.at("query_return"))
    assert float(row["post_query_loss"]) == pytest.approx(-last.at("query_return"))
    found = judge(folder, EvaluationProtocol(tasks=3, steps=5))
    assert found.measure == "query_return"
    assert found.measure_text() == "query return"
    (first, *_) = csv.DictReader(io.StringIO(evaluations_csv([found])))
    assert float(first["query_return"]) == pytest.approx(-float(first["post_query_loss"]))
    factors = robustness(folder, EvaluationProtocol(tasks=3))
    assert factors.measure == "query_return"
    assert np.isfinite(factors.mean).all()
    # One by one no trajectory sees the others: each has its own return.
    alone = judge(folder, EvaluationProtocol(tasks=3, together=False))
    together = judge(folder, EvaluationProtocol(tasks=3))
    np.testing.assert_allclose(
        alone.per_task["query_return"], together.per_task["query_return"], rtol=1e-5
    )


def test_steps_beyond_the_trained_ones_are_scaled_in_evaluations_alone() -> None:
    half, whole = (
        settle(config("maml", dtype="float64", shared={"later_scale": scale}))
        for scale in (0.5, None)
    )
    meta = half.init()
    points = []
    for made in (half, whole):
        tasks = made.prepare(made.problem.evaluation_tasks(0, 2))
        states = made.algorithm.adapt(made.adapting(tasks, 2), meta)
        points.append([state.weights for state in states])
    assert torch.equal(points[0][1], points[1][1])
    moved = [after[2] - after[1] for after in points]
    torch.testing.assert_close(2 * moved[0], moved[1], rtol=1e-9, atol=1e-12)
    assert torch.equal(
        half.algorithm.meta_gradient(half.context(0), meta).gradients["init"],
        whole.algorithm.meta_gradient(whole.context(0), meta).gradients["init"],
    )


@pytest.mark.parametrize(
    ("problem", "options", "key"),
    [
        ("navigation", {"horizon": 1_000_000}, "navigation.horizon"),
        ("navigation", {"eval_horizon": 1_000_000}, "navigation.eval_horizon"),
        ("chain", {"horizon": 1_000_000, "states": 20, "actions": 10}, "chain.horizon"),
    ],
)
def test_a_horizon_that_does_not_fit_into_memory_is_refused_in_one_sentence(
    problem: str, options: dict[str, Any], key: str
) -> None:
    with pytest.raises(OptionError) as refused:
        settle(config("maml", problem, problem_options=options, memory_gib=0.05))
    assert refused.value.field == key
    sentence = str(refused.value)
    assert sentence.startswith(f"{key} = 1000000 needs about ")
    assert sentence.endswith(
        "more than the budget of 0.05 GiB: use a shorter horizon, or fewer shots or tasks per "
        "meta-batch."
    )


def test_compiling_every_step_of_a_trajectory_is_refused() -> None:
    with pytest.raises(OptionError, match="use auto or eager") as refused:
        settle(config("maml", engine="compiled"))
    assert refused.value.field == "engine"


def test_the_command_line_refuses_methods_that_cannot_act(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out", "--steps", "1")
    for name, reason in (
        ("imaml", "iMAML solves a fixed inner objective, and the navigation problem has none."),
        ("protonet", "ProtoNet tells classes apart, and the navigation problem has none."),
    ):
        said = refusal("compare", "--problem", "navigation", "--algorithms", name, *out)
        assert said == reason


def test_the_command_line_tells_returns(tmp_path: Path) -> None:
    small = [f"navigation.{key}={value}" for key, value in SMALL["navigation"].items()]
    small += ["meta_batch=2", "eval_tasks=3", "shots=2", "query_shots=2"]
    settings = [word for one in small for word in ("--set", one)]
    outcome = metaviz(
        *("compare", "--problem", "navigation", "--algorithms", "maml,joint", "--steps", "2"),
        *("--out", tmp_path / "out", *settings),
    )
    assert outcome.code == 0, outcome.error
    assert "return before" in outcome.out
    assert "query return" in outcome.out
    assert "accuracy" not in outcome.out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"training.png", "inner.png", "summary.csv"} <= names
    head, *_ = (tmp_path / "out" / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert "post_query_return" in head.split(",")
