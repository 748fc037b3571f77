"""TADAM: published numbers, conditioning, the auxiliary task and its schedule."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metaviz.algorithms.auxiliary import base_layout
from metaviz.algorithms.episodic.tadam import (
    TADAMModel,
    TADAMOptions,
    TaskEncoder,
    auxiliary_share,
    conditioned,
    conditioned_layers,
)
from metaviz.charts.values import Panels, Scatter
from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.context import Meta
from metaviz.meta.episodic import Episodic
from metaviz.meta.sharding import Shards
from metaviz.nets.conv4 import Conv4
from metaviz.nets.mlp import MLP
from metaviz.nets.normalisation import Norm
from metaviz.nets.resnet12 import SimpleResNet12
from metaviz.runs.model.events import Stepped
from metaviz.training.recipe import CannotRecordError, Recipe
from metaviz.training.setting import Setting, settle
from metaviz.training.trainer import begin, train
from tests.oracle.engine import DOUBLE, assert_close, build, called, classes, draws, initial
from tests.oracle.episodes import NORMS, Episode, double, drawings, drawn, episode_of, golden

PUBLISHED = golden("tadam")


def published() -> Episode:
    return episode_of(PUBLISHED["inputs"], "tadam")


def encoder_weights() -> tuple[TaskEncoder, Tensor]:
    """The published task encoder, for a network of three features and one layer of two units."""
    encoder = TaskEncoder(MLP((5, 3, 2)))
    encoder.layers = {"layer1": 2}
    params = {}
    for kind in ("gamma", "beta"):
        stored = PUBLISHED[f"{kind}_net"]
        for n in "123":
            params[f"layer1.{kind}{n}.weight"] = double(stored[f"w{n}"])
            params[f"layer1.{kind}{n}.bias"] = double(stored[f"b{n}"])
        params[kind] = double([PUBLISHED[f"{kind}_0"]])
    shapes = [(name, tuple(value.shape)) for name, value in params.items()]
    encoder.layout = type(encoder.layout)(tuple(shapes))
    return encoder, encoder.layout.join(params)


def test_golden_logits_and_loss() -> None:
    episode = published()
    for found in (episode.found(), episode.on_identity()):
        assert_close(found.maps["prototypes"][0], PUBLISHED["prototypes"], 1e-9)
        assert_close(found.outputs[0], PUBLISHED["logits_alpha_7_5"], 1e-9)
    step = episode.step(film=False, auxiliary=False)
    assert float(step.readings["post_query_loss"]) == pytest.approx(PUBLISHED["loss"], abs=1e-9)
    assert "training_objective" not in step.readings


def test_golden_scales_shifts_and_modulated_activations() -> None:
    encoder, weights = encoder_weights()
    task = double(PUBLISHED["task_embedding"]).unsqueeze(0)
    assert_close(task[0], double(PUBLISHED["prototypes"]).mean(0), 1e-12)
    ((gamma, beta),) = encoder(encoder.layout.split(weights.unsqueeze(0)), task).values()
    assert_close(gamma[0], PUBLISHED["gamma"], 1e-9)
    assert_close(beta[0], PUBLISHED["beta"], 1e-9)
    activations = double(PUBLISHED["activations"])
    net = MLP((2, 2, 2), "tanh")
    params = {
        "layer1.weight": torch.eye(2, dtype=DOUBLE)[None],
        "layer1.bias": torch.zeros(1, 2, dtype=DOUBLE),
        "layer2.weight": torch.zeros(1, 2, 2, dtype=DOUBLE),
        "layer2.bias": torch.zeros(1, 2, dtype=DOUBLE),
    }
    named = conditioned(net.layout, net.layout.join(params), {"layer1": (gamma, beta)})
    found = net.features(named, activations[None])[0]
    assert_close(found, torch.tanh(double(PUBLISHED["modulated"])), 1e-9)


def test_golden_penalty() -> None:
    encoder, _ = encoder_weights()
    learner, tasks = classes(tasks=2)
    model = TADAMModel(TADAMOptions())
    meta = initial(build("tadam"), learner)
    layout = TaskEncoder(learner.net).layout
    params = layout.split(meta["film"]) | {
        kind: double([PUBLISHED[f"{kind}_0"]]) for kind in ("gamma", "beta")
    }
    assert list(encoder.layers) == ["layer1"]
    context = called(build("tadam"), learner, tasks)
    found = model.penalty(context, meta | {"film": layout.join(params)})
    assert_close(found, 2 * [PUBLISHED["film_penalty"]], 1e-12)


def test_golden_probability_of_the_auxiliary_task() -> None:
    stored = PUBLISHED["schedule"]
    for step, share in stored["aux_probability"].items():
        assert auxiliary_share(int(step) / 30000) == pytest.approx(share, rel=1e-12)
    steps = sum(auxiliary_share(step / 30000) for step in range(30000))
    assert steps == pytest.approx(stored["expected_aux_steps"], abs=1e-6)


def test_golden_step_sizes() -> None:
    """The published schedule keeps a rate for the step at its boundary."""
    options = TADAMOptions(outer_lr=0.1, optimizer="sgd", drops="15001,17501,20001")
    rule = options.outer_rule(Shared(), of_network=True)
    for step, rate in PUBLISHED["schedule"]["rate"].items():
        assert rule.rate * rule.share(int(step)) == pytest.approx(rate, rel=1e-12)


def test_drops_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(OptionError, match="use whole numbers of epochs, or of") as why:
        build("tadam", drops="15;17")
    assert why.value.field == "tadam.drops"
    assert str(why.value).startswith("tadam.drops = '15;17' is not valid: ")


def test_the_step_size_drops_after_steps_of_episodes() -> None:
    config = RunConfig(
        problem="strokes",
        algorithm="tadam",
        seed=0,
        steps=3,
        options={"optimizer": "sgd", "outer_lr": 0.5, "momentum": 0.0, "drops": "2", "drop": 0.01},
        problem_options={"channels": 2},
        shared=Shared(ways=3, shots=1, query_shots=2, meta_batch=1, eval_tasks=2),
        dtype="float64",
    )
    setting = settle(config)
    progress = begin(setting)
    moved = []
    before = dict(progress.meta)
    for event in train(setting, progress):
        if isinstance(event, Stepped):
            context = setting.context(event.step - 1)
            gradient = setting.algorithm.meta_gradient(context, before).gradients["film"]
            moved.append(float((before["film"] - progress.meta["film"]).norm() / gradient.norm()))
        before = {name: value.clone() for name, value in progress.meta.items()}
    assert moved == pytest.approx([0.5, 0.5, 0.005], rel=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_without_scales_and_shifts_it_is_a_scaled_prototypical_network(norm: str) -> None:
    """Its weights that start at 0 make both passes equal, whatever the others are."""
    setting = drawings("tadam", norm)
    meta = setting.init()
    tasks = setting.prepare(setting.problem.evaluation_tasks(0, 2))
    context = setting.adapting(tasks, 0)
    (found,) = setting.algorithm.adapt(context, meta)
    plain = build("protonet", distance="plain", scale=7.5)
    (expected,) = plain.adapt(context, {"init": meta["init"]})
    wanted = expected.predict(tasks.query).outputs
    assert_close(found.predict(tasks.query).outputs, wanted, 1e-12)
    (moved,) = setting.algorithm.adapt(context, meta | {"film": meta["film"] + 0.05})
    assert not torch.allclose(moved.predict(tasks.query).outputs, wanted, rtol=1e-3)


def test_small_scales_make_all_classes_alike() -> None:
    shares = drawn(method="tadam").logs(scale=1e-9).exp()
    assert_close(shares, torch.full((5, 3), 1 / 3, dtype=DOUBLE), 1e-8)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("affine", ["both", "beta"])
@pytest.mark.parametrize("kind", ["conv4", "conv4 stride", "resnet"])
def test_conditioning_scales_and_shifts_what_normalisation_gives(
    kind: str, affine: Any, norm: Any
) -> None:
    """A network whose normalised maps are changed by hand says the same."""

    class Changed(Norm):
        """Applies a scale and a shift after normalisation, as TADAM describes it."""

        def standardise(self, u: Tensor, *given: Any) -> Tensor:
            return self.after(super().standardise(u, *given))

        def _by_group(self, u: Tensor, *given: Any) -> Tensor:
            return self.after(super()._by_group(u, *given))

        def after(self, u: Tensor) -> Tensor:
            gamma, beta = films[next(order)]
            return gamma.flatten()[:, None, None] * u + beta.flatten()[:, None, None]

    def made(by: Norm) -> Any:
        if kind == "resnet":
            return SimpleResNet12((2, 3, 2, 3), 3, 1, 16, by)
        return Conv4(4, 3, 1, 16, "stride" if kind == "conv4 stride" else "max", by)

    norms = Norm(norm, affine), Changed(norm, affine)
    plain, changed = (made(by) for by in norms)
    generator = torch.Generator().manual_seed(4)
    weights = torch.stack([plain.init(generator) for _ in range(2)])
    weights = weights + 0.3 * torch.randn(weights.shape, generator=generator, dtype=DOUBLE)
    films = {
        layer: (
            1 + 0.5 * torch.randn(2, channels, generator=generator, dtype=DOUBLE).abs(),
            torch.randn(2, channels, generator=generator, dtype=DOUBLE),
        )
        for layer, channels in conditioned_layers(plain.layout).items()
    }
    assert len(films) == (12 if kind == "resnet" else 4)
    order = iter(films)
    x, beside = (torch.rand(2, n, 1, 16, 16, generator=generator, dtype=DOUBLE) for n in (5, 3))
    found = plain.features(conditioned(plain.layout, weights, films), x, beside)
    assert_close(found, changed.features(weights, x, beside), 1e-10)
    assert not torch.allclose(found, plain.features(weights, x, beside), rtol=0.1)


def tadam(learner_of: Any = classes, **options: Any) -> tuple[Episodic, Any, Any, Meta]:
    learner, tasks = learner_of(tasks=2)
    algorithm = build("tadam", **options)
    assert isinstance(algorithm, Episodic)
    return algorithm, learner, tasks, initial(algorithm, learner)


def test_the_first_gradient_reaches_scales_and_shifts_and_not_the_task_encoder() -> None:
    algorithm, learner, tasks, meta = tadam()
    context = called(algorithm, learner, tasks)
    layout = TaskEncoder(learner.net).layout
    by_name = layout.split(algorithm.meta_gradient(context, meta).gradients["film"])
    for name, gradient in by_name.items():
        assert bool(gradient.any()) == (name in {"gamma", "beta"})
    moved = meta | {"film": meta["film"] + 0.1}
    by_name = layout.split(algorithm.meta_gradient(context, moved).gradients["film"])
    assert all(gradient.any() for gradient in by_name.values())


def test_the_objective_is_the_loss_and_its_terms() -> None:
    algorithm, learner, tasks, meta = tadam(penalty=3.0)
    meta["film"] += 0.1
    readings = algorithm.meta_gradient(called(algorithm, learner, tasks), meta).readings
    total = sum(readings[name] for name in ("post_query_loss", "film_penalty", "auxiliary_loss"))
    assert_close(readings["training_objective"], total, 1e-12)
    assert readings["film_penalty"].min() > 0


def test_a_task_adds_the_auxiliary_loss_where_its_own_number_says_so() -> None:
    algorithm, learner, tasks, meta = tadam()
    base = base_layout(learner).split(meta["base"])
    z = learner.net.features(meta["init"].expand(2, -1), tasks.plain.x)
    logits = z @ base["base.weight"].mT + base["base.bias"]
    expected = torch.stack(
        [torch.nn.functional.cross_entropy(logits[n], tasks.plain.y[n]) for n in range(2)]
    )
    seen = set()
    for seed in range(40):
        numbers = draws(2, seed)
        uniform = numbers.of("auxiliary", 0, 1)[:, 0]
        context = replace(called(algorithm, learner, tasks), draws=numbers, progress=0.5)
        found = algorithm.meta_gradient(context, meta).readings["auxiliary_loss"]
        chosen = torch.from_numpy(uniform < 0.9**11)
        assert_close(1 + found, 1 + torch.where(chosen, expected, 0), 1e-12)
        seen.add(tuple(chosen.tolist()))
    assert len(seen) == 4


def test_plain_examples_come_with_the_batch_all_different() -> None:
    setting = settle(
        RunConfig(
            problem="strokes",
            algorithm="tadam",
            seed=0,
            steps=10,
            options={"auxiliary_batch": 6},
            problem_options={"channels": 4},
            shared=Shared(ways=3, shots=1, query_shots=2, meta_batch=2),
        )
    )
    first, second = setting.batch(0), setting.batch(1)
    assert first.plain is not None
    assert second.plain is not None
    assert first.plain.x.shape == (2, 6, 1, 28, 28)
    assert setting.learner.classes == len(setting.problem.sizes("train"))
    assert int(first.plain.y.max()) < setting.learner.classes
    rows = torch.cat([part.plain.x.flatten(0, 1).flatten(1) for part in (first, second)])
    assert len(rows.unique(dim=0)) == 24
    row = setting.problem.examples("train", 12, 12)
    assert torch.equal(second.plain.y.flatten(), row.y[0])
    usual = settle(setting.config.model_copy(update={"algorithm": "protonet", "options": {}}))
    assert usual.batch(0).plain is None
    assert torch.equal(usual.batch(0).support.x, first.support.x)
    assert setting.context(3).progress == pytest.approx(0.3)


@pytest.mark.parametrize("auxiliary", [True, False])
def test_a_recorded_step_would_not_draw_whether_it_adds_the_auxiliary_loss(
    auxiliary: bool,
) -> None:
    setting = drawings("tadam", "group", auxiliary=auxiliary)
    context, meta = setting.context(0), setting.init()
    recipe = Recipe(setting.algorithm, context, Shards(1))
    inputs = recipe.inputs(meta, context.tasks)
    if auxiliary:
        with pytest.raises(CannotRecordError, match="its own random numbers, for auxiliary"):
            recipe(*inputs)
        return
    found = recipe.read(recipe(*inputs))
    expected = setting.algorithm.meta_gradient(context, meta)
    for name, gradient in expected.gradients.items():
        assert_close(found.gradients[name], gradient, 1e-12)


def modulation(setting: Setting, film: Tensor | None = None) -> Panels:
    tasks = setting.prepare(setting.problem.evaluation_tasks(0, 2))
    meta = setting.init()
    meta |= {} if film is None else {"film": film}
    chart, _ = setting.algorithm.charts(setting.adapting(tasks, 0), meta)
    assert isinstance(chart, Panels)
    return chart


def test_its_chart_shows_scales_and_shifts_by_layer() -> None:
    setting = drawings("tadam", "batch")
    encoder = TaskEncoder(setting.learner.net)
    params = {name: torch.zeros(shape, dtype=DOUBLE) for name, shape in encoder.layout.shapes}
    params["gamma"], params["beta"] = double([0.5, 0, 0, 2]), double([0, 3, 0, 0])
    params["norm1.gamma3.bias"] = double([1, 2, 3, 6])
    params["norm2.beta3.bias"] = double([-1, 0, 0, 0])
    scales, shifts = modulation(setting, encoder.layout.join(params)).charts
    for chart, mean, low, high in (
        (scales, [2.5, 1, 1, 1], [1.5, 1, 1, 1], [4, 1, 1, 1]),
        (shifts, [0, -0.75, 0, 0], [0, -3, 0, 0], [0, 0, 0, 0]),
    ):
        assert isinstance(chart, Scatter)
        (series,) = chart.series
        for found, wanted in ((series.y, mean), (series.low, low), (series.high, high)):
            np.testing.assert_allclose(found, wanted, atol=1e-12)
        assert [name for _, name in chart.x.ticks or ()] == ["norm1", "norm2", "norm3", "norm4"]
    still, _ = modulation(setting).charts
    assert isinstance(still, Scatter)
    assert still.series[0].y.tolist() == 4 * [1.0]
