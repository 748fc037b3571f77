"""The runs table: what it shows, how it sorts, and what is visible."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QAbstractItemModelTester

from metaviz.gui.runs.row import row_of
from metaviz.gui.runs.run_list_model import RunListModel
from metaviz.gui.runs.runs_dock import RunsDock
from metaviz.runs.model.events import STEP_COLUMNS
from metaviz.runs.model.record import Record
from metaviz.runs.table.columns import USUAL

STEP = USUAL.index("step")


def record(name, steps):
    config = {"algorithm": "maml", "problem": "sinusoid", "seed": 0, "steps": 500}
    made = Record(name, {**config, "shared": {"inner_steps": 5, "inner_lr": 0.01}})
    for step in range(1, steps + 1):
        made.append_row(step, [1.0] * len(STEP_COLUMNS))
    return made


@pytest.fixture
def table(qtbot):
    model = RunListModel()
    model.tester = QAbstractItemModelTester(
        model, QAbstractItemModelTester.FailureReportingMode.Fatal
    )
    widget = RunsDock(model)
    qtbot.addWidget(widget)
    widget.show()
    rows = [
        row_of(record(name, steps), None, keep=True)
        for name, steps in (("a", 9), ("b", 100), ("c", 20))
    ]
    model.add(rows, first=True)
    return widget


def shown(table):
    table.tree_model.flush()
    return [table.tree_model.index(row, STEP).data() for row in range(table.tree_model.rowCount())]


def test_steps_sort_as_numbers(table):
    table.view.sortByColumn(STEP, Qt.SortOrder.AscendingOrder)
    assert shown(table) == ["9 / 500", "20 / 500", "100 / 500"]


def test_new_runs_come_first_and_known_ones_once(table):
    table.model.add([row_of(record("d", 1), None, keep=True)], first=True)
    table.model.add([row_of(record("a", 9), None, keep=True)], first=False)
    assert [row.id for row in table.model.rows] == ["d", "a", "b", "c"]


def test_ticking_shows_a_run(qtbot, table):
    index = table.model.index(1, 0)
    with qtbot.waitSignal(table.model.visibility_changed):
        table.model.setData(index, Qt.CheckState.Checked, Qt.ItemDataRole.CheckStateRole)
    assert [item.id for item in table.model.visible_records()] == ["b"]


def test_return_shows_only_the_selected_run(qtbot, table):
    table.model.show(["a", "b", "c"], visible=True)
    table.select("c")
    table.view.setFocus()
    qtbot.keyClick(table.view, Qt.Key.Key_Return)
    assert [item.id for item in table.model.visible_records()] == ["c"]
