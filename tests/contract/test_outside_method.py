"""A method in a file outside the program is found everywhere, without another file touched."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from pytestqt.qtbot import QtBot
from safetensors import safe_open
from safetensors.torch import load_file

from metaviz.algorithms.registry import ALGORITHMS
from metaviz.charts.matplotlib import figure_of
from metaviz.charts.values import HeatMap
from metaviz.cli.tables import print_judgements
from metaviz.config.catalogue import shipped_catalogue
from metaviz.config.quantities import QUANTITIES
from metaviz.config.run_config import Comparison, EvaluationProtocol, RunConfig
from metaviz.gui.experiment.experiment_dock import ExperimentDock
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.runs.analysis import geometry
from metaviz.runs.analysis.comparison import offered
from metaviz.runs.export.html_report import write_report
from metaviz.runs.export.tables import inner_csv, metrics_csv, summary_csv
from metaviz.runs.export.tensorboard import scalars
from metaviz.runs.model.events import Evaluated, Stepped
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import StoreError, open_run
from metaviz.runs.storage.tail import Follower
from metaviz.runs.table.columns import Columns
from metaviz.runs.table.search import parse
from metaviz.runs.table.summary import entry_of
from metaviz.training.engine import LocalEngine
from metaviz.training.session import open_sessions, repeat_session
from tests.unit.command_line import metaviz
from tests.unit.stored import assert_same, config, finish, killed, next_stored, resume
from tests.unit.stored_charts import charts_of

NAME = "nearest_centroid"
FILE = Path(__file__).parents[1] / "outside" / f"{NAME}.py"


@pytest.fixture(scope="module", autouse=True)
def plugged() -> Iterator[None]:
    """Import the file; forget the method and its quantity afterwards."""
    methods, quantities = dict(ALGORITHMS), dict(QUANTITIES)
    found = spec_from_file_location(NAME, FILE)
    assert found is not None
    assert found.loader is not None
    found.loader.exec_module(module_from_spec(found))
    yield
    for known, before in ((ALGORITHMS._kinds, methods), (QUANTITIES, quantities)):
        for name in known.keys() - before.keys():
            del known[name]


@pytest.fixture(scope="module")
def asked() -> RunConfig:
    """A short run on small drawings."""
    return config(NAME, steps=6, temperature=2.0)


@pytest.fixture(scope="module")
def folder(asked: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train it; a follower and the events themselves are compared on the way."""
    (session,) = open_sessions([asked], tmp_path_factory.mktemp("outside"))
    follower = Follower(session.folder, open_run(session.folder))
    followed = Record(session.id, session.config)
    entropies = []
    while (event := session.advance()) is not None:
        if isinstance(event, Stepped):
            assert [quantity.id for quantity in event.quantities] == ["entropy"]
            entropies.append(event.values["entropy"])
        if isinstance(event, Evaluated):
            assert event.curves["entropy"].shape == event.curves["query_loss"].shape == (1,)
            assert event.per_task["entropy"].shape == (4,)
    for event in follower.poll().events:
        followed.apply(event)
    follower.close()
    stored = open_run(session.folder)
    for record in (stored, followed):
        assert record.state == "done"
        np.testing.assert_array_equal(record.column("entropy"), np.array(entropies))
        assert [q.title for q in record.quantities] == ["Entropy of predictions"]
    assert len(entropies) == asked.steps
    assert all(0 < float(value or 0) < np.log(5) for value in entropies)
    return session.folder


@pytest.fixture(scope="module")
def record(folder: Path) -> Record:
    """Return what is stored."""
    return open_run(folder)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_it_was_not_shipped_and_is_in_the_engines_catalogue_now() -> None:
    assert shipped_catalogue().algorithm(NAME) is None
    entry = LocalEngine().catalogue.algorithm(NAME)
    assert entry is not None
    assert entry.quantities == ("entropy",)
    assert not entry.traits.has_inner_loop
    assert list(ALGORITHMS)[-1] == NAME
    assert NAME in metaviz("list").out
    assert f"{NAME}.temperature" in metaviz("options", NAME).out


