"""Networks of cells against finite differences and plain modules of PyTorch."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from metaviz.config.cells import IMAGE_CELL, IMAGE_OPERATIONS, VECTOR_OPERATIONS, parse_cell
from metaviz.config.options import OptionError
from metaviz.config.run_config import Shared
from metaviz.nets.cells import CellNet, VectorCellNet
from metaviz.nets.conv4 import Conv4
from metaviz.nets.normalisation import Norm
from metaviz.nets.spec import build
from metaviz.problems.registry import find_problem

EVERY = "0.sep3+1.dil3|0.max3+1.avg3|0.sep5+2.conv1"


def image_net(text, channels=3, **more):
    return CellNet(parse_cell(text, IMAGE_OPERATIONS), 3, channels, 3, 1, 8, **more)


def drawn(net, tasks=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.stack([net.init(generator) for _ in range(tasks)])
    x = torch.randn(tasks, 5, 1, 8, 8, dtype=torch.float64, generator=generator)
    return weights, x


@pytest.mark.parametrize("text", [IMAGE_CELL, EVERY])
def test_derivatives_of_images_are_those_of_finite_differences(text):
    net = image_net(text, activation=torch.tanh)
    weights, x = drawn(net)
    weights.requires_grad_()
    assert torch.autograd.gradcheck(lambda w: net(w, x), (weights,), atol=1e-6)


def test_second_derivatives_are_those_of_finite_differences():
    net = CellNet(
        parse_cell("0.conv3+1.sep3|0.avg3+1.max3", IMAGE_OPERATIONS),
        *(2, 2, 2, 1, 4),
        norm=Norm(eps=1e-2),
        activation=torch.tanh,
    )
    generator = torch.Generator().manual_seed(1)
    weights = net.init(generator).unsqueeze(0).requires_grad_()
    x = torch.randn(1, 3, 1, 4, 4, dtype=torch.float64, generator=generator)
    loss = lambda w: net(w, x).sin().sum()  # noqa: E731
    assert torch.autograd.gradgradcheck(loss, (weights,), atol=1e-5)


def test_derivatives_of_vectors_are_those_of_finite_differences():
    cell = parse_cell("0.tanh+1.sin|0.id+1.relu", VECTOR_OPERATIONS)
    net = VectorCellNet(cell, 2, 5)
    generator = torch.Generator().manual_seed(0)
    weights = torch.stack([net.init(generator) for _ in range(2)]).requires_grad_()
    x = torch.randn(2, 4, 1, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(lambda w: net(w, x), (weights,), atol=1e-6)


def test_tasks_side_by_side_are_each_by_itself():
    net = image_net(EVERY)
    weights, x = drawn(net)
    alone = torch.cat([net(weights[t : t + 1], x[t : t + 1]) for t in (0, 1)])
    torch.testing.assert_close(net(weights, x), alone)
    assert not torch.equal(alone[0], alone[1])


def normed(x):
    """BatchNorm by the batch with gamma 1 and beta 0, as networks begin."""
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


def test_a_cell_computes_what_pytorchs_layers_compute():
    """Two cells of `0.sep3+1.dil3|0.max3+1.id`, written out."""
    net = CellNet(parse_cell("0.sep3+1.dil3|0.max3+1.id", IMAGE_OPERATIONS), 2, 3, 4, 1, 6)
    weights, x = drawn(net, tasks=1)
    x = x[..., :6, :6]
    p = {name: value[0] for name, value in net.layout.split(weights).items()}
    last = before = normed(F.conv2d(x[0], p["stem.weight"], padding=1))
    for number in (1, 2):
        if number == 2:
            before, last = F.avg_pool2d(before, 2), F.avg_pool2d(last, 2)
        name = f"cell{number}.block1"
        depthwise = F.conv2d(last.relu(), p[f"{name}a.each"], padding=1, groups=3)
        first = normed(F.conv2d(depthwise, p[f"{name}a.weight"]))
        first = first + normed(F.conv2d(before.relu(), p[f"{name}b.weight"], padding=2, dilation=2))
        second = F.max_pool2d(last, 3, 1, 1) + before
        both = torch.cat([first, second], 1).relu()
        before, last = last, normed(F.conv2d(both, p[f"cell{number}.join.weight"]))
    expected = last.mean((2, 3)) @ p["head.weight"].T + p["head.bias"]
    torch.testing.assert_close(net(weights, x)[0], expected)


def test_weights_are_as_many_as_measured_before():
    """The best cell of the reference search, and Conv4 on drawings of 14 pixels."""
    options = {"backbone": "cells", "channels": 16, "cell": IMAGE_CELL, "side": "14"}
    net = build(find_problem("strokes").build(options, Shared(shots=1), 0).net_spec())
    assert net.layout.size == 21_285
    biases = 4 * 16
    assert Conv4(16, 5, 1, 14, "mean").layout.size - biases == 7_269


def test_conv4_with_a_mean_is_conv4_where_one_place_is_left():
    """At 16 pixels the last block of "max" pools 2 x 2; at 8 "mean" sees one place."""
    net = Conv4(4, 3, 1, 8, "mean")
    weights, x = drawn(net)
    p = {name: value[0] for name, value in net.layout.split(weights).items()}
    h = x[0]
    for block in (1, 2, 3, 4):
        h = normed(F.conv2d(h, p[f"conv{block}.weight"], padding=1)).relu()
        h = F.max_pool2d(h, 2) if block < 4 else h
    expected = h.mean((2, 3)) @ p["head.weight"].T + p["head.bias"]
    torch.testing.assert_close(net(weights, x)[0], expected)
    with pytest.raises(OptionError, match="at least 8 pixels"):
        Conv4(4, 3, 1, 7, "mean")


def test_too_many_cells_for_an_image_are_refused():
    with pytest.raises(OptionError, match="cannot be halved"):
        CellNet(parse_cell("0.id+1.id", IMAGE_OPERATIONS), 5, 4, 3, 1, 8)


def test_statistics_that_are_given_take_the_place_of_the_batchs():
    net = image_net(EVERY)
    weights, x = drawn(net, tasks=1)
    _, seen = net.features_and_statistics(weights, x)
    assert {name for name, _ in net.running.shapes} == set(seen)
    params = {**net.layout.split(weights), **seen}
    one = net(params, x[:, :1])
    torch.testing.assert_close(one, net(params, x)[:, :1])
