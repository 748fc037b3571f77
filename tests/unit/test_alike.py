"""One number is written alike wherever it is shown."""

import re
from pathlib import Path

import numpy as np
import pytest

from metaviz.cli.tables import print_results
from metaviz.runs.export.html_report import write_report
from metaviz.runs.model.events import Ended, Evaluated
from metaviz.runs.model.record import Record
from metaviz.runs.table.columns import BY_KEY
from metaviz.runs.table.summary import entry_of
from tests.unit.compared import record

SHOWN = {"loss": "1.235 ± 0.043", "accuracy": "93.2 ± 1.2", "seconds": "2:05 min"}


def judged() -> Record:
    """Return a run of two minutes that tells classes apart."""
    made = record(seed=0, curve=np.ones(125), every=200, state="")
    curves = {"query_loss": (1.9, 1.23456), "query_loss_ci95": (0.1, 0.0432)}
    curves |= {"query_accuracy": (0.2, 0.93214), "query_accuracy_ci95": (0.1, 0.0123)}
    made.apply(Evaluated(125, 5, 1, {name: np.array(values) for name, values in curves.items()}))
    made.apply(Ended(125, "done"))
    return made


def test_the_table_of_runs() -> None:
    entry = entry_of(judged(), None)
    assert {key: BY_KEY[key].text(entry) for key in SHOWN} == SHOWN


def test_what_a_comparison_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    print_results([judged()])
    told = capsys.readouterr().out
    assert all(text in told for text in SHOWN.values())
    assert "After adaptation to 5 evaluation tasks of the seed (mean ± 1.96 s/√n over" in told


def test_a_report(tmp_path: Path) -> None:
    page = (write_report([judged()], {}, tmp_path / "report.html"))[0].read_text(encoding="utf-8")
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", page)
    assert {SHOWN["loss"], SHOWN["accuracy"]} <= set(cells)
