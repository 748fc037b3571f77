"""TADAM: published numbers, layers that are scaled and shifted, no modulation at the start."""

from typing import Any

import pytest
import torch
from torch import Tensor

from metaviz.algorithms.episodic.tadam import TaskEmbedding, modulated_layers
from metaviz.charts.values import Bars
from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.context import Meta
from metaviz.nets.mlp import MLP
from metaviz.training.setting import settle
from tests.oracle.engine import assert_close, build, called, classes, initial, meta_step
from tests.oracle.episodes import Episode, double, drawings, episode_of, golden

PUBLISHED = golden("tadam")


def published() -> Episode:
    return episode_of(PUBLISHED["inputs"], "tadam")


def test_golden_prototypes_logits_and_loss() -> None:
    episode = published()
    for found in (episode.found(), episode.on_identity()):
        assert_close(found.maps["prototypes"][0], PUBLISHED["prototypes"], 1e-9)
        assert_close(found.outputs[0], PUBLISHED["logits_alpha_7_5"], 1e-9)
    loss = float(episode.step().readings["post_query_loss"])
    assert loss == pytest.approx(PUBLISHED["loss"], abs=1e-9)
    task = episode.found().maps["prototypes"][0].mean(0)
    assert_close(task, PUBLISHED["task_embedding"], 1e-9)


def ten() -> tuple[TaskEmbedding, dict[str, Tensor]]:
    """A network whose first layer has two units, of three features, with the published TEN."""
    embedding = TaskEmbedding(MLP((4, 2, 3, 3)))
    assert [(layer.name, layer.width) for layer in embedding.layers] == [
        ("layer1", 2),
        ("layer2", 3),
    ]
    params = embedding.layout.split(embedding.init(torch.Generator().manual_seed(0)))
    for kind in ("gamma", "beta"):
        stored = PUBLISHED[f"{kind}_net"]
        for number in (1, 2, 3):
            params[f"layer1.{kind}.linear{number}.weight"] = double(stored[f"w{number}"])
            params[f"layer1.{kind}.linear{number}.bias"] = double(stored[f"b{number}"])
        params[f"layer1.{kind}.start"] = double([PUBLISHED[f"{kind}_0"]])
    return embedding, {name: value.unsqueeze(0) for name, value in params.items()}


def test_golden_modulation_and_penalty() -> None:
    embedding, params = ten()
    gamma, beta = embedding(params, double([PUBLISHED["task_embedding"]]))["layer1"]
    assert_close(gamma[0], PUBLISHED["gamma"], 1e-9)
    assert_close(beta[0], PUBLISHED["beta"], 1e-9)
    modulated = gamma * double(PUBLISHED["activations"]) + beta
    assert_close(modulated, PUBLISHED["modulated"], 1e-9)
    penalty = 0.01 / 2 * embedding.starts(params).square().sum()
    assert float(penalty) == pytest.approx(PUBLISHED["film_penalty"], abs=1e-15)


def perturbed(algorithm: Any, learner: Any) -> Meta:
    generator = torch.Generator().manual_seed(4)
    return {
        name: value + 0.2 * torch.randn(value.shape, generator=generator, dtype=value.dtype)
        for name, value in initial(algorithm, learner).items()
    }


def test_linear_layers_are_scaled_and_shifted_before_the_activation() -> None:
    learner, tasks = classes(tasks=1)
    algorithm = build("tadam")
    meta = perturbed(algorithm, learner)
    (state,) = algorithm.adapt(called(algorithm, learner, tasks), meta)
    maps = state.predict(tasks.query, maps=True).maps
    gamma, beta = maps["layer1.gamma"][0], maps["layer1.beta"][0]
    assert not torch.allclose(gamma, torch.ones_like(gamma), rtol=1e-3)
    params = learner.net.layout.split(meta["init"])
    u = tasks.query.x[0] @ params["layer1.weight"].mT + params["layer1.bias"]
    assert_close(maps["query"][0], torch.tanh(gamma * u + beta), 1e-12)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_normalised_layers_are_scaled_and_shifted_before_the_activation(norm: str) -> None:
    """One block of Conv4 at a time, by PyTorch's own layers."""
    setting = drawings("tadam", norm)
    learner, generator = setting.learner, torch.Generator().manual_seed(4)
    meta = {
        name: value + 0.2 * torch.randn(value.shape, generator=generator, dtype=value.dtype)
        for name, value in setting.init().items()
    }
    tasks = setting.prepare(setting.problem.evaluation_tasks(0, 1))
    (state,) = setting.algorithm.adapt(setting.adapting(tasks, 0), meta)
    maps = state.predict(tasks.query, maps=True).maps
    params = learner.net.layout.split(meta["init"])
    functional = torch.nn.functional
    x = tasks.query.x[0]
    for block in range(1, 5):
        u = functional.conv2d(
            x, params[f"conv{block}.weight"], params[f"conv{block}.bias"], padding=1
        )
        affine = params[f"norm{block}.gamma"], params[f"norm{block}.beta"]
        if norm == "batch":
            u = functional.batch_norm(u, None, None, *affine, training=True, eps=1e-5)
        else:
            u = functional.group_norm(u, 4, *affine, eps=1e-5)
        gamma, beta = (maps[f"norm{block}.{kind}"][0, :, None, None] for kind in ("gamma", "beta"))
        x = functional.max_pool2d(torch.relu(gamma * u + beta), 2)
    assert_close(maps["query"][0], x.flatten(1), 1e-9)


