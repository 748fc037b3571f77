"""`metaviz search`: a tiny search is worked off, told, broken off and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from metaviz.config.catalogue import shipped_catalogue
from metaviz.config.search import read_plan
from metaviz.paths import runs_dir
from metaviz.runs.analysis.search import search_charts
from metaviz.runs.storage.queue import Queue
from metaviz.runs.storage.searches import advance, read_progress, write_search
from metaviz.runs.storage.store import list_runs, open_run
from metaviz.training.queue_worker import Orders, QueueWorker
from metaviz.training.search.steps import parameter_count
from metaviz.training.search.surrogate import rank
from tests.unit.command_line import metaviz, refusal

ROOT = Path(__file__).parents[2]
CATALOGUE = shipped_catalogue()
PATIENCE = 90
SEARCHED = {"all", "top", "random"}
TINY = """
name = "tiny"
[search]
operations = "tanh,id"
blocks = 2
beam = 2
controls = 1
final_steps = 4
final_seeds = "101-102"
final_tasks = 4
[comparison]
problem = "sinusoid"
algorithms = ["fomaml"]
steps = 3
device = "cpu"
[comparison.shared]
inner_steps = 1
meta_batch = 2
eval_tasks = 4
eval_steps = 2
[comparison.problem_options]
hidden = 4
"""
CHILDREN = 8 + 3
"""Two operations on two inputs, twice the identity of one left out, and three usual networks."""


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


def plan_of(path):
    import tomllib

    return read_plan(tomllib.loads(path.read_text(encoding="utf-8")), CATALOGUE)


def never(*_):
    raise AssertionError("nothing is to be ranked")


def begun(home, plan):
    """Queue the first generation, as the window does without torch."""
    write_search(home, plan)
    with closing(Queue(home)) as queue:
        return advance(queue, home, runs_dir(), plan, CATALOGUE, never)


def worked_off(home):
    """Let a worker in this process train all that waits and whatever is queued meanwhile."""
    said = []
    QueueWorker(home, runs_dir(), Orders(), said.append).work()
    return said


def results(home):
    """Return what does not depend on when and where children were trained."""
    progress = read_progress(home, "tiny")
    assert progress is not None
    return [
        (one.number, one.candidates, c.kind, c.label, c.predicted, c.spread, c.score, c.parameters)
        for one in progress.generations
        for c in one.children
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a tiny search finds that nobody breaks off."""
    home = tmp_path_factory.mktemp("whole")
    path = home / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    patch = pytest.MonkeyPatch()
    patch.setenv("METAVIZ_HOME", str(home))
    try:
        begun(home, plan_of(path))
        worked_off(home)
        yield home, results(home)
    finally:
        patch.undo()


def test_the_workers_queue_generation_after_generation(whole):
    home, found = whole
    kinds = [kind for _, _, kind, *_ in found]
    assert kinds == ["all"] * 8 + ["reference"] * 3 + ["top"] * 2 + ["random"] + ["final"] * 6
    assert all(0 < score <= 1 for *_, score, _ in found)
    assert all(size > 0 for *_, size in found)
    assert read_progress(home, "tiny").is_done
    with closing(Queue(home)) as queue:
        entries = queue.entries()
    assert len(entries) == len(found)
    assert {entry.sweep for entry in entries} == {"search tiny"}


def test_scores_are_those_of_the_stored_runs(whole):
    home, _ = whole
    child = read_progress(home, "tiny").generations[0].children[0]
    record = open_run(home / "runs" / child.run)
    loss = record.evaluations[-1].curves["query_loss"][-1]
    assert child.score == pytest.approx(1 / (1 + loss))
    assert record.config["problem_options"]["cell"] == child.cell
    assert record.network["options"]["cell"] == child.cell


