"""A learned mirror map: a block inverse autoregressive flow on the weights of a network."""

import math
import re
from collections.abc import Iterable
from itertools import chain, pairwise
from math import prod
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (the name every PyTorch reader expects)
from torch import Tensor

from metaviz.nets.layout import Layout, Params

Blocks = tuple[tuple[str, ...], ...]
Form = Literal["official", "fixed", "bounded"]
Modes = tuple[int, ...]
LEVELS = 3


def partition(layout: Layout, text: str) -> Blocks:
    """Group the tensors of a layout into blocks.

    The text is "tensor" (every tensor alone), "layer" (tensors whose owners share their number,
    as conv1 and norm1 do), a number such as "4" (so many consecutive tensors to a block), or
    blocks in their order such as "layer1.weight+layer1.bias|layer2.weight".
    Raises: ValueError if the text is none of these or does not name every tensor once.
    """
    names = [name for name, _ in layout.shapes]
    if text == "tensor":
        return tuple((name,) for name in names)
    if text == "layer":
        layers: dict[tuple[str, str], list[str]] = {}
        for name in names:
            layers.setdefault(_layer(name), []).append(name)
        return tuple(map(tuple, layers.values()))
    if text.isascii() and text.isdecimal() and int(text) > 0:
        count = int(text)
        return tuple(tuple(names[i : i + count]) for i in range(0, len(names), count))
    return _explicit(names, text)


def _layer(name: str) -> tuple[str, str]:
    """The path to a tensor's owner and the owner's number, or its name if it has none."""
    owner = name.rpartition(".")[0] or name
    path, _, last = owner.rpartition(".")
    number = re.search(r"\d+", last)
    return path, number.group() if number else last


def _explicit(names: list[str], text: str) -> Blocks:
    """Read blocks written out by name."""
    blocks = tuple(tuple(name.strip() for name in block.split("+")) for block in text.split("|"))
    named = list(chain(*blocks))
    if len(named) == 1 and named[0] not in names:
        raise ValueError(
            f"{text!r} is no partition into blocks; write 'tensor', 'layer', a number of tensors "
            f"per block from 1, or names such as '{'|'.join(names[:2])}'"
        )
    for name in named:
        if name not in names:
            raise ValueError(
                f"the partition {text!r} names {name!r}, which is no tensor of this network; "
                f"its tensors are {', '.join(names)}"
            )
        if named.count(name) > 1:
            raise ValueError(
                f"the partition {text!r} names {name!r} more than once; "
                "every tensor belongs to exactly one block"
            )
    missing = [name for name in names if name not in named]
    if missing:
        raise ValueError(
            f"the partition {text!r} leaves out {', '.join(missing)}; "
            "every tensor belongs to exactly one block"
        )
    return blocks


class _Entry(NamedTuple):
    """A tensor of the flow's own parameters, drawn uniformly from +-bound."""

    name: str
    shape: tuple[int, ...]
    bound: float


