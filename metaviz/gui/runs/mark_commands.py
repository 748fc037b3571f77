"""Commands that mark the selected runs: star, name, tags, notes, colour, trash."""

from collections.abc import Callable, Sequence
from functools import partial

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QInputDialog, QMenu, QWidget

from metaviz.charts.values import PALETTE
from metaviz.gui.plotting.swatches import patch
from metaviz.gui.runs.mark_editor import TRAINING, MarkEditor
from metaviz.gui.runs.row import Row
from metaviz.gui.runs.run_tree_view import RunTreeView
from metaviz.gui.widgets.commands import view_action
from metaviz.gui.widgets.message_boxes import ask, input_dialog
from metaviz.runs.model.marks import split_tags

COLOR_NAMES = (
    *("Blue", "Vermilion", "Green", "Pink", "Orange", "Sky blue", "Grey", "Brown"),
    *("Indigo", "Forest", "Wine", "Purple", "Teal", "Olive", "Maroon", "Steel blue"),
)
_AUTOMATIC = "Automatic"


class MarkCommands(QObject):
    """Asks what to mark with, and calls the editor that `use` was given."""

    deletion_requested = Signal(object)

    def __init__(self, parent: QWidget, view: RunTreeView) -> None:
        """Make the commands of a view."""
        super().__init__(parent)
        self._window, self._view = parent, view
        self._editor: MarkEditor | None = None
        self._rows: list[Row] = []
        self._common: tuple[str, ...] = ()
        self._to_delete: dict[str, Row] = {}
        self.colors = QMenu("&Colour", parent)
        self.colors.setObjectName("runs_colours")
        self.colors.addAction(_AUTOMATIC).setData("")
        for name, color in zip(COLOR_NAMES, PALETTE, strict=True):
            self.colors.addAction(patch(color), name).setData(color)
        self.colors.triggered.connect(self._paint)
        self._make()
        self.actions = [
            *(self.star, self.rename, self.tag, self.note, self.colors.menuAction()),
            *(self.trash, self.restore, self.delete),
        ]
        view.star_requested.connect(self._star_rows)

    def use(self, editor: MarkEditor) -> None:
        """Change marks through an editor."""
        self._editor = editor

    def update_actions(self, *, trash: bool) -> None:
        """Enable what the selection allows."""
        selected = self._view.selectionModel().selectedRows()
        some, one = bool(selected), len(selected) == 1
        rows = self._view.selected() if one else []
        self.rename.setEnabled(one and len(rows) == 1)
        for action in (self.star, self.tag, self.note, self.colors.menuAction()):
            action.setEnabled(some)
        self.trash.setVisible(not trash)
        self.trash.setEnabled(some and not trash)
        for action in (self.restore, self.delete):
            action.setVisible(trash)
            action.setEnabled(some and trash)

    def _make(self) -> None:
        view, edit = self._view, self._edit
        star = partial(edit, MarkEditor.star)
        self.star = view_action(
            view, "star", "S&tar", "Star the runs, or take the stars away.", star, "*"
        )
        self.rename = view_action(
            view, "rename", "&Rename…", "Give the run a name.", self._rename, "F2"
        )
        self.tag = view_action(
            view, "tag", "Ta&gs…", "Add or remove tags of the runs.", self._tag, "Ctrl+T"
        )
        self.note = view_action(
            view, "note", "&Notes…", "Write notes about the runs.", self._note, "Ctrl+M"
        )
        self.trash = view_action(
            view,
            "trash",
            "Move to trash",
            "Put the runs out of sight; their files stay, and this can be undone.",
            partial(edit, partial(MarkEditor.trash, trashed=True)),
            "Delete",
        )
        restore = partial(edit, partial(MarkEditor.trash, trashed=False))
        self.restore = view_action(
            view, "restore", "R&estore", "Take the runs out of the trash.", restore
        )
        self.delete = view_action(
            view,
            "delete",
            "Delete for good…",
            "Delete the runs and all their files; this cannot be undone.",
            self._ask_deletion,
            "Shift+Delete",
        )

    def _edit(self, change: Callable[[MarkEditor, Sequence[Row]], object]) -> None:
        """Change the marks of the selected runs."""
        self._rows = self._view.selected()
        if self._editor is not None and self._rows:
            change(self._editor, self._rows)

    @Slot(object)
    def _star_rows(self, rows: Sequence[Row]) -> None:
        if self._editor is not None:
            self._editor.star(rows)

    @Slot()
    def _rename(self) -> None:
        self._rows = self._view.selected()
        if len(self._rows) == 1:
            box = input_dialog(
                self._window, "rename_question", "Rename run", "Name (empty: automatic):"
            )
            box.setTextValue(self._rows[0].marks.name)
            box.textValueSelected.connect(self._renamed)
            box.open()

    @Slot(str)
    def _renamed(self, name: str) -> None:
        if self._editor is not None:
            self._editor.rename(self._rows[0], name)

    @Slot()
    def _tag(self) -> None:
        self._rows = self._view.selected()
        if not self._rows:
            return
        shared = set.intersection(*(set(row.marks.tags) for row in self._rows))
        self._common = tuple(tag for tag in self._rows[0].marks.tags if tag in shared)
        many = f" that all {len(self._rows)} runs have" if len(self._rows) > 1 else ""
        label = f"Tags{many}, with spaces between:"
        box = input_dialog(self._window, "tag_question", "Tags", label)
        box.setTextValue(" ".join(self._common))
        box.textValueSelected.connect(self._tagged)
        box.open()

    @Slot(str)
    def _tagged(self, text: str) -> None:
        tags = split_tags(text)
        removed = [tag for tag in self._common if tag not in tags]
        if self._editor is not None:
            self._editor.tag(self._rows, [t for t in tags if t not in self._common], removed)

    @Slot()
    def _note(self) -> None:
        self._rows = self._view.selected()
        if not self._rows:
            return
        notes = {row.marks.notes for row in self._rows}
        replaced = f" They replace those of {len(self._rows)} runs." if len(notes) > 1 else ""
        box = input_dialog(self._window, "note_question", "Notes", f"Notes:{replaced}")
        box.setOption(QInputDialog.InputDialogOption.UsePlainTextEditForTextInput)
        box.setTextValue(notes.pop() if len(notes) == 1 else "")
        box.resize(420, 260)
        box.textValueSelected.connect(self._noted)
        box.open()

    @Slot(str)
    def _noted(self, text: str) -> None:
        if self._editor is not None:
            self._editor.note(self._rows, text)

    @Slot(QAction)
    def _paint(self, chosen: QAction) -> None:
        self._edit(lambda editor, rows: editor.paint(rows, str(chosen.data())))

    @Slot()
    def _ask_deletion(self) -> None:
        rows = [row for row in self._view.selected() if row.marks.trashed]
        rows = [row for row in rows if row.summary.state not in TRAINING]
        if not rows:
            return
        self._to_delete = {row.id: row for row in rows}
        count = "1 run" if len(rows) == 1 else f"{len(rows)} runs"
        ask(
            self._window,
            "delete_question",
            "Delete for good",
            f"Delete {count} for good?",
            "All their files are deleted: numbers, checkpoints and notes. This cannot be undone.",
            (f"&Delete {count}", self._delete),
            "&Keep",
            destroys=True,
        )

    @Slot()
    def _delete(self) -> None:
        folders = {name: row.folder for name, row in self._to_delete.items() if row.folder}
        self.deletion_requested.emit(folders)
