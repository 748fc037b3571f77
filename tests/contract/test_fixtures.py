"""What 0.1 stored opens, follows, resumes, repeats and exports with the same numbers."""

import csv
import json
import os
import re
import shutil
import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.contract.conftest import Stored, Surveyed, golden
from tests.fixtures import doors, specs
from tests.fixtures.freeze import FIXTURES, freeze
from tests.fixtures.survey import command_words, figure_names, finish, found_by, said, survey

CLOSE = 1e-6
"""Relative difference of numbers that another machine may round otherwise."""
SINGLE = 1e-4
"""The same for runs in single precision, whose meta-steps magnify it."""
KEYS = tuple(json.loads((FIXTURES / "runs.json").read_text(encoding="utf-8")))
BITS: dict[str, Any] = golden("bits.json")
LIGHT = tuple(key for key in BITS if key not in specs.HEAVY)
REPEATED = ("maml-float64", "mirror-bounded", "metasgd-tensor", "metakfo-fixed", "maml-unread",
            "fine-tuned", "maml-strokes", "mtnet-strokes", "imaml-quadratic", "reptile-serial",
            "reptile-minibatches", "ecml", "maml-images", "maml-omniglot", "amended")  # fmt: skip
STATES = {
    "stopped": "stopped", "aborted": "aborted", "failed": "failed", "diverged": "diverged",
    **{f"interrupted-{kind}": "interrupted" for kind in specs.INTERRUPTED},
}  # fmt: skip
MEASURED = {"seconds", "peak_memory_mb"}


def copied(stored: Stored, root: Path, *keys: str) -> Path:
    """Copy runs, which a test is about to change; return the folder of the first."""
    for key in keys:
        shutil.copytree(stored.folders[key], root / stored.ids[key])
    return root / stored.ids[keys[0]]


def numbers(folder: Path) -> dict[str, np.ndarray]:
    """Return all that a run has computed, by where it is stored; times left out."""
    record = doors.open_run(folder)
    with closing(sqlite3.connect(folder / "metrics.db")) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(steps)")]
    found = {
        name: record.column(name)
        for name in columns
        if name not in MEASURED and not name.startswith("inner_")
    } | {"inner_residual": record.column("inner_residual")}
    for one in record.evaluations:
        found |= {f"evaluation {one.step}: {name}": array for name, array in one.curves.items()}
        found |= {f"evaluation {one.step}: {name} of tasks": a for name, a in one.per_task.items()}
    return found


def assert_same_numbers(found: Path, wanted: Path, close: float) -> None:
    """Compare what two runs have computed; a quantity that one lacks altogether is no difference.

    Shapes and steps must be the same.
    """
    mine, theirs = numbers(found), numbers(wanted)
    common = [name for name in theirs if name in mine]
    assert len(common) > 20
    for name in common:
        scale = float(
            np.nanmax(np.abs(theirs[name]), initial=1e-6, where=np.isfinite(theirs[name]))
        )
        np.testing.assert_allclose(
            mine[name], theirs[name], rtol=close, atol=close * scale, err_msg=name
        )


def assert_told(folder: Path) -> None:
    """Assert that a note tells a run of 0.1 that its numbers change."""
    notes = [note.message for note in doors.open_run(folder).notes]
    assert any("0.1" in note or "0.2" in note for note in notes), notes


def rows(path: Path) -> list[dict[str, str]]:
    """Read a table."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the paths of image data in the configurations lead to the fixtures."""
    monkeypatch.chdir(FIXTURES)


@pytest.mark.parametrize("key", KEYS)
def test_a_run_opens(key: str, stored: Stored) -> None:
    record = doors.open_run(stored.folders[key])
    assert record.id == stored.ids[key]
    assert record.state == STATES.get(key, "done")
    assert bool(record.message) == (record.state in {"diverged", "interrupted"})
    assert len(record.evaluations) >= 1
    assert len(record.pictures) == len(record.evaluations)
    if record.state == "done":
        assert record.step == record.total_steps
    doors.RunConfig.model_validate(record.config)


