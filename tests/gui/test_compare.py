"""The Compare tab by clicks and keys: bands, brushes, saved views, drops, exports."""

import csv
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication
from PySide6.QtWidgets import QAbstractButton, QApplication, QMessageBox, QToolButton
from safetensors import safe_open
from scipy import stats

from metaviz.config.quantities import Quantity
from metaviz.config.run_config import Comparison, to_toml
from metaviz.gui.pages.compare_page import CompareTab
from metaviz.gui.runs.row import row_of
from metaviz.gui.runs.run_list_model import RunListModel
from metaviz.gui.runs.runs_dock import RunsDock
from metaviz.gui.widgets.theme import DARK, LIGHT
from metaviz.gui.window.export_dialog import ExportDialog
from metaviz.runs.analysis.comparison import compared
from metaviz.runs.analysis.parallel import ABSENT
from metaviz.runs.model.events import Stepped
from metaviz.runs.model.statistics import interval_text
from metaviz.runs.storage.archive import pack_run
from metaviz.runs.storage.saved_views import read_views, saved_view, write_view
from metaviz.runs.table.columns import Columns
from tests.unit.compared import record
from tests.unit.entries import store
from tests.unit.stored import config, train

WAIT = 20_000
LAST = {"maml": (1.0, 1.4, 0.9), "reptile": (2.0, 2.1)}


def runs():
    return [
        record(name, seed, (3, last + 1, last), inner_lr=0.1 if name == "maml" else 0.01)
        for name, lasts in LAST.items()
        for seed, last in enumerate(lasts)
    ]


@pytest.fixture
def tab(qtbot):
    made = CompareTab()
    qtbot.addWidget(made)
    made.resize(900, 600)
    made.apply_theme(LIGHT)
    made.show()
    made.show_records(runs())
    settle(qtbot, made)
    return made


def settle(qtbot, tab):
    """Wait until what is chosen is drawn."""
    qtbot.waitUntil(lambda: tab.shown is not None and not tab.busy, timeout=WAIT)


def choose(box, value):
    box.setCurrentIndex(box.findData(value))
    box.activated.emit(box.currentIndex())


def cell(tab, row, column):
    return tab.groups.table.item(row, column).text()


def test_seeds_are_one_curve_with_the_interval_of_scipy(tab):
    maml, reptile = tab.shown.curves
    assert [maml.name, reptile.name] == ["MAML (3 runs)", "Reptile (2 runs)"]
    assert cell(tab, 0, 1) == "3"
    mean, half = np.mean(LAST["maml"]), stats.sem(LAST["maml"]) * stats.t.ppf(0.975, 2)
    assert cell(tab, 0, 2) == interval_text(mean, half)
    band = next(band for band in tab.shown.chart.bands if band.name == "0 band")
    np.testing.assert_allclose(band.high[-1] - mean, half)


@pytest.mark.parametrize(
    ("name", "half"),
    [("std", np.std(LAST["maml"], ddof=1)), ("se", stats.sem(LAST["maml"])), ("range", 0.3)],
)
def test_another_interval_changes_band_legend_and_table(qtbot, tab, name, half):
    choose(tab.controls.band, name)
    settle(qtbot, tab)
    band = tab.shown.chart.bands[0]
    np.testing.assert_allclose(band.high[-1] - np.mean(LAST["maml"]), half)
    text = tab.controls.band.currentText()
    assert tab.plot.legend.keys[0].text.endswith(text)
    assert tab.groups.table.horizontalHeaderItem(2).text() == f"Final {text}"


def test_an_end_of_runs_that_are_not_done_is_their_last_value(qtbot, tab):
    tab.show_records([record(seed=seed, state="stopped") for seed in range(2)])
    settle(qtbot, tab)
    assert tab.groups.table.horizontalHeaderItem(2).text().startswith("Latest (step 3) ")


