"""ResNet-12 against PyTorch's own modules, and its meta-gradient by finite differences."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (the name every PyTorch reader expects)
from torch import Tensor, nn
from torch.autograd import grad

from metaviz.config.run_config import Shared
from metaviz.meta.learner import Learner
from metaviz.meta.tasks import Batch
from metaviz.nets.normalisation import Norm
from metaviz.nets.resnet12 import ResidualNet, ResNet12, SimpleResNet12, Widths
from metaviz.problems.normalising import paired
from metaviz.problems.registry import find_problem
from metaviz.runs.storage.store import list_runs, open_run
from tests.oracle.engine import ClassificationLoss, assert_close, build, meta_step, shared
from tests.unit.command_line import metaviz
from tests.unit.test_episodes import small

TASKS, EXAMPLES, WAYS, SIDE = 2, 5, 3, 21
NARROW: Widths = (6, 9, 10, 12)
FULL: Widths = (64, 160, 320, 640)
THIN: Widths = (64, 128, 256, 512)
SNAIL: Widths = (64, 96, 128, 256)


def batch_norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, track_running_stats=False)


class Block(nn.Module):
    """A block as in learn2learn; its parameters come in the order of our layout."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for layer in range(3):
            layers.append(nn.Conv2d(width if layer else inputs, width, 3, padding=1, bias=False))
            layers.append(batch_norm(width))
            if layer < 2:
                layers.append(nn.LeakyReLU(0.1))
        self.path = nn.Sequential(*layers)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), batch_norm(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.leaky_relu(self.path(x) + self.shortcut(x), 0.1), 2)


class SimpleBlock(nn.Module):
    """A block as in SNAIL."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for layer in range(3):
            layers.append(nn.Conv2d(width if layer else inputs, width, 3, padding=1))
            layers += [batch_norm(width), nn.LeakyReLU(0.1)]
        self.path = nn.Sequential(*layers)
        self.shortcut = nn.Conv2d(inputs, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self.path(x) + self.shortcut(x), 2, ceil_mode=True)


def module(net: ResidualNet, in_channels: int) -> nn.Module:
    """Build the same network of PyTorch's modules."""
    widths = (in_channels, *net.widths)
    if isinstance(net, ResNet12):
        blocks: list[nn.Module] = [Block(*widths[i : i + 2]) for i in range(4)]
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], WAYS)]
    else:
        blocks = [SimpleBlock(*widths[i : i + 2]) for i in range(4)]
        head = [nn.Conv2d(widths[-1], 2048, 1), nn.AdaptiveAvgPool2d(1), nn.ReLU()]
        head += [nn.Conv2d(2048, 384, 1), nn.Flatten(), nn.Linear(384, WAYS)]
    return nn.Sequential(*blocks, *head).double()


def outputs(plain: nn.Module, net: ResidualNet, flat: Tensor, x: Tensor) -> Tensor:
    """Return the module's logits of one task, with our weights in its parameters."""
    ours = net.layout.split(flat)
    names = [name for name, _ in plain.named_parameters()]
    shapes = [parameter.shape for parameter in plain.parameters()]
    values = [
        value.reshape(shape)
        for value, shape in zip((ours[name] for name, _ in net.layout.shapes), shapes, strict=True)
    ]
    logits: Tensor = torch.func.functional_call(plain, dict(zip(names, values, strict=True)), x)
    return logits


def images(seed: int, channels: int = 2, examples: int = EXAMPLES) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = (TASKS, examples, channels, SIDE, SIDE)
    return torch.randn(size, generator=generator, dtype=torch.float64)


def drawn(net: ResidualNet, tasks: int = TASKS) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(tasks, net.layout.size, generator=generator, dtype=torch.float64)
    return net.init(generator) + 0.02 * noise


KINDS: list[type[ResidualNet]] = [ResNet12, SimpleResNet12]
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize(
    ("kind", "widths", "blocks"),
    [(ResNet12, FULL, 12_424_320), (ResNet12, THIN, 7_996_800), (SimpleResNet12, SNAIL, None)],
)
def test_resnet_has_as_many_weights_as_its_module(
    kind: type[ResidualNet], widths: Widths, blocks: int | None
) -> None:
    net = kind(widths, WAYS)
    count = sum(parameter.numel() for parameter in module(net, 3).parameters())
    assert net.layout.size == count
    if blocks is not None:
        assert count - WAYS * (widths[-1] + 1) == blocks


