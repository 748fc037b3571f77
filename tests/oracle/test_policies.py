"""Policy gradients against enumerations, finite differences and golden numbers, in float64."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metaviz.algorithms.registry import find_algorithm
from metaviz.config.options import checked
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.algorithm import compose
from metaviz.meta.context import Context
from metaviz.meta.estimators import Unrolled
from metaviz.meta.learner import Learner
from metaviz.meta.rules import GradientDescent
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.agent import Agent, returns, surrogate_loss
from metaviz.problems.control import Control
from metaviz.problems.registry import find_problem
from metaviz.training.setting import Setting, settle
from metaviz.worlds.advantages import Advantages
from metaviz.worlds.enumeration import (
    Chains,
    Exact,
    expected_update,
    hessian_errors,
    sampled_update,
)
from metaviz.worlds.enumeration import returns as exact_returns
from metaviz.worlds.navigation import Navigation
from metaviz.worlds.surrogates import SURROGATES, Surrogate
from metaviz.worlds.tabular import Tabular

DOUBLE = torch.float64
GOLDEN = json.loads((Path(__file__).parent / "golden" / "rl.json").read_text(encoding="utf-8"))
TIGHT = {"rtol": 1e-9, "atol": 1e-15}
TASKS = ("task0", "task1")


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE)


def chains() -> tuple[Chains, Tensor]:
    """The golden world, and its policy."""
    given = GOLDEN["mdp"]
    up = tensor(given["p_next_is_1"])
    world = Chains(torch.stack([1 - up, up], -1), tensor(given["reward_tables"]), given["horizon"])
    return world, tensor(given["theta_row_major_state_action"]).view(2, 2)


def close(found: Tensor, wanted: Any) -> None:
    torch.testing.assert_close(found.detach().flatten(), tensor(wanted).flatten(), **TIGHT)


class Judge:
    """Minus the return, with the mean or the sum over time."""

    has_accuracy = False

    def __init__(self, *, per_step: bool) -> None:
        self.per_step = per_step

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        del batch
        return surrogate_loss(outputs, per_step=self.per_step)

    def pool(self, tasks: TaskBatch) -> Batch:
        return tasks.support


# The exact numbers of the golden world


def test_exact_returns_and_their_gradients_are_the_golden_ones() -> None:
    world, logits = chains()
    leaf = logits.requires_grad_()
    found = exact_returns(world, leaf)
    for task, name in enumerate(TASKS):
        close(found[task], GOLDEN[name]["V"])
        close(torch.autograd.grad(found[task], leaf, retain_graph=True)[0], GOLDEN[name]["gradV"])


def test_errors_of_second_derivatives_are_the_golden_ones() -> None:
    found = hessian_errors(*chains())
    for task, name in enumerate(TASKS):
        for kind in ("plain", "lvc"):
            close(found[kind][task], GOLDEN[name][kind]["relative"])
        assert found["dice"][task] < 1e-12


def test_the_expected_update_has_the_golden_gradients() -> None:
    golden = GOLDEN["formulation_expected_update"]
    found = expected_update(*chains(), golden["alpha"])
    assert found.objective == pytest.approx(golden["J"], rel=1e-9)
    close(found.gradient, golden["gradient"])
    for name, wanted in golden["gradient_if_hessian"].items():
        close(found.estimates[name], wanted)


@pytest.mark.parametrize("count", [1, 2])
def test_sampled_updates_have_the_golden_gradients(count: int) -> None:
    golden = GOLDEN[f"formulation_sampled_update_N{count}"]
    found = sampled_update(*chains(), golden["alpha"], count)
    assert found.objective == pytest.approx(golden["J"], rel=1e-9)
    assert found.score is not None
    close(found.gradient, golden["gradient"])
    close(found.score, golden["sampling_score_term"])
    close(found.estimates["first_order"], golden["first_order"])
    for name, wanted in golden["through_update"].items():
        close(found.estimates[name], wanted)
    apart = {name: found.gradient - one for name, one in found.estimates.items()}
    apart["dice_plus_score"] = apart["dice"] - found.score
    for name, wanted in golden["distance_to_gradient"].items():
        assert float(apart[name].norm()) == pytest.approx(wanted, rel=1e-9)
    # What plain lacks is the score term, and nothing else.
    torch.testing.assert_close(apart["plain"], found.score)


def test_the_bandit_has_the_golden_numbers() -> None:
    golden = GOLDEN["bandit"]
    arms = len(golden["r"])
    world = Chains(torch.ones(1, arms, 1, dtype=DOUBLE), tensor(golden["r"]).view(1, 1, -1), 1)
    logits = tensor(golden["theta"]).view(1, -1).requires_grad_()
    value = exact_returns(world, logits)[0]
    (slope,) = torch.autograd.grad(value, logits, create_graph=True)
    curvature = torch.stack(
        [torch.autograd.grad(one, logits, retain_graph=True)[0][0] for one in slope[0]]
    )
    close(value, golden["V"])
    close(slope, golden["grad"])
    close(curvature, golden["hess"])
    wrong = hessian_errors(world, logits)
    assert float(wrong["plain"] * curvature.norm()) == pytest.approx(
        golden["plain_error"], rel=1e-9
    )
    assert max(float(wrong["lvc"]), float(wrong["dice"])) < 1e-12


# The same numbers by acting


def forced(world: Chains, logits: Tensor, task: int) -> tuple[Tensor, Tensor]:
    """Return every trajectory as the noise that leads to it, (N, 1, F), and its probability."""
    tables = world.transition.flatten()
    edges = torch.nn.functional.pad(logits.detach().softmax(-1).cumsum(-1), (1, 0))
    moves = torch.nn.functional.pad(world.transition.cumsum(-1), (1, 0))
    states, actions = logits.shape
    rows, chances = [], []
    for path in product(range(actions), range(states), range(actions)):
        state, noise, chance = 0, [], 1.0
        for action, following in ((path[0], path[1]), (path[2], 0)):
            low, high = edges[state, action : action + 2]
            noise += [(low + high) / 2]
            chance *= float(high - low)
            low, high = moves[state, action, following : following + 2]
            noise += [(low + high) / 2]
            chance *= float(high - low) if len(noise) == 2 else 1.0
            state = following
        rows.append(torch.cat([tables, world.rewards[task].flatten(), torch.stack(noise)]))
        chances.append(chance)
    return torch.stack(rows).unsqueeze(1), tensor(chances)


@pytest.mark.parametrize("kind", SURROGATES)
@pytest.mark.parametrize("task", [0, 1])
def test_an_agent_that_acts_has_the_enumerated_derivatives(kind: Surrogate, task: int) -> None:
    world, logits = chains()
    agent = Agent(Tabular(2, 2), Advantages("none", 1.0, 1.0, False), estimator=kind)
    learner = Learner(agent, Judge(per_step=False))
    x, chance = forced(world, logits, task)
    assert float(chance.sum()) == pytest.approx(1)
    leaf = logits.flatten().expand(len(x), -1).clone().requires_grad_()
    loss = learner.losses(leaf, Batch(x, x[..., :1]))
    (slope,) = torch.autograd.grad(loss.sum(), leaf, create_graph=True)
    bent = torch.stack(
        [torch.autograd.grad(one.sum(), leaf, retain_graph=True)[0] for one in slope.unbind(1)], 1
    )
    golden = GOLDEN[TASKS[task]]
    close(-(chance @ loss), golden["V"])
    close(-(chance @ slope), golden["gradV"])
    found = -torch.einsum("n,npq->pq", chance, bent)
    wanted = tensor(golden[kind]["expected_hessian"])
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-15)


# Navigation with fixed noise


def fixed_noise(kind: str) -> tuple[Learner, TaskBatch, Tensor]:
    """The golden pipeline: agent and judge, tasks, and the weights in the network's order."""
    golden = GOLDEN["navigation"]
    sizes = golden["tasks"], golden["trajectories"], golden["horizon"], 2
    numbers = torch.arange(np.prod(sizes), dtype=DOUBLE)
    goals = tensor(golden["goals"]).unsqueeze(1).expand(-1, sizes[1], -1)

    def batch(noise: Tensor) -> Batch:
        drawn = noise.view(sizes).flatten(2)
        return Batch(torch.cat([goals, drawn], 2), goals)

    tasks = TaskBatch(batch((0.37 * numbers).sin()), batch((0.53 * numbers + 1).cos()))
    advantages = Advantages("time_mean", 0.9, 1.0, False)
    agent = Agent(Navigation(), advantages, estimator="plain" if kind == "plain" else "lvc")
    weight, bias, log_std = tensor(golden["theta"]).split([4, 2, 2])
    named = {"layer1.weight": weight.view(2, 2), "layer1.bias": bias, "log_std": log_std}
    return Learner(agent, Judge(per_step=True)), tasks, agent.layout.join(named)


