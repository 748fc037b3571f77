"""What a method has learned of the inner loop's geometry: rates, factors, masks, gates."""

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QSplitter,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.pages.evaluation_picker import MomentTab
from metaviz.gui.pages.geometry_plot import GeometryPlot
from metaviz.gui.plotting.heat_map import shortened
from metaviz.gui.widgets.controls import combo, offer, switch
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.gui.widgets.theme import Theme, tint
from metaviz.runs.analysis.geometry import (
    View,
    geometry_pictures,
    has_geometry,
    offered,
    parts,
    summary,
)
from metaviz.runs.model.events import Pictured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from metaviz.runs.figures.base import Page

Index = QModelIndex | QPersistentModelIndex
EMPTY = (
    "Tick a method that learns a geometry, like Meta-SGD, and press Run (Ctrl+Return),\n"
    "or tick a stored run of one in the table below.\n"
    "What it has learned appears here at every evaluation."
)
_HELP: dict[View, str] = {
    "rates": "Each weight has its own step size. A negative one moves its weight uphill on the "
    "support loss, where that helps the query loss.",
    "factors": "What gradients are multiplied by along one axis of a tensor: mode1 are its "
    "outputs, mode2 its inputs, mode3 the window. The identity is plain gradient descent. A factor "
    "with more than 64 rows or columns is shown pooled.",
    "masks": "Units with a probability near 1 adapt to a task; those near 0 are shared by all.",
    "gates": "Forget gate 1 and input gate α is plain gradient descent. The line is the median "
    "over weights and tasks, the bands hold 50 and 90 % of them.",
    "slopes": "Derivative of each weight of the network by its own dual variable: 1 is plain "
    "gradient descent, above 1 a weight moves further, below 1 less. All weights, by tensor.",
    "dense": "P of the whole network: one step changes the weights by −α P ∇L. Plain gradient "
    "descent has a diagonal of ones and nothing else.",
    "spectrum": "Directions with a large eigenvalue adapt quickly, those near 0 are kept. Zeros "
    "have no place on a logarithmic axis.",
    "condition": "Largest over smallest eigenvalue of J P Jᵀ, where J is the derivative of the "
    "residuals on the support set of the first evaluation task: the directions in which its few "
    "examples shape the loss. Smaller is easier. Without P: J Jᵀ.",
}
_FACTOR_HELP = {
    "layers": "A layer computes T (W x + b), and only W and b adapt: one step moves T W by "
    "−α T diag(m) Tᵀ ∇L. The identity is plain gradient descent.",
    "warps": "A warp computes x → T x + c after a layer and does not adapt: a step moves the next "
    "layer's product with it by −α ∇L Tᵀ T. The identity is plain gradient descent.",
}
_KIND_HELP = {
    "layers": " P = T diag(m) Tᵀ; where tasks draw their masks m, the mean of m.",
    "warps": " P is that of the same network with its warps merged into its layers.",
    "map": " P is the Jacobian of the mirror map at the start.",
}
_OF_P: frozenset[View] = frozenset({"dense", "spectrum", "condition"})
_HEADER = ("Layer", "Quantity", "Value")


