"""What a learned geometry looks like: stored with every run, bounded, and true."""

from pathlib import Path

import numpy as np
import pytest
import torch

from metaviz.algorithms.registry import ALGORITHMS
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.algorithm import Composed
from metaviz.meta.context import Context, Meta
from metaviz.meta.estimators.conditioned import residual_jacobian
from metaviz.meta.inner import Graph, inner_points, inner_step
from metaviz.meta.pictures import pooled
from metaviz.runs.model.events import Ended, Pictured
from metaviz.runs.storage.store import open_run
from metaviz.training.session import new_session
from metaviz.training.setting import settle
from tests.oracle.engine import build, initial, loops, problem_of, shared, sinusoid
from tests.oracle.test_geometries import noisy
from tests.unit.stored import SMALL

KINDS = {
    "metasgd": "rates",
    "deml": "rates",
    "metacurvature": "factors",
    "metakfo": "factors",
    "warpgrad": "warps",
    "mtnet": "layers",
    "metalstm": "gates",
    "mirror": "map",
}
MOST_BYTES = 400_000


def perturbed(name: str, **options: object) -> tuple[Composed, Context, Meta]:
    """A perturbed method on four small tasks."""
    learner, tasks = sinusoid()
    algorithm = build(name, shared(inner_steps=4), **options)
    assert isinstance(algorithm, Composed)
    first = initial(algorithm, learner)
    return algorithm, Context(learner, tasks, 4, drawn=first), noisy(first, 0.1)


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_a_run_stores_bounded_pictures(name: str, tmp_path: Path) -> None:
    problem, looped = problem_of(name), loops(name)
    config = RunConfig(
        problem=problem,
        algorithm=name,
        seed=3,
        steps=2,
        options={"inner_steps": 2} if looped else {},
        problem_options=SMALL[problem] if problem != "sinusoid" else {},
        shared=Shared(meta_batch=2, eval_tasks=5, eval_every=1),
    )
    session = new_session(settle(config), tmp_path)
    drawn: list[Pictured] = []
    while (event := session.advance()) is not None:
        if isinstance(event, Pictured):
            drawn.append(event)
            assert ("predictions" in event.arrays) is (problem == "sinusoid")
        if isinstance(event, Ended):
            assert event.state == "done"
    kinds = {str(p.arrays["geometry"]) for p in drawn if "geometry" in p.arrays}
    assert kinds == ({KINDS[name]} if name in KINDS else set())
    assert sum("slice" in p.arrays for p in drawn) == (3 if looped else 0)
    for picture in drawn:
        assert sum(array.nbytes for array in picture.arrays.values()) < MOST_BYTES
    stored = open_run(session.folder).pictures
    own = bool(ALGORITHMS[name].entry.charts)
    assert sum("charts" in p.arrays for p in drawn) == (3 if own else 0)
    assert len(stored) == len(drawn) == (3 if looped or own or problem == "sinusoid" else 0)
    for kept, made in zip(stored, drawn, strict=True):
        assert kept.step == made.step
        assert kept.arrays.keys() == made.arrays.keys()
        for key, array in made.arrays.items():
            np.testing.assert_array_equal(kept.arrays[key], array)


def test_map_picture_is_the_map() -> None:
    algorithm, context, meta = perturbed("mirror", partition="2")
    arrays = algorithm.rule.picture(context, meta)
    flow = algorithm.rule.flow  # type: ignore[attr-defined]
    z = meta["init"]

    def image(point: torch.Tensor) -> torch.Tensor:
        return flow(meta["flow"], point.unsqueeze(0))[0]

    jacobian = torch.autograd.functional.jacobian(image, z)
    chosen = arrays["coordinates"]
    assert arrays["slope"] == pytest.approx(jacobian.diagonal()[chosen].numpy(), rel=2e-3)
    moved = z.clone()
    moved[chosen[7]] += 1.0
    line = arrays["slope"][7] * (float(z[chosen[7]]) + 1) + arrays["shift"][7]
    assert line == pytest.approx(float(image(moved)[chosen[7]]), abs=5e-3)
    skew = (jacobian - jacobian.mT).norm() / jacobian.norm()
    assert arrays["asymmetry"] == pytest.approx(float(skew), rel=1e-9)
    lowest = torch.linalg.eigvalsh((jacobian + jacobian.mT) / 2)[0]
    assert arrays["symmetric_eigenvalue"] == pytest.approx(float(lowest), rel=1e-9)
    assert arrays["moved_share"] == 1
    assert arrays["visited"].shape == (4, 5, len(chosen))
    np.testing.assert_allclose(
        arrays["visited"][:, 0], np.tile(z[chosen], (4, 1)), rtol=2e-3, atol=1e-6
    )


