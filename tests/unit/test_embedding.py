"""The chart of embeddings: its numbers, what is stored of it, and where it is drawn."""

from pathlib import Path

import numpy as np
import pytest
import torch

from metaviz.charts.embedding import MOST_CLASSES, MOST_EXAMPLES, embedding_chart
from metaviz.charts.matplotlib import figure_of
from metaviz.charts.storage import from_arrays, to_arrays
from metaviz.charts.values import Scatter, Series
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.runs.analysis.geometry import offered
from metaviz.runs.analysis.result_charts import geometry_chart_of
from metaviz.runs.export.html_report import write_report
from metaviz.runs.storage.store import open_run
from metaviz.training.setting import settle
from tests.unit.stored import config, train
from tests.unit.stored_charts import charts_of

ASKED = config("protonet", steps=4, train_ways=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run."""
    return train(ASKED, tmp_path_factory.mktemp("embedding"))


def drawn(folder: Path, place: int = -1) -> Scatter:
    chart, _similarity = charts_of(open_run(folder).pictures[place].arrays)
    assert isinstance(chart, Scatter)
    return chart


def points(chart: Scatter, kind: str) -> np.ndarray:
    chosen = [one for one in chart.series if one.name.startswith(kind)]
    return np.concatenate([np.stack([one.x, one.y], 1) for one in chosen])


def test_places_are_principal_components_of_the_first_evaluation_task(folder: Path) -> None:
    setting = settle(ASKED)
    tasks = setting.prepare(setting.problem.evaluation_tasks(0, 1))
    meta = load_checkpoint(folder / CHECKPOINT)["meta"]
    weights = meta["init"].to(tasks.query.x).expand(1, -1)
    parts = [setting.learner.net.features(weights, b.x) for b in (tasks.support, tasks.query)]
    features = torch.cat(parts, 1)[0].double().numpy()
    values, vectors = np.linalg.eigh(np.cov(features.T))
    expected = (features - features.mean(0)) @ vectors[:, :-3:-1]
    support = tasks.support.x.shape[1]
    order = [
        np.argsort(batch.y[0].numpy(), kind="stable") for batch in (tasks.support, tasks.query)
    ]
    chart = drawn(folder)
    found = np.concatenate([points(chart, "support"), points(chart, "query")])
    expected = np.concatenate([expected[:support][order[0]], expected[support:][order[1]]])
    expected *= np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert len({one.role for one in chart.series}) == 5
    for axis, value in zip((chart.x, chart.y), values[:-3:-1], strict=True):
        share = float(axis.title.split("(")[1].split(" %")[0])
        assert share == pytest.approx(100 * value / values.sum(), rel=6e-3)


def test_it_is_stored_with_every_evaluation_and_drawn(folder: Path, tmp_path: Path) -> None:
    record = open_run(folder)
    assert record.traits.charts == ("embedding", "similarity")
    assert [p.step for p in record.pictures] == [e.step for e in record.evaluations] == [0, 3, 4]
    assert not np.array_equal(points(drawn(folder, 0), "query"), points(drawn(folder), "query"))
    (view, title) = next(iter(offered(record).items()))
    assert title == "Embeddings, first two principal components (% of variance)"
    chart = geometry_chart_of(record, 1, view)
    assert chart is not None
    (axes,) = figure_of(chart).axes
    assert len(axes.lines) == 15
    assert "component" in axes.get_xlabel()
    write_report([record], {record.id: folder}, tmp_path / "report.html")
    assert (tmp_path / "figures" / f"geometry-embedding-{record.id}.png").exists()
    assert title in (tmp_path / "report.html").read_text(encoding="utf-8")


def cloud(shots: int, ways: int, size: int) -> Scatter:
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(ways), shots)
    return embedding_chart(
        {
            "prototype": (rng.normal(size=(ways, size)), np.arange(ways)),
            "support": (rng.normal(size=(len(classes), size)), classes),
            "query": (rng.normal(size=(len(classes), size)), classes),
        }
    )


def test_its_size_is_bounded_and_survives_storing() -> None:
    chart = cloud(MOST_EXAMPLES + 30, MOST_CLASSES + 3, 2)
    assert len(chart.series) == 3 * MOST_CLASSES
    assert max(len(one.x) for one in chart.series) == MOST_EXAMPLES
    (again,) = from_arrays(to_arrays([chart]))
    assert isinstance(again, Scatter)
    pairs: list[tuple[Series, Series]] = list(zip(chart.series, again.series, strict=True))
    assert all(np.array_equal(a.x, b.x) and a.label == b.label for a, b in pairs)


def test_embeddings_of_one_number_lie_on_a_line() -> None:
    chart = cloud(3, 2, 1)
    assert not np.any(points(chart, "query")[:, 1])
    assert (chart.x.title, chart.y.title) == (
        "1st component (100 %)",
        "2nd component (0 %)",
    )


def test_embeddings_that_are_not_finite_are_not_drawn() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        embedding_chart(
            {
                kind: (np.full((3, 2), np.nan), np.arange(3))
                for kind in ("prototype", "support", "query")
            }
        )
