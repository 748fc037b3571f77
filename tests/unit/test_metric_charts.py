"""The charts of metric methods, of episodes whose answer is known."""

import numpy as np
import pytest
import torch

from metaviz.charts.embedding import EMBEDDING
from metaviz.charts.propagation import PROPAGATION, propagation_chart
from metaviz.charts.similarity import MOST_COLUMNS, MOST_ROWS, SIMILARITY, similarity_chart
from metaviz.charts.values import Graph, HeatMap, Panels
from tests.oracle.engine import build, called
from tests.oracle.episodes import Episode, drawn
from tests.oracle.test_tpn import chain


def charts(episode: Episode, **options: object) -> dict[str, object]:
    algorithm = build(episode.method, **options)
    context = called(algorithm, episode.learner, episode.tasks)
    return {chart.id: chart for chart in algorithm.charts(context, episode.meta(**options))}


def copies(method: str) -> Episode:
    """Each query is a copy of a support example, in another order."""
    episode = drawn(method=method)
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    return Episode(
        *(episode.support, episode.support_y, episode.support[order], episode.support_y[order]),
        method=method,
    )


@pytest.mark.parametrize("method", ["matching", "siamese"])
def test_similarity_peaks_at_the_copy(method: str) -> None:
    """Rows are ordered by class and place: support 3, 0, 1, 4, 5, 2; columns 0, 3, 1, 4, 2, 5."""
    chart = charts(copies(method))[SIMILARITY]
    assert isinstance(chart, HeatMap)
    assert chart.values.shape == (6, 6)
    assert chart.columns == ("1", "1", "2", "2", "3", "3")
    assert chart.spans == (("class 1", 0, 2), ("class 2", 2, 4), ("class 3", 4, 6))
    assert chart.values.argmax(1).tolist() == [1, 0, 2, 3, 5, 4]
    assert chart.levels == (0.0, 1.0)


def test_matching_with_sums_shows_cosines() -> None:
    chart = charts(copies("matching"), answer="sum")[SIMILARITY]
    assert isinstance(chart, HeatMap)
    np.testing.assert_allclose(chart.values.max(1), np.ones(6), atol=1e-12)
    assert (chart.meaning, chart.levels) == ("cosine", (-1.0, 1.0))


def test_attention_of_a_query_adds_up_to_one() -> None:
    chart = charts(drawn(method="matching"))[SIMILARITY]
    assert isinstance(chart, HeatMap)
    np.testing.assert_allclose(chart.values.sum(1), np.ones(5), atol=1e-12)


@pytest.mark.parametrize("method", ["relation", "r2d2"])
def test_other_methods_compare_queries_with_classes(method: str) -> None:
    episode = drawn(method=method)
    chart = charts(episode)[SIMILARITY]
    assert isinstance(chart, HeatMap)
    order = np.argsort(episode.query_y.numpy(), kind="stable")
    found = episode.found()
    raw = found.outputs.sigmoid() if method == "relation" else found.maps["regressed"]
    np.testing.assert_allclose(chart.values, raw[0].numpy()[order], atol=1e-12)
    assert chart.columns == ("1", "2", "3")
    assert chart.x.title == "class"


def test_every_method_without_a_graph_shows_its_embedding() -> None:
    for method in ("protonet", "matching", "relation", "r2d2", "siamese"):
        assert EMBEDDING in charts(drawn(method=method))


def test_many_examples_are_thinned_evenly() -> None:
    rows, columns = np.arange(600) % 20, np.arange(300) % 20
    chart = similarity_chart(np.ones((600, 300)), rows, columns, "title", "meaning")
    assert chart.values.shape == (MOST_ROWS, MOST_COLUMNS)
    assert [end - start for _, start, end in chart.spans] == [5] * 20
    assert chart.levels == (1.0, 2.0)
    wide = similarity_chart(np.ones((300, 300)), np.arange(300), np.arange(300), "title", "meaning")
    assert wide.values.shape == (MOST_ROWS, MOST_COLUMNS)


def test_values_that_are_no_numbers_do_not_stretch_colours() -> None:
    values = np.array([[0.0, np.nan], [2.0, np.inf]])
    chart = similarity_chart(values, np.arange(2), np.arange(2), "title", "meaning")
    assert chart.levels == (0.0, 2.0)
    nothing = similarity_chart(np.full((2, 2), np.nan), np.arange(2), np.arange(2), "title", "m")
    assert nothing.levels == (0.0, 1.0)


def spread(chart: object) -> dict[str, Graph]:
    assert isinstance(chart, Panels)
    assert all(isinstance(one, Graph) for one in chart.charts)
    return {one.title: one for one in chart.charts if isinstance(one, Graph)}


def test_labels_spread_along_a_chain_step_by_step() -> None:
    """Nodes 0 and 1 are the labelled ends; then those between them, four on the left of the gap."""
    graphs = spread(charts(chain(), sigma=0.3, k=3)[PROPAGATION])
    assert list(graphs) == ["after 0 steps", "after 1 step", "after 5 steps", "in the end"]
    colours = {
        when: dict(zip(map(tuple, graph.places.round(6).tolist()), graph.roles, strict=True))
        for when, graph in graphs.items()
    }
    at = sorted({place for places in colours.values() for place in places})
    along = {when: [of[place] for place in at] for when, of in colours.items()}
    one, two, grey = "method-0", "method-1", "muted"
    if along["after 0 steps"][0] == two:  # components point where they like
        along = {when: roles[::-1] for when, roles in along.items()}
    assert along["after 0 steps"] == [one, *[grey] * 7, two]
    # The two nearest of an end, besides itself, are the two examples beside it.
    assert along["after 1 step"] == [*[one] * 3, *[grey] * 3, *[two] * 3]
    assert along["in the end"] == [one] * 5 + [two] * 4
    names = graphs["in the end"].names
    assert sorted(names) == [""] * 7 + ["1", "2"]


def test_only_the_strongest_edges_are_drawn() -> None:
    weights = np.eye(5) + np.outer(np.arange(5), np.arange(5)) / 100
    weights[0] = weights[:, 0] = 0
    labels = {"now": np.eye(5, 2)}
    chart = propagation_chart(np.zeros((5, 2)), ("",) * 5, weights, labels)
    (graph,) = spread(chart).values()
    assert graph.edges == ((1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4))
    assert graph.roles == ("method-0", "method-1", "muted", "muted", "muted")


def test_a_large_graph_is_thinned() -> None:
    graphs = spread(charts(drawn(queries=90, method="tpn"), sigma=1)[PROPAGATION])
    assert len(graphs["in the end"].names) == 39
    assert sum(name != "" for name in graphs["in the end"].names) == 6