@every_kind
def test_resnet_logits_and_gradients_equal_modules(kind: type[ResidualNet]) -> None:
    net = kind(NARROW, WAYS, 2, SIDE)
    plain = module(net, 2)
    flat, x = drawn(net).requires_grad_(), images(1)
    ours = net(net.layout.split(flat), x)
    oracle = torch.stack([outputs(plain, net, w, one) for w, one in zip(flat, x, strict=True)])
    assert ours.shape == (TASKS, EXAMPLES, WAYS)
    assert_close(ours, oracle.detach(), 1e-10)
    labels = (torch.arange(EXAMPLES) % WAYS).expand(TASKS, -1)
    found, expected = (
        grad(F.cross_entropy(logits.mT, labels), flat)[0] for logits in (ours, oracle)
    )
    assert_close(found, expected, 1e-9)


@every_kind
def test_resnet_shared_weights_serve_all_tasks(kind: type[ResidualNet]) -> None:
    net = kind(NARROW, WAYS, 2, SIDE)
    flat, x = drawn(net, 1), images(1)
    alone = net(net.layout.split(flat.expand(TASKS, -1)), x)
    assert_close(net(net.layout.split(flat), x), alone, 1e-12)


def slope(function: Callable[[Tensor], Tensor], at: Tensor, along: Tensor) -> float:
    """Measure a directional derivative between two kinks of ReLU and pooling."""
    step = 1e-8
    return float((function(at + step * along) - function(at - step * along)) / (2 * step))


@pytest.mark.parametrize(
    "norm", [Norm(), Norm("support", adapted=False), Norm("group", "beta")], ids=str
)
@every_kind
def test_resnet_meta_gradient_equals_finite_difference(kind: type[ResidualNet], norm: Norm) -> None:
    net = kind(NARROW, WAYS, 2, 16, norm)
    judge = Learner(net, ClassificationLoss())
    sets = [
        Batch(x[..., :16, :16], (torch.arange(x.shape[1]) % WAYS).expand(TASKS, -1))
        for x in (images(1, examples=3), images(2, examples=6))
    ]
    tasks = paired(sets[0], sets[1], norm.statistics)
    method = build("maml", shared(inner_lr=0.01, inner_steps=2))
    init = drawn(net, 1)[0]
    found = meta_step(method, judge, {"init": init}, tasks).gradients["init"]
    first = build("fomaml", shared(inner_lr=0.01, inner_steps=2))
    rough = meta_step(first, judge, {"init": init}, tasks).gradients["init"]
    assert (found - rough).norm() > 1e-2 * found.norm()

    def objective(theta: Tensor) -> Tensor:
        end = method.descend(judge, {"init": theta}, tasks.support, 2).point
        return judge.losses(end, tasks.query).mean()

    generator = torch.Generator().manual_seed(11)
    along = torch.randn(net.layout.size, generator=generator, dtype=torch.float64)
    assert float(found @ along) == pytest.approx(slope(objective, init, along), rel=2e-6)


def test_resnet_first_weights() -> None:
    net = ResNet12(THIN, WAYS)
    params = net.layout.split(net.init(torch.Generator().manual_seed(0)))
    for name, fan_out in (("block1.conv1", 64 * 9), ("block4.conv4", 512)):
        deviation = float(params[f"{name}.weight"].std())
        assert deviation == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
    assert 0.8 * 512**-0.5 < float(params["head.weight"].abs().max()) <= 512**-0.5
    simple = SimpleResNet12(SNAIL, WAYS)
    params = simple.layout.split(simple.init(torch.Generator().manual_seed(0)))
    for name, fan_in in (("block1.conv1", 27), ("block2.conv2", 96 * 9), ("embed", 2048)):
        for part in ("weight", "bias"):
            largest = float(params[f"{name}.{part}"].abs().max())
            assert 0.8 * fan_in**-0.5 < largest <= fan_in**-0.5
    assert bool((params["block3.norm2.gamma"] == 1).all())
    assert not params["block3.norm2.beta"].any()


def test_resnet_refuses_images_too_small_to_pool() -> None:
    with pytest.raises(ValueError, match="images of 15 pixels cannot be halved four times"):
        ResNet12(NARROW, image=15)