def test_at_the_start_nothing_is_modulated_and_it_is_scaled_protonet() -> None:
    setting = drawings("tadam", "batch")
    tasks = setting.prepare(setting.problem.evaluation_tasks(0, 2))
    (state,) = setting.algorithm.adapt(setting.adapting(tasks, 0), setting.init())
    plain = build("protonet", distance="plain", scale=7.5)
    (other,) = plain.adapt(setting.adapting(tasks, 0), {"init": setting.init()["init"]})
    one, two = (each.predict(tasks.query).outputs for each in (state, other))
    assert_close(one, two, 1e-12)
    off = build("tadam", modulate=False)
    (without,) = off.adapt(setting.adapting(tasks, 0), {"init": setting.init()["init"]})
    assert_close(without.predict(tasks.query).outputs, two, 1e-12)


def test_the_first_step_reaches_the_starts_alone() -> None:
    learner, tasks = classes()
    algorithm = build("tadam")
    meta = initial(algorithm, learner)
    layout = TaskEmbedding(learner.net).layout
    for moved in (False, True):
        gradient = meta_step(algorithm, learner, meta, tasks).gradients["ten"]
        for name, part in layout.split(gradient).items():
            assert bool(part.any()) == (moved or name.endswith("start")), name
        meta["ten"] = meta["ten"] - 0.1 * gradient


def test_the_penalty_is_part_of_what_training_minimises() -> None:
    learner, tasks = classes()
    meta = perturbed(build("tadam"), learner)
    steps = [
        meta_step(build("tadam", penalty=weight), learner, meta, tasks) for weight in (0.0, 0.01)
    ]
    losses = [step.readings["training_objective"] for step in steps]
    starts = TaskEmbedding(learner.net).starts(
        TaskEmbedding(learner.net).layout.split(meta["ten"].unsqueeze(0))
    )
    assert_close(losses[1] - losses[0], 0.005 * starts.square().sum(1).expand(4), 1e-9)
    assert torch.equal(losses[0], steps[0].readings["post_query_loss"])


def test_without_a_scale_there_is_nothing_to_modulate() -> None:
    options = {"channels": 4, "norm_affine": "beta"}
    config = RunConfig(
        problem="strokes", algorithm="tadam", seed=3, steps=1, problem_options=options
    )
    with pytest.raises(OptionError, match="norm_affine = beta leaves them no scale: use both"):
        settle(config)
    assert settle(config.model_copy(update={"options": {"modulate": False}}))


def test_every_normalised_layer_of_a_network_is_modulated() -> None:
    setting = settle(
        RunConfig(
            problem="strokes",
            algorithm="tadam",
            seed=3,
            steps=1,
            problem_options={"channels": 4},
            shared=Shared(ways=3, shots=1, query_shots=2, meta_batch=2),
            device="cpu",
        )
    )
    names = [layer.name for layer in modulated_layers(setting.learner.net)]
    assert names == ["norm1", "norm2", "norm3", "norm4"]
    tasks = setting.prepare(setting.problem.evaluation_tasks(0, 2))
    chart, _ = setting.algorithm.charts(setting.adapting(tasks, 0), setting.init())
    assert isinstance(chart, Bars)
    assert chart.names == tuple(names)
    gamma, beta = chart.series
    assert gamma.y.tolist() == [1.0] * 4
    assert beta.y.tolist() == [0.0] * 4
