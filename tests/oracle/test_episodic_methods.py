"""What all methods without an inner loop keep: permutations, who sees whom, differences."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from metaviz.algorithms.registry import ALGORITHMS
from metaviz.charts.storage import from_arrays, to_arrays
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import Episodic
from metaviz.meta.tasks import Batch, TaskBatch
from tests.contract.test_algorithms import VARIANTS
from tests.oracle.engine import assert_close, build, called, classes, initial
from tests.oracle.episodes import NORMS, Episode, adapted, drawings, drawn

NAMES = [name for name in ALGORITHMS if isinstance(build(name), Episodic)]
EPISODIC = [(name, options) for name, options in VARIANTS if name in NAMES]
HEADED = ("csn",)
"""Those that ask for a network with a head, and know no embeddings by themselves."""
EMBEDDED = [(name, options) for name, options in EPISODIC if name not in HEADED]
ORDERED = [("matching", {"context": "lstm"}), *(pair for pair in EPISODIC if pair[0] == "snail")]
"""Those that read the support set in its order."""
LABELLED = ("snail",)
"""Those that read labels as inputs, and know what is what by learning."""
CONVOLVED: list[tuple[str, dict[str, Any]]] = [
    ("protonet", {"distance": "plain"}),
    ("matching", {}),
    ("relation", {}),
    ("tpn", {}),
    ("r2d2", {}),
    ("siamese", {}),
    ("snail", {"shots": 2}),
    ("tadam", {}),
    ("csn", {}),
]


def test_every_method_is_tried_on_maps() -> None:
    assert {name for name, _ in CONVOLVED} == set(NAMES)


@pytest.mark.parametrize(("name", "options"), EMBEDDED)
def test_exchanged_classes_exchange_columns(name: str, options: dict[str, Any]) -> None:
    episode = drawn(method=name)
    other = torch.tensor([1, 0, 2])
    exchanged = replace(episode, support_y=other[episode.support_y])
    expected = episode.outputs(**options)[:, other]
    if name in LABELLED:
        assert not torch.allclose(exchanged.outputs(**options), expected, rtol=1e-6)
        return
    assert_close(exchanged.outputs(**options), expected, 1e-11)
    assert not torch.allclose(expected, episode.outputs(**options), rtol=1e-4)


@pytest.mark.parametrize(("name", "options"), EMBEDDED)
def test_support_examples_may_come_in_any_order(name: str, options: dict[str, Any]) -> None:
    episode = drawn(method=name)
    order = torch.tensor([4, 0, 5, 1, 3, 2])
    mixed = replace(episode, support=episode.support[order], support_y=episode.support_y[order])
    one, other = (chosen.outputs(**options) for chosen in (episode, mixed))
    alike = torch.allclose(one, other, rtol=1e-10, atol=1e-12)
    assert alike == ((name, options) not in ORDERED)


@pytest.mark.parametrize(("name", "options"), EMBEDDED)
def test_predictions_do_not_know_the_labels_of_queries(name: str, options: dict[str, Any]) -> None:
    episode = drawn(method=name)
    wrong = replace(episode, query_y=(episode.query_y + 1) % 3)
    assert torch.equal(wrong.outputs(**options), episode.outputs(**options))
    before, after = (chosen.step(**options).readings for chosen in (episode, wrong))
    assert not torch.equal(before["post_query_loss"], after["post_query_loss"])


@pytest.mark.parametrize("name", NAMES)
def test_labels_that_mean_nothing_are_guessed_by_chance(name: str) -> None:
    """3 standard errors of 300 tasks of 10 queries each, which depend on each other."""
    generator = torch.Generator().manual_seed(5)
    tasks = 300
    labels = torch.arange(5).expand(tasks, 5)
    answers = torch.arange(5).repeat(2).expand(tasks, 10)
    x = torch.randn(tasks, 15, 2, generator=generator, dtype=torch.float64)
    batch = TaskBatch(Batch(x[:, :5], labels), Batch(x[:, 5:], answers))
    learner, _ = classes(ways=5)
    algorithm = build(name)
    meta = initial(algorithm, learner)
    (state,) = algorithm.adapt(called(algorithm, learner, batch), meta)
    right = learner.judge.accuracy(state.predict(batch.query).outputs, batch.query)
    assert abs(float(right.mean()) - 0.2) <= 3 * float(right.std()) / tasks**0.5 + 1e-12


def objective(algorithm: Episodic, context: Context, meta: Meta) -> Tensor:
    readings = algorithm.meta_gradient(context, meta).readings
    return readings.get("training_objective", readings["post_query_loss"]).mean()


@pytest.mark.parametrize(("name", "options"), EPISODIC)
def test_meta_gradients_are_finite_differences(name: str, options: dict[str, Any]) -> None:
    """In every group, along three drawn directions each."""
    learner, tasks = classes(tasks=2)
    algorithm = build(name, **options)
    assert isinstance(algorithm, Episodic)
    generator = torch.Generator().manual_seed(2)
    meta = {
        group: value + 0.05 * torch.randn(value.shape, generator=generator, dtype=value.dtype)
        for group, value in initial(algorithm, learner).items()
    }
    context = called(algorithm, learner, tasks)
    gradients = algorithm.meta_gradient(context, meta).gradients
    assert set(gradients) == algorithm.trained()
    for group, gradient in gradients.items():
        for _ in range(3):
            way = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype)
            ends = [
                objective(algorithm, context, meta | {group: meta[group] + step * way})
                for step in (1e-5, -1e-5)
            ]
            found = (ends[0] - ends[1]) / 2e-5
            assert abs(float(found - gradient @ way)) <= 1e-5 * float(gradient.norm() * way.norm())
            assert gradient.abs().max() > 0


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("name", "options"), CONVOLVED)
def test_meta_gradients_on_maps_are_directional_differences(
    name: str, options: dict[str, Any], norm: str
) -> None:
    setting = drawings(name, norm, **options)
    meta, context = setting.init(), setting.context(0)
    assert isinstance(setting.algorithm, Episodic)
    gradients = setting.algorithm.meta_gradient(context, meta).gradients
    generator = torch.Generator().manual_seed(2)
    for group, gradient in gradients.items():
        way = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype)
        ends = [
            objective(setting.algorithm, context, meta | {group: meta[group] + step * way})
            for step in (1e-6, -1e-6)
        ]
        found = (ends[0] - ends[1]) / 2e-6
        assert abs(float(found - gradient @ way)) <= 1e-5 * float(gradient.norm() * way.norm())
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("name", "options"), EPISODIC)
def test_predictions_depend_on_other_queries_exactly_where_traits_say_so(
    name: str, options: dict[str, Any], norm: str
) -> None:
    setting = drawings(name, norm, **options)
    tasks, state = adapted(setting)
    others = tasks.query.x.clone()
    others[:, 1:] = others[:, 1:].flip(1) * 0.5
    before, after = (
        state.predict(replace(tasks.query, x=x)).outputs[:, 0] for x in (tasks.query.x, others)
    )
    depends = not torch.allclose(before, after, rtol=1e-9, atol=1e-12)
    assert depends == setting.traits.transductive
    assert setting.traits.transductive == (norm == "batch" or name == "tpn")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NAMES)
def test_alone_and_together_agree_unless_queries_see_each_other(name: str, norm: str) -> None:
    setting = drawings(name, norm)
    tasks, state = adapted(setting)
    together, alone = (state.predict(tasks.query, alone=alone).outputs for alone in (False, True))
    assert alone.shape == together.shape == (2, 6, 3)
    apart = float((alone - together).abs().max() / together.abs().max())
    assert apart > 1e-6 if setting.traits.transductive else apart < 1e-12


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NAMES)
def test_an_example_alone_is_seen_beside_the_support_set_and_no_other(name: str, norm: str) -> None:
    setting = drawings(name, norm)
    tasks, state = adapted(setting)
    alone = state.predict(tasks.query, alone=True).outputs
    others = tasks.query.x.clone()
    others[:, 1:] = others[:, 1:].flip(1) * 0.5
    after = state.predict(replace(tasks.query, x=others), alone=True).outputs
    assert torch.equal(alone[:, 0], after[:, 0])
    assert not torch.allclose(alone[:, 1:], after[:, 1:], rtol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("name", "options"), EPISODIC)
def test_maps_and_charts_do_not_change_what_is_predicted(
    name: str, options: dict[str, Any], norm: str
) -> None:
    setting = drawings(name, norm, **options)
    tasks, state = adapted(setting)
    plain, mapped = (state.predict(tasks.query, maps=maps) for maps in (False, True))
    assert plain.maps == {}
    assert mapped.maps
    assert torch.equal(plain.outputs, mapped.outputs)
    charts = list(setting.algorithm.charts(setting.adapting(tasks, 0), setting.init()))
    declared = ALGORITHMS[name].entry.charts
    drawn_ids = [chart.id for chart in charts]
    assert drawn_ids == [one for one in declared if one in drawn_ids]
    assert drawn_ids == list(declared) or options == {"modulate": False}
    assert [chart.id for chart in from_arrays(to_arrays(charts))] == drawn_ids


@pytest.mark.parametrize(("name", "options"), EMBEDDED)
def test_a_network_without_weights_leaves_the_methods_own_groups_to_learn(
    name: str, options: dict[str, Any]
) -> None:
    episode: Episode = drawn(method=name)
    outputs = episode.on_identity(**options).outputs[0]
    assert_close(outputs, episode.outputs(**options), 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_training_ways_change_neither_groups_nor_shapes(name: str) -> None:
    """Those whose labels or errors are inputs offer no other ways."""
    options = [spec.name for spec in ALGORITHMS[name].entry.options]
    assert ("train_ways" in options) == (name not in {"snail", "csn"})
    asked = {"train_ways": 8} if "train_ways" in options else {"train_shots": 3}
    usual, wide = drawings(name, "batch"), drawings(name, "batch", **asked)
    drawn_groups = [setting.init() for setting in (usual, wide)]
    assert drawn_groups[0].keys() == drawn_groups[1].keys()
    for group, value in drawn_groups[0].items():
        assert torch.equal(value, drawn_groups[1][group])
    step = wide.algorithm.meta_gradient(wide.context(0), wide.init())
    assert step.readings["post_query_loss"].isfinite().all()
    assert wide.batch(0).support.y.max() == (7 if "train_ways" in asked else 2)
