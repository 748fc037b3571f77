"""Long short-term memory with a tasks axis."""

import torch
from torch import Tensor

from metaviz.nets.layout import Params

GATES = 4


def lstm_shapes(name: str, inputs: int, hidden: int) -> list[tuple[str, tuple[int, ...]]]:
    """Return an LSTM's weights; gates in the order input, forget, cell, output."""
    return [
        (f"{name}.input", (GATES * hidden, inputs)),
        (f"{name}.hidden", (GATES * hidden, hidden)),
        (f"{name}.bias", (GATES * hidden,)),
    ]


def lstm_cell(
    params: Params, name: str, x: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor]:
    """Return hidden state and cell after one step.

    c' = sigmoid(f) c + sigmoid(i) tanh(g) and h' = sigmoid(o) tanh(c'), gates of x and h.
    Shapes: x (tasks, n, inputs); hidden, cell (tasks, n, d).
    Source: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000, as PyTorch has
    it. Deviation: one bias vector, as two only add up.
    """
    gates = torch.baddbmm(params[f"{name}.bias"].unsqueeze(1), x, params[f"{name}.input"].mT)
    gates = torch.baddbmm(gates, hidden, params[f"{name}.hidden"].mT)
    enter, forget, candidate, leave = gates.chunk(GATES, 2)
    cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
    return leave.sigmoid() * cell.tanh(), cell
