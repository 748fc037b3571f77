"""Causal attention and causal convolutions along a sequence that ends in one of many queries.

What is known of a sequence's steps does not depend on later ones, so that sequences which differ in
their last step alone share the work of all others: steps (tasks, m, d) that all queries have in
common, and last steps (tasks, n, d), one for each query.
"""

from dataclasses import dataclass
from math import ceil, log2

import torch
from torch import Tensor

from metaviz.nets.blocks import Shapes, linear, linear_shapes
from metaviz.nets.layout import Params


@dataclass(frozen=True)
class Sequence:
    """Steps that all queries have in common (tasks, m, d), and last steps (tasks, n, d)."""

    known: Tensor
    last: Tensor

    def with_features(self, known: Tensor, last: Tensor) -> "Sequence":
        """Return the steps with further features."""
        return Sequence(torch.cat([self.known, known], 2), torch.cat([self.last, last], 2))


def attention_shapes(name: str, inputs: int, key: int, value: int) -> Shapes:
    """Return the weights of `attend`."""
    sizes = {"query": key, "key": key, "value": value}
    return [
        shape
        for part, outputs in sizes.items()
        for shape in linear_shapes(f"{name}.{part}", inputs, outputs)
    ]


def attend(params: Params, name: str, x: Sequence) -> tuple[Sequence, Tensor]:
    """Append A v to every step, A = softmax(q k' / sqrt(d)) over itself and the steps before.

    Returns the attention of last steps, too, (tasks, n, m + 1), the last column to themselves.
    Source: Mishra et al. 2018, figure 5 and the pseudo-code beside it; biases as there.
    """
    (known_q, known_k, known_v), (last_q, last_k, last_v) = (
        [linear(params, f"{name}.{part}", steps) for part in ("query", "key", "value")]
        for steps in (x.known, x.last)
    )
    scale = known_k.shape[2] ** -0.5
    count = known_k.shape[1]
    later = torch.ones(count, count, dtype=torch.bool, device=known_k.device).triu(1)
    scores = (scale * known_q @ known_k.mT).masked_fill(later, -torch.inf)
    before = torch.softmax(scores, 2) @ known_v
    own = (last_q * last_k).sum(2, keepdim=True)
    attention = torch.softmax(scale * torch.cat([last_q @ known_k.mT, own], 2), 2)
    after = attention[:, :, :-1] @ known_v + attention[:, :, -1:] * last_v
    return x.with_features(before, after), attention


def dense_shapes(name: str, inputs: int, filters: int) -> Shapes:
    """Return the weights of `dense_block`: kernels of two steps for the value and its gate."""
    return [
        shape
        for part in ("value", "gate")
        for shape in (
            (f"{name}.{part}.now", (filters, inputs)),
            (f"{name}.{part}.past", (filters, inputs)),
            (f"{name}.{part}.bias", (filters,)),
        )
    ]


def dense_block(params: Params, name: str, x: Sequence, dilation: int) -> Sequence:
    """Append tanh(value) sigmoid(gate), convolutions of a step and the one `dilation` before it.

    Before the first step there are zeros. Source: Mishra et al. 2018, figure 2.
    """
    count = x.known.shape[1]
    earlier = torch.nn.functional.pad(x.known, (0, 0, dilation, 0))
    past = earlier[:, :count], earlier[:, count : count + 1].expand_as(x.last)

    def convolved(part: str, now: Tensor, before: Tensor) -> Tensor:
        bias = params[f"{name}.{part}.bias"].unsqueeze(1)
        made = torch.baddbmm(bias, now, params[f"{name}.{part}.now"].mT)
        return torch.baddbmm(made, before, params[f"{name}.{part}.past"].mT)

    known, last = (
        convolved("value", now, before).tanh() * convolved("gate", now, before).sigmoid()
        for now, before in zip((x.known, x.last), past, strict=True)
    )
    return x.with_features(known, last)


def dense_blocks(steps: int) -> int:
    """Return how many blocks let a sequence of so many steps be seen whole."""
    return ceil(log2(steps))
