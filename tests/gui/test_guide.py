"""The guide by mouse and keys: F1 anywhere, links, search, back and forward."""

import pytest
from PySide6.QtCore import QPoint, Qt, QUrl
from PySide6.QtWidgets import QApplication, QMenu, QToolButton

from metaviz.gui.guide.guide_window import GuideWindow
from metaviz.gui.pages.page_registry import VIEWS

F1 = Qt.Key.Key_F1
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def window(plain_window):
    return plain_window(plots=True)


def asked(qtbot, window, widget) -> str:
    """Return what F1 opens while a widget has the keyboard."""
    window.activateWindow()
    widget.setFocus()
    qtbot.waitUntil(widget.hasFocus)
    qtbot.keyClick(widget, F1)
    address = window.guide.guide.address
    window.guide.guide.hide()
    return address


def test_f1_tells_of_what_has_the_keyboard(qtbot, window) -> None:
    form = window.form
    assert asked(qtbot, window, form.field("inner_lr").editor) == "/option/inner_lr"
    assert asked(qtbot, window, form.problem_box) == "/problem/sinusoid"
    form.algorithms.setCurrentItem(form.algorithms._items["imaml"])
    assert asked(qtbot, window, form.algorithms) == "/method/imaml"
    form.algorithms.tick(("imaml",))
    form.section("imaml").section.set_open(True)
    assert asked(qtbot, window, form.field("imaml.prox").editor) == "/option/imaml.prox"
    assert asked(qtbot, window, window.table.bar.search) == "/page/runs"


def test_every_page_has_help(qtbot, window) -> None:
    window.welcome.leave()
    library = window.guide.library
    for view in VIEWS:
        page = window.tabs.page(view.id)
        assert library.topic(f"/page/{view.id}") is not None
        assert window.guide.about(page).address == f"/page/{view.id}"


def test_every_field_of_the_form_has_its_topic(window, catalogue) -> None:
    form = window.form
    form.algorithms.tick(tuple(entry.id for entry in catalogue.algorithms))
    for problem in catalogue.problems:
        form.problem_box.setCurrentIndex(form.problem_box.findData(problem.id))
        for field in form.every_field():
            topic = window.guide.about(field.editor)
            assert topic is not None
            assert topic.address == f"/option/{field.key}"


def test_f1_works_in_a_dialog_that_keeps_the_window_waiting(qtbot, window) -> None:
    window.commands["preferences"].trigger()
    dialog = window.preferences.dialog
    field = dialog.form.fields["workers"].editor
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    qtbot.keyClick(field, F1)
    guide = dialog.findChild(GuideWindow)
    assert guide.address == "/option/preferences.workers"
    guide.close()
    dialog.close()


def test_the_button_below_the_form_asks_about_the_field(qtbot, window) -> None:
    editor = window.form.field("meta_batch").editor
    editor.setFocus()
    qtbot.waitUntil(editor.hasFocus)
    qtbot.mouseClick(window.form.findChild(QToolButton, "help_more"), LEFT)
    assert window.guide.guide.address == "/option/meta_batch"


@pytest.fixture
def guide(window) -> GuideWindow:
    window.commands["guide"].trigger()
    return window.guide.guide


def test_links_back_and_forward(qtbot, guide) -> None:
    assert guide.address == "/"
    guide.text.anchorClicked.emit(QUrl("/guide/sinusoids"))
    guide.text.anchorClicked.emit(QUrl("/term/task"))
    assert guide.address == "/term/task"
    assert "A small learning problem" in guide.text.toPlainText()
    assert not guide.forward.isEnabled()
    for wanted in ("/guide/sinusoids", "/"):
        qtbot.mouseClick(guide.back, LEFT)
        assert guide.address == wanted
    assert not guide.back.isEnabled()
    qtbot.mouseClick(guide.forward, LEFT)
    assert guide.address == "/guide/sinusoids"
    guide.text.anchorClicked.emit(QUrl("/term/ways"))
    assert not guide.forward.isEnabled()


def test_search_lists_and_enter_opens_the_first(qtbot, guide) -> None:
    qtbot.keyClicks(guide.line, "conjugate")
    listed = [guide.contents.topLevelItem(at).text(0) for at in range(3)]
    assert listed[0] == "Conjugate gradients  –  Glossary"
    qtbot.keyClick(guide.line, Qt.Key.Key_Return)
    assert guide.address == "/term/conjugate-gradient"
    assert guide.isVisible()
    guide.line.clear()
    assert guide.contents.topLevelItem(0).text(0) == "Tutorials"


def test_papers_open_outside_and_nothing_else_does(monkeypatch, guide) -> None:
    opened: list[QUrl] = []
    monkeypatch.setattr("metaviz.gui.guide.guide_window.QDesktopServices.openUrl", opened.append)
    guide.open_address("/method/maml")
    guide.text.anchorClicked.emit(QUrl("https://arxiv.org/abs/1703.03400"))
    guide.text.anchorClicked.emit(QUrl("file:///etc/passwd"))
    assert [url.host() for url in opened] == ["arxiv.org"]
    assert guide.address == "/"


def test_formulas_and_letters_are_shown_as_they_are(guide, window) -> None:
    for entry in window.form.catalogue.algorithms:
        guide.open_address(f"/method/{entry.id}")
        shown = guide.text.toPlainText()
        assert entry.formula in shown, entry.id
        assert entry.summary in shown, entry.id
        assert entry.cost in shown, entry.id
    assert QApplication.focusWidget() is None or guide.isVisible()


def test_a_column_is_explained_from_its_heading_and_by_f1(qtbot, window) -> None:
    table = window.tabs.page("convergence").table
    place = table.horizontalHeader().sectionViewportPosition(4) + 3
    table.horizontalHeader().customContextMenuRequested.emit(QPoint(place, 3))
    menu = table.findChild(QMenu, "column_menu")
    (asked,) = menu.actions()
    assert asked.text() == "&What is “Rate”?"
    asked.trigger()
    menu.close()
    assert window.guide.guide.address == "/term/convergence-rate"
    table.show_rows([("maml", "1", "2", "3", "4")])
    table.setCurrentCell(0, 3)
    window.guide.open_here()
    assert window.guide.about(table).address == "/term/area-under-curve"


def test_terms_are_found_in_the_palette(window) -> None:
    found = {entry.title: entry for entry in window.palette_controller.entries()}
    found["Guide: Support set"].run()
    assert window.guide.guide.address == "/term/support-set"
