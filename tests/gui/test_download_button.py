"""The download button: it asks, fetches, tells the form, and can be ended."""

from collections.abc import Iterator

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox

from metaviz.paths import data_dir
from tests.gui.conftest import WAIT
from tests.unit.download_server import Server, serve_cifar100, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as http:
        yield http


@pytest.fixture
def images(window, server, tmp_path, monkeypatch):
    """A window whose form asks for images, and a small CIFAR-100 to be downloaded."""
    serve_cifar100(server, tmp_path, monkeypatch)
    window.form.problem_box.setCurrentIndex(window.form.problem_box.findData("images"))
    return window


def ask(qtbot, window, answer: str) -> QMessageBox:
    qtbot.mouseClick(window.form.download, Qt.MouseButton.LeftButton)
    box = window.findChild(QMessageBox, "download_question")
    button = next(b for b in box.buttons() if b.text() == answer)
    text = f"{box.text()} {box.informativeText()}"
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    return text


def done(qtbot, window) -> None:
    # The controller is idle again a moment before the form gets an answer.
    qtbot.waitUntil(
        lambda: not window.controller.has_requests and not window.form.downloading, timeout=WAIT
    )


def test_question_names_size_and_source_and_no_means_no(qtbot, images, server):
    text = ask(qtbot, images, "&Cancel")
    assert "CIFAR-100" in text
    assert "169 MB from www.cs.toronto.edu" in text
    assert not images.controller.has_requests
    assert server.ranges == []


def test_downloaded_data_are_set_in_the_form(qtbot, images, server):
    ask(qtbot, images, "&Download")
    done(qtbot, images)
    assert images.form.field("images.path").value == str(data_dir() / "cifar100")
    assert images.form.download.text() == "Download…"
    assert images.form.download.isEnabled()
    qtbot.mouseClick(images.form.look, Qt.MouseButton.LeftButton)
    dialog = images.dataset_controller.dialog
    qtbot.waitUntil(lambda: not dialog.is_waiting, timeout=WAIT)
    assert dialog.facts.name.text() == "CIFAR-FS"


def test_download_can_be_ended_and_goes_on_later(qtbot, images, server):
    server.gate.clear()
    ask(qtbot, images, "&Download")
    said = images.statusBar()
    qtbot.waitUntil(lambda: said.currentMessage().startswith("Downloaded 0 of"), timeout=WAIT)
    assert images.form.download.text() == "Cancel download"
    assert images.commands["run"].toolTip() == "A download is under way."
    qtbot.mouseClick(images.form.download, Qt.MouseButton.LeftButton)
    server.gate.set()
    done(qtbot, images)
    assert said.currentMessage() == "The download was ended; the next one goes on from there"
    assert images.messages.isHidden()
    assert images.form.field("images.path").value == ""
    ask(qtbot, images, "&Download")
    done(qtbot, images)
    assert server.ranges[1] is not None
    assert images.form.field("images.path").value


def test_a_download_that_fails_says_why(qtbot, images, server):
    server.status = 503
    ask(qtbot, images, "&Download")
    done(qtbot, images)
    qtbot.waitUntil(lambda: not images.messages.isHidden(), timeout=WAIT)
    assert "the server answers 503" in images.messages.text.text()
    assert images.form.download.isEnabled()