def test_while_a_group_trains_all_are_shown_where_it_is(qtbot, tab):
    slow = [record("maml", seed, (3, 2.5 + seed / 10), state="") for seed in range(2)]
    tab.show_records([*slow, *(record("reptile", seed, (3, 2, 0.1)) for seed in range(2))])
    settle(qtbot, tab)
    assert tab.groups.table.horizontalHeaderItem(2).text() == "Latest (step 2) ± 95 % CI"
    assert (cell(tab, 0, 2), cell(tab, 1, 2)) == ("2.55 ± 0.64", "2 ± 0")
    assert tab.verdict.text().startswith("At step 2: Reptile 2 ± 0 is lowest of 2; MAML: ")
    choose(tab.groups.base, 1)
    assert cell(tab, 0, 6).startswith("▲ +0.55 ± 0.64 ")


def test_a_line_says_what_the_numbers_allow_and_the_best_row_is_bold(qtbot, tab):
    assert tab.verdict.isVisible()
    assert tab.verdict.text() == "MAML 1.10 ± 0.66 is lowest of 2; Reptile: clearly higher."
    assert "Welch" in tab.verdict.toolTip()
    bold = [[tab.groups.table.item(row, at).font().bold() for at in (0, 2)] for row in (0, 1)]
    assert bold == [[True, True], [False, False]]
    tab.show_records([])
    settle(qtbot, tab)
    qtbot.waitUntil(lambda: not tab.verdict.isVisible(), timeout=WAIT)


def test_a_click_on_a_heading_sorts_the_groups(qtbot, tab):
    header = tab.groups.table.horizontalHeader()
    names = []
    for _ in range(3):
        place = header.sectionViewportPosition(2) + 5
        qtbot.mouseClick(
            header.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place, header.height() // 2)
        )
        names.append([cell(tab, row, 0).split()[0] for row in (0, 1)])
    assert names == [["MAML", "Reptile"], ["Reptile", "MAML"], ["MAML", "Reptile"]]
    assert not header.isSortIndicatorShown()


def test_the_table_is_copied_as_it_is_shown(tab):
    for action in tab.groups.copy.menu().actions():
        action.trigger()
        text = QGuiApplication.clipboard().text()
        assert "1.10" in text
        assert text.count("\n") == {"As Text": 2, "As Markdown": 3, "As LaTeX": 7}[action.text()]
    assert text.startswith("\\begin{tabular}")
    assert "\\textbf{1.10 $\\pm$ 0.66}" in text


def test_a_profile_and_iqm_are_of_tasks(qtbot, tab):
    made = runs()
    for run in made:
        run.evaluations[-1].per_task["query_loss"] = np.linspace(0.5, 1.5, 8) + run.seed
    tab.show_records(made)
    choose(tab.controls.statistic, "iqm")
    settle(qtbot, tab)
    assert tab.groups.table.horizontalHeaderItem(2).text() == "Final IQM [95 % CI]"
    assert cell(tab, 0, 2).startswith("2.0")
    qtbot.mouseClick(tab.findChild(QToolButton, "compareProfile"), Qt.MouseButton.LeftButton)
    assert tab.pages.currentIndex() == 2
    assert len(tab.shown_chart().series) == 2
    assert tab.profile_hint.text().startswith("Performance profile: ")
    assert tab.state()["statistic"] == "iqm"


def test_grouping_by_a_key_makes_its_curves(qtbot, tab):
    tab.controls.fill_groups()
    actions = {action.text(): action for action in tab.controls.group.menu().actions()}
    assert "inner_lr" not in actions
    actions["Problem"].trigger()
    settle(qtbot, tab)
    assert [one.name for one in tab.shown.curves] == ["all runs (5 runs)"]
    actions["Every run alone"].trigger()
    settle(qtbot, tab)
    assert len(tab.shown.curves) == 5


