"""Checks that what a plugin adds keeps the contracts of the engine, on small tasks in float64."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metaviz.algorithms.registry import ALGORITHMS, find_algorithm
from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig
from metaviz.files.archives import DataError
from metaviz.meta.algorithm import Composed
from metaviz.meta.context import Meta
from metaviz.meta.episodic import Episodic
from metaviz.meta.estimators import Unrolled
from metaviz.meta.inner import Graph
from metaviz.nets.spec import NETS, NetSpec, build
from metaviz.plugin_loader import Plugin
from metaviz.problems.registry import PROBLEMS, find_problem
from metaviz.runs.analysis.reproduction import first_difference
from metaviz.runs.storage.store import open_run
from metaviz.training.resume import resume_sessions
from metaviz.training.session import Session, open_sessions
from metaviz.training.setting import Setting, settle

_TASKS = 3
_STEP = 1e-5
_CLOSE = 1e-5
_SMALL = {"sinusoid": {"hidden": 6}, "strokes": {"channels": 2}}
_SHARED = {"meta_batch": _TASKS, "shots": 2, "query_shots": 2, "ways": 3, "eval_tasks": 2}
_BRIEF = {**_SHARED, "inner_steps": 2, "eval_steps": 2, "eval_every": 2, "reading_every": 1}


class CheckFailedError(Exception):
    """A contract is broken; the message says how, as the end of a sentence."""


class NotCheckedError(Exception):
    """A contract cannot be checked; the message says why, as the end of a sentence."""


@dataclass(frozen=True)
class Checked:
    """One check: what was asked of what, and why it failed or was not made; else it holds."""

    subject: str
    check: str
    failure: str = ""
    left_out: str = ""


def check_plugin(plugin: Plugin) -> Iterator[Checked]:
    """Check everything that a plugin registered, one thing after another."""
    own = {"algorithm": _of_method, "problem": _of_problem, "network": _of_network}
    others = sorted(find for find in PROBLEMS if f"problem {find}" in plugin.adds)
    for added in plugin.adds:
        noun, _, name = added.partition(" ")
        if noun not in own:
            yield Checked(added, "registered")
            continue
        try:
            checks = own[noun](name, others)
        except (OptionError, DataError, CheckFailedError) as error:
            yield Checked(added, "can be built", str(error))
            continue
        for title, check in checks:
            yield _checked(added, title, check)


def _checked(subject: str, title: str, check: Callable[[], None]) -> Checked:
    try:
        check()
    except NotCheckedError as error:
        return Checked(subject, title, left_out=str(error))
    except (CheckFailedError, OptionError, DataError) as error:
        return Checked(subject, title, str(error))
    except Exception as error:  # noqa: BLE001 - code of others
        reason = str(error).strip().partition("\n")[0]
        return Checked(subject, title, f"{type(error).__name__}: {reason}")
    return Checked(subject, title)


Checks = list[tuple[str, Callable[[], None]]]


def _of_method(name: str, own: list[str]) -> Checks:
    entry = find_algorithm(name).entry
    suited = [
        problem
        for problem in (*own, "sinusoid", "strokes", "features")
        if not entry.unsuited(find_problem(problem).entry)
    ]
    if not suited:
        raise CheckFailedError("no problem suits it")
    setting = settle(_config(name, suited[0]))
    return [
        (f"shapes on {suited[0]}", lambda: _check_shapes(setting)),
        ("the same bits again", lambda: _check_determinism(setting)),
        ("tasks are independent", lambda: _check_independence(setting)),
        ("gradient against finite differences", lambda: _check_gradient(setting)),
        ("a resumed run has the same bits", lambda: _check_resume(name, suited[0])),
    ]


def _config(method: str, problem: str, **more: Any) -> RunConfig:
    known = find_problem(problem)
    options = {k: v for k, v in _SMALL.get(problem, {}).items() if k in known.options.model_fields}
    shared = {**known.entry.shared, **_BRIEF, "inner_lr": 0.05}
    asked = {"problem": problem, "algorithm": method, "seed": 1, "steps": 4, "dtype": "float64"}
    values = {**asked, "device": "cpu", "problem_options": options, "shared": shared, **more}
    return RunConfig.model_validate(values)


def _check_shapes(setting: Setting) -> None:
    meta, context = setting.init(), setting.context(0)
    for group, value in meta.items():
        if value.dim() != 1 or not value.isfinite().all():
            raise CheckFailedError(
                f"init gives {group!r} as {tuple(value.shape)}: give finite (P,)"
            )
    step = setting.algorithm.meta_gradient(context, meta)
    trained = setting.algorithm.trained()
    if set(step.gradients) != trained:
        raise CheckFailedError(f"gradients are of {sorted(step.gradients)}, not {sorted(trained)}")
    for group, gradient in step.gradients.items():
        if gradient.shape != meta[group].shape or not gradient.isfinite().all():
            raise CheckFailedError(f"the gradient of {group!r} is not finite or of another shape")
    states = list(setting.algorithm.adapt(setting.adapting(context.tasks, 2), meta))
    wanted = 3 if setting.traits.has_inner_loop else 1
    if len(states) != wanted:
        raise CheckFailedError(f"adapt yields {len(states)} states for 2 steps, not {wanted}")
    found = states[-1].predict(context.tasks.query).outputs
    if found.shape[:2] != context.tasks.query.x.shape[:2]:
        raise CheckFailedError(f"predictions have the shape {tuple(found.shape)}")


def _gradients(setting: Setting, meta: Meta, tasks: slice | None = None) -> dict[str, Tensor]:
    context = setting.context(0)
    part = context if tasks is None else context[tasks]
    return setting.algorithm.meta_gradient(part, meta).gradients


def _check_determinism(setting: Setting) -> None:
    one, other = (_gradients(setting, setting.init()) for _ in range(2))
    for group, gradient in one.items():
        if not torch.equal(gradient, other[group]):
            raise CheckFailedError(f"the gradient of {group!r} differs from call to call")


def _check_independence(setting: Setting) -> None:
    if setting.traits.sequential:
        raise NotCheckedError("it says that its tasks follow one another")
    meta = setting.init()
    whole = _gradients(setting, meta)
    parts = [_gradients(setting, meta, slice(n, n + 1)) for n in range(setting.tasks_per_step)]
    for group, gradient in whole.items():
        mean = torch.stack([part[group] for part in parts]).mean(0)
        if not torch.allclose(mean, gradient, rtol=1e-6, atol=1e-9):
            raise CheckFailedError(
                f"the gradient of {group!r} of a batch is not the mean of its tasks' gradients"
            )


def _check_gradient(setting: Setting) -> None:
    """Compare with central differences of the query loss, where that is what is differentiated."""
    algorithm = setting.algorithm
    exact = isinstance(algorithm, Episodic) and algorithm.objective is None and not algorithm.terms
    if isinstance(algorithm, Composed) and isinstance(algorithm.estimator, Unrolled):
        estimator = algorithm.estimator
        plain = type(estimator) is Unrolled and not any(one.weight for one in estimator.terms)
        exact = plain and estimator.graph is Graph.SECOND_ORDER
    if not exact:
        raise NotCheckedError(
            "it is not that of the query loss: another objective, or an approximation on purpose"
        )
    meta, generator = setting.init(), torch.Generator().manual_seed(0)

    def loss(values: Meta) -> float:
        context = setting.context(0)
        return float(algorithm.meta_gradient(context, values).readings["post_query_loss"].mean())

    for group, gradient in _gradients(setting, meta).items():
        way = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype)
        way /= way.norm()
        ends = [loss({**meta, group: meta[group] + sign * _STEP * way}) for sign in (1, -1)]
        expected, found = (ends[0] - ends[1]) / (2 * _STEP), float(gradient @ way)
        if abs(expected - found) > _CLOSE * max(1.0, abs(expected)):
            raise CheckFailedError(
                f"the gradient of {group!r} in a random direction is {found:.6g}, and differences "
                f"of the query loss are {expected:.6g}"
            )


def _check_resume(method: str, problem: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        whole, broken = Path(root, "whole"), Path(root, "broken")
        (first,) = open_sessions([_config(method, problem)], whole)
        _finish(first)
        (begun,) = open_sessions([_config(method, problem, steps=2)], broken)
        _finish(begun)
        (again,) = resume_sessions([begun.folder], 4)
        _finish(again)
        apart = first_difference(open_run(first.folder), open_run(again.folder))
        if apart is not None:
            raise CheckFailedError(
                f"{apart.quantity} at step {apart.step} is {apart.first} in a whole run and "
                f"{apart.second} in a resumed one"
            )


def _finish(session: Session) -> None:
    while session.advance() is not None:
        pass


def _of_problem(name: str, own: list[str]) -> Checks:
    del own
    setting = settle(_config(_first_suited(name), name))
    return [
        ("tasks are the same in whatever batch", lambda: _check_tasks(setting)),
        ("the network takes its examples", lambda: _check_outputs(setting)),
    ]


def _first_suited(problem: str) -> str:
    """Return the first method that suits a problem."""
    entry = find_problem(problem).entry
    return next(name for name, one in ALGORITHMS.items() if not one.entry.unsuited(entry))


def _check_tasks(setting: Setting) -> None:
    for split in ("train", ""):

        def drawn(first: int, count: int, split: str = split) -> Any:
            if split:
                return setting.problem.tasks(split, first, count)
            return setting.problem.evaluation_tasks(first, count)

        whole, part = drawn(0, _TASKS), drawn(1, 1)
        for one, other in ((whole.support, part.support), (whole.query, part.query)):
            if not (torch.equal(one.x[1:2], other.x) and torch.equal(one.y[1:2], other.y)):
                raise CheckFailedError("task 1 by itself differs from task 1 among others")


def _check_outputs(setting: Setting) -> None:
    tasks = setting.batch(0)
    net = setting.learner.net
    flat = net.init(torch.Generator().manual_seed(0))[None].to(setting.dtype)
    outputs = net(flat, tasks.query.x, tasks.query.beside)
    if outputs.shape[:2] != tasks.query.x.shape[:2] or not outputs.isfinite().all():
        raise CheckFailedError(f"outputs have the shape {tuple(outputs.shape)} or are not finite")
    if setting.problem.has_accuracy and int(tasks.query.y.max()) >= outputs.shape[2]:
        raise CheckFailedError(f"there are labels up to {int(tasks.query.y.max())}")


def _of_network(name: str, own: list[str]) -> Checks:
    shapes = [(4,), (3, 16, 16), (1, 28, 28)]
    for problem in own:
        with suppress(OptionError, DataError):
            spec = settle(_config(_first_suited(problem), problem)).problem.net_spec()
            if spec.id == name:
                shapes.insert(0, tuple(spec.options["example"]))
    for example in shapes:
        options = {"example": list(example), "outputs": 3}
        try:
            net = build(NetSpec(name, NETS.find(name).entry.version, options))
        except OptionError:
            raise
        except (RuntimeError, ValueError, IndexError):  # of another shape
            continue
        return [(f"gradient for examples {example}", partial(_check_net, net, example))]
    raise CheckFailedError(f"it takes no examples of the shapes {shapes}")


def _check_net(net: Any, example: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (net.init(torch.Generator().manual_seed(1)) for _ in range(2))
    if not torch.equal(first, second):
        raise CheckFailedError("weights of one seed differ from call to call")
    flat = torch.stack([net.init(generator), net.init(generator)]).requires_grad_()
    x = torch.randn(2, 5, *example, generator=generator, dtype=torch.float64)
    outputs = net(flat, x)
    if outputs.shape != (2, 5, 3):
        raise CheckFailedError(f"outputs have the shape {tuple(outputs.shape)}, not (2, 5, 3)")
    alone = net(flat[1:], x[1:])
    if not torch.allclose(alone, outputs[1:], rtol=1e-9, atol=1e-12):
        raise CheckFailedError("a task's outputs depend on the other tasks")
    way = torch.randn(flat.shape, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(outputs.square().sum(), flat)
    with torch.no_grad():
        ends = [float(net(flat + s * _STEP * way, x).square().sum()) for s in (1, -1)]
    expected, found = (ends[0] - ends[1]) / (2 * _STEP), float((gradient * way).sum())
    if not np.isclose(expected, found, rtol=1e-4, atol=1e-6):
        raise CheckFailedError(f"its gradient is {found:.6g}, and differences {expected:.6g}")
