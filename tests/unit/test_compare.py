"""`metaviz compare`: what it writes, and that its numbers can be repeated."""

import csv
import errno
import itertools
import os
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.runs.model.events import Event
from metaviz.runs.storage.store import RunWriter, list_runs, open_run
from tests.unit.command_line import compare, header, metaviz, numbers, rows

METRICS = (
    "run,algorithm,problem,seed,step,seconds,gradient_evaluations,hessian_vector_products,"
    "pre_support_loss,post_support_loss,pre_query_loss,post_query_loss,pre_query_accuracy,"
    "post_query_accuracy,meta_gradient_norm,pre_support_accuracy,post_support_accuracy,"
    "inner_residual,solver_residual,peak_memory_mb"
)
INNER = (
    "run,algorithm,problem,seed,step,k,support_loss,query_loss,gradient_norm,query_accuracy,"
    "support_loss_ci95,query_loss_ci95,gradient_norm_ci95,query_accuracy_ci95,tasks"
)
FOUR = "maml,fomaml,reptile,joint"


def test_compare_writes_runs_tables_and_figures(tmp_path: Path) -> None:
    compare(tmp_path, "--algorithms", "maml,reptile", "--seeds", "0,1", "--steps", "3")
    assert header(tmp_path / "metrics.csv") == METRICS
    assert header(tmp_path / "inner.csv") == INNER
    folders = list_runs(tmp_path / "runs")
    assert len(folders) == 4
    for folder in folders:
        assert {"run.toml", "metrics.db", CHECKPOINT} <= {file.name for file in folder.iterdir()}
    metrics = rows(tmp_path / "metrics.csv")
    assert [(r["algorithm"], r["seed"], r["step"]) for r in metrics] == [
        (name, seed, step) for seed in "01" for name in ("maml", "reptile") for step in "123"
    ]
    inner = rows(tmp_path / "inner.csv")
    assert {(row["step"], row["k"]) for row in inner} == {(s, k) for s in "0123" for k in "012"}
    assert {row["run"] for row in inner} == {folder.name for folder in folders}
    for name in ("training.png", "inner.png"):
        with Image.open(tmp_path / name) as image:
            image.load()
            assert min(image.size) > 300


def test_compare_writes_numbers_so_that_they_read_back_exactly(tmp_path: Path) -> None:
    compare(tmp_path, "--steps", "2", "--dtype", "float64")
    record = open_run(list_runs(tmp_path / "runs")[0])
    for row, loss, count in zip(
        rows(tmp_path / "metrics.csv"),
        record.column("post_query_loss"),
        record.column("gradient_evaluations"),
        strict=True,
    ):
        assert row["post_query_loss"] == repr(float(loss))
        assert row["gradient_evaluations"] == str(int(count))
        assert row["pre_query_accuracy"] == ""


def test_summary_has_one_row_per_run_with_result_and_every_hyperparameter(tmp_path: Path) -> None:
    compare(
        tmp_path,
        *("--algorithms", "maml,imaml", "--steps", "2"),
        *("--set", "imaml.prox=3", "--set", "imaml.inner_steps=4", "--set", "sinusoid.noise=0.5"),
    )
    maml, imaml = rows(tmp_path / "summary.csv")
    assert (maml["algorithm"], maml["state"], maml["steps_done"]) == ("maml", "done", "2")
    assert (maml["eval_tasks_done"], maml["eval_k"], imaml["eval_k"]) == ("5", "2", "4")
    assert (imaml["imaml.prox"], maml["imaml.prox"]) == ("3.0", "")
    assert (maml["sinusoid.noise"], maml["sinusoid.hidden"]) == ("0.5", "4")
    assert (maml["inner_lr"], maml["meta_batch"], maml["dtype"]) == ("0.01", "3", "float32")
    known = metaviz("options", "shared").out
    for name in ("clip_norm", "outer_lr", "eval_every", "ways", "imaml.cg_steps", "maml.memory"):
        assert name in maml
        assert name in known or "." in name
    last = [r for r in rows(tmp_path / "inner.csv") if r["algorithm"] == "maml"][-1]
    assert maml["post_query_loss"] == last["query_loss"]
    assert maml["eval_step"] == last["step"] == "2"
    assert float(maml["post_query_loss_ci95"]) > 0
    assert float(maml["seconds"]) > 0


