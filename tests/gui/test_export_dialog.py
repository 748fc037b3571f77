"""The export dialog: sizes for papers, captions beside, what is remembered, stopping."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit

from metaviz.gui.pages.training_page import TrainingTab
from metaviz.gui.widgets.settings_file import Settings
from metaviz.gui.window.export_dialog import PRESETS, ExportDialog
from metaviz.runs.model.events import STEP_COLUMNS, Evaluated
from metaviz.runs.model.record import Record

WAIT = 60_000


@pytest.fixture
def record() -> Record:
    config = {"algorithm": "maml", "problem": "sinusoid", "seed": 0, "steps": 9}
    made = Record("maml-s0", config)
    for step in range(1, 10):
        made.append_row(step, [1.0 / step] * len(STEP_COLUMNS))
    for step in (0, 9):
        curve = np.array([2.0, 1.0, 0.5]) / (step + 1)
        made.apply(Evaluated(step, 20, 2, {"query_loss": curve, "query_loss_ci95": 0 * curve}))
    return made


@pytest.fixture
def dialog(qtbot, tmp_path: Path, record: Record):
    tab = TrainingTab()
    qtbot.addWidget(tab)
    tab.show_records([record])

    def make(only: str = "training") -> ExportDialog:
        settings = Settings(tmp_path / "metaviz.ini")
        made = ExportDialog([tab], [record], None, None, settings, only)
        qtbot.addWidget(made)
        made.show()
        return made

    return make


def test_only_the_plot_in_front_is_ticked(dialog) -> None:
    made = dialog()
    assert [name for name, box in made.plots.items() if box.isChecked()] == ["training"]
    assert not made.tables.isChecked()
    assert dialog("").tables.isChecked()


def test_a_single_column_has_its_caption_beside_it(qtbot, tmp_path: Path, dialog) -> None:
    made = dialog()
    made.preset.setCurrentIndex(made.preset.findData("single"))
    made.folder.setText(str(tmp_path / "out"))
    qtbot.keyClick(made, Qt.Key.Key_Return)  # the dialog's own action
    qtbot.waitUntil(lambda: bool(made.written), timeout=WAIT)
    assert {path.name for path in made.written} == {"training.png", "training.txt"}
    told = (tmp_path / "out" / "training.txt").read_text(encoding="utf-8")
    assert told.startswith("Means over 20 evaluation tasks; bold: after 2 inner steps")
    with Image.open(tmp_path / "out" / "training.png") as picture:
        _, width, height, _ = PRESETS["single"]
        wanted = [round(side / 2.54 * made.dpi.value()) for side in (width, height)]
        assert picture.size == pytest.approx(wanted, abs=1)


def test_sizes_name_the_place_that_has_them(dialog) -> None:
    made = dialog()
    assert made.preset.currentData() == "own"
    made.preset.setCurrentIndex(made.preset.findData("slide"))
    assert (made.width_cm.value(), made.font_size.value()) == (25.4, 18.0)
    made.width_cm.setValue(20)
    assert made.preset.currentData() == "own"
    made.width_cm.setValue(25.4)
    assert made.preset.currentData() == "slide"


def test_folder_formats_and_size_are_there_the_next_time(qtbot, tmp_path: Path, dialog) -> None:
    made = dialog()
    made.preset.setCurrentIndex(made.preset.findData("double"))
    made.formats["png"].setChecked(False)
    made.formats["pdf"].setChecked(True)
    made.legend.setCurrentIndex(made.legend.findData("inside"))
    made.folder.setText(str(tmp_path / "mine"))
    made.export.click()
    qtbot.waitUntil(lambda: bool(made.written), timeout=WAIT)
    assert made.open_folder.isEnabled()
    again = dialog()
    assert again.folder.text() == str(tmp_path / "mine")
    assert [name for name, box in again.formats.items() if box.isChecked()] == ["pdf"]
    assert again.preset.currentData() == "double"
    assert again.legend.currentData() == "inside"


def test_what_was_remembered_wrongly_is_passed_over(tmp_path: Path, dialog) -> None:
    (tmp_path / "metaviz.ini").write_text(
        "[export]\ndpi=many\nlegend=7\nwidth=nan\nfont=1e999\n", encoding="utf-8"
    )
    made = dialog()
    assert made.dpi.value() == 300
    assert made.legend.currentData() == "below"
    assert 2 <= made.width_cm.value() <= 200
    assert 4 <= made.font_size.value() <= 40


def test_closing_while_files_are_written_stops_after_one(qtbot, tmp_path: Path, dialog) -> None:
    made = dialog()
    for box in made.formats.values():
        box.setChecked(True)
    made.folder.setText(str(tmp_path / "out"))
    seen: list[str] = []
    made.status.setText = seen.append  # type: ignore[method-assign]
    made.export.click()
    made.reject()
    qtbot.waitUntil(made.export.isEnabled, timeout=WAIT)
    assert len(made.written) == 1
    assert seen[-1].startswith("Stopped. Wrote 1 files")


def test_ctrl_e_exports_while_a_field_has_the_cursor(qtbot, window, record: Record) -> None:
    window.show_records([record])
    window.update_actions()
    field = window.form.findChild(QLineEdit)
    field.setFocus()
    qtbot.waitUntil(field.hasFocus, timeout=5000)
    qtbot.keyClick(field, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: window.findChild(ExportDialog) is not None, timeout=5000)
    window.findChild(ExportDialog).reject()
