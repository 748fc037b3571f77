"""The learned mirror map: sizes, Jacobians, inverses, which gradients live, and partitions."""

import re
from math import prod
from typing import get_args

import pytest
import torch
from torch import Tensor

from metaviz.meta.flows import BlockFlow, Form, partition
from metaviz.nets.conv4 import Conv4
from metaviz.nets.layout import Layout, Params
from metaviz.nets.mlp import MLP
from tests.oracle.engine import DOUBLE, assert_close

NET = MLP((16, 32, 24, 16))
KERNEL = Layout((("gain", (10,)), ("kernel", (9, 17, 3, 3)), ("bias", (8,)), ("head", (16, 8))))
FORMS = get_args(Form)
PARTITIONS = ["tensor", "2", "4", "layer3.weight+layer1.bias|layer2.weight+layer3.bias|"
              "layer1.weight|layer2.bias"]  # fmt: skip


def build(layout: Layout, text: str, form: Form = "fixed") -> BlockFlow:
    return BlockFlow(layout, partition(layout, text), form)


def draw(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def start(flow: BlockFlow, seed: int = 1) -> Tensor:
    return flow.init(torch.Generator().manual_seed(seed))


def moved(flow: BlockFlow) -> Tensor:
    """Flow parameters away from the identity."""
    return start(flow) + 0.2 * draw(flow.size)


def step(flow: BlockFlow, own: Tensor, z: Tensor, rate: float = 0.1) -> tuple[Tensor, Tensor]:
    """Descend a random objective of g(z) once; return the new parameters and the gradient."""
    own = own.requires_grad_()
    phi = flow(own, z)
    loss = (phi * draw(*phi.shape, seed=7)).sum() + phi.square().sum()
    (gradient,) = torch.autograd.grad(loss / len(z), own)
    return (own - rate * gradient).detach(), gradient


def halved(sizes: tuple[int, ...], times: int) -> tuple[int, ...]:
    return tuple(max(1, size // 2**times) for size in sizes)


def test_sizes_of_the_official_module() -> None:
    mini, omniglot = Conv4(64, 5, 3, 84).layout, Conv4(64, 5, 1, 28).layout
    assert (mini.size, omniglot.size) == (121_093, 112_261)
    for form in FORMS:
        assert build(mini, "4", form).size == 3_447_535
        assert build(omniglot, "4", form).size == 415_661


def test_size_for_the_sinusoid_network() -> None:
    def product(sizes: tuple[int, ...], wide: int, narrow: int) -> int:
        a, b = halved(sizes, wide), halved(sizes, narrow)
        return sum(s * t for s, t in zip(a, b, strict=True))

    def encoder(sizes: tuple[int, ...]) -> int:
        return sum(product(sizes, k, k + 1) + prod(halved(sizes, k + 1)) for k in range(3))

    def decoder(sizes: tuple[int, ...]) -> int:
        trunk = sum(product(sizes, k + 1, k) + prod(halved(sizes, k)) for k in (2, 1))
        return trunk + 2 * (product(sizes, 1, 0) + prod(sizes))

    first, second, third = [(40, 1), (40,)], [(40, 40), (40,)], [(1, 40), (1,)]
    size = 2 * 80 + sum(map(encoder, first + second)) + sum(map(decoder, second + third))
    size += (5 + 5 + 1) * (25 + 5)  # 40 x 1 and 40 are embedded as 5 x 1 and 5
    size += (5 + 5 + 25 + 5 + 1) * (5 + 1)
    assert build(MLP((1, 40, 40, 1)).layout, "2").size == size


def reference(flow: BlockFlow, own: Params, z: Params) -> tuple[Params, Params]:
    """Coefficients for one task, tensor by tensor, as the paper writes them."""
    letters = "abc"

    def kron(name: str, k: int, x: Tensor) -> Tensor:
        dims = x.dim()
        terms = ",".join(f"{letter.upper()}{letter}" for letter in letters[:dims])
        matrices = [own[f"{name}.mode{mode}"][k] for mode in range(1, dims + 1)]
        equation = f"{letters[:dims]},{terms}->{letters[:dims].upper()}"
        return torch.einsum(equation, x, *matrices) + own[f"{name}.bias"][k]

    raw = {name: own[f"block1.{name}.scale"] for name in flow.blocks[0]}
    shift = {name: own[f"block1.{name}.shift"] for name in flow.blocks[0]}
    seen: list[Tensor] = []
    for number, block in enumerate(flow.blocks, 1):
        if number > 1:
            weight, bias = (own[f"block{number}.context.{kind}"] for kind in ("weight", "bias"))
            rest = weight @ torch.cat(seen) + bias
        for name in block:
            modes = tuple(z[name].flatten(2).shape) if z[name].dim() > 2 else tuple(z[name].shape)
            label = "x".join(map(str, modes))
            if number > 1:
                narrow = halved(modes, 3)
                k = flow.decoded[modes].index(name)
                x, rest = rest[: prod(narrow)].reshape(narrow), rest[prod(narrow) :]
                for level in (1, 2):
                    x = kron(f"decode{level}.{label}", k, x.relu())
                raw[name] = kron(f"scale.{label}", k, x.relu()).reshape(z[name].shape)
                shift[name] = kron(f"shift.{label}", k, x.relu()).reshape(z[name].shape)
            if number < len(flow.blocks):
                k, x = flow.encoded[modes].index(name), z[name].reshape(modes)
                for level in (1, 2, 3):
                    x = kron(f"encode{level}.{label}", k, x).relu()
                seen.append(x.flatten())
    return raw, shift


@pytest.mark.parametrize(("layout", "text"), [(KERNEL, "tensor"), (KERNEL, "2"), (NET.layout, "2")])
@pytest.mark.parametrize("form", FORMS)
def test_flow_against_plain_sums(layout: Layout, text: str, form: Form) -> None:
    flow = build(layout, text, form)
    own, z = moved(flow), draw(2, layout.size)
    phi, log_scale = flow.transform(own, z)
    for task in range(2):
        raw, shift = map(
            layout.join, reference(flow, flow.parameters.split(own), layout.split(z[task]))
        )
        scale = 2 / (1 + torch.exp(-raw)) if form == "bounded" else raw.exp()
        assert_close(phi[task], scale * z[task] + shift, 1e-12)
        assert_close(log_scale[task], scale.log(), 1e-12)


@pytest.mark.parametrize("text", [*PARTITIONS, "99"])
@pytest.mark.parametrize("form", FORMS)
def test_identity_at_the_start(text: str, form: Form) -> None:
    flow, z = build(NET.layout, text, form), draw(3, NET.layout.size)
    phi, log_scale = flow.transform(start(flow), z)
    assert torch.equal(phi, z)
    assert torch.equal(flow(start(flow), z), z)
    assert not log_scale.any()
    assert start(flow).dtype == DOUBLE
    assert start(flow).any() == (text != "99")


def test_initial_numbers() -> None:
    """Uniform in +-1/sqrt(fan in) but for zeros; the forms share what they do not zero."""
    official, fixed, bounded = (build(NET.layout, "2", form) for form in FORMS)
    own = fixed.parameters.split(start(fixed))
    for name, values in own.items():
        head = name.startswith(("scale.", "shift."))
        context = ".context." in name
        if (head and name.endswith("mode1")) or "block1." in name or name.endswith(".bias"):
            assert context or not values.any(), name
        else:
            bound = values.shape[-1] ** -0.5
            assert 0.5 * bound < values.abs().max() <= bound, name
    changed = start(official) != start(fixed)
    for name, values in fixed.parameters.split(changed).items():
        assert values.any() == bool(re.fullmatch(r"(scale|shift)\..*\.mode[2-9]", name)), name
    assert torch.equal(start(bounded), start(fixed))


@pytest.mark.parametrize("text", PARTITIONS)
@pytest.mark.parametrize("form", FORMS)
def test_jacobian_is_block_triangular_with_the_scales_on_its_diagonal(
    text: str, form: Form
) -> None:
    layout = MLP((8, 16, 8, 8)).layout
    flow = build(layout, text, form)
    own, z = moved(flow), draw(1, layout.size)
    jacobian = torch.autograd.functional.jacobian(lambda z: flow(own, z[None])[0], z[0])
    phi, log_scale = flow.transform(own, z)
    assert torch.equal(phi, flow(own, z))
    assert torch.equal(log_scale, flow.log_scale(own, z))
    assert log_scale.abs().max() > 0.1
    assert_close(jacobian.diagonal(), log_scale[0].exp(), 1e-12)
    sign, logarithm = torch.linalg.slogdet(jacobian)
    assert sign == 1
    assert_close(logarithm, log_scale.sum(), 1e-10)
    block = layout.join(
        {
            name: torch.full(shape, next(i for i, b in enumerate(flow.blocks) if name in b))
            for name, shape in layout.shapes
        }
    )
    earlier = block < block[:, None]
    off_diagonal = jacobian - jacobian.diagonal().diag()
    assert not off_diagonal[~earlier].any()
    assert off_diagonal[earlier].abs().max() > 1e-5


def test_bounded_scales_are_bounded() -> None:
    flow = build(NET.layout, "2", "bounded")
    own = start(flow) + 20 * draw(flow.size)
    log_scale = flow.log_scale(own, draw(2, NET.layout.size))
    assert 0.5 < log_scale.max().exp() <= 2
    assert log_scale.isfinite().all()


@pytest.mark.parametrize("text", PARTITIONS)
@pytest.mark.parametrize("form", FORMS)
def test_inverse_round_trips(text: str, form: Form) -> None:
    flow, z = build(NET.layout, text, form), draw(3, NET.layout.size)
    own = moved(flow)
    phi = flow(own, z)
    assert (phi - z).abs().mean() > 0.1
    assert_close(flow.inverse(own, phi), z, 1e-11)
    assert_close(flow(own, flow.inverse(own, z)), z, 1e-11)


@pytest.mark.parametrize("form", FORMS)
def test_finite_differences(form: Form) -> None:
    flow = build(NET.layout, "2", form)
    inputs = (moved(flow), draw(2, NET.layout.size))
    probe = draw(2, NET.layout.size, seed=5)

    def objective(own: Tensor, z: Tensor) -> Tensor:
        phi, log_scale = flow.transform(own, z)
        return (phi.tanh() * probe).sum() + (log_scale * probe).square().sum()

    leaves = [value.clone().requires_grad_() for value in inputs]
    gradients = torch.autograd.grad(objective(*leaves), leaves)
    for k, gradient in enumerate(gradients):
        direction = draw(*gradient.shape, seed=11)
        direction /= direction.norm()
        ahead, behind = (
            objective(*(v + sign * 1e-6 * direction if j == k else v for j, v in enumerate(inputs)))
            for sign in (1, -1)
        )
        slope = (gradient * direction).sum()
        assert slope.abs() > 1e-2
        assert_close((ahead - behind) / 2e-6, slope, 1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_second_derivatives(form: Form) -> None:
    """All numbers are positive, so that no ReLU of these tiny modes is off."""
    layout = Layout((("a", (2, 2)), ("b", (2,)), ("c", (1, 2, 1, 2))))
    flow = build(layout, "tensor", form)
    own = (0.2 + 0.2 * draw(flow.size).sigmoid()).requires_grad_()
    z = (0.2 + draw(2, layout.size).sigmoid()).requires_grad_()
    (slope,) = torch.autograd.grad(flow(own, z).square().sum(), z, create_graph=True)
    mixed = torch.autograd.grad(slope.sum(), own)[0]
    assert mixed.count_nonzero() == flow.size
    assert torch.autograd.gradcheck(flow.transform, (own, z))
    assert torch.autograd.gradgradcheck(flow.transform, (own, z))


def never_learning(flow: BlockFlow) -> Tensor:
    """What has no gradient in the official form: all that only reaches heads of several modes."""
    shapes = dict(flow.layout.shapes)
    mask: Params = {}
    for name, shape in flow.parameters.shapes:
        mask[name] = torch.zeros(shape, dtype=torch.bool)
        if name.startswith(("decode", "scale.", "shift.")):
            head = not name.startswith("decode")
            mask[name][:] = "x" in name and not (head and name.endswith(".bias"))
    for number, block in enumerate(flow.blocks[1:], 2):
        rows = torch.cat(
            [torch.full((prod(halved(shapes[name], 3)),), len(shapes[name]) > 1) for name in block]
        )
        for kind in ("weight", "bias"):
            mask[f"block{number}.context.{kind}"][rows] = True
    return flow.parameters.join(mask)


def test_official_form_has_dead_gradients() -> None:
    flow = build(NET.layout, "2", "official")
    own, z = start(flow), draw(4, NET.layout.size)
    never = never_learning(flow)
    assert 0.3 < never.double().mean() < 0.9
    for _ in range(5):
        own, gradient = step(flow, own, z)
        assert not gradient[never].any()
    changed = flow.parameters.split(own != start(flow))
    for name, values in flow.parameters.split(~never).items():
        assert changed[name].any() == values.any(), name
        if "block1." in name or re.fullmatch(r"(scale|shift)\..*\.bias", name):
            assert changed[name].all(), name


def test_official_form_is_a_constant_diagonal_map_on_matrices() -> None:
    """There is no autoregression on tensors of several modes, however long it trains."""
    flow = build(NET.layout, "2", "official")
    own, z = start(flow), draw(4, NET.layout.size)
    for _ in range(5):
        own, _ = step(flow, own, z)
    scales = NET.layout.split(flow.log_scale(own, z).exp())
    spread = {name: float((t - t[:1]).abs().max()) for name, t in scales.items()}
    assert all(spread[f"layer{k}.weight"] == 0 for k in (1, 2, 3))
    assert all(spread[f"layer{k}.bias"] > 1e-6 for k in (2, 3))


@pytest.mark.parametrize("form", ["fixed", "bounded"])
def test_other_forms_have_live_gradients(form: Form) -> None:
    flow = build(NET.layout, "2", form)
    own, z = start(flow), draw(4, NET.layout.size)
    after, first = step(flow, own, z)
    _, second = step(flow, after, z)
    for name, gradient in flow.parameters.split(first).items():
        if re.fullmatch(r"(scale|shift)\..*\.(mode1|bias)", name):
            assert all(part.any() for part in gradient), name
    for name, gradient in flow.parameters.split(second).items():
        grouped = name.startswith(("encode", "decode", "scale.", "shift."))
        assert all(part.any() for part in gradient) if grouped else gradient.any(), name


def test_tasks_do_not_see_each_other() -> None:
    flow, z = build(NET.layout, "2"), draw(3, NET.layout.size).requires_grad_()
    own = moved(flow)
    phi = flow(own, z)
    for task in range(3):
        alone = flow(own, z[task : task + 1])[0]
        assert_close(phi[task].detach(), alone.detach(), 1e-12)
        (gradient,) = torch.autograd.grad(phi[task].square().sum(), z, retain_graph=True)
        seen = gradient.abs().sum(dim=1) > 0
        assert seen.tolist() == [other == task for other in range(3)]


def test_shared_start_and_single_precision() -> None:
    flow = build(NET.layout, "2")
    own, z = moved(flow), draw(NET.layout.size)
    exact = flow(own, z.expand(4, -1))
    single = flow(own.float(), z.float().expand(4, -1))
    assert single.dtype == torch.float32
    assert_close(single.double(), exact, 1e-4)


def test_partitions() -> None:
    mlp, conv = NET.layout, Conv4().layout
    pairs = tuple((f"layer{k}.weight", f"layer{k}.bias") for k in (1, 2, 3))
    assert partition(mlp, "layer") == partition(mlp, "2") == pairs
    assert partition(mlp, "|".join(map(" + ".join, pairs))) == pairs
    assert partition(mlp, "4") == ((*pairs[0], *pairs[1]), pairs[2])
    assert partition(mlp, "tensor") == tuple((name,) for name, _ in mlp.shapes)
    assert partition(Layout((("point", (3,)),)), "point") == (("point",),)
    layers = tuple(
        (f"conv{k}.weight", f"conv{k}.bias", f"norm{k}.gamma", f"norm{k}.beta")
        for k in (1, 2, 3, 4)
    )
    assert partition(conv, "layer") == partition(conv, "4")
    assert partition(conv, "layer") == (*layers, ("head.weight", "head.bias"))


REFUSED = [
    ("", "'' is no partition into blocks; write 'tensor', 'layer', a number of tensors per block "
     "from 1, or names such as 'layer1.weight|layer1.bias'"),
    ("layers", "'layers' is no partition into blocks; write"),
    ("0", "'0' is no partition into blocks; write"),
    ("-2", "'-2' is no partition into blocks; write"),
    ("layer1.weight+layer9.bias", "names 'layer9.bias', which is no tensor of this network; its "
     "tensors are layer1.weight, layer1.bias, layer2.weight, layer2.bias, layer3.weight, "
     "layer3.bias"),
    ("layer1.weight|", "names '', which is no tensor of this network"),
    ("layer1.weight|layer1.weight", "names 'layer1.weight' more than once; every tensor belongs "
     "to exactly one block"),
    ("layer1.weight+layer1.bias|layer3.weight+layer3.bias", "leaves out layer2.weight, "
     "layer2.bias; every tensor belongs to exactly one block"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), REFUSED)
def test_refused_partitions(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as refusal:
        partition(NET.layout, text)
    assert repr(text) in str(refusal.value)
