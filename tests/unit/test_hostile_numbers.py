"""Numbers of a run that cannot be true: the run is told as damaged, or the number is unknown."""

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metaviz.runs.model.arrays import pack_arrays
from metaviz.runs.model.robustness import Robustness, store_robustness, stored_robustness
from metaviz.runs.storage.store import StoreError, open_last, open_run
from metaviz.runs.storage.tail import Follower
from tests.unit.command_line import metaviz
from tests.unit.test_foreign import stored_run


def changed(folder: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(folder / "metrics.db")) as database:
        database.execute(statement, values)
        database.commit()


CURVES = {"query_loss": np.ones(3)}
IMPOSSIBLE = [
    ("UPDATE steps SET step = 9223372036854775807 WHERE step = 10",),
    ("UPDATE steps SET step = 20000000 WHERE step = 10",),
    ("UPDATE steps SET seconds = -1e300",),
    ("UPDATE steps SET seconds = 1e300",),
    ("UPDATE steps SET gradient_evaluations = -5",),
    ("UPDATE steps SET hessian_vector_products = -1",),
    ("UPDATE steps SET peak_memory_mb = -1e9",),
    ("UPDATE steps SET meta_gradient_norm = -0.5",),
    ("UPDATE steps SET post_query_accuracy = -0.5",),
    ("UPDATE evaluations SET step = 9223372036854775807 WHERE step = 10",),
    ("UPDATE evaluations SET tasks = -5",),
    ("UPDATE evaluations SET tasks = 9223372036854775807",),
    ("UPDATE evaluations SET trained_steps = -1",),
    ("UPDATE evaluations SET curves = ?", pack_arrays(CURVES | {"query_accuracy": np.full(3, 7)})),
    ("UPDATE evaluations SET curves = ?", pack_arrays(CURVES | {"Query loss!": np.ones(3)})),
]


@pytest.mark.parametrize("change", IMPOSSIBLE, ids=lambda change: change[0][7:])
def test_a_run_with_a_number_that_cannot_be_true_is_damaged(
    change: tuple[Any, ...], tmp_path: Path
) -> None:
    healthy, folder = stored_run(tmp_path), stored_run(tmp_path)
    changed(folder, *change)
    for read in (open_run, open_last):
        with pytest.raises(StoreError, match="is not a readable run: "):
            read(folder)
    for command in (("runs", "--in", tmp_path), ("list", "--runs", tmp_path)):
        outcome = metaviz(*command)
        assert outcome.code == 0
        assert f"{folder} is not a readable run: " in outcome.error
        assert "done" in outcome.out
    assert len(open_run(healthy)) == 10


@pytest.mark.parametrize("table", ["steps", "evaluations"])
def test_a_number_before_the_last_that_cannot_be_true_is_damage(table: str, tmp_path: Path) -> None:
    folder = stored_run(tmp_path)
    changed(folder, f"UPDATE {table} SET step = -3 WHERE step < 2")
    with pytest.raises(StoreError, match="step = -3 is not from 0 to"):
        open_run(folder)


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("notes", (-5, "info", "x")),
        ("notes", (2**62, "info", "x")),
        ("pictures", (-5, pack_arrays({}))),
    ],
)
def test_events_at_steps_that_cannot_be_are_damage(
    table: str, values: tuple[Any, ...], tmp_path: Path
) -> None:
    folder = stored_run(tmp_path)
    changed(folder, f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", *values)
    with pytest.raises(StoreError, match="step = "):
        open_run(folder)


def test_a_divergence_at_a_step_that_cannot_be_is_damage(tmp_path: Path) -> None:
    folder = stored_run(tmp_path)
    told = {"quantity": "loss", "step": -4, "task": None, "remedies": []}
    changed(folder, "INSERT OR REPLACE INTO about VALUES ('divergence', ?)", json.dumps(told))
    with pytest.raises(StoreError, match="step = -4"):
        open_run(folder)


def test_what_a_run_adds_is_checked_as_what_it_had(tmp_path: Path) -> None:
    folder = stored_run(tmp_path)
    record = open_run(folder)
    changed(folder, "UPDATE about SET value = 'running' WHERE key = 'state'")
    names = "step, seconds, inner_support_loss, inner_gradient_norm"
    changed(folder, f"INSERT INTO steps ({names}) VALUES (11, -1e300, x'', x'')")
    refused = pytest.raises(StoreError, match="seconds = -1e")
    with closing(Follower(folder, record)) as follower, refused:
        follower.poll()


@pytest.mark.parametrize(
    "line", ["meta_batch = -5", "ways = -3", f"shots = {2**62}", "eval_tasks = 0", "outer_lr = nan"]
)
def test_a_setting_that_cannot_be_is_damage(line: str, tmp_path: Path) -> None:
    folder = stored_run(tmp_path)
    about = folder / "run.toml"
    text = about.read_text()
    assert "inner_lr = 0.1" in text
    about.write_text(text.replace("inner_lr = 0.1", f"inner_lr = 0.1\n{line}"))
    name = line.partition(" ")[0]
    with pytest.raises(StoreError, match=f"shared.{name} = .* is not possible"):
        open_run(folder)


def test_unusual_settings_are_read(tmp_path: Path) -> None:
    folder = stored_run(tmp_path)
    about = folder / "run.toml"
    lines = "inner_lr = 0.1\nouter_lr = 1e30\nmeta_batch = 10000\nclip_norm = 1e9"
    about.write_text(about.read_text().replace("inner_lr = 0.1", lines))
    assert open_run(folder).config["shared"]["outer_lr"] == 1e30


@pytest.mark.parametrize("when", [2**62, -(2**40), 10**11, 10**10])
def test_a_time_that_cannot_be_is_unknown(when: int, tmp_path: Path) -> None:
    folder = stored_run(tmp_path / "runs")
    try:
        os.utime(folder / "run.toml", (when, when))
    except (OverflowError, OSError):
        pytest.skip("this file system keeps no such time")
    outcome = metaviz("runs", "--in", tmp_path, "--columns", "id,started", "--csv", tmp_path / "t")
    assert outcome.code == 0
    assert (tmp_path / "t").read_text().splitlines()[1:] == [f"{folder.name},"]


def a_map(change: Callable[[dict[str, Any]], None]) -> Robustness:
    values: dict[str, Any] = {
        "run": "x",
        "label": "x",
        "step": 3,
        "k": 2,
        "rate": 0.1,
        "shares_rate": True,
        "factors": (1.0, 2.0),
        "protocol": {"tasks": 4, "split": "test"},
        "dataset": "",
        "measure": "query_accuracy",
        "mean": np.full((2, 4), 0.5),
        "half_width": np.zeros((2, 4)),
    }
    change(values)
    return Robustness(**values)


@pytest.mark.parametrize(
    "change", [{"step": -1}, {"step": 2**62}, {"mean": np.full((2, 4), 3.0)}, {}]
)
def test_a_map_with_numbers_that_cannot_be_is_left_out(
    change: dict[str, Any], tmp_path: Path
) -> None:
    store_robustness(a_map(lambda values: values.update(change)), tmp_path)
    assert (stored_robustness(tmp_path) is None) == bool(change)