def in_golden_order(agent: Agent, flat: Tensor) -> Tensor:
    named = agent.layout.split(flat)
    return torch.cat(
        [named["layer1.weight"].flatten(-2), named["layer1.bias"], named["log_std"]], -1
    )


def test_navigation_walks_as_the_golden_one() -> None:
    golden = GOLDEN["navigation"]
    learner, tasks, weights = fixed_noise("lvc")
    agent = learner.net
    assert isinstance(agent, Agent)
    seen = agent.act(weights.expand(2, -1), tasks.support.x)
    close(seen.observations[0, 0], golden["states_pre_task0_traj0"])
    close(
        agent.advantages(seen.observations, seen.rewards).advantages[0],
        golden["advantages_pre_task0"],
    )
    outputs = agent(weights.expand(2, -1), tasks.support.x)
    close(returns(outputs), golden["return_pre"])


@pytest.mark.parametrize("kind", ["plain", "lvc"])
def test_navigation_has_the_golden_meta_gradient(kind: str) -> None:
    # The outer objective of the golden numbers is the ratio, which has the same first derivative.
    golden = GOLDEN["navigation"][kind]
    learner, tasks, weights = fixed_noise(kind)
    agent = learner.net
    assert isinstance(agent, Agent)
    method = compose(GradientDescent(0.1), Unrolled(), 1)
    meta = {"init": weights}
    step = method.meta_gradient(Context(learner, tasks, 1), meta)
    close(-in_golden_order(agent, step.gradients["init"]), golden["meta_gradient_ascent"])
    close(-step.readings["post_query_loss"], golden["return_post"])
    close(-step.readings["pre_support_loss"], GOLDEN["navigation"]["return_pre"])
    point = method.descend(learner, meta, tasks.support, 1).point
    close(in_golden_order(agent, point), golden["phi"])
    moved = in_golden_order(agent, (point - weights) / 0.1)
    torch.testing.assert_close(moved, tensor(golden["inner_gradient"]), rtol=1e-9, atol=1e-14)