class GeometryTab(MomentTab):
    """One view of one run's learned geometry at one evaluation, and a table of its summary."""

    export_name = "geometry"

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show an empty plot."""
        super().__init__("geometry", has_geometry, parent)
        self._chosen: tuple[View, int] | None = None
        self._theme: Theme | None = None
        self.plots = GeometryPlot(self)
        self.model = SummaryModel(self)
        self._lay_out()
        self.what.currentIndexChanged.connect(self._take)
        self.part.currentIndexChanged.connect(self._take)
        self.log.toggled.connect(self._take)
        self.diagonal.toggled.connect(self._take)

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        self._theme = theme
        self.plots.apply_theme(theme)
        tint(self.help, theme.muted)
        self.draw()

    def figure(self, page: "Page") -> "Figure | None":
        """Draw the same for a paper; None where no run has a geometry."""
        if self.moment.record is None or self._chosen is None:
            return None
        from metaviz.runs.figures.geometry import geometry_figure

        view, part = self._chosen
        return geometry_figure(
            self.moment.record,
            self.moment.place,
            view,
            page,
            part=part,
            log=self.log.isChecked(),
            diagonal=not self.diagonal.isChecked(),
        )

    def current(self) -> Pictured | None:
        """Return the picture that is shown."""
        record = self.moment.record
        drawn = geometry_pictures(record) if record is not None else []
        return drawn[self.moment.place] if drawn else None

    def _lay_out(self) -> None:
        self.table = QTableView(self)
        self.table.setObjectName("geometrySummary")
        self.table.setAccessibleName("Summary of each layer")
        self.table.setToolTip("Numbers of each layer at the chosen meta-step.")
        self.table.setModel(self.model)
        self.table.setAlternatingRowColors(True)
        self.table.setTabKeyNavigation(False)
        self.table.verticalHeader().hide()
        self.table.setWordWrap(False)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.body = QSplitter(Qt.Orientation.Horizontal, self)
        self.body.setObjectName("geometryBody")
        self.body.addWidget(self.plots)
        self.body.addWidget(self.table)
        self.body.setStretchFactor(0, 1)
        self.body.setSizes([540, 340])
        self.body.setChildrenCollapsible(False)
        self.plots.setMinimumWidth(240)
        self.table.setMinimumWidth(260)
        self.help = QLabel()
        self.help.setObjectName("geometryHelp")
        self.help.setTextFormat(Qt.TextFormat.PlainText)
        self.help.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 2)
        layout.addWidget(self.moment)
        layout.addWidget(self._controls())
        layout.addWidget(self.body, 1)
        layout.addWidget(self.help)

    def _controls(self) -> QWidget:
        self.controls = QWidget(self)
        self.what = combo("geometryWhat", "What is shown", {})
        self.part = combo("geometryPart", "Tensor or layer", {})
        for box in (self.what, self.part):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.log = switch(
            "geometryLog", "log ma&gnitudes", "Logarithms of the magnitudes of step sizes."
        )
        row = QHBoxLayout(self.controls)
        row.setContentsMargins(0, 0, 0, 0)
        self._labels = {}
        for text, box in (("sho&w", self.what), ("&of", self.part)):
            label = self._labels[box] = QLabel(text)
            label.setBuddy(box)
            row.addWidget(label)
            row.addWidget(box)
        self.diagonal = switch(
            "geometryDiagonal",
            "without &diagonal",
            "Leave the diagonal out, which often hides all else.",
        )
        row.addWidget(self.log)
        row.addWidget(self.diagonal)
        row.addStretch(1)
        return self.controls

    def take_moment(self) -> None:
        """Offer what the chosen run has, and remember what is chosen of it."""
        record, picture = self.moment.record, self.current()
        if record is None or picture is None:
            self._chosen = None
        else:
            offer(self.what, offered(record))
            view: View = self.what.currentData()
            names = {str(place): name for place, name in enumerate(parts(picture, view))}
            offer(self.part, ({"-1": "all tensors"} if view == "rates" else {}) | names)
            part = int(self.part.currentData() or 0)
            self._chosen = (view, part)

    def painting(self) -> list[Piece]:
        """Return what draws the chosen view, or says how to get one."""
        return [self._show_summary, self._show_view]

    def _show_summary(self) -> None:
        picture = self.current()
        for widget in (self.moment, self.controls, self.table, self.help):
            widget.setVisible(picture is not None)
        self.model.show_rows(summary(picture) if picture else [])

    def _show_view(self) -> None:
        picture = self.current()
        if picture is None or self._chosen is None:
            self.plots.show_message(EMPTY)
            return
        view, part = self._chosen
        for widget in (self.part, self._labels[self.part]):
            widget.setVisible(self.part.count() > 0)
        self.log.setVisible(view == "rates")
        self.diagonal.setVisible(view in {"dense", "factors"})
        self.help.setText(_help(str(picture.arrays["geometry"]), view))
        self.plots.log_rates = self.log.isChecked()
        self.plots.diagonal = not self.diagonal.isChecked()
        self.plots.show_view(picture, view, part)


def _help(kind: str, view: View) -> str:
    """Explain a view, as it is for a kind of geometry."""
    if view == "factors":
        return _FACTOR_HELP.get(kind, _HELP[view])
    return _HELP[view] + (_KIND_HELP.get(kind, "") if view in _OF_P else "")


class SummaryModel(QAbstractTableModel):
    """Layer, quantity and value."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Hold nothing."""
        super().__init__(parent)
        self._rows: list[tuple[str, str, float]] = []

    def show_rows(self, rows: list[tuple[str, str, float]]) -> None:
        """Hold these rows; a table of the same size stays where it is scrolled to."""
        if len(rows) == len(self._rows) and rows:
            self._rows = rows
            self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(_HEADER) - 1))
            return
        self.beginResetModel()
        self._rows = rows
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        """Return one row for each number."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        """Return layer, quantity, value."""
        return 0 if parent.isValid() else len(_HEADER)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Name the columns."""
        across = orientation == Qt.Orientation.Horizontal
        return _HEADER[section] if across and role == Qt.ItemDataRole.DisplayRole else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a cell's text, its full precision, or its alignment."""
        cell = self._rows[index.row()][index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            if isinstance(cell, float):
                return f"{cell:.4g}"
            return cell if index.column() else shortened(cell)
        if role == Qt.ItemDataRole.ToolTipRole:
            return repr(cell) if isinstance(cell, float) else cell
        if role == Qt.ItemDataRole.TextAlignmentRole and isinstance(cell, float):
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None
