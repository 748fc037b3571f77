"""Fully connected networks of many tasks against PyTorch's linear layers, task by task."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (the name every PyTorch reader expects)
from torch import Tensor

from metaviz.nets.mlp import MLP

TASKS, EXAMPLES = 3, 6


def plain(net: MLP, flat: Tensor, x: Tensor) -> Tensor:
    """Map x (n, inputs) to (n, outputs) with one task's weights (P,)."""
    params = net.layout.split(flat)
    depth = len(net.widths) - 1
    for layer in range(1, depth + 1):
        x = F.linear(x, params[f"layer{layer}.weight"], params[f"layer{layer}.bias"])
        x = torch.tanh(x) if layer < depth else x
    return x


@pytest.mark.parametrize("widths", [(1, 5, 4, 1), (3, 4, 2), (3, 1, 2), (2, 1), (1, 2), (1, 1)])
@pytest.mark.parametrize("by_name", [False, True])
def test_tasks_have_linear_layers_of_their_own_to_second_order(widths, by_name):
    net = MLP(widths, "tanh")
    draw = torch.Generator().manual_seed(0)
    flat = torch.randn(TASKS, net.layout.size, generator=draw, dtype=torch.float64)
    flat.requires_grad_()
    x = torch.randn(TASKS, EXAMPLES, widths[0], generator=draw, dtype=torch.float64)
    along = torch.randn(flat.shape, generator=draw, dtype=torch.float64)

    def derivatives(outputs: Tensor) -> tuple[Tensor, Tensor]:
        (first,) = torch.autograd.grad(outputs.square().sum(), flat, create_graph=True)
        return first, torch.autograd.grad((first * along).sum(), flat)[0]

    found = net(net.layout.split(flat) if by_name else flat, x)
    expected = torch.stack([plain(net, *task) for task in zip(flat, x, strict=True)])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(derivatives(found), derivatives(expected), rtol=1e-11, atol=1e-11)