def test_level_is_answered_in_the_table_and_nonsense_is_said(qtbot, tab):
    qtbot.keyClicks(tab.groups.level, "2.0")
    assert tab.groups.table.horizontalHeaderItem(5).text() == "Reaches ≤ 2"
    expected = np.mean([2, 3, 2])
    assert cell(tab, 0, 5).startswith(f"{expected:.1f} ±")
    assert cell(tab, 1, 5) == "3 (1 of 2)"
    tab.groups.level.setText("soon")
    assert tab.groups.mistake.text() == "'soon' is not a level: write a number."
    assert cell(tab, 0, 5) == ""


def test_baseline_is_told_by_arrow_word_and_colour(qtbot, tab):
    choose(tab.groups.base, 0)
    assert cell(tab, 0, 6) == "baseline"
    apart = np.mean(LAST["reptile"]) - np.mean(LAST["maml"])
    assert cell(tab, 1, 6).startswith(f"▲ +{apart:.3g}")
    assert cell(tab, 1, 6).endswith("worse")
    color = tab.groups.table.item(1, 6).foreground().color().name()
    assert color == LIGHT.error
    tab.plot.point_at(3)
    assert f"Δ +{apart:.3g}" in tab.readout.text()
    assert "(n = 3)" in tab.readout.text()


def test_keys_read_the_curves(qtbot, tab):
    tab.plot.setFocus()
    qtbot.keyClick(tab.plot, Qt.Key.Key_Right)
    assert tab.readout.text().startswith("meta-step")


def test_hidden_page_compares_when_it_is_seen(qtbot):
    made = CompareTab()
    qtbot.addWidget(made)
    made.apply_theme(LIGHT)
    made.show_records(runs())
    assert made.shown is None
    made.show()
    settle(qtbot, made)
    assert len(made.shown.curves) == 2


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("size", [(640, 300), (900, 600)])
def test_every_part_is_reachable_in_both_themes_and_sizes(qtbot, tab, theme, size):
    tab.apply_theme(theme)
    tab.resize(*size)
    settle(qtbot, tab)
    groups = tab.findChild(QToolButton, "compareTableOnly")
    assert groups.isVisible() == (size[1] < 380)
    if groups.isVisible():
        assert not tab.groups.isVisible()
        groups.click()
        assert not tab.plot.isVisible()
    assert tab.groups.table.isVisible()
    tab.findChild(QToolButton, "compareParallel").click()
    assert tab.parallel.plot.isVisible()
    image = tab.grab().toImage()
    ground = tab.parallel.plot.mapTo(tab, QPoint(3, tab.parallel.plot.height() - 3))
    assert image.pixelColor(ground).name() == theme.background
    for button in tab.findChildren(QAbstractButton):
        if button.isVisibleTo(tab) and button.objectName().startswith(("compare", "parallel")):
            corner = button.mapTo(tab, QPoint(button.width(), button.height()))
            assert corner.x() <= tab.width(), button.objectName()


@pytest.fixture
def brushed(qtbot, tab):
    """A tab whose brushes filter a table."""
    model = RunListModel()
    table = RunsDock(model)
    qtbot.addWidget(table)
    model.add([row_of(one, None, keep=True) for one in runs()], first=True)
    tab.brushed.connect(table.keep_only)
    tab.findChild(QToolButton, "compareParallel").click()
    return tab.parallel, table


def listed(table):
    return sorted(row.id for row in table.tree_model.entries())


def test_brush_by_mouse_filters_the_table_and_clears(qtbot, brushed):
    page, table = brushed
    keys = [axis.key for axis in page.plot.axes]
    assert keys == ["algorithm", "inner_lr", "loss"]
    x = round(page.plot.x_of(1))
    low, high = (round(page.plot.y_of(place)) for place in (0.3, -0.05))
    canvas = page.plot.viewport()
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=QPoint(x, low))
    qtbot.mouseMove(canvas, QPoint(x, high))
    page.plot.mouseMoveEvent(_move(page.plot, x, high))
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=QPoint(x, high))
    assert listed(table) == ["reptile-0-0.01", "reptile-1-0.01"]
    assert page.count.text() == "2 of 5 runs"
    qtbot.mouseClick(page.clear, Qt.MouseButton.LeftButton)
    assert len(listed(table)) == 5
    assert page.count.text() == "5 runs"


