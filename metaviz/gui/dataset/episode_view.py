"""One episode of a data set, with the controls that choose another and exchange its colours."""

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QWidget

from metaviz.gui.dataset.sample_grid import SampleGrid, described
from metaviz.gui.widgets.controls import combo, named, offer, push_button, switch, text_label
from metaviz.gui.widgets.layouts import alternatives, column, row
from metaviz.gui.widgets.plain_text import PlainLabel
from metaviz.gui.widgets.theme import current_theme, tint
from metaviz.runs.model.dataset import DatasetView

_SPLITS = {"train": "training", "validation": "validation", "test": "test"}


class EpisodeView(QWidget):
    """The right side of the dialog. `turned` carries -1 or 1, `split_chosen` a split's name."""

    turned = Signal(int)
    split_chosen = Signal(str)

    def __init__(self, swapped: bool | None, parent: QWidget | None = None) -> None:
        """Make the controls; `swapped` is None for images without colours."""
        super().__init__(parent)
        self.split = combo("dataset_split", "Classes of the episode", _SPLITS)
        tip = "Previous episode, of classes of the same split."
        self.before = push_button("dataset_before", "Pre&vious", tip, "Previous episode")
        self.number = named(PlainLabel(), "dataset_number")
        tip = "Another episode, of classes of the same split."
        self.another = push_button("dataset_another", "Another &episode", tip)
        self.swap = switch(
            "dataset_swap",
            "&Swap red and blue",
            "Show the same images with red and blue exchanged. If they look right only like this, "
            "“Use these data” has the form swap them too.",
        )
        self.grid = SampleGrid(self)
        self.refusal = text_label("dataset_refusal", "Why there is no episode")
        self.refusal.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.caption = text_label("dataset_caption", "About the episode")
        self.hint = text_label("dataset_hint", "About the colours")
        self._coloured = swapped is not None
        self._assemble()
        self._connect()
        self.swap.setChecked(bool(swapped))
        self.swap.setVisible(self._coloured)
        self.grid.set_swapped(swapped=bool(swapped))

    def show_view(self, view: DatasetView, number: int) -> None:
        """Show the episode of a view, or why there is none."""
        offer(self.split, {s: _SPLITS.get(s, s) for s, c in view.splits.items() if c.classes})
        episode = view.episode
        self._pages.setCurrentWidget(self.refusal if episode is None else self.grid)
        self.refusal.setText(view.refusal)
        self.caption.setVisible(episode is not None)
        self.hint.setVisible(self._coloured and episode is not None)
        self.caption.setText("" if episode is None else described(episode))
        self.number.setText(f"Episode {number}")
        self.before.setEnabled(episode is not None and number > 0)
        self.another.setEnabled(episode is not None)
        self.grid.show_episode(episode)
        self._on_swap(self.swap.isChecked())

    def _assemble(self) -> None:
        self.number.setMinimumWidth(self.fontMetrics().horizontalAdvance("Episode 000"))
        self.number.setAlignment(Qt.AlignmentFlag.AlignCenter)
        turning = (("&Classes", self.split), self.before, self.number, self.another)
        controls = row(*turning, None, self.swap, spacing=6)
        box, self._pages = alternatives(self.grid, self.refusal, parent=self)
        column(self, controls, box, self.caption, self.hint, stretch=box, spacing=6)
        tint(self.caption, current_theme().muted)
        tint(self.refusal, current_theme().warning)

    def _connect(self) -> None:
        self.split.currentIndexChanged.connect(self._on_split)
        self.before.clicked.connect(self._on_before)
        self.another.clicked.connect(self._on_another)
        self.grid.turned.connect(self.turned)
        self.swap.toggled.connect(self._on_swap)

    @Slot()
    def _on_split(self) -> None:
        self.split_chosen.emit(self.split.currentData())

    @Slot()
    def _on_before(self) -> None:
        self.turned.emit(-1)

    @Slot()
    def _on_another(self) -> None:
        self.turned.emit(1)

    @Slot(bool)
    def _on_swap(self, swapped: bool) -> None:
        self.grid.set_swapped(swapped=swapped)
        self.hint.setText(
            "Red and blue are exchanged: use the data like this if colours look right now."
            if swapped
            else "Colours are as in the files. Where skies look orange, swap red and blue."
        )
        tint(self.hint, current_theme().accent if swapped else current_theme().muted)
