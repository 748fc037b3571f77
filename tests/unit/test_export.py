"""Tables and figures of stored runs."""

import csv
import io
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from metaviz.charts.matplotlib import Page, figure_of
from metaviz.charts.stored import fan_chart
from metaviz.charts.values import Slider
from metaviz.config.traits import Traits
from metaviz.runs.analysis.curve_charts import (
    convergence_charts,
    fan,
    fan_tasks,
    inner_charts,
    training_chart,
    without_slider,
)
from metaviz.runs.analysis.curves import InnerView, TrainingView, inner_curves, training_curves
from metaviz.runs.analysis.result_charts import gradients_chart
from metaviz.runs.export.figures import save_figure
from metaviz.runs.export.tables import inner_csv, metrics_csv, safe_text, summary_csv
from metaviz.runs.model.events import STEP_COLUMNS, Evaluated, Pictured, Stepped
from metaviz.runs.model.gradients import GradientComparison, MetaGradientRow
from metaviz.runs.model.marks import Marks
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import StoreError, list_runs
from tests.unit.command_line import compare, metaviz, numbers

FORMULAS = ("=", "+", "-", "@", "\t", "\r")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train two tiny runs and return the folder of the comparison."""
    out = tmp_path_factory.mktemp("comparison")
    compare(out, "--algorithms", "maml,imaml", "--steps", "3")
    return out


def record(name: str = "run", loss: float = 1.0, scale: float = 1.0) -> Record:
    """Return a run of 40 steps with one evaluation and one picture."""
    config = {"algorithm": "maml", "problem": "sinusoid", "seed": 0, "steps": 40}
    made = Record(name, config, marks=Marks(name=name))
    for step in range(1, 41):
        values = dict.fromkeys(STEP_COLUMNS, loss + scale / step)
        made.apply(Stepped(step, {**values, "seconds": step * 0.1}, np.ones(3), np.ones(2)))
    curves = {n: loss + scale / np.arange(1, 6) for n in ("support_loss", "query_loss")}
    curves["gradient_norm"] = np.ones(5)
    curves |= {f"{n}_ci95": np.full(5, 0.1) for n in curves}
    made.apply(Evaluated(40, 8, 2, curves))
    x = np.linspace(-5, 5, 20)
    arrays = {"x": x, "truth": np.sin(x)[None], "predictions": np.zeros((1, 5, 20))}
    points = {"support_x": np.zeros((1, 3)), "support_y": np.ones((1, 3))}
    made.apply(Pictured(40, {**arrays, **points}))
    return made


def training_figure(runs: list[Record], view: TrainingView, page: Page | None = None) -> Figure:
    return figure_of(training_chart(runs, view), page)


def inner_figure(
    runs: list[Record], views: Sequence[InnerView] = (), page: Page | None = None
) -> Figure:
    return figure_of(inner_charts(runs, views), page)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@given(st.text())
def test_safe_text_never_begins_a_formula(text: str) -> None:
    safe = safe_text(text)
    assert safe.endswith(text)
    assert safe.lstrip(" ")[:1] not in FORMULAS
    assert len(safe) - len(text) == (text.lstrip(" ")[:1] in FORMULAS)


@pytest.mark.parametrize(("smoothing", "said"), [(0.9, True), (0.0, False)])
def test_a_training_figure_says_that_it_is_smoothed(*, smoothing: float, said: bool) -> None:
    view = TrainingView(batches=True, smoothing=smoothing)
    drawn = figure_of(training_chart([record()], view), Page())
    told = [text.get_text() for text in drawn.findobj(Text)]
    assert any("smoothed, weight 0.9" in text for text in told) == said


@pytest.mark.parametrize("text", ["=1+1", " =cmd()", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_names_are_disarmed_and_numbers_are_not(text: str) -> None:
    made = record(text, loss=-5.0)
    made.config["shared"] = {"note": text, "inner_lr": -0.5}
    for written in (metrics_csv([made]), inner_csv([made]), summary_csv([made])):
        row = table(written)[0]
        assert row["run"] == f"'{text}".replace("\r", "\n")
    (summary,) = table(summary_csv([made]))
    assert (summary["note"], summary["inner_lr"]) == (
        f"'{text}".replace("\r", "\n"),
        "-0.5",
    )
    assert table(metrics_csv([made]))[0]["post_query_loss"] == "-4.0"


def test_unicode_and_quotes_come_back_whole() -> None:
    name = 'Überträge, "漢字"\n🙂'
    assert table(metrics_csv([record(name)]))[0]["run"] == name


def test_numbers_are_written_by_repr_and_gaps_stay_empty() -> None:
    made = record()
    made.append_row(41, [np.nan if c == "post_query_loss" else 0.1 + 0.2 for c in STEP_COLUMNS])
    last = table(metrics_csv([made]))[-1]
    assert last["pre_query_loss"] == "0.30000000000000004"
    assert last["post_query_loss"] == ""
    assert last["step"] == "41"


def test_tables_of_runs_without_rows_have_headers_only() -> None:
    empty = Record("x", {"algorithm": "maml", "problem": "sinusoid", "seed": 0, "steps": 4})
    assert table(metrics_csv([empty])) == table(inner_csv([empty])) == []
    (row,) = table(summary_csv([empty]))
    assert (row["steps_done"], row["seconds"], row["post_query_loss"]) == ("0", "", "")
    assert summary_csv([]).count("\n") == 1


def test_export_writes_the_same_tables_as_the_comparison(comparison: Path, tmp_path: Path) -> None:
    outcome = metaviz("export", comparison, "--out", tmp_path)
    assert outcome.code == 0
    assert numbers(tmp_path) == numbers(comparison)
    first, second = (p / "summary.csv" for p in (comparison, tmp_path))
    assert first.read_bytes() == second.read_bytes()
    written = {Path(line).name for line in outcome.out.splitlines()}
    assert written == {path.name for path in tmp_path.iterdir()}


def test_export_takes_one_run_and_several_places(comparison: Path, tmp_path: Path) -> None:
    one, two = list_runs(comparison / "runs")
    for places, count in (((one,), 3), ((two, one), 6)):
        assert metaviz("export", *places, "--out", tmp_path).code == 0
        assert len((tmp_path / "metrics.csv").read_text().splitlines()) == count + 1


def test_export_writes_figures_of_the_size_and_kinds_asked(
    comparison: Path, tmp_path: Path
) -> None:
    size = ("--width-cm", "12", "--height-cm", "8", "--dpi", "100")
    outcome = metaviz("export", comparison, "--out", tmp_path, "--formats", "png,pdf,svg", *size)
    assert outcome.code == 0, outcome.error
    names = {path.stem for path in tmp_path.glob("*.png")}
    fans = {f"fan-{folder.name}" for folder in list_runs(comparison / "runs")}
    assert names == {"training", "inner", "convergence", *fans}
    for name in names:
        check_picture(tmp_path / f"{name}.png", 12, 8, 100)
        check_pdf(tmp_path / f"{name}.pdf")
        texts = svg_texts(tmp_path / f"{name}.svg")
        assert any(label in texts for label in ("meta-step", "inner step k", "x")), texts


def test_export_of_a_run_that_names_another_folder_stays_in_its_own(
    comparison: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(list_runs(comparison / "runs")[0], tmp_path / "evil [red] $a_{")
    toml = (run / "run.toml").read_text(encoding="utf-8")
    name = list_runs(comparison / "runs")[0].name
    evil = toml.replace(f'id = "{name}"', 'id = "../../evil [/x] $a_{"')
    assert evil != toml
    (run / "run.toml").write_text(evil, encoding="utf-8")
    out = tmp_path / "a" / "b" / "c"
    assert "evil [red] $a_{" in metaviz("list", "--runs", run).out
    assert metaviz("export", run, "--out", out).code == 0
    made = [path for path in tmp_path.glob("**/*evil*") if path.is_file()]
    assert len(made) == len(list(out.glob("fan-*evil*"))) == 1


def check_picture(path: Path, width_cm: float, height_cm: float | None, dpi: int) -> None:
    with Image.open(path) as image:
        image.load()
        assert abs(image.width - width_cm / 2.54 * dpi) <= 1
        if height_cm is not None:
            assert abs(image.height - height_cm / 2.54 * dpi) <= 1
        assert len(set(image.convert("L").tobytes())) > 20


def check_pdf(path: Path) -> None:
    data = path.read_bytes()
    assert data.startswith(b"%PDF")
    assert data.rstrip().endswith(b"%%EOF")


def svg_texts(path: Path) -> list[str]:
    root = ElementTree.parse(path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return ["".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("}text")]


@pytest.mark.parametrize("name", ["$x_{$ 100 % & <b>", "_hidden"])
def test_figures_show_names_as_they_are(tmp_path: Path, name: str) -> None:
    made = record(name)
    drawn = fan(made)
    assert drawn is not None
    figures = {
        "training": training_figure([made], TrainingView(batches=True, log_y=True)),
        "inner": inner_figure([made]),
        "fan": figure_of(without_slider(drawn)),
    }
    for stem, figure in figures.items():
        save_figure(figure, tmp_path / f"{stem}.svg")
        assert any(name in text for text in svg_texts(tmp_path / f"{stem}.svg"))


@pytest.mark.parametrize(
    ("loss", "log_y"),
    [(-3.0, True), (0.0, True), (np.nan, True), (np.inf, False), (1e30, True)],
)
def test_figures_of_any_losses_are_drawn(tmp_path: Path, loss: float, *, log_y: bool) -> None:
    made = record(loss=loss, scale=0.0)
    save_figure(
        training_figure([made], TrainingView(batches=True, log_y=log_y)), tmp_path / "t.png"
    )
    save_figure(inner_figure([made], [InnerView(log_y=log_y)]), tmp_path / "i.png")
    check_picture(tmp_path / "t.png", 16, None, 150)
    check_picture(tmp_path / "i.png", 11, None, 150)


def test_negative_losses_are_not_hidden_by_a_logarithmic_axis() -> None:
    (axes,) = inner_figure([record(loss=-0.5)], [InnerView(log_y=True)]).axes
    assert axes.get_yscale() == "linear"
    (axes,) = inner_figure([record(loss=3.0)], [InnerView(log_y=True)]).axes
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize("log_y", [True, False])
def test_a_mean_that_is_infinite_leaves_the_range_to_the_others(log_y: bool) -> None:
    broken = record()
    broken.evaluations[-1].curves["query_loss"][-1] = np.inf
    broken.evaluations[-1].curves["query_loss_ci95"][-2:] = np.nan, np.inf
    (chart,) = inner_charts([broken], [InnerView(log_y=log_y)]).charts
    assert np.isfinite(chart.y.limits or ()).all()
    assert chart.y.limits is not None
    low, high = chart.y.limits
    assert low < chart.series[0].y[:-1].min() < chart.series[0].y[:-1].max() < high


def test_gradients_figure_is_drawn_with_a_zero_gradient(tmp_path: Path) -> None:
    rows = (MetaGradientRow("maml", np.ones(3)), MetaGradientRow("scratch", np.zeros(3)))
    save_figure(figure_of(gradients_chart(GradientComparison(rows))), tmp_path / "g.svg")
    assert {"1.00", "–", "MAML", "From scratch"} <= set(svg_texts(tmp_path / "g.svg"))


def test_figure_of_nothing_says_so(tmp_path: Path) -> None:
    for figure in (training_figure([], TrainingView(batches=True)), inner_figure([])):
        save_figure(figure, tmp_path / "f.svg")
        assert "nothing recorded yet" in svg_texts(tmp_path / "f.svg")


def test_same_figure_twice_is_the_same_file(tmp_path: Path) -> None:
    for kind in ("svg", "pdf"):
        for name in ("a", "b"):
            save_figure(
                training_figure([record()], TrainingView(batches=True)), tmp_path / f"{name}.{kind}"
            )
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_save_figure_refuses_other_kinds_and_places(tmp_path: Path) -> None:
    figure = training_figure([record()], TrainingView(batches=True), Page(5, 5, 50))
    with pytest.raises(StoreError, match=r"choose a name ending in \.png, \.pdf or \.svg\.$"):
        save_figure(figure, tmp_path / "f.gif")
    with pytest.raises(StoreError, match=r"^Cannot write .*: No such file or directory\.$"):
        save_figure(figure, tmp_path / "nosuch" / "f.png")
    assert list(tmp_path.iterdir()) == []


def test_curves_show_what_was_recorded() -> None:
    made = record()
    (curve,) = training_curves([made], TrainingView(batches=True, smoothing=0.0))
    assert np.array_equal(curve.post, made.column("post_query_loss"))
    assert np.array_equal(curve.x, np.arange(1, 41))
    (inner,) = inner_curves([made], InnerView(max_k=3))
    assert (inner.tasks, inner.trained_steps, inner.k.tolist()) == (8, 2, [0, 1, 2, 3])
    assert np.array_equal(inner.mean, made.evaluations[0].curves["query_loss"][:4])
    assert training_curves([made], TrainingView(batches=True, quantity="query_accuracy"))
    assert inner_curves([made], InnerView(quantity="query_accuracy")) == []


def test_fan_chooses_task_and_landmarks() -> None:
    drawn = fan(record(), task=99)
    assert drawn is not None
    assert drawn.title == "run, meta-step 40"
    assert fan_tasks(record()) == 1
    assert drawn.slider == Slider("inner step k", 5, 2)

    def landmarks(trained: int) -> list[str]:
        chart = fan_chart(record().pictures[0].arrays, trained=trained)
        return [one.name for one in chart.series if one.name[:1] == "k"]

    assert landmarks(2) == ["k0", "k1", "k2", "k4"]
    assert landmarks(50) == ["k0", "k1", "k4"]
    assert fan(Record("x", {})) is None


def test_one_damaged_run_does_not_keep_the_others_from_being_exported(
    comparison: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(comparison, copy)
    broken, *intact = list_runs(copy / "runs")
    (broken / "metrics.db").write_bytes(b"not a database" * 200)
    outcome = metaviz("export", copy, "--out", tmp_path / "out")
    assert outcome.code == 1
    assert outcome.error.startswith(f"Left out: {broken}")
    with (tmp_path / "out" / "summary.csv").open(encoding="utf-8", newline="") as stream:
        assert {row["run"] for row in csv.DictReader(stream)} == {run.name for run in intact}


def test_a_picture_too_large_for_memory_is_refused(comparison: Path, tmp_path: Path) -> None:
    size = ("--width-cm", "200", "--height-cm", "200", "--dpi", "1200")
    outcome = metaviz("export", comparison, "--out", tmp_path / "big", *size)
    assert outcome.code == 2
    assert "million pixels" in outcome.error
    assert outcome.error.count("\n") == 1


@pytest.mark.parametrize("width_cm", [8.5, 16.0])
def test_legends_of_many_runs_fit_the_page_and_cover_no_curve(width_cm: float) -> None:
    runs = [
        replace(record(), id=f"maml-s{i}", marks=Marks(name=f"a longish name {i}"))
        for i in range(16)
    ]
    for figure in (
        training_figure(runs, TrainingView(batches=True), Page(width_cm)),
        inner_figure(runs, page=Page(width_cm)),
    ):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        page = figure.bbox
        legend = figure.legends[0].get_window_extent(renderer)
        assert page.x0 <= legend.x0
        assert legend.x1 <= page.x1
        for axes in figure.axes:
            if axes.get_visible():
                box = axes.get_tightbbox(renderer)
                assert not box.overlaps(legend)
                assert box.x1 <= page.x1 + 1
                assert box.height > 60


@pytest.mark.parametrize(
    "page", [Page(8.5, font_pt=12.0), Page(16.0), Page(16.0, 8.0), Page(30.0, 6.0, font_pt=14.0)]
)
def test_names_of_axes_are_not_cut_off(page: Page) -> None:
    figure = training_figure([record()], TrainingView(batches=True), page)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    for label in (axes.xaxis.label, axes.yaxis.label):
        found = label.get_window_extent()
        assert found.x0 >= 0
        assert found.y0 >= 0
        assert found.x1 <= figure.bbox.width
        assert found.y1 <= figure.bbox.height
    assert axes.get_ylabel().split() == ["query", "loss,", "batch", "mean"]


@pytest.mark.parametrize("draw", [inner_charts, convergence_charts])
def test_figures_of_inner_loops_say_whom_they_leave_out(draw) -> None:
    other = record("other")
    other.config["algorithm"] = "protonet"
    other.traits = Traits(inner_loop="none")
    panels = draw([record(), other])
    captions = [chart.caption for chart in panels.charts if chart.caption]
    assert len(captions) == 1
    assert captions[0].endswith("; ProtoNet has no inner loop: it is not drawn here")
    assert captions[0].startswith("lines: means over 8 tasks; bands: 95 % intervals of the means")
    (alone,) = [chart.caption for chart in draw([record()]).charts if chart.caption]
    assert "inner loop" not in alone
