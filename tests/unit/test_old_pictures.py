"""What runs of 0.1 have stored beside their evaluations is drawn as charts."""

from pathlib import Path
from zipfile import ZipFile

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from metaviz.charts.matplotlib import figure_of, quiet_matplotlib
from metaviz.charts.storage import from_arrays, to_arrays
from metaviz.runs.storage.store import open_run
from tests.unit.stored_charts import charts_of

RUNS = Path(__file__).parents[1] / "fixtures" / "v0_1" / "runs"
KINDS = {
    "maml": {"loss-line", "loss-plane", "fan"},
    "mirror": {"slopes", "mirror-weight", "dense", "spectrum", "condition"},
    "mtnet": {"factors", "masks"},
    "metasgd": {"rates"},
    "metacurvature-diagonal": {"factors"},
    "warpgrad-strokes": {"factors"},
    "metalstm": {"gates"},
    "fine-tuned": {"slopes"},
}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_stored_picture_is_drawn_and_stored_as_charts(name: str, tmp_path: Path) -> None:
    with ZipFile(RUNS / f"{name}.zip") as packed:
        packed.extractall(tmp_path)
    (about,) = tmp_path.rglob("run.toml")
    record = open_run(about.parent)
    found = set()
    for picture in record.pictures[-4:]:
        charts = charts_of(picture.arrays, record.label, 1)
        assert charts, sorted(picture.arrays)
        for chart in charts:
            with quiet_matplotlib():
                FigureCanvasAgg(figure_of(chart)).draw()
            (again,) = from_arrays(to_arrays([chart]))
            assert again.id == chart.id
            found.add(chart.id)
    assert found >= KINDS[name]