def test_same_comparison_twice_gives_the_same_bits(tmp_path: Path) -> None:
    arguments = ("--algorithms", "all", "--steps", "2", "--seeds", "3")
    compare(tmp_path / "a", *arguments)
    compare(tmp_path / "b", *arguments)
    first = numbers(tmp_path / "a")
    assert len(first) > 40
    assert first == numbers(tmp_path / "b")


def test_numbers_of_a_run_do_not_depend_on_the_runs_beside_it(tmp_path: Path) -> None:
    compare(tmp_path / "alone", "--algorithms", "reptile", "--steps", "3", "--seeds", "1")
    compare(tmp_path / "many", "--algorithms", FOUR, "--steps", "3", "--seeds", "0,1")
    alone = numbers(tmp_path / "alone")
    assert alone == [row for row in numbers(tmp_path / "many") if row[:3] == alone[0][:3]]


def test_algorithms_of_one_seed_meet_the_same_tasks(tmp_path: Path) -> None:
    compare(tmp_path, "--algorithms", FOUR, "--steps", "2", "--seeds", "0,1")
    first = [row for row in rows(tmp_path / "metrics.csv") if row["step"] == "1"]
    for seed in "01":
        values = [row["pre_query_loss"] for row in first if row["seed"] == seed]
        assert len(values) == 4
        assert len(set(values)) == 1
    assert len({row["pre_query_loss"] for row in first}) == 2, "seeds must differ"
    start = [row for row in rows(tmp_path / "inner.csv") if row["step"] == row["k"] == "0"]
    assert len({(row["seed"], row["query_loss"]) for row in start}) == 2


def test_methods_with_and_without_an_inner_loop_are_compared(tmp_path: Path) -> None:
    outcome = metaviz(
        *("compare", "--problem", "strokes", "--algorithms", "maml,protonet", "--steps", "2"),
        *("--set", "strokes.channels=2", "--set", "query_shots=2", "--set", "eval_tasks=3"),
        *("--set", "meta_batch=2", "--set", "reading_every=1", "--out", tmp_path),
    )
    assert outcome.code == 0, outcome.error
    maml, protonet = rows(tmp_path / "summary.csv")
    assert (maml["state"], protonet["state"]) == ("done", "done")
    assert (maml["eval_k"], protonet["eval_k"]) == ("5", "")
    inner = rows(tmp_path / "inner.csv")
    steps = {
        name: {r["k"] for r in inner if r["algorithm"] == name} for name in ("maml", "protonet")
    }
    assert steps == {"maml": set("012345"), "protonet": {""}}
    (last,) = [r for r in inner if r["algorithm"] == "protonet" and r["step"] == "2"]
    assert (last["gradient_norm"], protonet["post_query_loss"]) == ("", last["query_loss"])
    metrics = [row for row in rows(tmp_path / "metrics.csv") if row["algorithm"] == "protonet"]
    assert [row["gradient_evaluations"] for row in metrics] == ["2", "4"]
    assert {row["pre_query_loss"] for row in metrics} == {""}
    for name in ("training.png", "inner.png", "convergence.png"):
        assert (tmp_path / name).stat().st_size > 5000


def test_written_comparison_gives_the_same_numbers_again(tmp_path: Path) -> None:
    compare(
        tmp_path / "first",
        *("--algorithms", "imaml,penalty", "--seeds", "0,4", "--steps", "2"),
        *("--set", "clip_norm=0.5", "--set", "imaml.preset=paper", "--set", "imaml.inner_lr="),
        *("--set", "penalty.weight=0.3", "--set", "sinusoid.sign=plus", "--dtype", "float64"),
    )
    outcome = metaviz(
        *("compare", "--config", tmp_path / "first" / "comparison.toml"),
        *("--out", tmp_path / "second"),
    )
    assert outcome.code == 0, outcome.error
    assert numbers(tmp_path / "first") == numbers(tmp_path / "second")
    first, second = (rows(tmp_path / name / "summary.csv") for name in ("first", "second"))
    for row in (*first, *second):
        del row["run"], row["seconds"]
    assert first == second
    again = tmp_path / "second" / "comparison.toml"
    assert again.read_bytes() == (tmp_path / "first" / "comparison.toml").read_bytes()