def test_brush_by_keys_moves_and_escape_clears(qtbot, brushed):
    page, table = brushed
    page.plot.setFocus()
    for _ in range(2):
        qtbot.keyClick(page.plot, Qt.Key.Key_Right)
    qtbot.keyClick(page.plot, Qt.Key.Key_Up)
    low, high = page.plot.brushes["loss"]
    assert (round(low, 3), high) == (0.05, 1.0)
    assert "maml-2-0.1" not in listed(table)
    assert len(listed(table)) == 4
    qtbot.keyClick(page.plot, Qt.Key.Key_Escape)
    assert len(listed(table)) == 5


def test_axes_are_reordered_and_keep_their_order(qtbot, brushed, tab):
    page, _ = brushed
    page.plot.setFocus()
    qtbot.keyClick(page.plot, Qt.Key.Key_Right, Qt.KeyboardModifier.ControlModifier)
    assert [axis.key for axis in page.plot.axes] == ["inner_lr", "algorithm", "loss"]
    tab.show_records(runs())
    assert [axis.key for axis in page.plot.axes] == ["inner_lr", "algorithm", "loss"]


@pytest.mark.parametrize("height", [300, 1300])
def test_runs_without_a_value_stand_in_the_picture(tab, height):
    run = record("maml", 7, (3, 2, 1), inner_lr=0.1)
    run.config["shared"].pop("inner_lr")
    tab.findChild(QToolButton, "compareParallel").click()
    tab.show_records([*runs(), run])
    plot = tab.parallel.plot
    tab.resize(900, height)
    QApplication.processEvents()
    (absent,) = (word for word in plot.words.values() if word.toPlainText().strip() == "absent")
    assert absent.pos().y() == ABSENT
    assert 0 < plot.y_of(ABSENT) < plot.height() - 5
    figure = tab.shown_chart()
    assert {series.name for series in figure.series} == {one.id for one in [*runs(), run]}
    assert figure.axes[1].ticks[-1] == (ABSENT, "absent")


def test_many_axes_are_scrolled_and_their_titles_fit(qtbot, tab):
    many = [f"setting_number_{place}" for place in range(20)]
    one, other = (
        record("maml", seed, (3, 2, 1), **dict.fromkeys(many, seed + 1.0)) for seed in (0, 1)
    )
    tab.resize(640, 300)
    tab.findChild(QToolButton, "compareParallel").click()
    tab.show_records([one, other])
    QApplication.processEvents()
    plot, area = tab.parallel.plot, tab.parallel.area
    assert area.horizontalScrollBar().maximum() > 0
    assert plot.x_of(1) - plot.x_of(0) > 70
    titles = [word for word in plot.words.values() if word.pos().y() > 1]
    boxes = [word.sceneBoundingRect() for word in titles]
    assert len(boxes) == len(plot.axes) > 20
    assert not any(a.intersects(b) for a, b in pairwise(boxes))
    inside = plot.sceneRect()
    assert all(box.top() >= inside.top() for box in boxes)
    plot.setFocus()
    for _ in range(len(plot.axes)):
        qtbot.keyClick(plot, Qt.Key.Key_Right)
    seen = area.horizontalScrollBar().value() + area.viewport().width()
    assert area.horizontalScrollBar().value() > 0
    assert plot.x_of(len(plot.axes) - 1) < seen


def test_pointer_tells_the_run(brushed):
    page, _ = brushed
    plot = page.plot
    losses = plot.axes[-1].places
    worst = int(losses.argmax())
    point = QPointF(plot.x_of(2), plot.y_of(float(losses[worst])))
    assert plot.run_at(point) == "Reptile · seed 1"
    assert plot.run_at(QPointF(plot.x_of(2), plot.y_of(-0.6))) == ""


def _move(widget, x, y):
    from PySide6.QtCore import QEvent
    from PySide6.QtGui import QMouseEvent

    return QMouseEvent(
        QEvent.Type.MouseMove,
        QPointF(x, y),
        widget.mapToGlobal(QPointF(x, y)),
        Qt.MouseButton.NoButton,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )


