"""The rail of groups, their keys, the compact list of algorithms and the room that plots have."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLineEdit, QMenu

from metaviz.gui.pages.page_registry import GROUPS, VIEWS
from metaviz.gui.pages.page_tabs import NAMES
from metaviz.gui.plotting.group_menu import add_keys
from tests.gui.conftest import leave, row_of
from tests.unit.compared import record

WAIT = 20_000


@pytest.fixture
def window(qtbot, plain_window):
    """A window in front, with pages and without runs."""
    window = plain_window(plots=True)
    window.resize(1280, 800)
    window.welcome.leave()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow, timeout=WAIT)
    return window


def visible_tabs(window):
    return [NAMES[at] for at in range(window.tabs.count()) if window.tabs.tabBar().isTabVisible(at)]


def test_every_view_has_a_group_and_every_group_a_command(window):
    assert {view.group for view in VIEWS} <= set(GROUPS)
    keys = [window.commands[f"group_{group}"].shortcut().toString() for group in GROUPS]
    assert keys == ["1", "2", "3", "4", "5", "6"]


def test_the_row_of_views_has_its_height_at_once(window):
    bar = window.tabs.tabBar()
    for name in ("comparison", "training", "episode", "training", "theory"):
        window.tabs.open_page(name)
        assert bar.isVisible() == (name != "training")
        if name != "training":
            assert bar.height() == bar.sizeHint().height() > 0
            page = window.tabs.currentWidget()
            assert page.mapTo(window.tabs, page.rect().topLeft()).y() >= bar.height()


def test_keys_open_groups_and_what_was_open_in_one_comes_back(qtbot, window):
    assert visible_tabs(window) == ["training"]
    assert not window.tabs.tabBar().isVisible()
    qtbot.keyClick(window, "5")
    assert visible_tabs(window) == ["gradients", "theory", "playground"]
    window.tabs.open_page("playground")
    qtbot.keyClick(window, "3")
    assert NAMES[window.tabs.currentIndex()] == "comparison"
    assert window.tabs.tabBar().isVisible()
    qtbot.keyClick(window, "5")
    assert NAMES[window.tabs.currentIndex()] == "playground"
    button = window.findChild(QAbstractButton, "rail_theory")
    assert button.isChecked()
    qtbot.mouseClick(window.findChild(QAbstractButton, "rail_train"), Qt.MouseButton.LeftButton)
    assert NAMES[window.tabs.currentIndex()] == "training"
    assert not button.isChecked()


def test_what_was_open_in_each_group_outlives_the_window(qtbot, plain_window):
    first = plain_window(plots=True)
    first.tabs.open_page("playground")
    first.tabs.open_page("benchmark")
    first.tabs.open_page("training")
    leave(qtbot, first)
    second = plain_window(plots=True)
    assert NAMES[second.tabs.currentIndex()] == "training"
    second.tabs.open_group("theory")
    assert NAMES[second.tabs.currentIndex()] == "playground"
    second.tabs.open_group("compare")
    assert NAMES[second.tabs.currentIndex()] == "benchmark"


def test_opening_a_page_of_another_group_shows_its_neighbours(window):
    for name in NAMES:
        place = NAMES.index(name)
        if window.tabs.isTabEnabled(place):
            window.tabs.open_page(name)
            assert NAMES[window.tabs.currentIndex()] == name
            group = VIEWS[place].group
            assert visible_tabs(window) == [view.id for view in VIEWS if view.group == group]


def test_a_group_without_anything_to_open_says_why(window):
    action = window.commands["group_learned"]
    assert not action.isEnabled()
    assert window.tabs.why_closed("learned") in action.toolTip()


def test_digits_go_to_the_field_that_has_the_cursor(qtbot, window):
    front = window.tabs.currentIndex()
    for name in ("field_steps", "field_seeds", "algorithms_search"):
        line = window.findChild(QLineEdit, name)
        line.setFocus()
        qtbot.waitUntil(line.hasFocus, timeout=WAIT)
        line.clear()
        qtbot.keyClicks(line, "135")
        assert line.text() == "135"
    box = window.findChild(QComboBox, "problem")
    box.setItemText(2, "5 losses")
    box.setFocus()
    qtbot.waitUntil(box.hasFocus, timeout=WAIT)
    qtbot.keyClick(box, "5")
    assert box.currentText() == "5 losses"
    assert window.tabs.currentIndex() == front


def test_plots_get_most_of_the_window(window):
    page = window.tabs.current_page()
    room = window.width() * window.height()
    assert page.width() * page.height() > 0.6 * room
    window.commands["runs_below"].trigger()
    assert window.table.width() > 600
    window.commands["reset_layout"].trigger()
    assert window.form.isVisible()


def test_first_settings_are_in_sight_on_a_small_laptop(qtbot, window):
    window.resize(1350, 720)
    area = window.form._area.viewport()
    for key in ("steps", "seeds", "inner_lr"):
        editor = window.form.field(key).editor
        qtbot.waitUntil(lambda e=editor: area.rect().contains(_within(e, area)), timeout=WAIT)


def _within(widget, area):
    place = widget.mapTo(area, widget.rect().topLeft())
    return widget.rect().translated(place)


def test_algorithms_are_found_by_name_and_author_and_fold_away(qtbot, window):
    form = window.form
    reptile, maml = row_of(form, "Reptile"), row_of(form, "MAML")
    group = reptile.parent()
    assert maml.parent().isExpanded()
    assert not group.isExpanded()
    line = window.findChild(QLineEdit, "algorithms_search")
    qtbot.keyClicks(line, "nichol")
    assert group.isExpanded()
    assert not reptile.isHidden()
    assert maml.isHidden()
    assert maml.parent().isHidden()
    line.clear()
    assert not group.isExpanded()
    assert not maml.isHidden()
    form.algorithms.itemClicked.emit(group, 0)
    assert group.isExpanded()
    form.algorithms.itemClicked.emit(group, 0)
    reptile.setCheckState(0, Qt.CheckState.Checked)
    assert group.text(0) == "First order  ·  1 ticked"
    form.algorithms.tick(("reptile",))
    assert group.isExpanded()


def test_keys_to_group_by_have_titles_and_their_owners_menus(window):
    columns, menu = window.table.columns, QMenu(window)
    keys = ["algorithm", "inner_lr", "eval_tasks", "sinusoid.amplitude_low", "imaml.prox"]
    add_keys(menu, keys, ("imaml.prox",), columns)
    assert [action.text() for action in menu.actions()] == [
        *("Algorithm", "Inner step size α", "More shared settings"),
        *("Sinusoid regression", "iMAML"),
    ]
    inner = menu.actions()[-1].menu()
    found = [(action.data(), action.isChecked()) for action in inner.actions()]
    assert found == [("imaml.prox", True)]
    told = []
    menu.triggered.connect(told.append)
    inner.actions()[0].trigger()
    assert [action.data() for action in told] == ["imaml.prox"]


def test_there_is_one_run_button(window):
    run = window.commands["run"]
    buttons = [
        button
        for button in window.findChildren(QAbstractButton)
        if run in button.actions() or getattr(button, "defaultAction", lambda: None)() is run
    ]
    assert [button.objectName() for button in buttons] == ["button_run"]


def test_losses_of_two_problems_share_no_axis(qtbot, window):
    runs = [record("maml", 0), record("maml", 1)]
    runs[1].config["problem"] = "strokes"
    window.show_records(runs[:1])
    bar = window.tabs.problem_bar
    assert bar.isHidden()
    window.show_records(runs)
    assert not bar.isHidden()
    assert bar.problem == "strokes"
    assert [one.id for one in window.tabs.training._records] == [runs[1].id]
    assert [one.id for one in window.tabs.compare._records] == [runs[1].id]
    assert bar.remark.text() == "1 run of another problem is ticked, too, and not drawn here."
    bar.box.setCurrentIndex(bar.box.findData("sinusoid"))
    bar.box.activated.emit(bar.box.currentIndex())
    assert [one.id for one in window.tabs.training._records] == [runs[0].id]
    assert len(window.tabs.theory._records) == 2
    window.tabs.open_page("theory")
    assert bar.isHidden()
    assert window.tabs.tabBar().isVisible()
    window.tabs.open_page("training")
    assert not bar.isHidden()
