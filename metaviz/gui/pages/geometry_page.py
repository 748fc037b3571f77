"""What a method has learned of the inner loop's geometry: rates, factors, masks, gates."""

from dataclasses import replace

from PySide6.QtWidgets import QComboBox, QWidget

from metaviz.charts.shapes import shortened
from metaviz.charts.stored import parts, summary
from metaviz.charts.values import Chart, Lines
from metaviz.gui.pages.evaluation_picker import EvaluationPage
from metaviz.gui.pages.layouts import flow, page, split
from metaviz.gui.pages.scrubbed_chart import ScrubbedChart
from metaviz.gui.widgets.controls import combo, connect_controls, offer, switch, text_label
from metaviz.gui.widgets.plain_text import PlainLabel
from metaviz.gui.widgets.read_table import Cell, ReadTable
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.runs.analysis.geometry import geometry_pictures, offered
from metaviz.runs.analysis.needs import LEARNED
from metaviz.runs.analysis.result_charts import geometry_chart_of
from metaviz.runs.model.events import Pictured

EMPTY = (
    "Tick a method that learns a geometry, like Meta-SGD, and press Run (Ctrl+Return),\n"
    "or tick a stored run of one in the Runs table.\n"
    "What it has learned appears here at every evaluation."
)
NOT_NOW = "This was not computed at this evaluation; move the slider to another one."
_HELP: dict[str, str] = {
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
_OF_P: frozenset[str] = frozenset({"dense", "spectrum", "condition"})
_COLUMNS = (("Layer", ""), ("Quantity", ""), ("Value", "In full as a tip of its cell"))


class GeometryTab(EvaluationPage):
    """One view of one run's learned geometry at one evaluation, and a table of its summary."""

    export_name = "geometry"

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show an empty plot."""
        super().__init__("geometry", LEARNED.has, parent)
        self._chosen: tuple[str, int] | None = None
        self.scrubbed = ScrubbedChart("geometryPlot", "Learned geometry", self)
        self.plot = self.scrubbed.view
        self._lay_out()
        connect_controls(self._take, self.what, self.part, self.log, self.diagonal)

    def chart(self) -> Chart | None:
        """Return the chosen view; None where no run has it at that evaluation."""
        if self.picker.record is None or self._chosen is None:
            return None
        view, part = self._chosen
        log, diagonal = self.log.isChecked(), not self.diagonal.isChecked()
        where = self.picker.record, self.picker.place
        chart = geometry_chart_of(*where, view, part, log=log, diagonal=diagonal)
        return chart and self.scrubbed.placed(chart)

    def current(self) -> Pictured | None:
        """Return the picture that is shown."""
        record = self.picker.record
        drawn = geometry_pictures(record) if record is not None else []
        return drawn[self.picker.place] if drawn else None

    def _lay_out(self) -> None:
        title = "Summary of each layer"
        self.table = ReadTable("geometrySummary", title, _COLUMNS, words=(0, 1), wide=1)
        self.table.setToolTip("Numbers of each layer at the chosen meta-step.")
        self.body = split("geometryBody", self.scrubbed, self.table, sizes=(540, 340))
        self.body.setStretchFactor(0, 1)
        self.table.setMinimumWidth(260)
        self.help = text_label("geometryHelp")
        self.muted = (self.help,)
        page(self, self.picker, self._controls(), self.body, self.help, stretch=self.body)

    def _controls(self) -> QWidget:
        self.controls = QWidget(self)
        self.what = combo("geometryWhat", "What is shown", {})
        self.part = combo("geometryPart", "Tensor or layer", {})
        for box in (self.what, self.part):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        tip = "Logarithms of the magnitudes of step sizes."
        self.log = switch("geometryLog", "log ma&gnitudes", tip)
        tip = "Leave the diagonal out, which often hides all else."
        self.diagonal = switch("geometryDiagonal", "without &diagonal", tip)
        self.of = PlainLabel("&of")
        self.of.setBuddy(self.part)
        shown = ("sho&w", self.what), self.of, self.part
        flow(*shown, self.log, self.diagonal, spacing=6, inside=self.controls)
        return self.controls

    def take_evaluation(self) -> None:
        """Offer what the chosen run has, and remember what is chosen of it."""
        record, picture = self.picker.record, self.current()
        if record is None or picture is None:
            self._chosen = None
        else:
            offer(self.what, offered(record))
            view: str = self.what.currentData()
            names = {str(place): name for place, name in enumerate(parts(picture.arrays, view))}
            offer(self.part, ({"-1": "all tensors"} if view == "rates" else {}) | names)
            part = int(self.part.currentData() or 0)
            self._chosen = (view, part)

    def drawing(self) -> list[Piece]:
        """Return what draws the chosen view, or says how to get one."""
        return [self._show_summary, self._show_view]

    def _show_summary(self) -> None:
        picture = self.current()
        for widget in (self.picker, self.controls, self.help):
            widget.setVisible(picture is not None)
        rows = summary(picture.arrays) if picture else []
        self.table.setVisible(bool(rows))
        self.table.show_rows(
            [
                (Cell(shortened(layer), layer), quantity, Cell(f"{value:.4g}", repr(value)))
                for layer, quantity, value in rows
            ]
        )

    def _show_view(self) -> None:
        picture = self.current()
        if picture is None or self._chosen is None:
            self.scrubbed.show_chart(Lines(id="geometry", message=EMPTY))
            return
        view = self._chosen[0]
        for widget in (self.part, self.of):
            widget.setVisible(self.part.count() > 0)
        self.log.setVisible(view == "rates")
        self.diagonal.setVisible(view in {"dense", "factors"})
        self.help.setText(_help(str(picture.arrays.get("geometry", "")), view))
        # The picker above shows the title.
        chart = self.chart() or Lines(id="geometry", message=NOT_NOW)
        self.scrubbed.show_chart(replace(chart, title=""))


def _help(kind: str, view: str) -> str:
    """Explain a view, as it is for a kind of geometry."""
    if view == "factors":
        return _FACTOR_HELP.get(kind, _HELP[view])
    return _HELP.get(view, "") + (_KIND_HELP.get(kind, "") if view in _OF_P else "")