def test_a_quantity_that_only_some_runs_have_is_offered_with_its_stored_meaning(qtbot, tab):
    length = Quantity("path_length", "Length of the path", "weights", "smaller")
    own = record("ecml", 0)
    own.apply(Stepped(4, {"path_length": 0.25}, np.ones(2), np.ones(1), (length,)))
    before = tab.controls.measure.count()
    tab.show_records([*runs(), own])
    qtbot.waitUntil(lambda: tab.controls.measure.count() == before + 1, timeout=WAIT)
    assert tab.controls.measure.itemText(before) == "Length of the path (weights), batch"
    choose(tab.controls.measure, "path_length")
    settle(qtbot, tab)
    qtbot.waitUntil(lambda: tab.shown.view.measure == "path_length", timeout=WAIT)
    assert [one.last().tolist() for one in tab.shown.curves] == [[0.25]]
    tab.parallel.show_records([*runs(), own])
    assert tab.parallel.result.itemText(3) == "Length of the path (weights)"
    choose(tab.parallel.result, "path_length")
    assert tab.parallel.plot.axes[-1].title == "Length of the path (weights)"


def test_choice_survives_as_plain_values(qtbot, tab):
    choose(tab.controls.band, "se")
    choose(tab.controls.axis, "seconds")
    tab.controls.use_keys(("algorithm",))
    tab.groups.level.setText("1.5")
    settle(qtbot, tab)
    other = CompareTab(Columns())
    qtbot.addWidget(other)
    other.restore(tab.state())
    assert other.view == tab.view
    assert other.state() == tab.state()
    other.restore({"band": "nonsense", "axis": 3, "keys": [1], "smoothing": 7})
    assert other.view.band == "ci95"


