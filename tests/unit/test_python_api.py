"""`import metaviz`: its names, its numbers, and what it does not import."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import metaviz
from metaviz.config.options import OptionError
from metaviz.runs.export.tables import (
    charts_csv,
    comparison_csv,
    evaluations_csv,
    geometry_csv,
    inner_csv,
    metrics_csv,
    summary_csv,
)
from metaviz.runs.model.evaluation import stored
from metaviz.runs.storage.store import StoreError, open_run
from tests.unit.command_line import metaviz as command

NAMES = [
    *("Adapted", "Comparison", "Evaluation", "OptionError", "Predictions", "Run", "Runs"),
    *("Store", "StoreError", "Table"),
    *("__version__", "adapt", "compare", "evaluate", "open_run", "open_store", "predict", "train"),
]
OF_RUNS = {
    metaviz.Run: {
        *("folder", "record", "id", "label", "algorithm", "problem", "seed", "state", "step"),
        *("config", "tags", "notes", "measures", "curve", "inner_curves", "metrics", "inner"),
        *("geometry", "charts", "evaluations", "figures"),
    },
    metaviz.Runs: {
        *("table", "summary", "metrics", "inner", "geometry", "charts", "evaluations"),
        *("compare", "figures", "count", "index"),
    },
    metaviz.Store: {"runs"},
    metaviz.Table: {"frame", "keys", "items", "values", "get"},
    metaviz.Comparison: {"table", "final", "figure"},
    metaviz.Evaluation: {"per_task", "values", "interval", "table"},
}


def public(kind: type) -> set[str]:
    names = {name for name in dir(kind) if not name.startswith("_")}
    return names | ({"folder"} if kind is metaviz.Run else set())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> metaviz.Runs:
    """Two seeds of two methods, small."""
    settings = {"eval_tasks": 4, "eval_every": 3, "inner_steps": 2, "sinusoid.hidden": 6}
    return metaviz.train(
        "sinusoid",
        ["maml", "metasgd"],
        steps=6,
        seeds=[0, 1],
        out=tmp_path_factory.mktemp("python"),
        settings=settings,
        device="cpu",
    )


def test_the_public_names_are_frozen():
    assert sorted(metaviz.__all__) == NAMES == dir(metaviz)
    stub = (Path(metaviz.__file__).parent / "__init__.pyi").read_text()
    assert all(f" as {name}\n" in stub or f"{name}: " in stub for name in NAMES)
    assert {kind.__name__: public(kind) for kind in OF_RUNS} == {
        kind.__name__: names for kind, names in OF_RUNS.items()
    }
    assert all(getattr(metaviz, name).__doc__ for name in NAMES if name != "__version__")
    assert (Path(metaviz.__file__).parent / "py.typed").exists()
    with pytest.raises(AttributeError, match="no attribute 'comparee'"):
        _ = metaviz.comparee


def loaded(code: str) -> set[str]:
    code += "\nimport sys; print(*sorted(set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split())


def test_the_import_loads_nothing_and_reading_runs_no_torch(runs):
    found = loaded("import metaviz")
    assert not {name for name in found if name.startswith("metaviz.")}
    assert not found & {"numpy", "pydantic", "rich", "typer", "matplotlib", "torch"}
    reading = f"import metaviz; metaviz.open_run({str(runs[0].folder)!r}).metrics()"
    assert not loaded(reading) & {"torch", "PySide6", "scipy"}


def cells(text: str) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(io.StringIO(text))
    return header, rows


def same(table: metaviz.Table, text: str) -> None:
    """Compare every cell bit by bit: CSV has what `repr` writes, and nothing for NaN."""
    header, rows = cells(text)
    assert list(table) == header
    assert table.rows == len(rows) > 0
    for name, column in zip(header, zip(*rows, strict=True), strict=True):
        values = table[name]
        assert isinstance(values, np.ndarray)
        if values.dtype == object:
            shown = tuple("" if v is None else str(v).lower() for v in values)
            assert shown == tuple(cell.lower() for cell in column), name
        elif values.dtype == bool:
            assert tuple(str(v).lower() for v in values.tolist()) == column
        else:
            expected = [float(cell) if cell else np.nan for cell in column]
            assert np.array_equal(values.astype(float), expected, equal_nan=True), name


def test_every_table_is_that_of_the_export_bit_by_bit(runs, tmp_path):
    records = [open_run(run.folder) for run in runs]
    same(runs.metrics(), metrics_csv(records))
    same(runs.inner(), inner_csv(records))
    same(runs.summary(), summary_csv(records))
    same(runs.geometry(), geometry_csv(records))
    same(runs[1:3].metrics(), metrics_csv(records[1:3]))
    same(runs[0].metrics(), metrics_csv(records[:1]))
    same(runs.compare().table(), comparison_csv(records))
    assert (runs.charts().rows, charts_csv(records).count("\n")) == (0, 1)
    found = metaviz.evaluate(runs[0], tasks=5)
    same(found.table(), evaluations_csv(stored(runs[0].folder)))
    same(runs.evaluations(), evaluations_csv(stored(runs[0].folder)))
    assert found.interval() == stored(runs[0].folder)[0].interval()
    out = tmp_path / "runs.csv"
    root = runs[0].folder.parent
    assert command("runs", "--in", root, "--csv", out).code == 0
    same(metaviz.open_store(root).runs().table(), out.read_text())


def test_curves_are_the_numbers_of_the_record(runs):
    record = open_run(runs[0].folder)
    x, y = runs[0].curve("post_query_loss")
    assert np.array_equal(y, record.column("post_query_loss"), equal_nan=True)
    assert x.tolist() == [1, 2, 3, 4, 5, 6]
    x, y = runs[0].curve("eval_query_loss", "gradient_evaluations")
    assert y.tolist() == [one.at("query_loss") for one in record.evaluations]
    steps, values = runs[0].inner_curves()
    assert steps.tolist() == [one.step for one in record.evaluations]
    assert np.array_equal(values[-1], record.evaluations[-1].curves["query_loss"])
    y[:] = 0
    assert runs[0].curve("eval_query_loss")[1].all()
    with pytest.raises(OptionError, match=r"has no 'post_query_los'.*did you mean"):
        runs[0].curve("post_query_los")
    with pytest.raises(OptionError, match="evaluated no 'loss'"):
        runs[0].inner_curves("loss")


def test_a_store_finds_what_the_window_finds(runs):
    store = metaviz.open_store(runs[0].folder.parents[1])
    assert {run.id for run in store.runs()} == {run.id for run in runs}
    assert {run.algorithm for run in store.runs("algo:maml seed:0")} == {"maml"}
    assert metaviz.open_run(runs[0].folder).id == runs[0].id
    with pytest.raises(OptionError, match="alfa"):
        store.runs("alfa<1")
    with pytest.raises(StoreError, match="holds no runs"):
        metaviz.open_run(runs[0].folder.parent / "none")


def test_comparisons_take_runs_folders_and_sentences(runs):
    by_folder = metaviz.compare(runs[0].folder.parent, "eval_query_loss", interval="range")
    assert set(by_folder.groups) == {"MAML", "Meta-SGD"}
    final = by_folder.final()
    assert final["n"].tolist() == [2, 2]
    assert (final["low"] < final["mean"]).all()
    assert isinstance(by_folder.figure(), Figure)
    for wrong in ({"measure": "loss"}, {"axis": "time"}, {"interval": "sd"}, {"smoothing": 2.0}):
        with pytest.raises(OptionError, match=f"{next(iter(wrong))} = .* is not valid"):
            metaviz.compare(list(runs), **wrong)


def test_figures_and_notebooks_have_the_runs(runs):
    figures = runs[0].figures()
    assert {"training", "inner", "fan"} <= set(figures)
    assert all(isinstance(figure, Figure) for figure in figures.values())
    shown = [runs, runs[0], runs.compare(), runs.metrics(), metaviz.evaluate(runs[1], tasks=4)]
    for one in shown:
        html = one._repr_html_()
        assert html.startswith("<table>")
        assert repr(one)
    assert runs[0].id in runs._repr_html_()
    assert "and 4 more rows" in runs.metrics()._repr_html_()


def test_strange_words_are_text_in_html(runs, tmp_path):
    assert command("mark", runs[0].folder, "--name", "<b>x</b>").code == 0
    assert "<b>" not in metaviz.open_store(runs[0].folder.parent).runs().table()._repr_html_()


def test_frames_have_the_same_numbers_or_say_what_to_install(runs):
    try:
        import pandas as pd
    except ModuleNotFoundError:
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'metaviz\[pandas\]'"):
            runs.metrics().frame()
        return
    frame = runs.metrics().frame()
    assert isinstance(frame, pd.DataFrame)
    assert np.array_equal(frame["post_query_loss"], runs.metrics()["post_query_loss"], True)


def test_training_refuses_in_a_sentence_before_anything_is_made(tmp_path):
    with pytest.raises(OptionError, match="inner_lrr"):
        metaviz.train(settings={"inner_lrr": 1}, out=tmp_path)
    with pytest.raises(OptionError, match="learning_rate is no argument"):
        metaviz.train(learning_rate=1, out=tmp_path)
    assert not list(tmp_path.iterdir())
