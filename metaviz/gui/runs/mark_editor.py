"""A person's marks of runs: every change can be undone, and is saved in the background."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject, Slot
from PySide6.QtGui import QUndoStack

from metaviz.gui.runs.row import Row
from metaviz.gui.runs.run_list_model import RunListModel
from metaviz.gui.runs.run_reader import RunReader
from metaviz.gui.widgets.notifier import Notifier
from metaviz.gui.widgets.undo import UndoCommand
from metaviz.runs.model.marks import cleaned, with_tags

Changes = Mapping[str, Mapping[str, Any]]
"""Fields of marks and their new values, by run."""
TRAINING = {"running", "paused"}


class MarkEditor(QObject):
    """Changes marks through an undo stack."""

    def __init__(
        self, model: RunListModel, reader: RunReader, stack: QUndoStack, notifier: Notifier
    ) -> None:
        """Save through a reader."""
        super().__init__(model)
        self._model, self._reader, self._stack, self._notifier = model, reader, stack, notifier
        self._hidden: set[str] = set()
        self._refused = False
        reader.marked.connect(self._on_marked)
        reader.deleted.connect(self._on_deleted)

    def star(self, rows: Sequence[Row]) -> None:
        """Star runs, or unstar them where all have a star."""
        star = not all(row.marks.star for row in rows)
        self._push("Star" if star else "Unstar", {row.id: {"star": star} for row in rows})

    def rename(self, row: Row, name: str) -> None:
        """Give a run a name; an empty one takes it away."""
        self._push("Rename", {row.id: {"name": name}})

    def tag(self, rows: Sequence[Row], added: Iterable[str], removed: Iterable[str]) -> None:
        """Give tags to runs and take others from them."""
        more, less = list(added), list(removed)
        self._push("Tag", {row.id: {"tags": with_tags(row.marks, more, less)} for row in rows})

    def note(self, rows: Sequence[Row], notes: str) -> None:
        """Write the notes of runs."""
        self._push("Note", {row.id: {"notes": notes} for row in rows})

    def paint(self, rows: Sequence[Row], color: str) -> None:
        """Give runs a colour; an empty one is the automatic."""
        self._push("Colour", {row.id: {"color": color} for row in rows})

    def trash(self, rows: Sequence[Row], *, trashed: bool) -> None:
        """Put runs into the trash, but for those that train, or take them out."""
        kept = [r for r in rows if trashed and r.summary.state in TRAINING]
        chosen = [row for row in rows if row not in kept]
        if kept:
            self._notifier.inform(f"{_runs(len(kept))} training and stay; stop them first.")
        if chosen:
            what = "Move to trash" if trashed else "Restore"
            self._push(what, {row.id: {"trashed": trashed} for row in chosen})
            if trashed:
                count = f"{len(chosen)} run{'s' if len(chosen) > 1 else ''}"
                self._notifier.inform(f"Moved {count} to the trash; Ctrl+Z brings them back.")

    def apply(self, changes: Changes) -> None:
        """Change marks now, here and on disk; runs that do not exist any more are left out."""
        marks = {}
        for name, fields in changes.items():
            row = self._model.find(name)
            if row is None:
                continue
            marks[name] = cleaned(replace(row.marks, **fields))
            if row.folder is not None:
                self._model.hold_marks(name)
                self._reader.mark(name, row.folder, fields)
        self._model.set_marks(marks)
        self._hide_trash(changes)

    def _push(self, text: str, after: Changes) -> None:
        before: dict[str, dict[str, Any]] = {}
        for name, fields in after.items():
            row = self._model.find(name)
            if row is not None:
                before[name] = {field: getattr(row.marks, field) for field in fields}
        count = len(after)
        self._refused = False
        name = f"{text.lower()} of {count} runs" if count > 1 else text.lower()
        self.apply(after)
        self._stack.push(UndoCommand(name, (before, after), self.apply))

    def _hide_trash(self, changes: Changes) -> None:
        """Hide trashed runs in the plots; show restored ones that were shown before."""
        hidden, restored = [], []
        for name, fields in changes.items():
            row = self._model.find(name)
            if row is None or "trashed" not in fields:
                continue
            if fields["trashed"] and row.visible:
                hidden.append(name)
            elif not fields["trashed"] and name in self._hidden:
                restored.append(name)
        self._hidden |= set(hidden)
        self._hidden -= set(restored)
        if hidden:
            self._model.show(hidden, visible=False)
        if restored:
            self._model.show(restored, visible=True)

    @Slot(str, str)
    def _on_marked(self, name: str, sentence: str) -> None:
        self._model.release_marks(name)
        if sentence and not self._refused:  # one sentence for many runs on one read-only disk
            self._refused = True
            self._notifier.fail(f"{sentence} They last until you quit.", name)

    @Slot(object, object)
    def _on_deleted(self, hidden: list[str], sentences: list[str]) -> None:
        self._model.remove(hidden)
        if sentences:
            self._notifier.fail(sentences[0], "\n".join(sentences))
        elif hidden:
            self._notifier.inform(
                f"Deleted {len(hidden)} run{'s' if len(hidden) > 1 else ''} for good."
            )


def _runs(count: int) -> str:
    return f"{count} runs are" if count > 1 else "1 run is"
