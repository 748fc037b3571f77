"""The experiment dock: problem, algorithms and settings. It yields a comparison."""

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from metaviz.catalogue import AlgorithmEntry, Catalogue, ProblemEntry
from metaviz.config import Comparison, parse_seeds
from metaviz.gui.algorithm_list import AlgorithmList, describe
from metaviz.gui.algorithm_options import AlgorithmOptions
from metaviz.gui.editors import ChoiceBox
from metaviz.gui.fields import Field, help_text
from metaviz.gui.form import Fold, OptionForm
from metaviz.gui.theme import current_theme, tint
from metaviz.options import OptionError, OptionSpec, Plain, checked

SEEDS = OptionSpec(
    name="seeds",
    title="Seeds",
    description="One run per algorithm and seed; all algorithms of a seed see the same tasks. "
    "Write 0,1,2 or 0-4.",
    kind="text",
    default="0",
)
FIRST = ("inner_lr", "inner_steps", "outer_lr", "meta_batch", "shots", "query_shots", "ways")
_OUTSIDE_SHARED = frozenset({"steps", "seeds", "device", "dtype"})


class ExperimentPanel(QWidget):
    """Everything that a person chooses before training."""

    changed = Signal()
    download_wanted = Signal(str)

    def __init__(self, catalogue: Catalogue, parent: QWidget | None = None) -> None:
        """Make the form for a catalogue, with MAML on sinusoids chosen."""
        super().__init__(parent)
        self.catalogue = catalogue
        self.problem_box = ChoiceBox(self)
        self.algorithms = AlgorithmList(self)
        self.summary = _quiet_label("problem_summary", self)
        self.download = QPushButton("&Download the data…", self)
        self.count = QLabel(self)
        self.reason = QLabel(self)
        self.help = _quiet_label("help", self)
        self._folds: dict[str, AlgorithmOptions] = {}
        self._problem_fold: Fold | None = None
        self._quiet = False
        self._build()
        self._fill()
        self.show_comparison(Comparison())

    @property
    def problem(self) -> ProblemEntry:
        """The chosen problem."""
        return self.catalogue.problems[max(0, self.problem_box.currentIndex())]

    def comparison(self) -> Comparison:
        """Return what is chosen, holding only differences from the defaults.

        Raises: OptionError with the first sentence about what is wrong.
        """
        reason = self._first_error()
        if reason:
            raise OptionError("", reason)
        values = self._shared_values()
        outer = {name: values.pop(name) for name in _OUTSIDE_SHARED & set(values)}
        seeds = parse_seeds(str(outer.pop("seeds", SEEDS.default)))
        options = {name: fold.form.changes() for name, fold in self._shown_folds().items()}
        return checked(
            Comparison,
            {
                "problem": self.problem.id,
                "algorithms": self.algorithms.ticked(),
                "seeds": seeds,
                "steps": self.problem.steps,
                **outer,
                "shared": values,
                "options": {name: changes for name, changes in options.items() if changes},
                "problem_options": self.problem_form.changes(),
            },
        )

    def show_comparison(self, comparison: Comparison) -> None:
        """Fill the form.

        Raises: OptionError where the comparison names something that is not in the catalogue.
        """
        self._check_names(comparison)
        self._quiet = True
        names = [entry.id for entry in self.catalogue.problems]
        self.problem_box.setCurrentIndex(names.index(comparison.problem))
        self._on_problem()
        self.algorithms.tick(comparison.algorithms)
        self._on_ticks()
        outer: dict[str, Plain] = {
            "steps": comparison.steps,
            "seeds": _seeds_text(comparison.seeds),
            "device": comparison.device,
            "dtype": comparison.dtype,
        }
        for form in (self.first_form, self.more_form):
            form.set_changes({**outer, **comparison.shared})
        self.problem_form.set_changes(comparison.problem_options)
        for name, fold in self._folds.items():
            fold.form.set_changes(comparison.options.get(name, {}))
        self._quiet = False
        self._on_changed()

    def show_catalogue(self, catalogue: Catalogue) -> None:
        """Take another catalogue and keep what was chosen where that is possible."""
        if catalogue == self.catalogue:
            return
        try:
            kept = self.comparison()
        except OptionError:
            kept = Comparison()
        self.catalogue = catalogue
        self._fill()
        try:
            self.show_comparison(kept)
        except OptionError:
            self.show_comparison(Comparison())

    def show_error(self, key: str, sentence: str) -> bool:
        """Mark the field that a sentence of the engine concerns; return whether there is one."""
        field = self.field(key)
        if field is None:
            return False
        field.set_error(sentence)
        self._on_changed()
        field.editor.setFocus(Qt.FocusReason.OtherFocusReason)
        return True

    def field(self, key: str) -> Field | None:
        """Return the field with a dotted key, for instance `inner_lr` or `imaml.prox`."""
        forms = [self.first_form, self.more_form, self.problem_form]
        forms += [fold.form for fold in self._folds.values()]
        return next((f for form in forms for f in form.fields.values() if f.key == key), None)

    def fold(self, algorithm: str) -> AlgorithmOptions:
        """Return the fold of a ticked algorithm."""
        return self._folds[algorithm]

    def restyle(self) -> None:
        """Take the colours of the current theme."""
        theme = current_theme()
        for label in (self.summary, self.help):
            tint(label, theme.muted)
        tint(self.reason, theme.error)
        for form in (self.first_form, self.more_form, self.problem_form):
            form.restyle()
        for fold in self._folds.values():
            fold.form.restyle()

    def explain(self, what: OptionSpec | AlgorithmEntry) -> None:
        """Show in the help strip what something is."""
        if isinstance(what, AlgorithmEntry):
            self.help.setTextFormat(Qt.TextFormat.RichText)
            self.help.setText(describe(what))
            return
        self.help.setTextFormat(Qt.TextFormat.PlainText)
        self.help.setText(f"{what.title}: {help_text(what)}")

    def _build(self) -> None:
        self.problem_box.setObjectName("problem")
        self.problem_box.setAccessibleName("Problem")
        self.download.setObjectName("download")
        self.download.setAccessibleName("Download the data")
        self.download.setToolTip("Says size and source, and asks, before anything is fetched.")
        content = QWidget(self)
        content.setObjectName("experiment_content")
        self._column = QVBoxLayout(content)
        self._column.setContentsMargins(10, 8, 10, 8)
        self._column.setSpacing(6)
        self._column.addWidget(_heading("&Problem", self.problem_box))
        self._column.addWidget(self.problem_box)
        self._column.addWidget(self.summary)
        self._column.addWidget(self.download)
        self._column.addWidget(_heading("Al&gorithms", self.algorithms))
        self._column.addWidget(self.algorithms)
        self._forms = QVBoxLayout()
        self._forms.setSpacing(6)
        self._column.addLayout(self._forms)
        self._column.addStretch(1)
        scroll = QScrollArea(self)
        scroll.setObjectName("experiment_scroll")
        scroll.setAccessibleName("Settings of the experiment")
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidgetResizable(True)
        scroll.setWidget(content)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(scroll, 1)
        layout.addWidget(self._foot())
        self.problem_box.currentIndexChanged.connect(self._on_problem)
        self.algorithms.ticked_changed.connect(self._on_ticks)
        self.algorithms.entered_algorithm.connect(self.explain)
        self.download.clicked.connect(self._on_download)

    def _foot(self) -> QWidget:
        foot = QFrame(self)
        foot.setFrameShape(QFrame.Shape.StyledPanel)
        for label, name in ((self.count, "run_count"), (self.reason, "reason")):
            label.setObjectName(name)
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.help.setMinimumHeight(self.fontMetrics().height() * 4)
        self.help.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.help.setText("Choose a field or an algorithm to read what it does.")
        column = QVBoxLayout(foot)
        column.setContentsMargins(10, 6, 10, 6)
        column.addWidget(self.help)
        column.addWidget(self.reason)
        self.count_row = QHBoxLayout()
        self.count_row.addWidget(self.count, 1)
        column.addLayout(self.count_row)
        return foot

    def _fill(self) -> None:
        """Make list and forms anew from the catalogue."""
        self._quiet = True
        self.problem_box.clear()
        for problem in self.catalogue.problems:
            self.problem_box.addItem(problem.title, problem.id)
        self.algorithms.show_entries(self.catalogue.algorithms)
        while (item := self._forms.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.setParent(None)
                widget.deleteLater()
        self._folds, self._problem_fold = {}, None
        self._make_shared_forms()
        self._quiet = False

    def _make_shared_forms(self) -> None:
        by_name = {spec.name: spec for spec in (*self.catalogue.comparison, *self.catalogue.shared)}
        first = ["steps", *(name for name in FIRST if name in by_name)]
        chosen = [by_name["steps"], SEEDS, *(by_name[name] for name in first[1:])]
        rest = [spec for name, spec in by_name.items() if name not in first]
        rest.sort(key=lambda spec: spec.name in _OUTSIDE_SHARED)
        self.first_form = self._watched(OptionForm(chosen, checks={"seeds": parse_seeds}))
        self.more_form = self._watched(OptionForm(rest))
        self._forms.addWidget(_heading("Settings that all share", self.first_form))
        self._forms.addWidget(self.first_form)
        self._more_fold = Fold("More shared settings", "more", self.more_form)
        self._forms.addWidget(self._more_fold)

    def _watched(self, form: OptionForm) -> OptionForm:
        form.changed.connect(self._on_changed)
        form.focused.connect(self.explain)
        return form

    def _on_problem(self) -> None:
        problem = self.problem
        self.summary.setText(problem.summary)
        self.download.setVisible(problem.needs_data)
        defaults: dict[str, Plain] = {"steps": problem.steps, **problem.shared}
        for form in (self.first_form, self.more_form):
            form.set_baseline(defaults)
            form.hide_fields(problem.hidden)
        if self._problem_fold is not None:
            self._forms.removeWidget(self._problem_fold)
            self._problem_fold.setParent(None)
            self._problem_fold.deleteLater()
        self.problem_form = self._watched(OptionForm(problem.options, f"{problem.id}."))
        self._problem_fold = Fold(problem.title, f"problem_{problem.id}", self.problem_form)
        self._problem_fold.setVisible(bool(problem.options))
        self._forms.insertWidget(self._forms.indexOf(self._more_fold) + 1, self._problem_fold)
        self._problem_fold.set_open(problem.needs_data)
        for name, fold in self._folds.items():
            fold.set_baseline(problem.algorithm_defaults.get(name, {}))
        self._on_changed()

    def _on_ticks(self) -> None:
        for name in self.algorithms.ticked():
            if name not in self._folds:
                entry = self.catalogue.algorithm(name)
                if entry is not None:
                    self._add_fold(entry)
        for name, fold in self._folds.items():
            fold.setVisible(name in self.algorithms.ticked())
        self._on_changed()

    def _add_fold(self, entry: AlgorithmEntry) -> None:
        fold = AlgorithmOptions(entry)
        fold.set_baseline(self.problem.algorithm_defaults.get(entry.id, {}))
        fold.changed.connect(self._on_changed)
        fold.focused.connect(self.explain)
        order = [item.id for item in self.catalogue.algorithms]
        before = sum(order.index(name) < order.index(entry.id) for name in self._folds)
        first = self._forms.indexOf(self._problem_fold or self._more_fold) + 1
        self._forms.insertWidget(first + before, fold)
        self._folds[entry.id] = fold

    def _shown_folds(self) -> dict[str, AlgorithmOptions]:
        ticked = self.algorithms.ticked()
        return {name: fold for name, fold in self._folds.items() if name in ticked}

    def _shared_values(self) -> dict[str, Any]:
        return {**self.first_form.changes(), **self.more_form.changes()}

    def _first_error(self) -> str:
        if not self.algorithms.ticked():
            return "No algorithm is ticked: tick at least one."
        forms = [self.first_form, self.more_form, self.problem_form]
        forms += [fold.form for fold in self._shown_folds().values()]
        return next((form.first_error() for form in forms if form.first_error()), "")

    def _on_changed(self) -> None:
        if self._quiet:
            return
        shared = {
            name: field.value
            for form in (self.first_form, self.more_form)
            for name, field in form.fields.items()
        }
        for fold in self._folds.values():
            fold.show_shared(shared)
        count = sum(
            field.is_changed and name not in self.problem.hidden
            for name, field in self.more_form.fields.items()
        )
        self._more_fold.note(f"{count} changed" if count else "")
        if self._problem_fold is not None:
            number = len(self.problem_form.changes())
            self._problem_fold.note(f"{number} changed" if number else "")
        self._show_count()
        self.changed.emit()

    def _show_count(self) -> None:
        reason = self._first_error()
        self.reason.setText(reason)
        self.reason.setVisible(bool(reason))
        try:
            comparison = self.comparison()
        except OptionError:
            self.count.setText("Nothing to run yet")
            return
        algorithms, seeds = len(comparison.algorithms), len(comparison.seeds)
        runs = _number(algorithms * seeds, "run")
        self.count.setText(
            f"{runs}: {_number(algorithms, 'algorithm')} × {_number(seeds, 'seed')}"
        )

    def _check_names(self, comparison: Comparison) -> None:
        if self.catalogue.problem(comparison.problem) is None:
            raise OptionError("problem", f"There is no problem {comparison.problem!r} here.")
        for name in (*comparison.algorithms, *comparison.options):
            if self.catalogue.algorithm(name) is None:
                raise OptionError("algorithms", f"There is no algorithm {name!r} here.")

    def _on_download(self) -> None:
        self.download_wanted.emit(self.problem.id)


def _seeds_text(seeds: tuple[int, ...]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):  # noqa: PLR2004
        return f"{seeds[0]}-{seeds[-1]}"
    return ",".join(str(seed) for seed in seeds)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _heading(text: str, buddy: QWidget) -> QLabel:
    label = QLabel(text)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    label.setBuddy(buddy)
    return label


def _quiet_label(name: str, parent: QWidget) -> QLabel:
    label = QLabel(parent)
    label.setObjectName(name)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    tint(label, current_theme().muted)
    return label
