"""The command palette: what it finds first, and running it by keys alone."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction

from metaviz.gui.widgets.command_palette import CommandPalette, PaletteEntry, ranked, score
from metaviz.gui.widgets.commands import COMMANDS
from metaviz.gui.widgets.theme import DARK, LIGHT, current_theme


def offers(*titles):
    return [PaletteEntry(title, lambda: None) for title in titles]


def titles(found):
    return [offer.title for offer in found]


@pytest.mark.parametrize(
    ("query", "better", "worse"),
    [
        ("con", "Show Convergence tab", "Choose icons in order now"),
        ("sct", "Show Convergence Tab", "Ask about the vista script"),
        ("maml", "Tick MAML", "Show my amber mail"),
        ("run", "Run", "Return the user name"),
        ("q4", "Queue 4", "Quit then 4"),
    ],
)
def test_starts_of_words_and_letters_in_a_row_come_first(query, better, worse):
    assert score(query, worse) is not None
    assert titles(ranked(offers(worse, better), query, [])) == [better, worse]


def test_every_word_must_be_found_in_any_order():
    assert score("tab conv", "Show Convergence tab") is not None
    assert score("tab xyz", "Show Convergence tab") is None
    assert score("vnoc", "Show Convergence tab") is None
    assert score("", "anything") == 0


def test_of_equals_the_shorter_comes_first():
    found = ranked(offers("Tick iMAML with more", "Tick MAML"), "tick", [])
    assert titles(found) == ["Tick MAML", "Tick iMAML with more"]


def test_recently_used_come_first_in_their_order():
    names = ("Run", "Stop", "Export", "Quit")
    assert titles(ranked(offers(*names), "", ["Quit", "Stop"])) == ["Quit", "Stop", "Run", "Export"]
    assert titles(ranked(offers("Undo", "Unit"), "un", ["Unit"])) == ["Unit", "Undo"]


def test_a_disabled_offer_is_listed_with_its_reason_and_not_run(qtbot, qapp):
    ran = []
    palette = CommandPalette(
        [PaletteEntry("Pause", lambda: ran.append(1), reason="Nothing is training.")],
        [],
        _parent(qtbot),
    )
    qtbot.addWidget(palette)
    palette.open()
    qtbot.keyClicks(palette.line, "pau")
    assert palette.reason.text() == "Not now: Nothing is training."
    assert palette.view.model().index(0, 0).data(Qt.ItemDataRole.ToolTipRole)
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert ran == []
    assert palette.isVisible()


def test_arrows_move_and_stop_at_the_ends(qtbot, qapp):
    ran = []
    made = [
        PaletteEntry(name, lambda name=name: ran.append(name)) for name in ("one", "two", "three")
    ]
    palette = CommandPalette(made, [], _parent(qtbot))
    palette.open()
    for key in (Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Up):
        qtbot.keyClick(palette.line, key)
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert ran == ["two"]


def _parent(qtbot):
    from PySide6.QtWidgets import QWidget

    widget = QWidget()
    qtbot.addWidget(widget)
    widget.show()
    return widget


def test_commands_run_by_keys_only_and_are_remembered(qtbot, plain_window):
    window = plain_window()
    window.findChild(QAction, "action_theme_light").trigger()
    assert current_theme() == LIGHT
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow, timeout=20_000)
    qtbot.keyClick(window, Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: window.palette_controller.palette is not None, timeout=20_000)
    palette = window.palette_controller.palette
    qtbot.keyClicks(palette.line, "theme dark")
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert current_theme() == DARK
    assert window.palette_controller.palette is None
    window.commands["palette"].trigger()
    again = window.palette_controller.palette
    assert again.titles()[0] == "Theme: Dark"
    qtbot.keyClick(again.line, Qt.Key.Key_Escape)
    assert window.palette_controller.palette is None


def test_the_window_offers_everything(plain_window):
    window = plain_window()
    found = {offer.title: offer for offer in window.palette_controller.entries()}
    for title in (
        "Show Convergence tab",
        "Hide Log",
        "Theme: Dark",
        "Load preset miniimagenet-5way-1shot-maml",
        "Problem: Omniglot",
        "Tick Reptile",
        "Untick MAML",
        "Find runs",
        "Runs: Star",
    ):
        assert title in found, title
    assert found["Pause"].reason == "Nothing is training."
    assert found["Show Learned tab"].reason.startswith("Tick a run")
    assert found["Run"].reason == "PyTorch is still loading."
    assert found["Find runs"].keys == "Ctrl+F"
    found["Problem: Omniglot"].run()
    found["Tick Reptile"].run()
    assert window.form.problem.id == "omniglot"
    assert "reptile" in window.form.algorithms.ticked()
    found["Load preset miniimagenet-5way-1shot-maml"].run()
    assert window.form.problem.id == "images"
    found["Show Convergence tab"].run()
    assert window.tabs.tabText(window.tabs.currentIndex()) == "Convergence"
    assert not window.welcome.is_shown


def test_every_disabled_command_says_why(plain_window):
    window = plain_window()
    usual = {command.tip for command in COMMANDS}
    disabled = [offer for offer in window.palette_controller.entries() if offer.reason]
    assert len(disabled) > 5
    assert [offer.title for offer in disabled if offer.reason in usual] == []
