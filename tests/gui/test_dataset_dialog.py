"""The dialog that shows a data set: a person's clicks, then what it shows and the form holds."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel

from metaviz.gui.background.training_controller import BUSY
from metaviz.gui.dataset.dataset_dialog import DatasetDialog
from metaviz.gui.dataset.sample_grid import SampleGrid, scaled
from metaviz.gui.dataset.summary_view import headed, per_class, spaced
from metaviz.gui.widgets.theme import DARK, use_theme
from metaviz.problems.images import cache_dir
from metaviz.problems.inspection import inspect_data
from metaviz.runs.model.dataset import SampleEpisode, SplitCount
from tests.gui.conftest import WAIT
from tests.unit.test_image_layouts import (
    CLASSES,
    encoded,
    pack,
    pixels,
    split_folders_below,
    unpack,
)


def choose(window, problem: str, **shared: int) -> None:
    window.form.problem_box.setCurrentIndex(window.form.problem_box.findData(problem))
    for name, value in shared.items():
        window.form.field(name).set_value(value)


def click(qtbot, dialog: DatasetDialog, name: str) -> None:
    qtbot.mouseClick(dialog.findChild(QAbstractButton, name), Qt.MouseButton.LeftButton)


def settled(qtbot, dialog: DatasetDialog) -> None:
    qtbot.waitUntil(lambda: not dialog.is_waiting, timeout=WAIT)


def opened(qtbot, window) -> DatasetDialog:
    qtbot.mouseClick(window.form.look, Qt.MouseButton.LeftButton)
    dialog = window.dataset_controller.dialog
    settled(qtbot, dialog)
    return dialog


@pytest.fixture
def images(window):
    """A window that asks for tiny episodes of image folders."""
    choose(window, "images", ways=2, shots=1, query_shots=2)
    window.form.field("images.side").set_value(20)
    return window


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return split_folders_below(tmp_path / "data")


def cells(dialog: DatasetDialog) -> list[list[str]]:
    table = dialog.facts.table
    return [
        [table.item(row, column).text() for column in range(table.columnCount())]
        for row in range(table.rowCount())
    ]


def colours(dialog: DatasetDialog) -> set[tuple[int, int, int]]:
    image = dialog.episode.grid.viewport().grab().toImage()
    return {
        image.pixelColor(x, y).getRgb()[:3]
        for x in range(0, image.width(), 3)
        for y in range(0, image.height(), 3)
    }


def painted(*names: str) -> set[tuple[int, int, int]]:
    return {tuple(pixels(name, row)[0, 0].tolist()) for name in names for row in range(3)}


def test_dialog_says_what_was_recognised_and_how_much(qtbot, images, folder):
    images.form.field("images.path").set_value(str(folder))
    dialog = opened(qtbot, images)
    assert dialog.facts.name.text() == "Image folders"
    assert dialog.facts.layout_text.text() == "Kept as: folders with a split"
    assert dialog.facts.totals.text() == "21 images, 7 classes, 20 × 20 pixels"
    assert cells(dialog) == [
        ["train", "3", "9", "3"],
        ["validation", "2", "6", "3"],
        ["test", "2", "6", "3"],
    ]
    assert dialog.facts.remarks.text() == "Nothing was left out or guessed."


def test_dialog_shows_the_problems_that_were_found(qtbot, images, tmp_path):
    names = [f"c{i}" for i in range(10)]
    unpack(tmp_path, {f"{n}/{row}.png": encoded("n01", row) for n in names for row in range(3)})
    of_training = names[np.random.default_rng(0).permutation(10)[0]]
    (tmp_path / of_training / "0.png").unlink()
    images.form.field("images.path").set_value(str(tmp_path))
    dialog = opened(qtbot, images)
    text = dialog.facts.remarks.text()
    assert "The 10 classes came without a split" in text
    assert "have fewer than shots + query_shots = 3 images and are left out" in text
    assert f"{of_training} with 2" in text
    assert "2–3" in [row[3] for row in cells(dialog)]


def test_dialog_says_with_counts_what_was_left_out(qtbot, images, folder):
    unpack(folder, {"mini/more/c9/0.png": encoded("n01", 3), "mini/scan.heic": b"x"})
    images.form.field("images.path").set_value(str(folder))
    dialog = opened(qtbot, images)
    assert dialog.facts.totals.text() == "21 images, 7 classes, 20 × 20 pixels"
    told = dialog.facts.remarks.text()
    assert "Left out: images outside of the folders of the split (1)." in told
    assert "Left out: images in formats that are not read: .heic (1)." in told


def test_dialog_shows_what_inspect_says_of_damaged_images(qtbot, images, folder):
    for place, spoilt in (("n01/0.png", b""), ("n02/1.png", b"<html>")):
        (folder / "mini/data/train" / place).write_bytes(spoilt)
    images.form.field("images.path").set_value(str(folder))
    dialog = opened(qtbot, images)
    assert dialog.facts.totals.text() == "19 images, 7 classes, 20 × 20 pixels"
    told = dialog.facts.remarks.text()
    found = inspect_data(folder, lambda _line: None)
    assert found.remarks[0] in told
    assert told.startswith("2 of 21 images cannot be read: mini/data/train/n01/0.png")
    assert [int(row[2]) for row in cells(dialog)] == [
        sum(found.splits[split].values()) for split in ("train", "validation", "test")
    ]


def test_dialog_describes_data_of_which_no_episode_can_be_drawn(qtbot, images, folder):
    for part in ("validation", "val", "test"):
        shutil.rmtree(folder / "mini/data" / part, ignore_errors=True)
    images.form.field("images.path").set_value(str(folder))
    dialog = opened(qtbot, images)
    found = inspect_data(folder, lambda _line: None)
    assert dialog.facts.totals.text() == "9 images, 3 classes"
    assert [[row[0], row[2]] for row in cells(dialog)] == [
        [split, str(sum(held.values()))] for split, held in found.splits.items()
    ]


def test_without_a_path_dialog_says_what_can_be_chosen(qtbot, images):
    dialog = opened(qtbot, images)
    assert "Folder or zip of miniImageNet" in dialog.message.text()
    assert dialog.message.isVisible()
    assert not dialog.use.isEnabled()


def test_typed_path_is_read_with_enter_and_used_with_enter(qtbot, images, folder):
    dialog = opened(qtbot, images)
    qtbot.keyClicks(dialog.path, str(folder))
    qtbot.keyClick(dialog.path, Qt.Key.Key_Return)
    settled(qtbot, dialog)
    assert dialog.facts.isVisible()
    qtbot.keyClick(dialog.path, Qt.Key.Key_Return)
    assert images.form.field("images.path").value == str(folder)
    assert images.dataset_controller.dialog is None


def test_chosen_data_and_swapped_colours_go_to_the_form(qtbot, images, folder):
    dialog = opened(qtbot, images)
    dialog.set_path(str(folder))
    settled(qtbot, dialog)
    click(qtbot, dialog, "dataset_swap")
    click(qtbot, dialog, "dataset_use")
    assert images.form.comparison().problem_options == {
        "path": str(folder),
        "side": 20,
        "swap_channels": True,
    }


def test_closing_leaves_the_form_as_it_was(qtbot, images, folder):
    dialog = opened(qtbot, images)
    dialog.set_path(str(folder))
    settled(qtbot, dialog)
    click(qtbot, dialog, "dataset_swap")
    dialog.reject()
    assert images.form.comparison().problem_options == {"side": 20}


def test_a_path_that_was_changed_must_be_read_before_it_is_used(qtbot, images, folder):
    images.form.field("images.path").set_value(str(folder))
    dialog = opened(qtbot, images)
    assert dialog.use.isEnabled()
    dialog.path.setText(str(folder / "other"))
    assert not dialog.use.isEnabled()


def test_swap_shows_red_and_blue_exchanged(qtbot, images, folder):
    images.form.field("images.path").set_value(str(folder))
    dialog = opened(qtbot, images)
    before = painted(*CLASSES["train"])
    after = {(blue, green, red) for red, green, blue in before}
    assert colours(dialog) & before
    assert not colours(dialog) & after
    click(qtbot, dialog, "dataset_swap")
    assert colours(dialog) & after
    assert not colours(dialog) & before
    assert "Red and blue are exchanged" in dialog.episode.hint.text()


def test_swap_of_the_form_is_shown_once_not_twice(qtbot, images, folder):
    images.form.field("images.path").set_value(str(folder))
    images.form.field("images.swap_channels").set_value(True)
    dialog = opened(qtbot, images)
    assert dialog.episode.swap.isChecked()
    assert colours(dialog) & {(b, g, r) for r, g, b in painted(*CLASSES["train"])}


def test_split_choice_shows_classes_of_that_split(qtbot, images, folder):
    images.form.field("images.path").set_value(str(folder))
    dialog = opened(qtbot, images)
    dialog.episode.split.setCurrentIndex(dialog.episode.split.findData("test"))
    settled(qtbot, dialog)
    assert colours(dialog) & painted(*CLASSES["test"])
    assert not colours(dialog) & painted(*CLASSES["train"])


def test_another_episode_shows_other_images_and_back(qtbot, window):
    choose(window, "strokes", ways=3, shots=2)
    dialog = opened(qtbot, window)
    grid = dialog.episode.grid
    # The scroll bar goes once the grid has its size, which moves every picture.
    qtbot.waitUntil(lambda: not grid.verticalScrollBar().isVisible(), timeout=WAIT)
    first = grid.viewport().grab().toImage()
    click(qtbot, dialog, "dataset_another")
    settled(qtbot, dialog)
    assert dialog.episode.number.text() == "Episode 1"
    assert grid.viewport().grab().toImage() != first
    grid.setFocus()
    qtbot.keyClick(grid, Qt.Key.Key_Left)
    settled(qtbot, dialog)
    dialog.path.setFocus()
    dialog.episode.another.setFocus()
    assert grid.viewport().grab().toImage() == first
    assert not dialog.episode.before.isEnabled()


def test_quick_clicks_end_at_the_last_episode(qtbot, window):
    choose(window, "strokes")
    dialog = opened(qtbot, window)
    for _ in range(4):
        click(qtbot, dialog, "dataset_another")
    settled(qtbot, dialog)
    assert dialog.episode.number.text() == "Episode 4"
    qtbot.waitUntil(lambda: not window.controller.has_requests, timeout=WAIT)


def test_settings_that_allow_no_episode_say_why_beside_the_counts(qtbot, images, folder):
    images.form.field("images.path").set_value(str(folder))
    images.form.field("ways").set_value(4)
    dialog = opened(qtbot, images)
    assert "ways = 4 is more than the 3 train classes" in dialog.episode.refusal.text()
    assert dialog.episode.refusal.isVisible()
    assert not dialog.episode.grid.isVisible()
    assert len(cells(dialog)) == 3


def test_broken_zip_is_one_sentence_in_the_dialog_only(qtbot, images, tmp_path):
    archive = pack(tmp_path / "mine.zip", {"train/n01/0.png": encoded("n01", 0)})
    archive.write_bytes(archive.read_bytes()[:-30])
    dialog = opened(qtbot, images)
    dialog.set_path(str(archive))
    settled(qtbot, dialog)
    assert "mine.zip is not a readable zip archive" in dialog.message.text()
    assert dialog.message.isVisible()
    assert not dialog.use.isEnabled()
    assert images.messages.isHidden()


def many_images(root: Path) -> Path:
    """Pack so many photographs that decoding takes a second or two, from a few kilobytes."""
    slope = np.linspace(0, 255, 400).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.stack([np.add.outer(slope, slope)] * 3, -1)).save(buffer, "JPEG")
    names = [
        f"{split}/c{c}/{i}.jpg" for split in ("train", "val") for c in (0, 1) for i in range(600)
    ]
    # What stands behind the end of an image changes nothing but makes it a picture of its own.
    contents = {name: buffer.getvalue() + str(i).encode() for i, name in enumerate(names)}
    return pack(root / "many.zip", contents)


def test_cancel_while_decoding_leaves_nothing_and_the_window_usable(qtbot, images, tmp_path):
    dialog = opened(qtbot, images)
    dialog.set_path(str(many_images(tmp_path)))
    qtbot.waitUntil(lambda: "of 2400 images" in dialog.line.text(), timeout=WAIT)
    assert dialog.bar.maximum() == 2400
    assert images.controller.blocked == "A data set is being read."
    click(qtbot, dialog, "dataset_cancel")
    settled(qtbot, dialog)
    assert dialog.message.text() == "Reading was cancelled, and nothing of it was kept."
    assert list(cache_dir().iterdir()) == []
    assert not images.controller.blocked
    dialog.set_path(str(split_folders_below(tmp_path / "small")))
    settled(qtbot, dialog)
    assert dialog.facts.totals.text().startswith("21 images")


def test_closing_while_decoding_breaks_it_off(qtbot, images, tmp_path):
    dialog = opened(qtbot, images)
    dialog.set_path(str(many_images(tmp_path)))
    qtbot.waitUntil(lambda: "of 2400 images" in dialog.line.text(), timeout=WAIT)
    dialog.reject()
    qtbot.waitUntil(lambda: not images.controller.has_requests, timeout=WAIT)
    assert list(cache_dir().iterdir()) == []
    assert images.commands["look"].isEnabled()


def test_other_data_take_the_place_of_those_being_read(qtbot, images, tmp_path, folder):
    dialog = opened(qtbot, images)
    dialog.set_path(str(many_images(tmp_path)))
    qtbot.waitUntil(lambda: "of 2400 images" in dialog.line.text(), timeout=WAIT)
    dialog.set_path(str(folder))
    settled(qtbot, dialog)
    assert dialog.facts.totals.text().startswith("21 images")


def drop(dialog: DatasetDialog, *addresses: str) -> bool:
    """Drag over the dialog and drop; return whether it took what was dragged."""
    data = QMimeData()
    data.setUrls([QUrl(address) for address in addresses])
    where = dialog.rect().center()
    common = (
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    enter = QDragEnterEvent(where, *common)
    enter.setAccepted(False)
    QApplication.sendEvent(dialog, enter)
    if enter.isAccepted():
        QApplication.sendEvent(dialog, QDropEvent(where.toPointF(), *common))
    return enter.isAccepted()


def test_a_dropped_folder_or_archive_is_read(qtbot, images, folder, tmp_path):
    dialog = opened(qtbot, images)
    archive = pack(
        tmp_path / "some.zip",
        {
            f"{split}/{name}/{i}.png": encoded("n01", i)
            for split in ("train", "val")
            for name in "ab"
            for i in range(3)
        },
    )
    for place, count in ((folder, 21), (archive, 12)):
        assert drop(dialog, place.as_uri())
        settled(qtbot, dialog)
        assert dialog.path.text() == str(place)
        assert dialog.facts.totals.text().startswith(f"{count} images")


def test_other_drops_are_not_taken(qtbot, images, folder):
    dialog = opened(qtbot, images)
    assert not drop(dialog, "https://example.org/images.zip")
    assert not drop(dialog, folder.as_uri(), folder.parent.as_uri())
    assert not drop(dialog)
    assert dialog.path.text() == ""


def test_only_problems_with_images_can_be_looked_at(window):
    assert window.form.look.isHidden()
    assert not window.commands["look"].isEnabled()
    assert "has no images" in window.commands["look"].toolTip()
    for problem in ("strokes", "omniglot", "images"):
        choose(window, problem)
        assert window.form.look.isVisible()
        assert window.commands["look"].isEnabled()


def test_data_can_be_looked_at_while_paused_not_while_training(qtbot, window):
    choose(window, "strokes", ways=2, shots=1, query_shots=1, meta_batch=1, eval_tasks=2)
    window.form.field("strokes.channels").set_value(2)
    window.form.field("steps").set_value(100_000)
    window.commands["run"].trigger()
    qtbot.waitUntil(lambda: window.controller.phase == "training", timeout=WAIT)
    assert not window.commands["look"].isEnabled()
    window.commands["pause"].trigger()
    qtbot.waitUntil(lambda: window.controller.phase == "paused", timeout=WAIT)
    dialog = opened(qtbot, window)
    assert dialog.facts.name.text() == "Strokes"
    dialog.reject()
    assert window.controller.phase in BUSY


def test_problem_without_files_has_no_path_and_nothing_to_use(qtbot, window):
    choose(window, "strokes")
    dialog = opened(qtbot, window)
    for part in (dialog.path, dialog.use, dialog.episode.swap, dialog.episode.hint):
        assert not part.isVisible()


def test_everything_that_takes_the_focus_has_a_name(qtbot, images, folder):
    images.form.field("images.path").set_value(str(folder))
    dialog = opened(qtbot, images)
    first = widget = dialog.path
    seen = set()
    while True:
        if widget.focusPolicy() & Qt.FocusPolicy.TabFocus and widget.isVisible():
            assert widget.accessibleName() or widget.property("text"), widget
            seen.add(widget.objectName())
        widget = widget.nextInFocusChain()
        if widget is first:
            break
    assert {"dataset_path", "dataset_folder", "dataset_another", "sample_grid"} <= seen


def test_grid_describes_its_episode_and_shows_what_fits(qtbot):
    grid = SampleGrid()
    qtbot.addWidget(grid)
    images = np.zeros((5, 20, 1, 28, 28), np.uint8)
    grid.resize(500, 400)
    grid.show()
    grid.show_episode(SampleEpisode("train", 0, 5, 1, 15, images[:, :1], images[:, :15]))
    assert grid.accessibleDescription() == "5 classes, 1 support image and 15 query images of each."
    support, query = grid.columns()
    assert support == 1
    assert 3 <= query < 15
    assert not grid.verticalScrollBar().maximum()


def test_grid_of_many_classes_scrolls(qtbot):
    grid = SampleGrid()
    qtbot.addWidget(grid)
    images = np.zeros((20, 20, 3, 84, 84), np.uint8)
    grid.resize(500, 300)
    grid.show()
    grid.show_episode(SampleEpisode("train", 0, 64, 20, 20, images, images))
    assert min(grid.columns()) > 0
    assert grid.verticalScrollBar().maximum() > 0
    qtbot.keyClick(grid, Qt.Key.Key_Down)
    assert grid.verticalScrollBar().value() > 0


@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_small_images_are_enlarged_pixel_by_pixel(qapp, ratio):
    levels = np.random.default_rng(0).integers(0, 256, (3, 4, 4), dtype=np.uint8)
    image = scaled(levels, 12, ratio)
    assert image.width() == 12 * ratio
    times = int(3 * ratio)
    for y, x in ((0, 0), (1, 3), (3, 2)):
        for inside in (0, times - 1):
            colour = image.pixelColor(times * x + inside, times * y + inside)
            assert list(colour.getRgb()[:3]) == levels[:, y, x].tolist()


def test_numbers_and_names_are_written_for_people():
    assert spaced(60000) == "60\u202f000"
    assert per_class(SplitCount(2, 30, 10, 20)) == "10–20"
    assert per_class(SplitCount(0, 0, 0, 0)) == "–"
    assert (headed("miniImageNet"), headed("image folders")) == ("miniImageNet", "Image folders")


def test_dialog_is_readable_in_the_dark_theme(qtbot, qapp, images):
    use_theme(qapp, DARK)
    dialog = opened(qtbot, images)
    label = dialog.findChild(QLabel, "dataset_message")
    assert label.palette().color(label.foregroundRole()).name() == DARK.muted
