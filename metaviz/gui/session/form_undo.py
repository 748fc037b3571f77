"""Undo of what a person sets in the form, and of which runs are shown."""

from collections.abc import Collection

from PySide6.QtCore import QObject, Slot
from PySide6.QtGui import QUndoStack

from metaviz.gui.experiment.experiment_dock import ExperimentDock
from metaviz.gui.experiment.form_values import FormState, changed_keys
from metaviz.gui.runs.run_list_model import RunListModel
from metaviz.gui.widgets.undo import UndoCommand

_ALGORITHMS, _MANY = "algorithms", "settings"


class FormUndo(QObject):
    """Puts every change of the form on the stack."""

    def __init__(self, form: ExperimentDock, stack: QUndoStack) -> None:
        """Begin with the form as it is."""
        super().__init__(form)
        self._form, self._stack = form, stack
        self._known = form.state()
        form.changed.connect(self._on_changed)

    @Slot()
    def _on_changed(self) -> None:
        before, after = self._known, self._form.state()
        self._known = after
        if before == after or self._form.change_text == "":
            return
        key, text = self._described(before, after)
        self._stack.push(UndoCommand(text, (before, after), self._show, key))

    def _show(self, state: FormState) -> None:
        self._form.show_state(state)

    def _described(self, before: FormState, after: FormState) -> tuple[str, str]:
        """Return the key by which edits merge, and what the command is called."""
        keys = changed_keys(before, after)
        same = before.problem == after.problem and before.ticked == after.ticked
        if self._form.change_text:
            return "", self._form.change_text
        if same and len(keys) == 1:
            field = self._form.field(keys[0])
            if field is not None:
                title = field.spec.title
                short = title[0].lower() + title[1:] if title[1:2].islower() else title
                return f"field {keys[0]}", f"{short} = {field.raw or 'empty'}"
        if before.problem == after.problem and not keys:
            return "", self._ticks(set(before.ticked), set(after.ticked))
        return "", _MANY

    def _ticks(self, before: set[str], after: set[str]) -> str:
        changed = before ^ after
        entry = self._form.catalogue.algorithm(next(iter(changed)))
        if len(changed) > 1 or entry is None:
            return _ALGORITHMS
        return f"{'tick' if changed <= after else 'untick'} {entry.title}"


class ShownRunsUndo(QObject):
    """Puts on the stack which runs a person shows and hides."""

    def __init__(self, runs: RunListModel, stack: QUndoStack) -> None:
        """Listen to ticks of the runs table."""
        super().__init__(runs)
        self._runs, self._stack = runs, stack
        runs.ticked.connect(self._on_ticked)

    @Slot(object, object)
    def _on_ticked(self, before: Collection[str], after: Collection[str]) -> None:
        if before == after:
            return
        shown, hidden = set(after) - set(before), set(before) - set(after)
        if shown and hidden:
            text = "shown runs"
        else:
            verb, runs = ("show", shown) if shown else ("hide", hidden)
            row = self._runs.find(next(iter(runs)))
            text = f"{verb} {row.label if len(runs) == 1 and row else f'{len(runs)} runs'}"
        self._stack.push(UndoCommand(text, (before, after), self._runs.show_only))
