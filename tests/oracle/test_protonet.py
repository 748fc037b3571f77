"""Prototypical networks: published numbers, identities, finite differences, who sees whom."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from metaviz.algorithms.episodic.protonet import Distance, PrototypeModel
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.context import Context
from metaviz.runs.model.events import Evaluated
from metaviz.training.setting import settle
from metaviz.training.trainer import begin, train
from tests.oracle.engine import (
    DOUBLE,
    assert_close,
    build,
    classes,
    initial,
    meta_step,
)
from tests.oracle.episodes import (
    NORMS,
    Episode,
    adapted,
    double,
    drawings,
    drawn,
    episode_of,
    golden,
)

PUBLISHED = golden("protonet")
REAL = Path(__file__).parents[2].parent / "shared" / "data" / "omniglot"
DISTANCES = get_args(Distance)
WITHOUT_ORIGIN = ("squared", "mean_square", "plain")


def tensor(*path: str) -> Tensor:
    found: Any = PUBLISHED
    for name in path:
        found = found[name]
    return double(found)


def published() -> Episode:
    return episode_of(PUBLISHED["inputs"], "protonet")


def test_golden_prototypes_distances_and_log_probabilities() -> None:
    episode = published()
    assert episode.support_y.tolist() == [0, 1, 2, 0, 1, 2]
    found = episode.state().predict(episode.tasks.query, maps=True)
    assert_close(found.maps["prototypes"][0], tensor("prototypes"), 1e-9)
    assert_close(found.maps["support"][0], episode.support, 1e-15)
    assert_close(found.maps["query"][0], episode.query, 1e-15)
    assert_close(-found.outputs[0], tensor("squared_distances"), 1e-9)
    assert_close(episode.logs(), tensor("log_probabilities"), 1e-9)
    assert_close(episode.logs(distance="plain"), tensor("log_probabilities_unsquared"), 1e-9)
    means = tensor("log_probabilities_mean_over_dims")
    assert_close(episode.logs(distance="mean_square"), means, 1e-9)


def test_golden_loss_and_gradients_by_support_and_query_embeddings() -> None:
    episode = published()
    loss = episode.step().readings["post_query_loss"]
    assert float(loss) == pytest.approx(PUBLISHED["loss"], rel=1e-9)
    by_support, by_query = episode.gradients()
    assert_close(by_support, tensor("grad_support"), 1e-9)
    assert_close(by_query, tensor("grad_query"), 1e-9)


@pytest.mark.parametrize("episode", [published(), drawn()], ids=["golden", "drawn"])
def test_a_linear_head_of_the_prototypes_says_the_same(episode: Episode) -> None:
    found = episode.state().predict(episode.tasks.query, maps=True)
    prototypes = found.maps["prototypes"][0]
    weight, bias = 2 * prototypes, -prototypes.square().sum(1)
    if len(episode.query) == len(PUBLISHED["inputs"]["y_query"]):
        assert_close(weight, tensor("linear_weight"), 1e-9)
        assert_close(bias, tensor("linear_bias"), 1e-9)
    logits = episode.query @ weight.mT + bias
    assert_close(torch.log_softmax(logits, 1), episode.logs(), 1e-12)
    loss = torch.nn.functional.cross_entropy(logits, episode.query_y)
    assert_close(episode.step().readings["post_query_loss"], [float(loss)], 1e-12)


@pytest.mark.parametrize("distance", DISTANCES)
def test_rotating_all_embeddings_changes_nothing_nor_shifting_them_for_distances(
    distance: Distance,
) -> None:
    episode = drawn()
    noise = torch.randn(4, 4, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    rotation, shift = torch.linalg.qr(noise).Q, 3 * noise[0]
    expected = episode.outputs(distance=distance)

    def moved(by: Tensor) -> Tensor:
        changed = [z @ rotation + by for z in (episode.support, episode.query)]
        other = replace(episode, support=changed[0], query=changed[1])
        return other.outputs(distance=distance)

    assert_close(moved(0 * shift), expected, 1e-12)
    if distance in WITHOUT_ORIGIN:
        assert_close(moved(shift), expected, 1e-12)
    else:
        assert not torch.allclose(moved(shift), expected, rtol=0.1)


@pytest.mark.parametrize("distance", DISTANCES)
def test_shots_may_come_in_any_order_and_labels_may_be_exchanged(distance: Distance) -> None:
    episode = drawn()
    expected = episode.outputs(distance=distance)
    order = torch.tensor([4, 0, 5, 1, 3, 2])
    mixed = replace(episode, support=episode.support[order], support_y=episode.support_y[order])
    assert_close(mixed.outputs(distance=distance), expected, 1e-13)
    other = torch.tensor([1, 0, 2])
    exchanged = replace(episode, support_y=other[episode.support_y])
    assert_close(exchanged.outputs(distance=distance), expected[:, other], 1e-13)


@pytest.mark.parametrize("distance", DISTANCES)
def test_one_shot_of_unit_length_answers_like_cosine_matching(distance: Distance) -> None:
    episode = drawn(shots=1, queries=200)
    support, query = (torch.nn.functional.normalize(z) for z in (episode.support, episode.query))
    unit = replace(episode, support=support, query=query)
    cosines = query @ support.mT
    assert torch.equal(unit.outputs(distance=distance).argmax(1), cosines.argmax(1))
    assert len(cosines.argmax(1).unique()) == 3


@pytest.mark.parametrize("distance", DISTANCES)
def test_logits_grow_with_the_scale_whether_it_is_learned_or_not(distance: Distance) -> None:
    episode = drawn()
    once = episode.outputs(distance=distance)
    for learn in (False, True):
        scaled = episode.outputs(distance=distance, scale=7.0, learn_scale=learn)
        assert_close(scaled, 7 * once, 1e-13)


@pytest.mark.parametrize("scale", [0.5, 4.0])
@pytest.mark.parametrize("distance", DISTANCES)
def test_meta_gradients_are_finite_differences(distance: Distance, scale: float) -> None:
    learner, tasks = classes(tasks=2)
    algorithm = build("protonet", distance=distance, scale=scale, learn_scale=True)
    meta = initial(algorithm, learner)
    step = meta_step(algorithm, learner, meta, tasks)
    assert set(step.gradients) == {"init", "scale"}
    for name, gradient in step.gradients.items():
        found = torch.zeros_like(gradient)
        for place in range(len(gradient)):
            ends = []
            for way in (1e-5, -1e-5):
                moved = {group: value.clone() for group, value in meta.items()}
                moved[name][place] += way
                readings = meta_step(algorithm, learner, moved, tasks).readings
                ends.append(readings["post_query_loss"].mean())
            found[place] = (ends[0] - ends[1]) / 2e-5
        assert_close(found, gradient, 1e-7)


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradients_are_finite_where_embeddings_lie_on_prototypes_or_are_zero(
    distance: Distance,
) -> None:
    episode = drawn(shots=1, queries=3)
    for support in (episode.support, 0 * episode.support):
        same = replace(episode, support=support, query=support.clone())
        step = same.step(distance=distance)
        assert step.gradients["init"].isfinite().all()
        assert step.readings["post_query_loss"].isfinite().all()


@pytest.mark.parametrize("distance", WITHOUT_ORIGIN)
def test_long_embeddings_close_together_keep_their_digits_in_float32(distance: Distance) -> None:
    episode = drawn(width=64)
    far, near = (
        replace(
            episode,
            support=(1000 + 0.1 * episode.support).to(dtype),
            query=(1000 + 0.1 * episode.query).to(dtype),
        )
        for dtype in (torch.float32, DOUBLE)
    )
    exact = replace(near, support=far.support.double(), query=far.query.double())
    expected = exact.outputs(distance=distance)
    assert_close(far.outputs(distance=distance).double(), expected, 1e-4)
    prototypes = torch.stack([far.support[far.support_y == n].mean(0) for n in range(3)])
    plain = -(
        far.query.square().sum(1, keepdim=True)
        - 2 * far.query @ prototypes.mT
        + prototypes.square().sum(1)
    )
    truth = exact.outputs()
    assert (plain - truth).abs().max() > 0.1 * truth.abs().max(), "the inputs are harmless"


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("algorithm", ["protonet", "maml"])
def test_predictions_depend_on_other_queries_exactly_where_traits_say_so(
    algorithm: str, norm: str
) -> None:
    setting = drawings(algorithm, norm)
    tasks, state = adapted(setting)
    others = tasks.query.x.clone()
    others[:, 1:] = others[:, 1:].flip(1) * 0.5
    before, after = (
        state.predict(replace(tasks.query, x=x)).outputs[:, 0] for x in (tasks.query.x, others)
    )
    depends = not torch.allclose(before, after, rtol=1e-9, atol=1e-12)
    assert depends == setting.traits.transductive == (norm == "batch")


@pytest.mark.parametrize("norm", NORMS)
def test_alone_and_together_agree_unless_queries_see_each_other(norm: str) -> None:
    setting = drawings("protonet", norm)
    tasks, state = adapted(setting)
    together, alone = (state.predict(tasks.query, alone=alone).outputs for alone in (False, True))
    assert alone.shape == together.shape == (2, 6, 3)
    apart = float((alone - together).abs().max() / together.abs().max())
    assert apart > 1e-3 if setting.traits.transductive else apart < 1e-12


@pytest.mark.parametrize("norm", NORMS)
def test_an_example_alone_is_embedded_beside_the_support_set(norm: str) -> None:
    setting = drawings("protonet", norm)
    tasks, state = adapted(setting)
    alone = state.predict(tasks.query, alone=True).outputs
    for number in (0, 4):
        one = tasks.query.examples(slice(number, number + 1))
        # One more example changes what the support set's own statistics are.
        joint = state.predict(one).outputs
        found = alone[:, number : number + 1]
        assert (norm == "batch") == (not torch.allclose(found, joint, rtol=1e-9))
        both = replace(setting, algorithm=build("protonet", embed="together"))
        assert_close(found, adapted(both)[1].predict(one).outputs, 1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_convolutional_meta_gradients_are_directional_differences(norm: str) -> None:
    setting = drawings("protonet", norm, distance="plain")
    meta, context = setting.init(), setting.context(0)
    gradient = setting.algorithm.meta_gradient(context, meta).gradients["init"]
    generator = torch.Generator().manual_seed(2)
    direction = torch.randn(gradient.shape, generator=generator, dtype=DOUBLE)

    def loss(way: float) -> Tensor:
        moved = {"init": meta["init"] + way * direction}
        return setting.algorithm.meta_gradient(context, moved).readings["post_query_loss"].mean()

    found = (loss(1e-6) - loss(-1e-6)) / 2e-6
    assert_close(found, (gradient @ direction), 1e-5)


def test_the_head_is_not_used_and_keeps_its_gradient_of_zero() -> None:
    setting = drawings("protonet", "group")
    layout = setting.learner.net.layout
    gradient = setting.algorithm.meta_gradient(setting.context(0), setting.init()).gradients["init"]
    by_name = layout.split(gradient)
    assert not by_name["head.weight"].any()
    assert not by_name["head.bias"].any()
    assert by_name["conv1.weight"].abs().max() > 0


def test_maps_hold_what_a_chart_needs_only_where_it_is_asked_for() -> None:
    episode = published()
    state = episode.state()
    assert state.predict(episode.tasks.query).maps == {}
    assert set(state.predict(episode.tasks.query, maps=True).maps) == {
        "prototypes",
        "support",
        "query",
    }
    assert state.weights is None


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the real archives are not on this machine")
def test_a_hundred_episodes_of_omniglot_teach_new_alphabets() -> None:
    asked = RunConfig(
        problem="omniglot",
        algorithm="protonet",
        seed=0,
        steps=100,
        problem_options={"path": str(REAL), "test_alphabets": "Korean,Tagalog"},
        shared=Shared(
            ways=5, shots=1, query_shots=15, meta_batch=1, eval_tasks=100, eval_every=100
        ),
        device="cpu",
    )
    setting = settle(asked)
    events = list(train(setting, begin(setting)))
    first, last = (event for event in events if isinstance(event, Evaluated))
    assert first.at("query_accuracy") < 0.65
    assert last.at("query_accuracy") >= 0.75


def test_ways_are_those_of_the_call() -> None:
    episode = published()
    model = PrototypeModel("squared", 1.0, learn_scale=False, together=False)
    context = Context(episode.learner, episode.tasks, 0, ways=3)
    outputs = model.predict(context, episode.meta(), episode.tasks.query).outputs
    assert outputs.shape == (1, 4, 3)