def test_a_form_is_built_for_its_options(qtbot: QtBot) -> None:
    form = ExperimentDock(LocalEngine().catalogue)
    qtbot.addWidget(form)
    form.problem_box.setCurrentIndex(form.problem_box.findData("strokes"))
    form.algorithms.tick((NAME,))
    field = form.field(f"{NAME}.temperature")
    assert field.value == 4.0
    field.set_value(8.0)
    found = form.comparison()
    assert (found.algorithms, found.options) == ((NAME,), {NAME: {"temperature": 8.0}})
    form.problem_box.setCurrentIndex(form.problem_box.findData("sinusoid"))
    assert NAME not in form.algorithms.ticked()


def test_the_engine_starts_and_refuses_it_like_any_other(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Nearest centroid tells classes apart, and the sinusoid"):
        LocalEngine().start(Comparison(algorithms=(NAME,), steps=1), tmp_path)
    with pytest.raises(ValueError, match=r"nearest_centroid\.temperature = -1"):
        LocalEngine().start(
            Comparison(problem="strokes", algorithms=(NAME,), options={NAME: {"temperature": -1}}),
            tmp_path,
        )


def test_its_runs_say_what_it_is(record: Record) -> None:
    assert record.traits.inner_loop == "none"
    assert record.traits.quantities == ("entropy",)
    assert not {"inner_lr", "inner_steps"} & record.resolved.keys()
    assert set(record.resolved["outer_lr"]) == {"body", "temperature"}


def test_tables_and_tensorboard_have_its_quantity(record: Record) -> None:
    entropy = record.column("entropy")
    metrics, (summary,) = rows(metrics_csv([record])), rows(summary_csv([record]))
    assert [float(row["entropy"]) for row in metrics] == entropy.tolist()
    assert float(summary["entropy"]) > 0
    assert summary[f"{NAME}.temperature"] == "2.0"
    assert len(rows(inner_csv([record]))) == len(record.evaluations)
    found = [value for tag, _, _, value in scalars(record) if tag == "train/entropy"]
    assert found == entropy.tolist()


def test_axes_columns_and_searches_have_its_quantity(record: Record, folder: Path) -> None:
    assert "entropy" in offered([record])
    entry = entry_of(record, folder)
    known = {column.key: column for column in Columns().known([entry])}
    assert known["entropy"].title == "Entropy of predictions (nats)"
    assert parse("entropy>0", ["entropy"]).matches(entry)
    assert not parse("entropy>100", ["entropy"]).matches(entry)


def test_its_chart_is_stored_offered_and_drawn(record: Record) -> None:
    assert record.traits.charts == ("centroids",)
    assert [picture.step for picture in record.pictures] == [
        evaluation.step for evaluation in record.evaluations
    ]
    assert "Distances of centroids" in geometry.offered(record).values()
    (chart,) = charts_of(record.pictures[-1].arrays)
    assert isinstance(chart, HeatMap)
    assert chart.id == "centroids"
    np.testing.assert_allclose(chart.values, chart.values.T, rtol=1e-4, atol=1e-4)
    assert chart.values.shape == (5, 5)
    assert chart.values.max() > 0
    assert figure_of(chart).axes


def test_it_is_evaluated_and_shows_an_episode(folder: Path) -> None:
    engine = LocalEngine()
    for steps in (None, 3):
        protocol = EvaluationProtocol(tasks=3, split="test", seed=1, steps=steps)
        (found,) = engine.judge([folder], protocol, lambda _line: None)
        assert found.k == 0
        assert found.per_task["query_accuracy"].shape == (1, 3)
        assert found.per_task["entropy"].shape == (1, 3)
        shown = engine.episode(folder, protocol, 0)
        assert shown.k == 0
        assert shown.query.outputs.shape == (1, 15, 5)
        assert shown.support.outputs.shape == (1, 5, 5)
        assert shown.support_loss.shape == shown.query_loss.shape == (1,)
    with pytest.raises(ValueError, match="has no inner loop, so that there is no step size"):
        engine.robustness([folder], EvaluationProtocol(tasks=3), lambda _line: None)


def test_one_by_one_its_entropy_is_the_mean_over_examples(folder: Path) -> None:
    protocols = (EvaluationProtocol(tasks=2, together=together) for together in (True, False))
    together, alone = (
        LocalEngine().judge([folder], protocol, lambda _line: None)[0] for protocol in protocols
    )
    assert alone.per_task["entropy"].shape == together.per_task["entropy"].shape
    assert (alone.per_task["entropy"] > 0).all()


def test_its_quantity_is_a_column_of_the_evaluations(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluations.csv"
    outcome = metaviz("evaluate", folder, "--set", "tasks=3", "--set", "steps=2", "--out", out)
    assert outcome.code == 0, outcome.error
    assert "has no inner loop: steps means nothing for it" in outcome.error
    found = rows(out.read_text(encoding="utf-8"))
    assert len(found) == 3
    assert list(found[0])[-1] == "entropy"
    assert all(0 < float(row["entropy"]) < np.log(5) for row in found)


def test_results_by_unlike_quantities_are_not_subtracted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = EvaluationProtocol(tasks=3)
    first, other = (
        LocalEngine().judge([folder], protocol, lambda _line: None)[0] for _ in range(2)
    )
    print_judgements([first, other])
    assert "0 / 0" in capsys.readouterr().out
    only_loss = replace(other, per_task={"query_loss": other.per_task["query_loss"]})
    print_judgements([first, only_loss])
    assert re.search(r"\d / \d", capsys.readouterr().out) is None


def test_a_method_with_another_group_does_not_start_from_its_weights(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="a checkpoint without weights: choose another run"):
        open_sessions([config("maml", steps=1)], tmp_path, folder)
    (session,) = open_sessions([config(NAME, steps=1)], tmp_path, folder)
    trained = load_checkpoint(folder / CHECKPOINT)["meta"]
    next_stored(session)
    next_stored(session)
    began = load_checkpoint(session.folder / CHECKPOINT)["meta"]
    session.end("stopped")
    assert torch.equal(began["body"], trained["body"])


def test_its_weights_are_written_by_name(folder: Path, tmp_path: Path) -> None:
    path = LocalEngine().save_weights(folder, tmp_path / "weights.safetensors")
    meta = load_checkpoint(folder / CHECKPOINT)["meta"]
    assert set(meta) == {"body", "temperature"}
    tensors = load_file(path)
    assert torch.equal(tensors["temperature"], meta["temperature"])
    assert "body.conv1.weight" in tensors
    with safe_open(path, "pt") as opened:
        assert json.loads(opened.metadata()["groups"]) == ["body", "temperature"]


def test_it_resumes_and_repeats_bit_for_bit(asked: RunConfig, folder: Path, tmp_path: Path) -> None:
    broken, _ = killed(asked, tmp_path, 5)
    assert open_run(broken).state == "interrupted"
    assert_same(resume(broken), folder)
    again = finish(repeat_session(folder, tmp_path / "again"))
    assert_same(again, folder)
    assert open_run(again).notes[-1].message == f"Bit-identical to {folder.name} over 6 steps."


def test_it_is_exported_and_reported(folder: Path, record: Record, tmp_path: Path) -> None:
    outcome = metaviz("export", folder.parent, "--out", tmp_path / "tables")
    assert outcome.code == 0, outcome.error
    text = (tmp_path / "tables" / "metrics.csv").read_text(encoding="utf-8")
    assert "entropy" in text.partition("\n")[0]
    report = tmp_path / "report.html"
    write_report([record], {record.id: folder}, report)
    assert "Distances of centroids" in report.read_text(encoding="utf-8")
    assert (tmp_path / "figures" / f"geometry-centroids-{record.id}.png").exists()
    assert rows((tmp_path / "results.csv").read_text(encoding="utf-8"))[0]["entropy"]