class BlockFlow:
    """The map g(z) = z * scale + shift, whose coefficients depend on earlier blocks of z.

    The first block has free scales and shifts. Every later block reads the embeddings of all
    blocks before it through one linear layer, from which a decoder per tensor makes its scales
    and shifts. Encoders and decoders multiply each mode of a tensor by a matrix and add a bias,
    three times, halving or doubling every mode. The Jacobian is block lower triangular with a
    positive diagonal, and g is the identity at the start.

    Tensors with equal modes run as one batch: `encoded` and `decoded` say which, and the flow's
    own tensors of such a group, say "encode1.64x64x9.mode1", have one slice for each, in order.

    Form "official": scales exp(a); the heads start with all their matrices at zero. Where a
    tensor has two modes or more, the gradient of each matrix then has another one, zero, as a
    factor: only the bias of that head ever learns.
    Form "fixed": only the first mode's matrix of a head starts at zero, so that everything
    learns. Form "bounded": as fixed, with scales 2 / (1 + exp(-a)).
    Source: Zhang, Li and Giannakis 2024, and their code. Deviation: the paper has bounded scales,
    its code exp; both forms are here.
    """

    def __init__(self, layout: Layout, blocks: Blocks, form: Form) -> None:
        """Build for the weights of a layout, partitioned into blocks."""
        self.layout = layout
        self.blocks = blocks
        self.form = form
        shapes = dict(layout.shapes)
        self.encoded = _alike(chain(*blocks[:-1]), shapes)
        self.decoded = _alike(chain(*blocks[1:]), shapes)
        self._narrow = {name: _sizes(_modes(shape))[-1] for name, shape in layout.shapes}
        entries = [
            _Entry(f"block1.{name}.{kind}", shapes[name], 0.0)
            for name in blocks[0]
            for kind in ("scale", "shift")
        ]
        entries += self._encoders() + self._contexts() + self._decoders()
        self.parameters = Layout(tuple((entry.name, entry.shape) for entry in entries))
        self.size = self.parameters.size
        self._bounds = [entry.bound for entry in entries]

    def _encoders(self) -> list[_Entry]:
        return [
            entry
            for modes, names in self.encoded.items()
            for level, (wide, narrow) in enumerate(pairwise(_sizes(modes)), 1)
            for entry in _kron(f"encode{level}.{_label(modes)}", len(names), wide, narrow)
        ]

    def _contexts(self) -> list[_Entry]:
        entries = []
        inputs = 0
        for number, (before, block) in enumerate(pairwise(self.blocks), 2):
            inputs += sum(prod(self._narrow[name]) for name in before)
            outputs = sum(prod(self._narrow[name]) for name in block)
            bound = inputs**-0.5
            entries.append(_Entry(f"block{number}.context.weight", (outputs, inputs), bound))
            entries.append(_Entry(f"block{number}.context.bias", (outputs,), bound))
        return entries

    def _decoders(self) -> list[_Entry]:
        entries = []
        for modes, names in self.decoded.items():
            widths = _sizes(modes)[::-1]
            label, count = _label(modes), len(names)
            for level in range(1, LEVELS):
                entries += _kron(f"decode{level}.{label}", count, widths[level - 1], widths[level])
            zeros = len(modes) if self.form == "official" else 1
            for head in ("scale", "shift"):
                entries += _kron(f"{head}.{label}", count, widths[-2], widths[-1], zeros)
        return entries

    def init(self, generator: torch.Generator) -> Tensor:
        """Draw the flow's own parameters, shape (size,), float64, for which g is the identity.

        Matrices of modes are uniform in +-1/sqrt(fan in) and their biases 0; the linear layers
        have PyTorch's default. All forms draw the same numbers.
        """
        bounds = torch.tensor(self._bounds, dtype=torch.float64)
        draw = torch.rand(self.size, generator=generator, dtype=torch.float64)
        return (2 * draw - 1) * bounds.repeat_interleave(torch.tensor(self.parameters.sizes))

    def __call__(self, flow: Tensor, z: Tensor) -> Tensor:
        """Map z (tasks, P) to weights (tasks, P), with the parameters flow (size,)."""
        raw, shift = self._coefficients(flow, z)
        return torch.addcmul(shift, z, self._scale(raw))

    def log_scale(self, flow: Tensor, z: Tensor) -> Tensor:
        """Return log d g(z)_i / d z_i, shape (tasks, P); its sum over i is log |det J_g|."""
        raw, _ = self._coefficients(flow, z)
        return self._log(raw)

    def transform(self, flow: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return g(z) and its `log_scale` in one pass, each (tasks, P)."""
        raw, shift = self._coefficients(flow, z)
        return torch.addcmul(shift, z, self._scale(raw)), self._log(raw)

    def inverse(self, flow: Tensor, phi: Tensor) -> Tensor:
        """Return z with g(z) = phi, shape (tasks, P), in as many passes as there are blocks.

        A block's coefficients depend on the blocks before it alone: pass i makes block i exact.
        """
        z = phi
        for _ in self.blocks:
            raw, shift = self._coefficients(flow, z)
            z = (phi - shift) / self._scale(raw)
        return z

    def _scale(self, raw: Tensor) -> Tensor:
        return 2 * torch.sigmoid(raw) if self.form == "bounded" else torch.exp(raw)

    def _log(self, raw: Tensor) -> Tensor:
        return F.logsigmoid(raw) + math.log(2) if self.form == "bounded" else raw

    def _coefficients(self, flow: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Scales before they are made positive, and shifts, each (tasks, P)."""
        own = self.parameters.split(flow)
        found: dict[str, Params] = {}
        for head in ("scale", "shift"):
            first = {name: own[f"block1.{name}.{head}"] for name in self.blocks[0]}
            found[head] = {name: t.expand(len(z), *t.shape) for name, t in first.items()}
        if self.decoded:
            context = self._context(own, self._embed(own, z))
            for head, later in self._decode(own, context).items():
                found[head] |= later
        join = self.layout.join
        return join(found["scale"]), join(found["shift"])

    def _embed(self, own: Params, z: Tensor) -> Tensor:
        """Embed every tensor of all blocks but the last, in order, shape (tasks, embeddings)."""
        tensors = self.layout.split(z)
        embeddings: Params = {}
        for modes, names in self.encoded.items():
            x = torch.stack([tensors[name].reshape(-1, *modes) for name in names])
            for level in range(1, LEVELS + 1):
                x = torch.relu(_multiply(own, f"encode{level}.{_label(modes)}", x))
            embeddings |= zip(names, x.flatten(2).unbind(), strict=True)
        return torch.cat([embeddings[name] for name in chain(*self.blocks[:-1])], dim=1)

    def _context(self, own: Params, embedding: Tensor) -> Params:
        """Give every tensor of later blocks what its decoder reads, (tasks, *narrow modes)."""
        context: Params = {}
        for number, block in enumerate(self.blocks[1:], 2):
            weight = own[f"block{number}.context.weight"]
            before = embedding[:, : weight.shape[1]]
            x = F.linear(before, weight, own[f"block{number}.context.bias"])
            pieces = x.split([prod(self._narrow[name]) for name in block], dim=1)
            for name, piece in zip(block, pieces, strict=True):
                context[name] = piece.unflatten(1, self._narrow[name])
        return context

    def _decode(self, own: Params, context: Params) -> dict[str, Params]:
        """Make scales and shifts, each (tasks, *shape) by name, for every later block."""
        shapes = dict(self.layout.shapes)
        found: dict[str, Params] = {"scale": {}, "shift": {}}
        for modes, names in self.decoded.items():
            x = torch.relu(torch.stack([context[name] for name in names]))
            for level in range(1, LEVELS):
                x = torch.relu(_multiply(own, f"decode{level}.{_label(modes)}", x))
            for head, tensors in found.items():
                out = _multiply(own, f"{head}.{_label(modes)}", x).unbind()
                for name, t in zip(names, out, strict=True):
                    tensors[name] = t.reshape(-1, *shapes[name])
        return found


def _modes(shape: tuple[int, ...]) -> Modes:
    """The modes of a tensor: outputs, inputs, and all positions in a kernel's window as one."""
    return (*shape[:2], prod(shape[2:])) if len(shape) > 2 else shape  # noqa: PLR2004


def _sizes(modes: Modes) -> list[Modes]:
    """The modes, and their halves, quarters and eighths, rounded down but at least 1."""
    return [tuple(max(1, s >> level) for s in modes) for level in range(LEVELS + 1)]


def _label(modes: Modes) -> str:
    return "x".join(map(str, modes))


def _alike(names: Iterable[str], shapes: dict[str, tuple[int, ...]]) -> dict[Modes, list[str]]:
    """Group tensors by their modes, in order."""
    groups: dict[Modes, list[str]] = {}
    for name in names:
        groups.setdefault(_modes(shapes[name]), []).append(name)
    return groups


def _kron(name: str, count: int, sources: Modes, targets: Modes, zeros: int = 0) -> list[_Entry]:
    """List a matrix per mode, of which the first `zeros` start at zero, and a full-size bias."""
    entries = [
        _Entry(f"{name}.mode{mode}", (count, t, s), 0.0 if mode <= zeros else s**-0.5)
        for mode, (s, t) in enumerate(zip(sources, targets, strict=True), 1)
    ]
    return [*entries, _Entry(f"{name}.bias", (count, *targets), 0.0)]


def _multiply(own: Params, name: str, x: Tensor) -> Tensor:
    """Multiply every mode of x (count, tasks, *modes) by its matrix and add the bias.

    Each product takes the last axis and puts its result before the tasks, which rotates the modes
    through without copies between.
    """
    modes = x.dim() - 2
    for mode in range(modes, 0, -1):
        product = own[f"{name}.mode{mode}"] @ x.flatten(1, -2).mT
        x = product.unflatten(-1, x.shape[1:-1])
    return x.movedim(-1, 1) + own[f"{name}.bias"].unsqueeze(1)