def test_a_search_that_is_killed_proposes_the_same_children(whole, home, tiny):
    """Kill -9 of command and worker in the second generation, and `metaviz search resume`."""
    _, expected = whole
    command = [sys.executable, "-m", "metaviz", "search", "run", str(tiny), "--workers", "1"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            pids = _wait_for_children(home, process, CHILDREN + 1)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        finally:
            process.kill()
    done = metaviz("search", "resume", "tiny", "--workers", "1")
    assert done.code == 0, done.error
    assert results(home) == expected
    assert len(list_runs(runs_dir())) == len(expected)
    assert "done, 20 trained" in done.out


def _wait_for_children(home, process, count):
    """Return the ids of the workers' processes as soon as so many children are over."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        assert process.poll() is None, "the command ended by itself"
        if (home / "queue.db").exists():
            with closing(Queue(home)) as queue:
                if queue.counts()["done"] >= count:
                    rows = queue._database.execute(
                        "SELECT pid FROM entries WHERE state = 'running'"
                    )
                    return [pid for (pid,) in rows.fetchall()]
        time.sleep(0.02)
    raise AssertionError("the search took too long")


def test_what_is_stored_is_not_trained_again(whole, monkeypatch):
    home, expected = whole
    monkeypatch.setenv("METAVIZ_HOME", str(home))
    with closing(Queue(home)) as queue:
        cleared = queue.entries()
        queue.clear()
        plan = read_plan({**_stored(home)}, CATALOGUE)
        progress = advance(queue, home, runs_dir(), plan, CATALOGUE, rank, parameter_count)
        assert progress.is_done
        assert queue.entries() == []
    assert len(cleared) == len(expected)
    assert results(home) == expected


def _stored(home):
    import tomllib

    return tomllib.loads((home / "searches" / "tiny" / "search.toml").read_text(encoding="utf-8"))


def test_a_child_that_fails_counts_as_nothing_and_the_search_goes_on(home, tiny):
    plan = plan_of(tiny)
    begun(home, plan)
    with closing(Queue(home)) as queue:
        first = queue.claim("worker")
        queue.mark(first.id, "diverged", "It diverged.")
    worked_off(home)
    progress = read_progress(home, "tiny")
    assert progress.is_done
    child = progress.generations[0].children[0]
    assert (child.state, child.score) == ("diverged", 0.0)
    told = metaviz("search", "status", "tiny")
    assert f"{child.label} diverged: counts as 0." in told.out


def test_a_run_that_is_deleted_is_proposed_again(home, tiny):
    import shutil

    plan = plan_of(tiny)
    begun(home, plan)
    worked_off(home)
    child = read_progress(home, "tiny").generations[0].children[3]
    shutil.rmtree(runs_dir() / child.run)
    with closing(Queue(home)) as queue:
        before = len(queue.entries())
        progress = advance(queue, home, runs_dir(), plan, CATALOGUE, rank)
        assert not progress.is_done
        added = queue.entries()[before:]
    assert [entry.config["problem_options"]["cell"] for entry in added] == [child.cell]


def test_two_that_go_on_at_once_queue_a_generation_once(home, tiny):
    plan = plan_of(tiny)
    begun(home, plan)
    with closing(Queue(home)) as one, closing(Queue(home)) as other:
        assert len(one.entries()) == CHILDREN
        assert other.add([{"problem": "sinusoid"}], plan.sweep, after=CHILDREN - 1) == []
        assert len(one.entries()) == CHILDREN


def test_status_tells_predictions_apart_and_prints_json(whole, monkeypatch):
    home, _ = whole
    monkeypatch.setenv("METAVIZ_HOME", str(home))
    told = metaviz("search", "status", "tiny")
    assert told.code == 0, told.error
    for text in ("Auto-Meta (reconstructed)", "top K: Spearman", "random controls", "MLP-4"):
        assert text in told.out
    values = json.loads(metaviz("search", "status", "--json").out)
    assert values["done"] is True
    assert values["surrogate"]["top"]["count"] == 2
    assert values["surrogate"]["random"]["count"] == 1
    best = values["headline"][0]
    assert best["network"] == "best cell"
    assert best["mean"] == pytest.approx(sum(best["scores"]) / 2)


def test_status_draws_what_was_measured(whole, monkeypatch, tmp_path):
    home, found = whole
    monkeypatch.setenv("METAVIZ_HOME", str(home))
    files = metaviz("search", "status", "--figures", tmp_path / "out").out.splitlines()[-5:]
    charts = search_charts(read_progress(home, "tiny"))
    assert [Path(file).stem for file in files] == [chart.id for chart in charts]
    assert all(Path(file).stat().st_size > 5000 for file in files)
    progress, surrogate, parameters, headline, cell = charts
    scores = [score for *_, kind, _, _, _, score, _ in found if kind in SEARCHED]
    drawn = {(x, y) for one in progress.series[:-1] for x, y in zip(one.x, one.y, strict=True)}
    assert drawn == set(enumerate(scores, 1))
    assert progress.series[-1].y.tolist() == np.maximum.accumulate(scores).tolist()
    told = [(p, score) for *_, kind, _, p, _, score, _ in found if kind in {"top", "random"}]
    pairs = [(x, y) for one in surrogate.series[:-1] for x, y in zip(one.x, one.y, strict=True)]
    np.testing.assert_allclose(sorted(pairs), sorted(told))
    sizes = [size for *_, kind, _, _, _, _, size in found if kind in SEARCHED]
    assert sorted(parameters.series[0].x) == sorted(sizes)
    final = [score for *_, kind, _, _, _, score, _ in found if kind == "final"]
    assert sorted(y for one in headline.series[::2] for y in one.y) == sorted(final)
    best = max((one for one in found if one[2] in SEARCHED), key=lambda one: one[6])
    assert cell.title == best[3]
    assert {*cell.names} >= {"from before", "from 2 before", "+"}


def test_searches_that_cannot_be_are_refused(home, tiny):
    assert "There is no search yet" in refusal("search", "status")
    begun(home, plan_of(tiny))
    assert "there are tiny" in refusal("search", "resume", "other")
    assert "with other settings" in refusal("search", "run", tiny, "--set", "search.beam=3")
    assert "search.beam = 0" in refusal("search", "run", tiny, "--set", "search.beam=0")
    wrong = refusal("search", "run", tiny, "--set", "sinusoid.cell=0.conv3+1.id")
    assert "is no cell" in wrong
    assert "no shipped search" in refusal("search", "run", "--preset", "nothing")
    assert "Name a file" in metaviz("search", "run").error