def test_what_came_with_the_runs_is_read(stored: Stored) -> None:
    def record(key: str) -> Any:
        return doors.open_run(stored.folders[key])

    marks = record("maml").marks
    assert (marks.name, marks.star, marks.tags) == ("best", True, ("paper", "draft"))
    assert (marks.color, marks.notes) == ("#AA3377", "on the cluster\n=1+1")
    assert record("fomaml").marks.trashed
    parent = stored.ids["mirror-bounded"]
    assert record("fine-tuned").parent == {"run": parent, "kind": "fine-tune"}
    assert record("repeated").parent == {"run": parent, "kind": "repeat"}
    assert record("repeated").notes[-1].message == f"Bit-identical to {parent} over 3 steps."
    broken = record("diverged").divergence
    assert (broken.quantity, broken.step, broken.task) == ("post_support_loss", 1, 0)
    offered = [remedy.id for remedy in broken.remedies]
    assert offered == ["half-inner", "half-outer", "clip", "skip-task"]
    (amendment,) = record("amended").config["amendments"]
    assert amendment == {
        "step": 0, "shared": {"inner_lr": 1.0}, "options": {}, "skip_step": 0, "skip_task": 0,
    }  # fmt: skip


def test_every_run_is_listed(stored: Stored) -> None:
    text = said(doors, "list", "--runs", stored.root)
    assert all(identity in text for identity in stored.ids.values())


@pytest.mark.parametrize("key", ["maml", "diverged", "amended", "maml-strokes", "mirror-official"])
def test_a_followed_run_comes_to_what_is_opened(key: str, stored: Stored) -> None:
    folder = stored.folders[key]
    whole = doors.open_run(folder)
    record = doors.Record(whole.id, whole.config)
    follower = doors.Follower(folder, record)
    for event in follower.poll().events:
        record.apply(event)
    follower.close()
    assert (record.state, record.message) == (whole.state, whole.message)
    assert [n.message for n in record.notes] == [n.message for n in whole.notes]
    assert record.step == whole.step
    np.testing.assert_array_equal(record.column("post_query_loss"), whole.column("post_query_loss"))
    for kind in ("evaluations", "pictures"):
        assert [e.step for e in getattr(record, kind)] == [e.step for e in getattr(whole, kind)]


@pytest.mark.parametrize("kind", specs.INTERRUPTED)
def test_an_interrupted_run_goes_on_to_the_numbers_of_one_that_was_not(
    kind: str, stored: Stored, tmp_path: Path
) -> None:
    folder = copied(stored, tmp_path, f"interrupted-{kind}")
    assert len(doors.open_run(folder)) == 3
    (session,) = doors.resume_sessions([folder], None)
    finish(session)
    record = doors.open_run(folder)
    assert (record.state, record.step) == ("done", 4)
    assert any("Resumed from the checkpoint of step 2." in note.message for note in record.notes)
    if specs.CHANGED and specs.told_to_change(record.config):
        assert_told(folder)
    else:
        assert_same_numbers(folder, stored.folders[f"whole-{kind}"], CLOSE)


@pytest.mark.parametrize(
    ("key", "steps", "remedy"),
    [
        ("stopped", None, ""),
        ("aborted", None, ""),
        ("failed", None, ""),
        ("maml-unread", 5, ""),
        *(("diverged", None, name) for name in ("half-inner", "half-outer", "clip", "skip-task")),
    ],
)
def test_a_run_that_ended_is_trained_further(
    key: str, steps: int | None, remedy: str, stored: Stored, tmp_path: Path
) -> None:
    folder = copied(stored, tmp_path, key)
    (session,) = doors.resume_sessions([folder], steps, remedy)
    finish(session)
    record = doors.open_run(folder)
    if remedy:
        assert len(record.config["amendments"]) == 1
        assert record.state == "diverged"
    else:
        assert (record.state, record.step) == ("done", steps or 6)


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("key", REPEATED)
def test_a_repeated_run_has_the_same_numbers(key: str, stored: Stored, tmp_path: Path) -> None:
    source = stored.folders[key]
    original = doors.open_run(source)
    folder = finish(doors.repeat_session(source, tmp_path))
    record = doors.open_run(folder)
    assert record.parent == {"run": original.id, "kind": "repeat"}
    if specs.CHANGED and specs.told_to_change(original.config):
        assert_told(folder)
    else:
        single = original.config["dtype"] == "float32"
        assert_same_numbers(folder, source, SINGLE if single else CLOSE)


def test_a_new_run_starts_from_stored_weights(stored: Stored, tmp_path: Path) -> None:
    source = stored.folders["mirror-bounded"]
    asked = specs.config("quadratic", "mirror", options={"form": "bounded"}, seed=2)
    (session,) = doors.open_sessions([doors.RunConfig.model_validate(asked)], tmp_path, source)
    assert_same_numbers(finish(session), stored.folders["fine-tuned"], SINGLE)