# Finite differences


def by_programming(world: Chains, logits: np.ndarray) -> np.ndarray:
    """Return exact returns by going back in time, (tasks,): no trajectory is enumerated."""
    transition, rewards = world.transition.numpy(), world.rewards.numpy()
    chances = np.exp(logits - logits.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    value = np.zeros((len(rewards), len(logits)))
    for _ in range(world.horizon):
        value = (chances * (rewards + np.einsum("sax,tx->tsa", transition, value))).sum(2)
    return value[:, 0]


def differences(function: Any, at: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Return central differences of a function of an array."""
    found = np.zeros(at.shape + np.shape(function(at)))
    for place in np.ndindex(at.shape):
        moved = np.zeros_like(at)
        moved[place] = step
        found[place] = (function(at + moved) - function(at - moved)) / (2 * step)
    return found


def random_chains(seed: int = 0, states: int = 3, actions: int = 2, horizon: int = 3) -> Any:
    drawn = np.random.default_rng(seed)
    transition = drawn.dirichlet(np.ones(states), (states, actions))
    rewards = drawn.normal(0, 1, (2, states, actions))
    world = Chains(torch.from_numpy(transition), torch.from_numpy(rewards), horizon)
    return world, drawn.normal(0, 0.5, (states, actions))


@pytest.mark.parametrize("rate", [0.0, 1e-4, 0.1])
def test_the_exact_meta_gradient_is_that_of_finite_differences(rate: float) -> None:
    world, logits = random_chains()

    def objective(at: np.ndarray) -> float:
        slopes = np.moveaxis(differences(lambda one: by_programming(world, one), at, 1e-4), -1, 0)
        after = [by_programming(world, at + rate * one)[n] for n, one in enumerate(slopes)]
        return float(np.mean(after))

    found = expected_update(world, torch.from_numpy(logits), rate)
    assert float(found.gradient.abs().max()) > 0.01
    assert found.objective == pytest.approx(objective(logits), abs=1e-8)
    wanted = differences(objective, logits, 1e-3)
    np.testing.assert_allclose(found.gradient.numpy(), wanted, atol=2e-6)
    check_estimates(found, world, logits, rate)


def check_estimates(found: Exact, world: Chains, logits: np.ndarray, rate: float) -> None:
    """Every estimator against finite differences of its own expected first derivative.

    With trajectories of the policy in force as constants, the inner gradient of plain is the sum of
    A grad log pi at other weights, and that of the others is reweighted by their own ratios.
    """
    walks = world.walks
    after = walks.rewards.flip(-1).cumsum(-1).flip(-1).numpy()
    chance = walks.probabilities(torch.from_numpy(logits)).numpy()

    def log_probs(at: np.ndarray) -> np.ndarray:
        return walks.log_probs(torch.from_numpy(at)).numpy()

    fixed = log_probs(logits)

    def expected(kind: str, at: np.ndarray) -> np.ndarray:
        apart = log_probs(at) - fixed
        if kind == "plain":
            terms = after * log_probs(at)
        elif kind == "lvc":
            terms = after * np.exp(apart)
        else:
            terms = walks.rewards.numpy() * np.exp(apart.cumsum(-1))
        return (chance * terms.sum(-1)).sum(-1)

    slopes = np.moveaxis(differences(lambda one: by_programming(world, one), logits), -1, 0)
    outer = [
        differences(lambda one, n=n: by_programming(world, one)[n], logits + rate * slope)
        for n, slope in enumerate(slopes)
    ]
    np.testing.assert_allclose(found.estimates["first_order"].numpy(), np.mean(outer, 0), atol=1e-8)
    for kind in SURROGATES:

        def along(at: np.ndarray, kind: str = kind) -> np.ndarray:
            """The surrogate's derivative in the outer direction, by task."""
            return np.array(
                [
                    (expected(kind, at + 1e-4 * one)[n] - expected(kind, at - 1e-4 * one)[n]) / 2e-4
                    for n, one in enumerate(outer)
                ]
            )

        bent = np.moveaxis(differences(along, logits, 1e-4), -1, 0)
        wanted = np.mean(np.array(outer) + rate * bent, 0)
        np.testing.assert_allclose(found.estimates[kind].numpy(), wanted, atol=3e-7)
    torch.testing.assert_close(found.estimates["dice"], found.gradient, rtol=0, atol=1e-12)
    if rate:
        assert float((found.estimates["lvc"] - found.gradient).norm()) > rate * 1e-3
        assert float((found.estimates["plain"] - found.gradient).norm()) > rate * 1e-3


def test_without_a_step_all_are_the_policy_gradient_of_the_mean_return() -> None:
    world, logits = random_chains(1)
    found = expected_update(world, torch.from_numpy(logits), 0.0)
    wanted = differences(lambda one: by_programming(world, one).mean(), logits)
    for one in (found.gradient, *found.estimates.values()):
        np.testing.assert_allclose(one.numpy(), wanted, atol=1e-9)


def test_with_many_trajectories_sampled_updates_become_the_expected_one() -> None:
    world, logits = random_chains(2, 2, 2, 1)
    start = torch.from_numpy(logits)
    exact = expected_update(world, start, 0.1).gradient
    apart = [
        float((sampled_update(world, start, 0.1, count).gradient - exact).norm())
        for count in (2, 4, 8)
    ]
    assert apart[0] > 1e-6
    np.testing.assert_allclose(np.array(apart[:2]) / apart[1:], 2, rtol=0.1)


# The problems


def setting(name: str, problem: str = "navigation", **options: Any) -> Setting:
    """A small run in float64."""
    small = {"hidden": 8, "horizon": 6, "eval_horizon": 7} if problem == "navigation" else {}
    usual = dict(find_problem(problem).entry.shared)
    sizes = {"meta_batch": 3, "shots": 4, "query_shots": 5, "eval_tasks": 4, "inner_steps": 2}
    return settle(
        RunConfig(
            problem=problem,
            algorithm=name,
            seed=3,
            steps=2,
            shared=checked(Shared, {**usual, **sizes}),
            problem_options={**small, **options},
            dtype="float64",
            device="cpu",
        )
    )


@pytest.mark.parametrize("problem", ["navigation", "chain", "bandit"])
@pytest.mark.parametrize("kind", SURROGATES)
def test_joint_training_follows_the_policy_gradient(problem: str, kind: Surrogate) -> None:
    made = setting("joint", problem, estimator=kind, baseline="none", normalise=False)
    meta, tasks = made.init(), made.batch(0)
    step = made.algorithm.meta_gradient(made.context(0, tasks), meta)
    agent, loop = made.learner.net, torch.zeros_like(meta["init"])
    assert isinstance(agent, Agent)
    leaf = meta["init"].expand(3, -1).clone().requires_grad_()
    seen = agent.act(leaf, tasks.query.x)
    own = agent.log_probs(leaf, seen)
    over = seen.rewards.shape[-1] if made.problem.control.over_time == "mean" else 1
    for task, walk, time in np.ndindex(*own.shape):
        (slope,) = torch.autograd.grad(own[task, walk, time], leaf, retain_graph=True)
        gamma = 0.99 ** torch.arange(seen.rewards.shape[-1], dtype=DOUBLE)
        if kind == "dice":
            later = (gamma * seen.rewards[task, walk])[time:].sum()
        else:
            later = (gamma[: len(gamma) - time] * seen.rewards[task, walk, time:]).sum()
        loop -= later * slope[task] / (own.shape[0] * own.shape[1] * over)
    assert float(loop.norm()) > 1e-3
    torch.testing.assert_close(step.gradients["init"], loop, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(-step.readings["pre_query_loss"], seen.rewards.sum(-1).mean(-1))


@pytest.mark.parametrize("baseline", ["linear", "time_mean"])
@pytest.mark.parametrize("kind", SURROGATES)
def test_normalised_gradients_do_not_depend_on_the_size_of_rewards(
    kind: Surrogate, baseline: Any
) -> None:
    made = setting("maml", estimator=kind, baseline=baseline)
    agent = made.learner.net
    assert isinstance(agent, Agent)
    weights = made.init()["init"].expand(3, -1)
    seen = agent.act(weights, made.batch(0).query.x)
    one, other = (agent.advantages(seen.observations, c * seen.rewards) for c in (1.0, 17.0))
    assert float(one.advantages.abs().max()) > 0.5
    for here, there in zip(one, other, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["maml", "fomaml", "reptile", "metasgd"])
@pytest.mark.parametrize("kind", SURROGATES)
def test_the_order_of_trajectories_does_not_matter(name: str, kind: Surrogate) -> None:
    made = setting(name, estimator=kind)
    meta, tasks = made.init(), made.batch(0)
    turned = TaskBatch(
        tasks.support.examples(torch.tensor([2, 0, 3, 1])),
        tasks.query.examples(torch.tensor([4, 1, 0, 2, 3])),
    )
    one, other = (
        made.algorithm.meta_gradient(made.context(0, some), meta).gradients["init"]
        for some in (tasks, turned)
    )
    assert float(one.norm()) > 1e-3
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_the_linear_baseline_is_a_least_squares_fit_with_a_ridge() -> None:
    generator = torch.Generator().manual_seed(0)
    seen = torch.randn(2, 5, 4, 2, generator=generator, dtype=DOUBLE)
    rewards = torch.randn(2, 5, 4, generator=generator, dtype=DOUBLE)
    advantages = Advantages("linear", 0.9, 0.7, False)
    for task in range(2):
        rows, wanted = [], []
        for walk, time in np.ndindex(5, 4):
            s, t = seen[task, walk, time].numpy(), time / 100
            rows.append([*s, *s**2, t, t**2, t**3, 1])
            wanted.append(sum(0.9**i * float(r) for i, r in enumerate(rewards[task, walk, time:])))
        a = np.array(rows)
        fitted = a @ np.linalg.solve(a.T @ a + 1e-5 * np.eye(8), a.T @ np.array(wanted))
        fitted = fitted.reshape(5, 4)
        found = advantages.values(seen, rewards)[task].numpy()
        np.testing.assert_allclose(found, fitted, rtol=1e-9, atol=1e-12)
        credit = advantages(seen, rewards).advantages[task].numpy()
        for walk, time in np.ndindex(5, 4):
            usual = np.append(fitted[walk], 0)
            later = [
                0.63**i * (float(rewards[task, walk, u]) + 0.9 * usual[u + 1] - usual[u])
                for i, u in enumerate(range(time, 4))
            ]
            assert credit[walk, time] == pytest.approx(sum(later), rel=1e-9)


def test_steps_of_the_worlds_are_those_of_their_rules() -> None:
    place, goal = tensor([[[0.2, -0.1]]]), tensor([[[0.5, -0.5]]])
    action = tensor([[[0.5, -7.0]]])
    for squared, reward in ((False, -np.hypot(0.25, 0.3)), (True, -(0.25**2 + 0.3**2))):
        moved = Navigation(squared=squared).step(place, action, place[..., :0], goal)
        close(moved.state, [0.25, -0.2])
        close(moved.reward, [reward])
    world = Tabular(2, 2, 0.5)
    task = tensor([[[0.8, 0.2, 0.1, 0.9, 0.4, 0.6, 0.7, 0.3, 1.0, 2.0, 3.0, 4.0]]])
    for state, act, uniform, following, mean in (
        *((0, 0, 0.79, 0, 1.0), (0, 0, 0.81, 1, 1.0), (0, 1, 0.11, 1, 2.0)),
        *((1, 0, 0.39, 0, 3.0), (1, 1, 0.71, 1, 4.0)),
    ):
        moved = world.step(
            tensor([[[float(state)]]]),
            torch.tensor([[act]]),
            tensor([[[uniform, -2.0]]]),
            task,
        )
        assert float(moved.state) == following
        assert float(moved.reward) == mean - 1.0


@pytest.mark.parametrize("problem", ["navigation", "chain", "bandit"])
def test_every_inner_step_sees_fresh_trajectories_that_are_functions_of_task_and_round(
    problem: str,
) -> None:
    made = setting("maml", problem).problem
    assert isinstance(made, Control)
    tasks = made.tasks("train", 4, 2)
    assert tasks.support.rounds == 3
    rounds = [tasks.support.at(k).x for k in range(3)]
    assert not any(torch.equal(rounds[0], other) for other in rounds[1:])
    assert torch.equal(tasks.support.at(3).x, rounds[0])
    later = made.tasks("train", 5, 1)
    torch.testing.assert_close(later.support.x[0], tasks.support.x[1], rtol=0, atol=0)
    made.expect(5, 0)
    more = made.tasks("train", 4, 2)
    assert more.support.rounds == 6
    for k in range(3):
        assert torch.equal(more.support.at(k).x, rounds[k])
    assert torch.equal(more.query.x, tasks.query.x)


@pytest.mark.parametrize("name", ["maml", "fomaml", "reptile", "metasgd", "joint", "scratch"])
def test_losses_are_minus_the_returns(name: str) -> None:
    made = setting(name)
    step = made.algorithm.meta_gradient(made.context(0), made.init())
    for part in ("pre_support", "post_support", "pre_query", "post_query"):
        found = step.readings[f"{part}_return"]
        assert float(found.max()) < 0
        assert torch.equal(-found, step.readings[f"{part}_loss"])
    assert find_algorithm(name).entry.id == name
