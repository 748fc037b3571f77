"""Only those cells of the runs table are drawn anew that show something else."""

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QObject, QRect
from PySide6.QtGui import QPaintEvent, QRegion
from PySide6.QtWidgets import QApplication

from metaviz.gui.runs.cell_cache import Block, CellCache, blocks
from metaviz.gui.runs.row import row_of
from metaviz.gui.runs.run_list_model import RunListModel
from metaviz.gui.runs.run_tree_model import RunTreeModel
from metaviz.gui.runs.runs_dock import RunsDock
from metaviz.runs.model.events import Stepped
from metaviz.runs.model.record import Record
from metaviz.runs.table.baseline import Baseline
from metaviz.runs.table.columns import Columns


def record(seed: int) -> Record:
    return Record(
        f"maml-s{seed}",
        {"algorithm": "maml", "problem": "sinusoid", "seed": seed, "steps": 10},
    )


def train(one: Record) -> None:
    one.apply(Stepped(one.step + 1, {"seconds": float(one.step)}, np.ones(2), np.ones(1)))


@pytest.fixture
def model() -> RunListModel:
    model = RunListModel()
    model.add([row_of(record(seed), None, keep=True) for seed in range(4)], first=True)
    return model


@pytest.fixture
def arrangement(model: RunListModel) -> RunTreeModel:
    made = RunTreeModel(model, Columns())
    made.rearrange()
    return made


def told(arrangement: RunTreeModel) -> list[tuple[tuple[int, int], tuple[int, int], bool]]:
    """Corners of the blocks that are drawn anew, and whether they are within a group."""
    found: list[tuple[tuple[int, int], tuple[int, int], bool]] = []
    arrangement.dataChanged.connect(
        lambda a, b: found.append(
            ((a.row(), a.column()), (b.row(), b.column()), a.parent().isValid())
        )
    )
    return found


def test_only_the_numbers_that_grew_are_drawn_anew(qtbot, model, arrangement):
    for name in ("maml-s1", "maml-s2"):
        train(model.find(name).record)
    model.refresh()
    arrangement.flush()
    changed = told(arrangement)
    for name in ("maml-s1", "maml-s2"):
        train(model.find(name).record)
    model.refresh()
    arrangement.flush()
    seconds = [c.key for c in arrangement.shown].index("seconds")
    step = [c.key for c in arrangement.shown].index("step")
    assert changed == [((1, step), (2, seconds), False)]


def test_a_row_that_is_told_for_the_first_time_is_drawn_whole(qtbot, model, arrangement):
    changed = told(arrangement)
    train(model.find("maml-s0").record)
    model.refresh()
    assert changed == [((0, 0), (0, len(arrangement.shown) - 1), False)]


def test_nothing_is_drawn_anew_where_nothing_shows(qtbot, model, arrangement):
    one = model.find("maml-s0").record
    model.refresh()
    one.revision += 1
    model.refresh()
    changed = told(arrangement)
    one.revision += 1
    model.refresh()
    arrangement.flush()
    assert changed == []


def test_a_value_that_comes_back_is_drawn_again(qtbot, model, arrangement):
    one = model.find("maml-s0").record
    for state in ("paused", "running"):
        one.state = state
        one.revision += 1
        model.refresh()
    model.restyle()
    one.state = "paused"
    one.revision += 1
    changed = told(arrangement)
    model.refresh()
    assert changed


def test_groups_follow_their_runs(qtbot, model, arrangement):
    arrangement.group_by(None)
    for _ in range(2):
        train(model.find("maml-s0").record)
        model.refresh()
        arrangement.flush()
    changed = told(arrangement)
    model.find("maml-s0").record.state = "done"
    train(model.find("maml-s0").record)
    model.refresh()
    arrangement.flush()
    assert {inside for _, _, inside in changed} == {True, False}


def test_all_are_drawn_anew_where_the_baseline_moved(qtbot, model, arrangement):
    base = model.find("maml-s0")
    arrangement.look(type(arrangement.context)("ci95", Baseline("maml-s0"), "seconds"))
    train(base.record)
    model.refresh()
    arrangement.flush()
    changed = told(arrangement)
    train(base.record)
    model.refresh()
    arrangement.flush()
    assert changed[-1] == ((0, 0), (3, len(arrangement.shown) - 1), False)


class Painted(QObject):
    """Notes which part of a widget is painted."""

    def __init__(self) -> None:
        super().__init__()
        self.region = QRegion()

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QPaintEvent):
            self.region |= event.region()
        return False


def test_the_view_paints_the_cells_that_changed_and_no_others(qtbot, model):
    table = RunsDock(model)
    qtbot.addWidget(table)
    table.resize(1200, 300)
    table.show()
    for _ in range(2):
        train(model.find("maml-s1").record)
        model.refresh()
        table.tree_model.flush()
    QApplication.processEvents()
    painted, viewport = Painted(), table.view.viewport()
    viewport.installEventFilter(painted)
    train(model.find("maml-s1").record)
    model.refresh()
    QApplication.processEvents()
    columns = [column.key for column in table.tree_model.shown]

    def place(row: int, key: str) -> QRect:
        return table.view.visualRect(table.tree_model.index(row, columns.index(key)))

    for key in ("step", "seconds"):
        assert painted.region.contains(place(1, key).center())
    for row, key in ((0, "step"), (2, "step"), (1, "run"), (1, "tags")):
        assert not painted.region.contains(place(row, key).center())
    viewport.removeEventFilter(painted)


def test_the_cache_compares_texts_and_appearance():
    cache = CellCache()
    assert cache.renew("a", 1, ["x", "y", "z"]) == (0, 2)
    assert cache.renew("a", 1, ["x", "y", "z"]) is None
    assert cache.renew("a", 1, ["x", "Y", "Z"]) == (1, 2)
    assert cache.renew("a", 2, ["x", "Y", "Z"]) == (0, 2)
    cache.forget()
    assert cache.renew("a", 2, ["x", "Y", "Z"]) == (0, 2)


def test_blocks_join_neighbours_of_one_parent():
    changed = [(0, 2, (4, 5)), (0, 1, (5, 6)), (0, 4, (1, 1)), (2, 5, (0, 0))]
    assert blocks(changed) == [
        Block(0, 1, 2, 4, 6),
        Block(0, 4, 4, 1, 1),
        Block(2, 5, 5, 0, 0),
    ]