@pytest.fixture(scope="module")
def exported(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    records = [doors.open_run(place) for place in stored.folders.values()]
    doors.write_tables(records, folder, stored.folders.values())
    return folder


@pytest.mark.parametrize(
    "name", [path.name for path in sorted((FIXTURES / "golden" / "tables").glob("*.csv"))]
)
def test_exported_tables_hold_the_same_text(name: str, exported: Path, stored: Stored) -> None:
    wanted = rows(FIXTURES / "golden" / "tables" / name)
    if name == "runs.csv":
        said(doors, "runs", "--in", stored.root, "--csv", exported / name)
        wanted.sort(key=lambda row: list(row.values()))
    chosen = {row["run"] for row in wanted} if "run" in wanted[0] else None
    found = [row for row in rows(exported / name) if chosen is None or row["run"] in chosen]
    if name == "runs.csv":
        found.sort(key=lambda row: [row[column] for column in wanted[0]])
    assert list(wanted[0]) == [column for column in found[0] if column in wanted[0]]
    assert [{column: row[column] for column in wanted[0]} for row in found] == wanted


def test_headers_of_tables_keep_their_columns_in_order(exported: Path) -> None:
    for name, columns in golden("headers.json").items():
        assert [column for column in rows(exported / name)[0] if column in columns] == columns


def test_exported_figures_have_the_same_names(stored: Stored, tmp_path: Path) -> None:
    folders = [stored.folders[key] for key in specs.DRAWN]
    text = said(doors, "export", *folders, "--out", tmp_path, "--dpi", "30")
    names = {identity: key for key, identity in stored.ids.items()}
    assert set(golden("figures.json")) <= set(figure_names(text, names))
    assert all(path.stat().st_size > 1000 for path in tmp_path.glob("*.png"))


def test_searches_find_the_same_runs(stored: Stored) -> None:
    found = golden("queries.json")
    assert sum(map(bool, found.values())) > len(found) / 2
    for query, labels in found.items():
        assert found_by(doors, query, stored.root) == labels, query


def test_stored_evaluations_are_those_of_the_weights(stored: Stored, tmp_path: Path) -> None:
    folder = copied(stored, tmp_path, "maml")
    (path,) = (folder / "evaluations").glob("*.npz")
    with np.load(path) as arrays:
        before = {name: arrays[name] for name in arrays.files if name != "about"}
    path.unlink()
    doors.judge(folder, doors.EvaluationProtocol(tasks=3, draws="training"))
    with np.load(path) as arrays:
        for name, values in before.items():
            np.testing.assert_allclose(arrays[name], values, rtol=SINGLE, atol=SINGLE)


def test_a_stored_map_of_robustness_is_that_of_the_weights(stored: Stored, tmp_path: Path) -> None:
    folder = copied(stored, tmp_path, "mirror-official")
    with np.load(folder / "robustness" / "map.npz") as arrays:
        before = arrays["mean"]
    found = doors.robustness(folder, doors.EvaluationProtocol(tasks=2, draws="training"))
    np.testing.assert_allclose(found.mean, before, rtol=SINGLE, atol=SINGLE)


def test_a_run_is_packed_and_unpacked_with_all_files(stored: Stored, tmp_path: Path) -> None:
    source = stored.folders["maml"]
    doors.pack_run(source, tmp_path / "maml.zip")
    copy = doors.unpack_run(tmp_path / "maml.zip", tmp_path / "runs")

    def names(folder: Path) -> set[str]:
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
        return {name for name in found if not name.endswith(("-wal", "-shm"))}

    assert names(copy) == names(source)
    assert_same_numbers(copy, source, 0.0)


def test_views_come_back_as_they_were_saved() -> None:
    views, sentences = doors.read_views(FIXTURES / "views")
    assert sentences == []
    assert list(views) == ["Both seeds: loss", "Empty"]
    view = views["Both seeds: loss"]
    assert view.compare == {
        "measure": "eval_query_loss", "axis": "step", "band": "ci95", "smoothing": 0.5,
        "keys": ["algorithm", "inner_lr"], "partly": True, "log_y": True,
    }  # fmt: skip
    assert view.table["search"] == "algo:maml or tag:paper"
    assert [name.partition("-")[0] for name in view.shown] == ["maml", "maml"]


def test_a_comparison_is_read() -> None:
    found = doors.read_comparison(FIXTURES / "comparison.toml")
    assert (found.problem, found.algorithms, found.seeds) == (
        "quadratic",
        ("maml", "imaml"),
        (0, 1),
    )
    assert found.options["imaml"] == {"prox": 2, "inner_steps": 2}
    assert found.shared == {"inner_steps": 2, "eval_tasks": 2}
    assert found.problem_options == {"spread": 0.5}
    written = tomllib.loads((FIXTURES / "comparison.toml").read_text(encoding="utf-8"))
    assert written.keys() <= found.model_dump().keys()


def test_entries_of_a_queue_are_read_or_set_aside_in_one_sentence(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "queue.db", tmp_path)
    queue = doors.Queue(tmp_path)
    entries, note = queue.entries(), queue.note
    queue.close()
    if note:
        assert len(list(tmp_path.glob("queue*.db*"))) > 1
        return
    assert [(e.config["algorithm"], e.state, e.sweep) for e in entries] == [
        ("maml", "waiting", "a sweep"),
        ("imaml", "waiting", "a sweep"),
    ]
    for entry in entries:
        doors.RunConfig.model_validate(entry.config)


def test_meta_gradients_are_the_same() -> None:
    wanted = golden("commands/gradients.json")["algorithms"]
    found = json.loads(said(doors, *specs.GRADIENTS))["algorithms"]
    for name, row in wanted.items():
        if specs.CHANGED and name == "reptile":  # its minibatches
            continue
        assert row.keys() <= found[name].keys()
        for key in ("gradient", "norm", "gradient_evaluations", "hessian_vector_products"):
            np.testing.assert_allclose(
                found[name][key], row[key], rtol=CLOSE, atol=CLOSE * row["norm"], err_msg=name
            )
        for group, values in row["other_gradients"].items():
            scale = max(map(abs, values), default=0.0)
            np.testing.assert_allclose(
                found[name]["other_gradients"][group], values, rtol=CLOSE, atol=CLOSE * scale
            )


PAGES = sorted((FIXTURES / "golden" / "commands").glob("*.txt"))


@pytest.mark.parametrize("path", [p for p in PAGES if p.stem.startswith("options-")])
def test_commands_explain_every_option(path: Path) -> None:
    keys = re.compile(r"^│ ([\w.]+)", re.MULTILINE)
    wanted = keys.findall(path.read_text(encoding="utf-8"))
    assert set(wanted) <= set(
        keys.findall(said(doors, "options", path.stem.removeprefix("options-")))
    )


def test_commands_list_methods_problems_and_presets() -> None:
    ids = re.compile(r"^│ ([a-z0-9-]+) ", re.MULTILINE)
    for name, arguments in (("list", ()), ("presets", ("--presets",))):
        path = FIXTURES / "golden" / "commands" / f"{name}.txt"
        wanted = set(ids.findall(path.read_text(encoding="utf-8")))
        assert len(wanted) > 20
        assert wanted <= set(ids.findall(said(doors, "list", *arguments)))


@pytest.mark.parametrize("path", [p for p in PAGES if p.stem.startswith("help-")])
def test_help_names_every_option(path: Path) -> None:
    command = path.stem.removeprefix("help-").replace("data-", "data ")
    arguments = () if command == "metaviz" else command.split()
    wanted = command_words(path.read_text(encoding="utf-8"))
    assert set(wanted) <= set(command_words(said(doors, *arguments, "--help")))


def is_close(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Return whether two fingerprints of a variant are the same up to rounding."""
    if found["groups"].keys() != wanted["groups"].keys():
        return False
    close = SINGLE if wanted["config"].get("dtype") == "float32" else CLOSE
    for name, group in wanted["groups"].items():
        mine, scale = found["groups"][name], max(group["norm"], 1e-6)
        for part in ("head", "norm"):
            if not np.allclose(mine[part], group[part], rtol=close, atol=close * scale):
                return False
    losses = [np.array(one["losses"], float) for one in (found, wanted)]
    return np.allclose(*losses, rtol=close, atol=0, equal_nan=True)


def test_variants_come_to_the_same_weights(surveyed: Surveyed) -> None:
    assert len(LIGHT) > 100
    differ = [
        key
        for key in LIGHT
        if not (specs.CHANGED and specs.told_to_change(BITS[key]["config"]))
        and not is_close(surveyed.prints[key], BITS[key])
    ]
    assert differ == []


@pytest.mark.skipif("METAVIZ_OLD" not in os.environ, reason="METAVIZ_OLD names no old checkout")
def test_bits_are_those_of_the_old_checkout(
    surveyed: Surveyed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(Path(os.environ["METAVIZ_OLD"]), tmp_path / "bits.json")
    wanted = json.loads((tmp_path / "bits.json").read_text(encoding="utf-8"))
    monkeypatch.chdir(FIXTURES)
    heavy = {key: BITS[key]["config"] for key in specs.HEAVY}
    found = surveyed.prints | survey(doors, heavy, tmp_path)[0]
    assert len(wanted) == len(found)
    differ = [
        key
        for key, one in wanted.items()
        if not (specs.CHANGED and specs.told_to_change(one["config"]))
        and (found[key]["groups"], found[key]["losses"]) != (one["groups"], one["losses"])
    ]
    assert differ == []