def test_command_line_overrides_config(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('algorithms = ["maml"]\nsteps = 5\n[shared]\ninner_lr = 0.5\n')
    compare(tmp_path / "out", "--config", config, "--steps", "1", "--set", "inner_lr=0.25")
    (row,) = rows(tmp_path / "out" / "summary.csv")
    assert (row["algorithm"], row["steps"], row["inner_lr"]) == ("maml", "1", "0.25")


def test_preset_gives_way_to_what_is_set(tmp_path: Path) -> None:
    settings = ("--set", "imaml.preset=paper", "--set", "imaml.cg_steps=3")
    compare(tmp_path, "--algorithms", "imaml", "--steps", "1", *settings)
    (row,) = rows(tmp_path / "summary.csv")
    assert (row["imaml.operator"], row["imaml.cg_steps"]) == ("hessian", "3")


def test_run_that_diverges_says_where_and_others_still_train(tmp_path: Path) -> None:
    settings = ("--set", "maml.inner_lr=1000", "--set", "maml.inner_steps=30")
    outcome = compare(tmp_path, "--algorithms", "maml,joint", "--steps", "2", *settings, code=1)
    maml, joint = rows(tmp_path / "summary.csv")
    assert (maml["state"], maml["steps_done"]) == ("diverged", "0")
    assert (joint["state"], joint["steps_done"]) == ("done", "2")
    said = [line for line in outcome.error.splitlines() if "diverged" in line]
    assert len(said) == 1
    assert "The support loss after adaptation of task 0 is not finite at step 1." in said[0]
    assert "Warning" not in outcome.error
    folder = next(f for f in list_runs(tmp_path / "runs") if f.name.startswith("maml"))
    assert open_run(folder).message.startswith("The support loss after adaptation of task 0 ")
    assert load_checkpoint(folder / CHECKPOINT)["step"] == 0


def test_diverged_run_keeps_the_weights_of_its_last_evaluation(tmp_path: Path) -> None:
    settings = ("--set", "mirror.geometry_lr=30", "--set", "eval_every=1000")
    compare(tmp_path, "--algorithms", "mirror", "--steps", "6", *settings, code=1)
    (folder,) = list_runs(tmp_path / "runs")
    assert open_run(folder).state == "diverged"
    kept = load_checkpoint(folder / CHECKPOINT)
    assert kept["step"] == 0
    assert float(kept["meta"]["flow"].abs().max()) <= 1


def test_ecml_that_is_no_longer_finite_has_diverged(tmp_path: Path) -> None:
    settings = ("--set", "outer_lr=1000", "--set", "meta_batch=2", "--set", "ecml.inner_lr=1")
    outcome = compare(tmp_path, "--algorithms", "ecml", "--steps", "20", *settings, code=1)
    assert "ecml seed 0 diverged: " in outcome.error
    assert "linalg" not in outcome.error


def test_run_with_shared_step_size_of_1000_diverges(tmp_path: Path) -> None:
    settings = ("--set", "inner_lr=1000", "--set", "inner_steps=30")
    outcome = compare(tmp_path, "--steps", "2", *settings, code=1)
    assert "maml seed 0 diverged: The " in outcome.error
    with Image.open(tmp_path / "inner.png") as image:
        image.load()


def test_shared_step_size_may_be_a_whole_number(tmp_path: Path) -> None:
    compare(tmp_path, "--steps", "1", "--set", "outer_lr=1", "--set", "inner_steps=2.0")
    (row,) = rows(tmp_path / "summary.csv")
    assert (row["outer_lr"], row["inner_steps"]) == ("1.0", "2")


@pytest.mark.parametrize("name", ["=Überträge 漢字 'ünï' [x]", "bad_\udcff"])
def test_output_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    compare(tmp_path / name, "--steps", "1")
    (row,) = rows(tmp_path / name / "metrics.csv")
    assert row["step"] == "1"
    assert metaviz("list", "--runs", tmp_path / name).code == 0
    assert metaviz("export", tmp_path / name, "--out", tmp_path / "e").code == 0


def test_second_comparison_in_the_same_folder_keeps_the_runs_of_the_first(tmp_path: Path) -> None:
    compare(tmp_path, "--steps", "1")
    compare(tmp_path, "--steps", "2", "--seeds", "1")
    assert len(list_runs(tmp_path / "runs")) == 2
    assert {row["seed"] for row in rows(tmp_path / "metrics.csv")} == {"1"}


def test_run_toml_says_what_ran_where(tmp_path: Path) -> None:
    compare(tmp_path, "--steps", "1", "--seeds", "7")
    (folder,) = list_runs(tmp_path / "runs")
    about = tomllib.loads((folder / "run.toml").read_text(encoding="utf-8"))
    assert about["run"]["id"] == folder.name
    assert (about["run"]["seed"], about["run"]["shared"]["eval_tasks"]) == (7, 5)
    assert {"metaviz", "python", "torch", "device", "command"} <= set(about["environment"])
    config = open_run(folder).config
    assert config["shared"]["clip_norm"] is None
    assert config["options"]["inner_lr"] is None


def test_quadratic_comparison_with_negative_losses_is_drawn(tmp_path: Path) -> None:
    outcome = metaviz(
        *("compare", "--problem", "quadratic", "--algorithms", "maml,imaml", "--steps", "3"),
        *("--set", "eval_tasks=5", "--set", "quadratic.spread=1", "--out", tmp_path),
    )
    assert outcome.code == 0, outcome.error
    assert float(rows(tmp_path / "summary.csv")[0]["post_query_loss"]) < 0
    assert (tmp_path / "inner.png").stat().st_size > 5000


@contextmanager
def long_run(out: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a comparison that takes hours, and wait until its first run evaluated at step 150.

    A Neumann series under a weak pull diverges, which the run says at every evaluation.
    """
    settings = (
        *("neumann.variant=implicit", "neumann.prox=0.01", "neumann.terms=4"),
        *("neumann.inner_steps=1", "outer_lr=1e-6", "eval_every=150"),
    )
    arguments = [
        *("compare", "--problem", "quadratic", "--algorithms", "neumann,maml"),
        *("--steps", "5000000", "--out", str(out), "--set", "eval_tasks=5"),
        *(part for setting in settings for part in ("--set", setting)),
    ]
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from metaviz.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, *arguments]
    folder = Path(__file__).parents[2]
    with subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    ) as process:
        assert process.stderr is not None
        try:
            lines = []
            for line in process.stderr:
                lines.append(line)
                if "step 150" in line:
                    break
            else:
                pytest.fail(f"the run ended early: {''.join(lines)}")
            yield process
        finally:
            process.kill()


def test_ctrl_c_keeps_what_was_trained(tmp_path: Path) -> None:
    with long_run(tmp_path) as process:
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped; what was trained until now is kept." in error
    assert "Traceback" not in error
    (line,) = [line for line in error.splitlines() if line.startswith("To go on: ")]
    words = shlex.split(line.removeprefix("To go on: "))
    assert words == ["metaviz", "resume", str(tmp_path / "runs")]
    neumann, maml = rows(tmp_path / "summary.csv")
    assert (neumann["state"], maml["state"], maml["steps_done"]) == ("stopped", "stopped", "0")
    done = int(neumann["steps_done"])
    assert done >= 150
    steps = [int(row["step"]) for row in rows(tmp_path / "metrics.csv")]
    assert steps == list(range(1, done + 1))
    folder = next(f for f in list_runs(tmp_path / "runs") if f.name.startswith("neumann"))
    assert load_checkpoint(folder / CHECKPOINT)["step"] == done
    assert (tmp_path / "training.png").exists()


def test_kill_leaves_readable_runs_that_are_interrupted(tmp_path: Path) -> None:
    with long_run(tmp_path) as process:
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    records = [open_run(folder) for folder in list_runs(tmp_path / "runs")]
    assert [record.state for record in records] == ["interrupted"] * 2
    neumann = next(record for record in records if record.algorithm == "neumann")
    assert len(neumann) >= 50
    assert neumann.column("step").tolist() == list(range(1, len(neumann) + 1))
    assert metaviz("export", tmp_path, "--out", tmp_path / "tables").code == 0
    with (tmp_path / "tables" / "metrics.csv").open(newline="") as stream:
        assert len(list(csv.reader(stream))) == len(neumann) + 1


def test_a_full_disk_while_training_is_a_failed_run_and_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = RunWriter.append, itertools.count()

    def append(writer: RunWriter, event: Event) -> None:
        if next(calls) == 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(writer, event)

    monkeypatch.setattr(RunWriter, "append", append)
    settings = ("--set", "eval_every=100")
    outcome = metaviz("compare", "--steps", "20", *settings, "--out", tmp_path)
    assert outcome.code == 1
    assert "No space left on device" in outcome.error
    assert "Traceback" not in outcome.error
    record = open_run(list_runs(tmp_path / "runs")[0])
    assert record.step >= 4
