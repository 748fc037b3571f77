"""The charts of methods on features, of episodes whose answer is known."""

import numpy as np
import pytest
import torch

from metaviz.algorithms.episodic.gidaris import layout as generator_layout
from metaviz.charts.embedding import EMBEDDING
from metaviz.charts.prior import MOST_FEATURES, PRIOR, prior_chart
from metaviz.charts.propagation import steps_chart
from metaviz.charts.similarity import ATTENTION, SIMILARITY
from metaviz.charts.values import Bars, ChartError, Graph, HeatMap, Panels, Scatter, Slider
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.learner import Learner
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.linear import Linear
from tests.oracle.engine import DOUBLE, ClassificationLoss, build, initial

EYE = torch.eye(3, dtype=DOUBLE)


def episode(x: torch.Tensor) -> tuple[Learner, TaskBatch]:
    """One support example of each class at the rows of x, and a query at each, in turn."""
    y = torch.arange(len(x))
    support = Batch(x[None], y[None])
    base = torch.tensor([[2.0, 0, 0], [0, 3, 0], [0, 0, 1], [1, 1, 0]], dtype=DOUBLE)
    learner = Learner(Linear(x.shape[1], len(x), bias=False), ClassificationLoss(), base=base)
    return learner, TaskBatch(support, Batch(x.flip(0)[None], y.flip(0)[None]))


def charts(method: Algorithm, learner: Learner, tasks: TaskBatch, meta: Meta) -> dict[str, object]:
    found = method.charts(Context(learner, tasks, 0, ways=3), meta)
    return {chart.id: chart for chart in found}


def test_gidaris_attends_to_the_base_class_of_the_same_direction() -> None:
    """Keys are the base classes' directions: each support example meets its own, not the fourth."""
    learner, tasks = episode(EYE)
    method = build("gidaris")
    meta = initial(method, learner)
    shapes = generator_layout(4, 3)
    keys = torch.cat([EYE, -torch.ones(1, 3, dtype=DOUBLE)])
    params = shapes.split(meta["generator"]) | {"keys": keys, "query": EYE}
    found = charts(method, learner, tasks, meta | {"generator": shapes.join(params)})
    attention, cosines = found[ATTENTION], found[SIMILARITY]
    assert isinstance(attention, HeatMap)
    assert attention.values.shape == (3, 4)
    assert attention.values.argmax(1).tolist() == [0, 1, 2]
    np.testing.assert_allclose(attention.values.sum(1), 1, atol=1e-12)
    assert attention.columns == ("1", "2", "3", "4")
    assert (attention.x.title, attention.y.title) == ("base class", "support examples, by class")
    assert isinstance(cosines, HeatMap)
    assert cosines.values.argmax(1).tolist() == [0, 1, 2]
    assert cosines.levels == (-1.0, 1.0)
    assert list(charts(build("gidaris", attends=False), learner, tasks, meta)) == [SIMILARITY]


def test_qiao_moves_the_means_along_lines() -> None:
    """At its start psi is the identity, and lines have no length; then they end at the weights."""
    learner, tasks = episode(EYE)
    method = build("qiao")
    meta = initial(method, learner)

    def lines(meta: Meta) -> tuple[Scatter, list[np.ndarray]]:
        chart = charts(method, learner, tasks, meta)[EMBEDDING]
        assert isinstance(chart, Scatter)
        paths = [one for one in chart.series if one.name.startswith("path")]
        return chart, [np.stack([one.x, one.y]) for one in paths]

    _, still = lines(meta)
    assert len(still) == 3
    assert all(np.allclose(path[:, 0], path[:, 1], atol=1e-9) for path in still)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(meta["psi"].shape, generator=generator, dtype=DOUBLE)
    chart, moved = lines(meta | {"psi": meta["psi"] + noise})
    large = {one.name: (one.x[0], one.y[0]) for one in chart.series if "prototype" in one.name}
    for n, (before, path) in enumerate(zip(still, moved, strict=True)):
        np.testing.assert_allclose(path[:, 0], before[:, 0], atol=1e-9)
        np.testing.assert_allclose(path[:, 1], large[f"prototype {n}"], atol=1e-9)
        assert not np.allclose(path[:, 0], path[:, 1], atol=1e-3)


def test_bauer_shows_how_far_weights_are_from_the_prior() -> None:
    learner, tasks = episode(EYE)
    method = build("bauer")
    meta = initial(method, learner)
    chart = charts(method, learner, tasks, meta)[PRIOR]
    assert isinstance(chart, Panels)
    features, distances = chart.charts
    assert isinstance(features, Scatter)
    assert isinstance(distances, Bars)
    prior, *classes = features.series
    base = learner.base.numpy()
    mean = np.sort(base.mean(0))
    sigma = np.sqrt(np.square(base - base.mean(0)).mean())
    np.testing.assert_allclose(prior.y, mean)
    np.testing.assert_allclose(prior.high - prior.y, 2 * sigma)
    weights = method.model.classifier(meta, tasks.support.x, tasks.support.y, 3)[0].numpy()
    order = np.argsort(base.mean(0), kind="stable")
    for one, row in zip(classes, weights, strict=True):
        np.testing.assert_allclose(one.y, row[order])
    away = np.sqrt(np.square((weights - base.mean(0)) / sigma).mean(1))
    np.testing.assert_allclose(distances.series[0].y, away)
    # A class's own feature gains weight, which the others lose.
    assert ((weights - base.mean(0)).argmax(1) == np.arange(3)).all()


def test_of_many_features_those_furthest_from_the_prior_are_shown() -> None:
    weights = np.zeros((2, 200))
    weights[1, 100:160] = 5.0
    chart = prior_chart(np.arange(200.0)[::-1] / 1e6, np.ones(200), weights)
    features = chart.charts[0]
    assert isinstance(features, Scatter)
    assert len(features.series[0].x) == MOST_FEATURES
    assert features.series[2].y.tolist() == [5.0] * MOST_FEATURES
    assert (np.diff(features.series[0].y) > 0).all()


def test_protonet_shows_its_logits_by_class() -> None:
    learner, tasks = episode(EYE)
    method = build("protonet")
    chart = charts(method, learner, tasks, initial(method, learner))[SIMILARITY]
    assert isinstance(chart, HeatMap)
    np.testing.assert_allclose(chart.values, 2 * (np.eye(3) - 1), atol=1e-12)


def test_states_of_a_graph_are_those_of_its_slider() -> None:
    graph = steps_chart(np.eye(2), ("1", ""), np.ones((2, 2)), [np.diag([1.0, 0]), np.eye(2)])
    assert graph.states == (("method-0", "muted"), ("method-0", "method-1"))
    assert (graph.slider.count, graph.slider.start) == (2, 1)
    for states in ((("muted",),), (("muted",), ("muted",))):
        with pytest.raises(ChartError, match="role of every node"):
            Graph(
                id="g",
                names=("a", "b"),
                places=np.eye(2),
                states=states,
                slider=Slider("s", 2),
            )