def test_export_writes_what_is_shown(qtbot, tab, tmp_path):
    choose(tab.controls.band, "se")
    settle(qtbot, tab)
    dialog = ExportDialog([tab], runs(), None)
    qtbot.addWidget(dialog)
    dialog.folder.setText(str(tmp_path))
    dialog.formats["svg"].setChecked(True)
    dialog.start()
    qtbot.waitUntil(lambda: bool(dialog.written), timeout=WAIT)
    with (tmp_path / "comparison.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["group"] == "MAML"]
    curve = tab.shown.curves[0].curve
    for name in ("x", "mean", "low", "high"):
        np.testing.assert_array_equal([float(r[name]) for r in rows], getattr(curve, name))
    assert {row["interval"] for row in rows} == {"se"}
    assert "MAML (3 runs) ± SE" in (tmp_path / "comparison.svg").read_text(encoding="utf-8")
    assert (tmp_path / "comparison.png").stat().st_size > 5000


def test_parallel_coordinates_are_exported_once_they_were_looked_at(qtbot, tab, tmp_path):
    assert "parallel" not in ExportDialog([tab], runs()).plots
    tab.findChild(QToolButton, "compareParallel").click()
    tab.parallel.plot.brush("loss", 0.0, 0.5)
    dialog = ExportDialog([tab], runs(), None)
    qtbot.addWidget(dialog)
    dialog.folder.setText(str(tmp_path))
    dialog.formats["svg"].setChecked(True)
    dialog.start()
    qtbot.waitUntil(lambda: bool(dialog.written), timeout=WAIT)
    text = (tmp_path / "parallel.svg").read_text(encoding="utf-8")
    assert all(word in text for word in ("Algorithm", "reptile", "0.01", "loss"))
    assert "MAML (3 runs)" in (tmp_path / "comparison.svg").read_text(encoding="utf-8")


# In the whole window


@pytest.fixture
def stored(home):
    """Folders of three stored runs."""
    root = Path(home) / "runs"
    return [store(root, seed=seed, loss=1.0 + seed) for seed in range(3)]


def table_has(qtbot, window, count):
    qtbot.waitUntil(lambda: len(window.runs.rows) == count, timeout=WAIT)


def test_saved_view_survives_a_restart(qtbot, open_window, stored, tmp_path):
    window = open_window(path=tmp_path / "one.ini")
    table_has(qtbot, window, 3)
    window.runs.show([folder.name for folder in stored[:2]], visible=True)
    qtbot.waitUntil(lambda: len(window.runs.visible_records()) == 2, timeout=WAIT)
    choose(window.tabs.compare.controls.band, "se")
    window.table.group_by(None)
    window.table.bar.search.set_text("seed:0-1")
    window.saved_views.save("Two / of: “three”")
    again = open_window(path=tmp_path / "other.ini")
    table_has(qtbot, again, 3)
    again.saved_views.fill()
    names = [action.text() for action in again.saved_views.menu.actions()]
    assert "Two / of: “three”" in names
    again.saved_views.open("Two / of: “three”")
    qtbot.waitUntil(lambda: len(again.runs.visible_records()) == 2, timeout=WAIT)
    assert again.tabs.compare.view.band == "se"
    assert again.table.bar.search.query.text == "seed:0-1"
    assert again.table.tree_model.group_keys is None
    again.saved_views.rename("short")
    again.saved_views.delete()
    assert read_views(Path(stored[0]).parents[1] / "views") == ({}, [])


def drop(window, path):
    """Drag a path over the window and let it go; return what the window said it would do."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    middle, button = QPoint(200, 200), Qt.MouseButton.LeftButton
    none = Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(middle, Qt.DropAction.CopyAction, data, button, none)
    QApplication.sendEvent(window, enter)
    assert window.drop_handler.overlay.label.isVisible()
    told = window.drop_handler.overlay.label.text()
    fall = QDropEvent(QPointF(middle), Qt.DropAction.CopyAction, data, button, none)
    QApplication.sendEvent(window, fall)
    assert not window.drop_handler.overlay.label.isVisible()
    return told


def test_runs_are_dropped_and_shown_where_they_lie(qtbot, open_window, tmp_path):
    folder = store(tmp_path / "elsewhere", seed=5)
    store(tmp_path / "elsewhere", seed=6)
    window = open_window()
    assert drop(window, folder).startswith("Show this run")
    qtbot.waitUntil(lambda: len(window.runs.visible_records()) == 1, timeout=WAIT)
    assert window.runs.rows[0].folder == folder
    assert drop(window, folder.parent).startswith("Show the runs of this folder")
    table_has(qtbot, window, 2)


def test_damaged_run_that_is_dropped_says_what_is_wrong(qtbot, open_window, tmp_path):
    folder = store(tmp_path / "elsewhere", seed=5)
    (folder / "run.toml").write_text("a=" + "[" * 5000)
    window = open_window()
    drop(window, folder)
    qtbot.waitUntil(window.messages.isVisible, timeout=WAIT)
    assert "is not a readable run" in window.messages.text.text()


def test_brushed_table_says_so_and_lists_all_again_by_a_click(qtbot, open_window, stored, tmp_path):
    window = open_window(path=tmp_path / "one.ini")
    table_has(qtbot, window, 3)
    window.runs.show([folder.name for folder in stored], visible=True)
    qtbot.waitUntil(lambda: len(window.runs.visible_records()) == 3, timeout=WAIT)
    assert not window.table.bar.brushed.isVisible()
    plot = window.tabs.compare.parallel.plot
    window.tabs.open_page("comparison")
    plot.brushes = {"loss": (0.0, 1.0)}
    window.table.keep_only({stored[0].name})
    assert window.table.bar.brushed.isVisible()
    window.table.tree_model.flush()
    assert window.table.tree_model.rowCount() == 1
    qtbot.mouseClick(window.table.bar.brushed, Qt.MouseButton.LeftButton)
    window.table.tree_model.flush()
    assert window.table.tree_model.rowCount() == 3
    assert not window.table.bar.brushed.isVisible()
    assert not plot.brushes


def test_packed_run_asks_and_is_imported(qtbot, open_window, tmp_path, home):
    folder = store(tmp_path / "elsewhere", seed=5)
    pack_run(folder, tmp_path / "run.zip")
    shutil.rmtree(folder)
    window = open_window()
    assert drop(window, tmp_path / "run.zip").startswith("Import")
    box = window.findChild(QMessageBox, "import_question")
    qtbot.mouseClick(box.buttons()[0], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(window.runs.visible_records()) == 1, timeout=WAIT)
    assert (Path(home) / "runs" / folder.name / "run.toml").is_file()


def test_toml_fills_the_form_or_opens_a_view_and_garbage_is_said(
    qtbot, open_window, tmp_path, home
):
    window = open_window()
    path = tmp_path / "comparison.toml"
    path.write_text(to_toml(Comparison(problem="sinusoid", steps=77)), encoding="utf-8")
    drop(window, path)
    assert window.form.comparison().steps == 77
    view = saved_view("dropped", {"band": "range"}, {}, [])
    drop(window, write_view(tmp_path / "views", view))
    assert window.tabs.compare.view.band == "range"
    assert list(read_views(Path(home) / "views")[0]) == ["dropped"]
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    assert drop(window, tmp_path / "letter.txt").startswith("This cannot be opened")
    assert "letter.txt is of no use here" in window.messages.text.text()


def test_run_is_packed_from_the_table(qtbot, open_window, stored, tmp_path):
    window = open_window()
    table_has(qtbot, window, 3)
    assert not window.commands["pack_run"].isEnabled()
    window.table.select(stored[0].name)
    assert window.commands["pack_run"].isEnabled()
    with qtbot.waitSignal(window.notifier.informed, timeout=WAIT):
        window.archive_commands.pack(stored[0], tmp_path / "packed")
    assert (tmp_path / "packed.zip").stat().st_size > 500


def test_weights_are_saved_by_the_engine(qtbot, open_window, tmp_path, home):
    folder = train(config("maml", steps=2), Path(home) / "runs")
    window = open_window()
    table_has(qtbot, window, 1)
    window.table.select(folder.name)
    assert window.commands["save_weights"].isEnabled()
    with qtbot.waitSignal(window.notifier.informed, timeout=WAIT) as told:
        window.archive_commands.save_weights(folder, tmp_path / "weights")
    assert told.args[0].endswith("weights.safetensors")
    with safe_open(tmp_path / "weights.safetensors", framework="numpy") as saved:
        assert saved.metadata()["run"] == folder.name
    with qtbot.waitSignal(window.notifier.failed, timeout=WAIT) as refused:
        window.archive_commands.save_weights(tmp_path / "nothing", tmp_path / "weights")
    assert "nothing" in refused.args[0]


def test_many_runs_ticked_at_once_are_read_in_batches(qtbot, open_window, home):
    root = Path(home) / "runs"
    first = store(root, seed=0)
    for seed in range(1, 30):
        shutil.copytree(first, root / f"copy-{seed}")
        text = (first / "run.toml").read_text(encoding="utf-8")
        changed = text.replace(first.name, f"copy-{seed}")
        (root / f"copy-{seed}" / "run.toml").write_text(changed, encoding="utf-8")
    window = open_window()
    table_has(qtbot, window, 30)
    drawn, told = [], []
    window.runs.visibility_changed.connect(lambda: drawn.append(True))
    window.runs.reading.connect(lambda done, total: told.append((done, total)))
    window.runs.show([row.id for row in window.runs.rows], visible=True)
    qtbot.waitUntil(lambda: len(window.runs.visible_records()) == 30, timeout=WAIT)
    qtbot.waitUntil(lambda: bool(told) and told[-1] == (30, 30), timeout=WAIT)
    assert len(drawn) < 15
    window.tabs.open_page("comparison")
    settle(qtbot, window.tabs.compare)
    (shown,) = compared(window.runs.visible_records(), window.tabs.compare.view)
    assert len(shown.samples) == 30