@pytest.mark.parametrize("name", ["metasgd", "metacurvature", "metakfo"])
def test_preconditioner_picture_is_dense_linear_algebra(name: str) -> None:
    algorithm, context, meta = perturbed(name, **({"form": "direct"} if name == "metasgd" else {}))
    arrays = algorithm.rule.picture(context, meta)
    size = context.learner.net.layout.size
    rule = algorithm.rule
    argument = meta["transform"] if name == "metakfo" else meta
    dense = rule.precondition(argument, torch.eye(size, dtype=torch.float64)).mT  # type: ignore[attr-defined]
    assert arrays["dense"] == pytest.approx(dense.numpy(), rel=2e-3, abs=1e-4)
    spectrum = torch.linalg.eigvals(dense).abs().sort(descending=True).values
    assert arrays["spectrum"] == pytest.approx(spectrum.numpy(), rel=1e-4, abs=1e-5)
    point = meta["init"].clone().requires_grad_()
    x, y = context.tasks.support.x[:1], context.tasks.support.y[0]

    def residuals(weights: torch.Tensor) -> torch.Tensor:
        outputs = context.learner.net(context.learner.net.layout.split(weights.unsqueeze(0)), x)
        return (outputs[0] - y).flatten()

    jacobian = torch.autograd.functional.jacobian(residuals, point)
    for key, matrix in (
        ("condition_plain", jacobian @ jacobian.mT),
        ("condition_shaped", jacobian @ dense @ jacobian.mT),
    ):
        values = torch.linalg.eigvals(matrix).abs()
        assert arrays[key][0] == pytest.approx(float(values.max() / values.min()), rel=1e-3)


@pytest.mark.parametrize("name", ["mtnet", "warpgrad", "mirror"])
def test_portrayed_matrix_is_what_a_step_does(name: str) -> None:
    """One step moves the plain network's weights by -alpha P times the plain gradient."""
    options = {"masks": "threshold", "zeta": 1.0} if name == "mtnet" else {}
    options |= {"partition": "1"} if name == "mirror" else {}
    algorithm, context, meta = perturbed(name, **options, inner_lr=1e-6)
    learner, support = context.learner, context.tasks.support[:1]
    layout, rule = learner.net.layout, algorithm.rule
    if name == "mtnet":
        meta["masks"] = torch.where(torch.arange(len(meta["masks"])) % 3 > 0, 0.7, -0.4).double()
    arrays = rule.picture(context, meta)

    def plain(state: object) -> torch.Tensor:
        decoded = rule.decode(meta, rule.point(meta, state))
        if not isinstance(decoded, dict):
            return decoded
        if name == "warpgrad":
            for after, warp in ((2, "warp1"), (3, "warp2")):
                weight, bias = decoded[f"layer{after}.weight"], decoded[f"layer{after}.bias"]
                shift = (weight @ decoded[f"{warp}.bias"][..., None])[..., 0]
                decoded |= {
                    f"layer{after}.weight": weight @ decoded[f"{warp}.weight"],
                    f"layer{after}.bias": bias + shift,
                }
        return layout.join(decoded)

    state = rule.start(meta, support)
    weights = plain(state).detach().requires_grad_()
    outputs = learner.outputs(weights, support)
    as_trained = learner.outputs(rule.decode(meta, rule.point(meta, state)), support)
    assert outputs.detach() == pytest.approx(as_trained.detach(), abs=1e-12)
    loss = learner.losses(weights, support).sum()
    (gradient,) = torch.autograd.grad(loss, weights)
    after, _ = inner_step(rule, learner, meta, support, state, 0, Graph.NONE)
    moved = (plain(after) - weights)[0].detach() / -1e-6
    dense = torch.from_numpy(arrays["dense"]).double()
    assert dense @ gradient[0] == pytest.approx(moved, rel=1e-2, abs=1e-3)
    assert (dense - torch.eye(layout.size)).abs().max() > 0.05
    sizes = torch.linalg.eigvals(dense).abs().sort(descending=True).values
    assert arrays["spectrum"] == pytest.approx(sizes.numpy(), rel=2e-2, abs=2e-2)
    jacobian = residual_jacobian(outputs, support.y, weights).detach()[0]
    for key, matrix in (
        ("condition_plain", jacobian @ jacobian.mT),
        ("condition_shaped", jacobian @ dense @ jacobian.mT),
    ):
        values = torch.linalg.eigvals(matrix).abs()
        assert arrays[key][0] == pytest.approx(float(values.max() / values.min()), rel=0.05)
    assert len(arrays["condition_plain"]) == context.steps + 1


def test_slices_pass_through_the_path() -> None:
    algorithm, context, meta = perturbed("maml")
    (line,) = [a for a in algorithm.pictures(context, meta) if "slice" in a]
    points = inner_points(algorithm.rule, context, meta)[:, 0]
    ends = [
        float(context.learner.losses(point.unsqueeze(0), context.tasks.support[:1]))
        for point in (points[0], points[-1])
    ]
    for t, loss in zip((0.0, 1.0), ends, strict=True):
        place = int(np.abs(line["line_t"] - t).argmin())
        assert line["line_t"][place] == pytest.approx(t, abs=1e-9)
        assert line["line_support"][place] == pytest.approx(loss, rel=1e-9)
    assert line["line_path"][[0, -1]] == pytest.approx([0, 1])
    truth = [
        float(context.learner.losses(point.unsqueeze(0), context.tasks.support[:1]))
        for point in points
    ]
    assert line["path_support"] == pytest.approx(truth, rel=1e-12)
    assert line["plane_support"].shape == (15, 15)
    assert 0 < line["plane_explained"].sum() <= 1 + 1e-12
    assert line["plane_path"].shape == (5, 2)


def test_pooled_keeps_the_largest_entries() -> None:
    matrix = torch.zeros(10, 10)
    matrix[3, 8], matrix[9, 0] = -5.0, 2.0
    small = pooled(matrix, 4)
    assert small.shape == (4, 4)
    assert sorted(small.unique().tolist()) == [-5.0, 0.0, 2.0]
