"""A flat vector and its named tensors."""

import torch

from metaviz.meta.layout import Layout

LAYOUT = Layout((("weight", (2, 3)), ("bias", (2,)), ("kernel", (2, 1, 3, 3))))


def test_join_undoes_split() -> None:
    flat = torch.arange(float(LAYOUT.size))
    params = LAYOUT.split(flat)
    assert {name: tuple(value.shape) for name, value in params.items()} == dict(LAYOUT.shapes)
    assert torch.equal(LAYOUT.join(params), flat)


def test_matrices_lie_column_by_column_for_every_task() -> None:
    flat = torch.arange(2.0 * LAYOUT.size).reshape(2, -1)
    weight = LAYOUT.split(flat)["weight"]
    assert weight.shape == (2, 2, 3)
    assert torch.equal(weight[0], torch.tensor([[0.0, 2, 4], [1, 3, 5]]))
    assert torch.equal(weight[1], LAYOUT.split(flat[1])["weight"])
