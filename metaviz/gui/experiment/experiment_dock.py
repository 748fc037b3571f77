"""The experiment dock: problem, algorithms and settings. It yields a comparison."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from metaviz.config.catalogue import AlgorithmEntry, Catalogue, ProblemEntry
from metaviz.config.options import OptionError, Plain, checked
from metaviz.config.run_config import MACHINE, OF_INNER_LOOPS, Comparison, Shared, parse_seeds
from metaviz.config.schedule import default_text
from metaviz.gui.experiment.algorithm_form import AlgorithmForm
from metaviz.gui.experiment.algorithm_list import AlgorithmList
from metaviz.gui.experiment.form_values import FormState, check_names, seeds_text
from metaviz.gui.experiment.help_strip import HelpStrip
from metaviz.gui.experiment.shared_form import OF_THE_COMPARISON, SEEDS, shared_form
from metaviz.gui.widgets.controls import (
    explained,
    make_bold,
    named,
    push_button,
    scrolling,
    search_line,
    text_label,
)
from metaviz.gui.widgets.editors import ChoiceBox, write_value
from metaviz.gui.widgets.layouts import column, order_tabs, row
from metaviz.gui.widgets.option_field import OptionField
from metaviz.gui.widgets.option_form import CollapsibleSection, OptionForm
from metaviz.gui.widgets.plain_text import PlainLabel, plain_tip
from metaviz.gui.widgets.theme import current_theme, tint
from metaviz.runs.table.summary import OWN

_WIDTH = 304
_AROUND_LIST = 390
"""Pixels beside the list: problem, headings, first settings, and the help below the form."""


class ExperimentDock(QWidget):
    """Everything that a person chooses before training."""

    changed = Signal()
    download_requested = Signal(str)
    download_cancelled = Signal()
    sweep_requested = Signal(str)
    help_requested = Signal()
    """The guide is wanted at what has the keyboard."""

    def __init__(self, catalogue: Catalogue, parent: QWidget | None = None) -> None:
        """Make the form for a catalogue, with MAML on sinusoids chosen."""
        super().__init__(parent)
        self.catalogue = catalogue
        tip = "The family of tasks that is learned from."
        self.problem_box = named(ChoiceBox(self), "problem", "Problem", tip)
        self.search = search_line("algorithms_search", "Search algorithms", "Name, author, idea…")
        self.algorithms = AlgorithmList(self)
        self.summary = text_label("problem_summary")
        self.look = push_button("look", "Look at the data…")
        self.download = push_button("download", "")
        self.help_strip = HelpStrip(self)
        self._sections: dict[str, AlgorithmForm] = {}
        self._is_filling = False
        self.change_text: str | None = None
        """While `changed` is emitted for many settings at once: what they are; "" for a restart."""
        self.setMinimumWidth(_WIDTH)
        explained(self, "/page/experiment")
        self._build()
        self._fill()
        self.show_comparison(Comparison())

    @property
    def problem(self) -> ProblemEntry:
        """The chosen problem."""
        return self.catalogue.problems[max(0, self.problem_box.currentIndex())]

    @property
    def reason(self) -> str:
        """The first sentence about what is wrong, or an empty text."""
        if not self.algorithms.ticked():
            return "No algorithm is ticked: tick at least one."
        own = [section.form for section in self._shown().values()]
        errors = (form.first_error() for form in (self.shared, self.problem_form, *own))
        return next((error for error in errors if error), "")

    def comparison(self) -> Comparison:
        """Return what is chosen, holding only differences from the defaults.

        Raises: OptionError with the first sentence about what is wrong.
        """
        if self.reason:
            raise OptionError("", self.reason)
        shared: dict[str, Any] = dict(self.shared.changes())
        outer = {name: shared.pop(name) for name in OF_THE_COMPARISON if name in shared}
        seeds = parse_seeds(str(outer.pop("seeds", SEEDS.default)))
        options = {name: section.form.changes() for name, section in self._shown().items()}
        values = {
            "problem": self.problem.id,
            "algorithms": self.algorithms.ticked(),
            "seeds": seeds,
            "steps": self.problem.steps,
            **outer,
            "shared": shared,
            "options": {name: changes for name, changes in options.items() if changes},
            "problem_options": self.problem_form.changes(),
        }
        return checked(Comparison, values)

    def show_comparison(self, comparison: Comparison, text: str = "settings") -> None:
        """Fill the form; `text` names what is shown, for the undo command.

        Raises: OptionError where the comparison names something that is not in the catalogue.
        """
        check_names(comparison, self.catalogue)
        with self._one_change(text):
            self._show(comparison)

    def state(self) -> FormState:
        """Return all that a person can set here, also what is wrong."""
        return FormState(
            self.problem.id,
            self.algorithms.ticked(),
            {field.key: field.raw for field in self.every_field() if field.is_raw_changed},
        )

    def show_state(self, state: FormState, text: str = "") -> None:
        """Show what `state` returned; unknown names are ignored."""
        with self._one_change(text):
            place = self.problem_box.findData(state.problem)
            if place >= 0:
                self.problem_box.setCurrentIndex(place)
            self._show_problem()
            self.algorithms.tick(state.ticked)
            for key in state.texts:
                entry = self.catalogue.algorithm(key.partition(".")[0])
                if "." in key and entry is not None and entry.id not in self._sections:
                    self._add_section(entry)
            self._show_sections()
            self._hide_shared()
            for field in self.every_field():
                if field.key in state.texts:
                    field.set_raw(state.texts[field.key])
                else:
                    field.reset()

    @contextmanager
    def _one_change(self, text: str) -> Iterator[None]:
        """Emit `changed` once for all that happens inside."""
        self._is_filling = True
        try:
            yield
        finally:
            self._is_filling = False
        self.change_text = text
        self._on_changed()
        self.change_text = None
        order_tabs(self)

    def _show(self, comparison: Comparison) -> None:
        names = [entry.id for entry in self.catalogue.problems]
        self.problem_box.setCurrentIndex(names.index(comparison.problem))
        self._show_problem()
        self.algorithms.tick(comparison.algorithms)
        self._show_sections()
        outer: dict[str, Plain] = {
            "steps": comparison.steps,
            "seeds": seeds_text(comparison.seeds),
            **{name: getattr(comparison, name) for name in MACHINE},
        }
        self.shared.set_changes({**outer, **comparison.shared})
        self.problem_form.set_changes(comparison.problem_options)
        for name, section in self._sections.items():
            section.form.set_changes(comparison.options.get(name, {}))

    def show_catalogue(self, catalogue: Catalogue) -> None:
        """Take another catalogue and keep what was chosen where that is possible."""
        if catalogue == self.catalogue:
            return
        kept = self.state()
        self.catalogue = catalogue
        self._fill()
        self.show_state(kept)

    def show_error(self, key: str, sentence: str) -> bool:
        """Mark the field that a sentence of the engine concerns; return whether there is one."""
        field = self.field(key)
        if field is None:
            return False
        field.set_error(sentence)
        self._on_changed()
        field.editor.setFocus(Qt.FocusReason.OtherFocusReason)
        return True

    def field(self, key: str) -> OptionField | None:
        """Return the field with a dotted key, for instance `inner_lr` or `imaml.prox`."""
        return next((field for field in self.every_field() if field.key == key), None)

    def reset_focused(self) -> None:
        """Put the setting that has the keyboard back to its default."""
        for field in self.every_field():
            if field.editor.hasFocus():
                field.reset()

    def every_field(self) -> list[OptionField]:
        """Return all fields, also those of algorithms that were unticked again."""
        own = [section.form for section in self._sections.values()]
        forms = (self.shared, self.problem_form, *own)
        return [field for form in forms for field in form.fields.values()]

    def section(self, algorithm: str) -> AlgorithmForm:
        """Return the fold of an algorithm that was ticked."""
        return self._sections[algorithm]

    def show_downloading(self, *, under_way: bool) -> None:
        """Make the button start a download, or cancel the one that is under way."""
        self.downloading = under_way
        self.download.setText("Cancel download" if under_way else "Download…")
        self.download.setAccessibleName("Cancel the download" if under_way else "Download the data")
        self.download.setToolTip(
            plain_tip(
                "End the download. What has arrived is kept, and the next one goes on from there."
                if under_way
                else "Says size and source, and asks, before anything is fetched."
            )
        )

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give the list of algorithms what room the first settings leave."""
        super().resizeEvent(event)
        room = event.size().height() - _AROUND_LIST
        self.algorithms.show_lines(room // self.algorithms.line_height)

    def restyle(self) -> None:
        """Take the colours of the current theme."""
        tint(self.summary, current_theme().muted)
        for part in (self.help_strip, self.shared, self.problem_form):
            part.restyle()
        for section in self._sections.values():
            section.form.restyle()

    def _build(self) -> None:
        tint(self.summary, current_theme().muted)
        self.show_downloading(under_way=False)
        self._data = QWidget()
        data = row(self.look, self.download, spacing=6, stretch=self.look, inside=self._data)
        data.setStretchFactor(self.download, 1)
        self._forms = QVBoxLayout()
        self._forms.setSpacing(4)
        # What was typed for a problem comes back with it.
        self._typed: dict[str, dict[str, Plain]] = {}
        self._shown_problem = ""
        self.problem_form: OptionForm
        self._problem_section: CollapsibleSection
        problem = row(_heading("&Problem", self.problem_box), self.problem_box)
        problem.setStretchFactor(self.problem_box, 1)
        head = row(_heading("&Algorithms", self.algorithms), self.search)
        head.setStretchFactor(self.search, 1)
        parts = (
            *(problem, self.summary, self._data, head),
            *(self.algorithms, self._forms, None),
        )
        content = column(None, *parts, margins=(8, 8, 8, 8), spacing=4)
        content.setObjectName("experiment_content")
        self._area = scrolling("experiment_scroll", "Settings of the experiment", content)
        column(self, self._area, self.help_strip, stretch=self._area, spacing=0)
        self.search.textChanged.connect(self.algorithms.search)
        self.problem_box.currentIndexChanged.connect(self._on_problem)
        self.algorithms.ticked_changed.connect(self._on_ticks)
        self.algorithms.entered_algorithm.connect(self.help_strip.explain)
        self.download.clicked.connect(self._on_download)
        self.help_strip.more.clicked.connect(self.help_requested)

    def _fill(self) -> None:
        """Make list and forms from the catalogue."""
        self._is_filling = True
        self.problem_box.clear()
        for problem in self.catalogue.problems:
            self.problem_box.addItem(problem.title, problem.id)
        self.algorithms.show_entries(self.catalogue.algorithms)
        while (item := self._forms.takeAt(0)) is not None:
            _discard(item.widget())
        self._sections = {}
        self._shown_problem = ""
        self.shared = shared_form(self.catalogue, self)
        self._follow(self.shared)
        self._forms.addWidget(_heading("Shared settings", self.shared))
        self._forms.addWidget(self.shared)
        self._show_problem()
        self._is_filling = False

    def _show_problem(self) -> None:
        problem = self.problem
        self.summary.setText(problem.summary)
        explained(self.problem_box, f"/problem/{problem.id}")
        self.download.setVisible(problem.can_download)
        self.look.setVisible(problem.has_images)
        self._data.setVisible(problem.can_download or problem.has_images)
        self.shared.set_baseline({"steps": problem.steps, **problem.shared})
        self._hide_shared()
        self.algorithms.show_unsuited(self.catalogue.unsuited(problem))
        if problem.id != self._shown_problem:
            self._show_problem_form(problem)
        for entry in self.catalogue.algorithms:
            if entry.id in self._sections:
                self._sections[entry.id].set_baseline(entry.defaults.get(problem.id, {}))

    def _hide_shared(self) -> None:
        """Hide what has no meaning for the problem, or for any of the ticked methods."""
        hidden = self.problem.hidden
        ticked = filter(None, map(self.catalogue.algorithm, self.algorithms.ticked()))
        if not any(entry.traits.has_inner_loop for entry in ticked) and self.algorithms.ticked():
            hidden = (*hidden, *OF_INNER_LOOPS)
        self.shared.hide_fields(hidden)

    def _show_problem_form(self, problem: ProblemEntry) -> None:
        """Put a problem's own settings in the place of the last one's."""
        place = self._forms.indexOf(self.shared) + 1
        if self._shown_problem:
            self._typed[self._shown_problem] = self.problem_form.changes()
            # Taken out first: Python would keep a layout item that Qt deletes with the widget.
            self._forms.takeAt(self._forms.indexOf(self._problem_section))
            _discard(self._problem_section)
        self._shown_problem = problem.id
        self.problem_form = OptionForm(problem.options, f"{problem.id}.", parent=self)
        self.problem_form.set_changes(self._typed.get(problem.id, {}))
        self._follow(self.problem_form)
        self._problem_section = CollapsibleSection(
            f"{problem.title} settings", f"problem_{problem.id}", self.problem_form, self
        )
        self._problem_section.setVisible(bool(problem.options))
        self._problem_section.set_open(problem.needs_data)
        self._forms.insertWidget(place, self._problem_section)

    def _show_sections(self) -> None:
        for name in self.algorithms.ticked():
            entry = self.catalogue.algorithm(name)
            if entry is not None and name not in self._sections:
                self._add_section(entry)
        for name, section in self._sections.items():
            section.setVisible(name in self.algorithms.ticked())

    def _add_section(self, entry: AlgorithmEntry) -> None:
        section = AlgorithmForm(entry)
        section.set_baseline(entry.defaults.get(self.problem.id, {}))
        self._follow(section)
        order = [item.id for item in self.catalogue.algorithms]
        before = sum(order.index(name) < order.index(entry.id) for name in self._sections)
        self._forms.insertWidget(self._forms.indexOf(self._problem_section) + 1 + before, section)
        self._sections[entry.id] = section

    def _follow(self, form: OptionForm | AlgorithmForm) -> None:
        """Follow what is changed in a form, what is entered, and what is to be varied."""
        form.changed.connect(self._on_changed)
        form.focused.connect(self.help_strip.explain)
        form.sweep_requested.connect(self.sweep_requested)

    def _shown(self) -> dict[str, AlgorithmForm]:
        ticked = self.algorithms.ticked()
        return {name: section for name, section in self._sections.items() if name in ticked}

    def _on_problem(self) -> None:
        if not self._is_filling:
            with self._one_change(f"problem {self.problem.title}"):
                self._show_problem()
                self._show_sections()

    def _on_ticks(self) -> None:
        if not self._is_filling:
            self._show_sections()
            self._hide_shared()
            self._on_changed()
            order_tabs(self)

    def _on_changed(self) -> None:
        if self._is_filling:
            return
        shared = self.shared.values()
        self._show_schedule(shared)
        self._show_own_values()
        for section in self._sections.values():
            section.show_shared(shared)
        self._problem_section.note_changes(len(self.problem_form.changes()))
        self.help_strip.show_reason(self.reason)
        if not self.reason:
            self.help_strip.show_count(self.comparison())
        self.changed.emit()

    def _show_own_values(self) -> None:
        """Say under a shared field which ticked methods do not use its value."""
        for name in OWN:
            own = [
                f"{section.entry.title}: {write_value(value)}"
                for section in self._shown().values()
                if name in section.form.fields
                and (value := section.form.fields[name].value) is not None
            ]
            field = self.shared.fields.get(name)
            if field is not None:
                field.set_note(f"Not used by {', '.join(own)}" if own else "")

    def _show_schedule(self, values: Mapping[str, Plain]) -> None:
        """Say in the empty field when runs with these settings are evaluated."""
        field, steps = self.shared.fields["eval_every"], values.get("steps")
        shared = {name: value for name, value in values.items() if name in Shared.model_fields}
        if not self.shared.first_error() and isinstance(steps, int):
            field.set_automatic(default_text(shared, steps, self.problem))

    def _on_download(self) -> None:
        if self.downloading:
            self.download_cancelled.emit()
        else:
            self.download_requested.emit(self.problem.id)


def _heading(text: str, buddy: QWidget) -> QLabel:
    label = make_bold(PlainLabel(text))
    label.setBuddy(buddy)
    return label


def _discard(widget: QWidget | None) -> None:
    if widget is not None:
        widget.setParent(None)
        widget.deleteLater()
