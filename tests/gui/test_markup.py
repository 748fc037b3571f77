"""Names of strangers are letters wherever the window shows them: in labels, tips and boxes."""

import ast
from pathlib import Path

import numpy as np
import pyqtgraph as pg
import pytest
import tomli_w
from PySide6.QtCore import QEvent, QModelIndex, QPoint, Qt
from PySide6.QtGui import QHelpEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QLabel,
    QMessageBox,
    QToolTip,
    QWidget,
)

from metaviz.files.foreign import parsed_toml
from metaviz.gui.widgets.message_boxes import ask
from metaviz.gui.widgets.plain_text import PlainLabel, plain_tip, plain_words
from metaviz.runs.model.evaluation import store
from metaviz.runs.storage.store import list_runs
from tests.unit.stored import config, train
from tests.unit.test_command_door import judgement

ROOT = Path(__file__).parents[2] / "metaviz" / "gui"
EVIL = '<img src="file:///etc/passwd"><b>EVIL</b>'
WAIT = 20_000


def is_read_as_html(text: str) -> bool:
    return "EVIL" in text and Qt.mightBeRichText(text) and "<b>EVIL" in text


def tips_of(view: QAbstractItemView) -> list[str]:
    model, found = view.model(), []
    if model is None:
        return []

    def add(parent: QModelIndex) -> None:
        for row in range(min(model.rowCount(parent), 30)):
            for column in range(model.columnCount(parent)):
                index = model.index(row, column, parent)
                found.append(str(index.data(Qt.ItemDataRole.ToolTipRole) or ""))
                if column == 0:
                    add(index)

    add(QModelIndex())
    for section in range(model.columnCount(QModelIndex())):
        tip = model.headerData(section, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
        found.append(str(tip or ""))
    return found


def faults(top: QWidget) -> list[str]:
    """Return what shows the name as HTML."""
    found, seen = [], 0
    for widget in [top, *top.findChildren(QWidget)]:
        where = f"{type(widget).__name__} {widget.objectName()}"
        seen += "EVIL" in widget.toolTip()
        if is_read_as_html(widget.toolTip()):
            found.append(f"tip of {where}")
        if isinstance(widget, QLabel) and "EVIL" in widget.text():
            seen += 1
            if widget.textFormat() != Qt.TextFormat.PlainText:
                found.append(f"label {where}")
        if isinstance(widget, QAbstractItemView):
            tips = tips_of(widget)
            seen += sum("EVIL" in tip for tip in tips)
            found += [f"cell of {where}: {tip}" for tip in tips if is_read_as_html(tip)]
        if isinstance(widget, pg.PlotWidget):
            for item in widget.scene().items():
                if isinstance(item, pg.AxisItem) and "<b>EVIL" in item.labelText:
                    found.append(f"axis of {where}")
    assert seen
    return found


@pytest.fixture
def evil(home: Path) -> Path:
    folder = train(config("maml", steps=6), home / "runs")
    about = parsed_toml((folder / "run.toml").read_text())
    about["run"]["problem_options"][EVIL] = EVIL
    about["environment"] |= {"device": EVIL, "metaviz": EVIL}
    (folder / "run.toml").write_text(tomli_w.dumps(about))
    marks = {"name": EVIL, "notes": EVIL, "tags": ["<b>EVIL</b>"]}
    (folder / "marks.toml").write_text(tomli_w.dumps(marks))
    values = {"query_loss": np.ones((3, 4))}
    store(judgement(run=folder.name, label=EVIL, dataset=EVIL, per_task=values), folder)
    return folder


def test_no_page_shows_a_name_as_html(qtbot, evil: Path, open_window) -> None:
    window = open_window()
    qtbot.waitUntil(lambda: bool(window.runs.rows), timeout=WAIT)
    window.runs.show([window.runs.rows[0].id], visible=True)
    qtbot.waitUntil(lambda: len(window.runs.visible_records()) == 1, timeout=WAIT)
    window.notifier.fail(EVIL)
    window.log.add("error", EVIL, EVIL)
    tabs = window.tabs
    for place in range(tabs.count()):
        tabs.setCurrentIndex(place)
        QApplication.processEvents()
        assert not faults(window)
    assert list_runs(evil.parent) == [evil]


def test_boxes_show_letters(qtbot, window) -> None:
    box = ask(window, "question", "?", EVIL, EVIL, ("&Yes", lambda: None))
    qtbot.waitUntil(box.isVisible)
    assert not faults(box)
    assert isinstance(box, QMessageBox)
    box.close()


def test_plain_words_stay_as_they_are(qapp: QApplication) -> None:
    assert plain_tip("α < β & γ\nsecond") == "<p>α &lt; β &amp; γ<br>second</p>"
    assert plain_tip("MAML · seed 3") == "MAML · seed 3"
    assert plain_words("<b>&") == "&lt;b&gt;&amp;"
    label = PlainLabel("a\x1b[31m\u202e")
    assert label.text() == r"a\x1b[31m\u202e"
    assert label.textFormat() == Qt.TextFormat.PlainText


ALLOWED = {
    "widgets/plain_text.py": "the one place that makes labels",
    "window/about_dialog.py": "words of our own with headings",
}
RICH_TIPS = {"experiment/algorithm_list.py": "methods as they describe themselves, escaped"}


def test_labels_and_tips_are_made_in_one_place() -> None:
    for path in ROOT.rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called == "QLabel":
                assert name in ALLOWED, name
            if called.endswith(".setToolTip") and name not in RICH_TIPS:
                tip = node.args[-1]
                plain = isinstance(tip, ast.Call) and ast.unparse(tip.func) == "plain_tip"
                assert plain or isinstance(tip, ast.Constant), (name, ast.unparse(node))


def test_a_line_that_has_no_room_ends_in_dots_and_tells_the_whole(qtbot) -> None:
    text = f"20 % → 68 % right of 50 query images of {EVIL}"
    label = PlainLabel(text)
    qtbot.addWidget(label)
    for width, cut in ((120, True), (1200, False)):
        label.resize(width, 20)
        assert (label.shown() == text) is not cut
        assert label.shown().endswith("…") is cut
        room = label.fontMetrics().horizontalAdvance(label.shown())
        assert room <= width
        label.grab()
    label.resize(120, 20)
    tip = QHelpEvent(QEvent.Type.ToolTip, QPoint(1, 1), label.mapToGlobal(QPoint(1, 1)))
    QApplication.sendEvent(label, tip)
    assert QToolTip.text() == plain_tip(text)
    label.setWordWrap(True)
    assert label.shown() == text