METHODS = [
    (ResNet12, "mirror", {"partition": "layer"}),
    (ResNet12, "mtnet", {"masks": "none"}),
    (ResNet12, "metacurvature", {}),
    *(
        (kind, "warpgrad", {"warp": warp, "warp_start": "random"})
        for kind in KINDS
        for warp in ("linear", "residual")
    ),
]


@pytest.mark.parametrize(("kind", "name", "options"), METHODS)
def test_learned_geometries_reach_every_group_of_a_resnet(
    kind: type[ResidualNet], name: str, options: dict[str, Any]
) -> None:
    judge = Learner(kind(NARROW, WAYS, 2, 16), ClassificationLoss())
    labels = (torch.arange(3) % WAYS).expand(TASKS, -1)
    sets = [Batch(images(seed, examples=3)[..., :16, :16], labels) for seed in (1, 2)]
    method = build(name, shared(inner_lr=0.05, inner_steps=2), **options)
    method.fit(judge)
    meta = method.init(judge, torch.Generator().manual_seed(1))
    step = meta_step(method, judge, meta, paired(sets[0], sets[1], "batch"))
    for group, gradient in step.gradients.items():
        assert gradient.isfinite().all()
        assert gradient.any(), group


@pytest.mark.parametrize("warp", ["linear", "residual"])
def test_warps_that_begin_as_identity_change_nothing(warp: str) -> None:
    net = ResNet12(NARROW, WAYS, 2, 16)
    judge = Learner(net, ClassificationLoss())
    method = build("warpgrad", shared(), warp=warp)
    method.fit(judge)
    meta = method.init(judge, torch.Generator().manual_seed(1))
    x = images(1)[..., :16, :16]
    rule = method.rule  # type: ignore[attr-defined]
    params = rule.decode(meta, meta["init"].expand(TASKS, -1))
    assert "warp4.weight" in params
    assert_close(net(params, x), net(net.layout.split(meta["init"].expand(TASKS, -1)), x), 1e-12)
    changed = "warp3.weight" if warp == "linear" else "warp3.back"
    params[changed] = params[changed] + 0.1
    assert not torch.allclose(net(params, x), net(net.layout.split(meta["init"][None]), x))


def chosen(path: Path, **options: Any) -> dict[str, Any]:
    return {"path": small(path), "side": 16, **options}


def test_maml_trains_a_resnet_from_the_command_line(tmp_path: Path) -> None:
    options = chosen(tmp_path / "data", backbone="resnet12_simple")
    settings = {
        **{f"images.{name}": value for name, value in options.items()},
        **{"ways": 2, "shots": 1, "query_shots": 1, "inner_steps": 1},
        **{"meta_batch": 2, "eval_tasks": 2, "eval_steps": 1},
    }
    outcome = metaviz(
        *("compare", "--problem", "images", "--algorithms", "maml", "--steps", "1"),
        *(part for name, value in settings.items() for part in ("--set", f"{name}={value}")),
        *("--device", "cpu", "--out", tmp_path / "out"),
    )
    assert outcome.code == 0, outcome.error
    (folder,) = list_runs(tmp_path / "out" / "runs")
    record = open_run(folder)
    assert (record.state, record.step) == ("done", 1)
    assert record.config["problem_options"]["backbone"] == "resnet12_simple"
    before, after = record.evaluations
    assert before.curves["query_loss"][0] != after.curves["query_loss"][0]


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({"backbone": "resnet12"}, 12_424_320 + 2 * 641),
        ({"backbone": "resnet12", "widths": "64-128-256-512"}, 7_996_800 + 2 * 513),
        ({"backbone": "resnet12_simple"}, 3_546_688 + 2 * 385),
        ({"backbone": "conv4", "channels": 8}, 3 * 8 * 9 + 3 * 8 * 8 * 9 + 4 * 24 + 2 * 9),
    ],
)
def test_images_have_the_backbone_that_is_asked_for(
    options: dict[str, Any], weights: int, tmp_path: Path
) -> None:
    values = chosen(tmp_path, **options)
    problem = find_problem("images").build(values, Shared(ways=2, shots=1, query_shots=1), 0)
    assert problem.net().layout.size == weights
