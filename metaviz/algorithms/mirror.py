"""Mirror descent with a learned mirror map."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from metaviz.algorithms.geometry import GeometryOptions, refuse_too_many
from metaviz.algorithms.registry import register
from metaviz.config.options import OptionError, option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.flows import BlockFlow, partition
from metaviz.meta.inner import inner_points, inner_states
from metaviz.meta.pictures import (
    SMALL,
    Arrays,
    Linear,
    Summary,
    half,
    labelled,
    of_preconditioner,
)
from metaviz.meta.rules import Enters, GradientDescent, State
from metaviz.nets.base import Net

_SHOWN = 256


class MirrorDescent(GradientDescent):
    """z <- z - alpha grad_phi L_S(phi) at phi = g(z), with a learned map g.

    The state is the dual variable z; the gradient with respect to phi is subtracted from z as it
    is, without the Jacobian of g. g = grad h* would make this mirror descent with the potential h;
    a block autoregressive map is invertible and increasing in each coordinate, but its Jacobian
    need not be symmetric. Source: Zhang, Li & Giannakis 2024, equations 8 and 12.
    """

    groups: Mapping[str, frozenset[Enters]] = {
        "init": frozenset({Enters.START}),
        "flow": frozenset({Enters.POINT}),
    }
    rests = False

    def __init__(
        self, rate: float, *, form: Literal["official", "fixed", "bounded"], blocks: str
    ) -> None:
        """Take alpha, the form of the map, and how tensors are grouped into blocks."""
        super().__init__(rate)
        self.form = form
        self.blocks = blocks

    def fit(self, net: Net) -> None:
        """Plan the map. Raises: OptionError where the partition does not fit the network."""
        try:
            blocks = partition(net.layout, self.blocks)
        except ValueError as error:
            raise OptionError("mirror.partition", f"mirror.partition: {error}.") from error
        self.flow = BlockFlow(net.layout, blocks, self.form)
        remedy = "use a mirror.partition of fewer, larger blocks or a smaller network"
        refuse_too_many("mirror", self.flow.size, remedy)

    def init(self, net: Net, generator: torch.Generator) -> Meta:
        """Draw the dual start as the network's weights; the map begins as the identity."""
        return {**super().init(net, generator), "flow": self.flow.init(generator)}

    def point(self, meta: Meta, state: State) -> Tensor:
        """Return g(z), shape (tasks, P)."""
        return self.flow(meta["flow"], state)

    @torch.no_grad()
    def picture(self, context: Context, meta: Meta) -> Arrays:
        """Return the map along sampled coordinates, and how far it is from a gradient map."""
        flow, layout = meta["flow"], context.learner.net.layout
        start = meta["init"].unsqueeze(0)
        image, log_slope = self.flow.transform(flow, start)
        slope = log_slope.exp()
        shift = image - slope * start
        chosen = torch.linspace(0, layout.size - 1, min(_SHOWN, layout.size)).round().long()
        owner = np.repeat([name for name, _ in layout.shapes], layout.sizes)
        visited = torch.stack(list(inner_states(self, context, meta)), dim=1)
        moved = float((flow != context.drawn["flow"]).double().mean())
        whole, asymmetry, lowest = self._jacobian(context, meta, slope[0])
        diagnostics = {
            "smallest_slope": float(slope.min()),
            "moved_share": moved,
            "asymmetry": asymmetry,
            "symmetric_eigenvalue": lowest,
        }
        summary: Summary = [
            (name, f"{which} slope", float(getattr(part, how)()))
            for name, part in layout.split(slope[0]).items()
            for which, how in (("smallest", "min"), ("mean", "mean"), ("largest", "max"))
        ]
        summary += [("all", name.replace("_", " "), value) for name, value in diagnostics.items()]
        arrays = {
            "coordinates": chosen.numpy(),
            "layers": owner[chosen.numpy()],
            "slope": half(slope[0, chosen]),
            "shift": half(shift[0, chosen]),
            "z_start": half(start[0, chosen]),
            "visited": half(visited[:, :, chosen]),
            "total": np.array(layout.size),
            **{name: np.array(value) for name, value in diagnostics.items()},
            **whole,
        }
        return labelled("map", summary, arrays)

    def _jacobian(self, context: Context, meta: Meta, slope: Tensor) -> tuple[Arrays, float, float]:
        """Return the picture of J, ||J - J'|| / ||J|| and the least eigenvalue of (J + J') / 2.

        J at the start is what preconditions the first step. It is block triangular with diagonal
        blocks: its eigenvalues are the slopes. Empty and NaN for large networks.
        """
        if len(slope) > SMALL:
            return {}, math.nan, math.nan
        flow = meta["flow"]
        states = [state[:1] for state in inner_states(self, context, meta)]
        with torch.enable_grad():
            jacobian = _pulled(self.flow, flow, states[0], torch.eye(len(slope)).to(slope))
            maps: list[Linear] = [lambda rows: rows @ jacobian.mT]
            maps += [partial(_pushed, self.flow, flow, state) for state in states[1:]]
            path = inner_points(self, context, meta)[:, 0]
            whole = of_preconditioner(context, path, jacobian, maps, slope)
        asymmetry = float((jacobian - jacobian.mT).norm() / jacobian.norm())
        lowest = torch.linalg.eigvalsh((jacobian + jacobian.mT) / 2)[0]
        return whole, asymmetry, float(lowest)


def _pulled(
    g: BlockFlow, flow: Tensor, z: Tensor, vectors: Tensor, *, again: bool = False
) -> Tensor:
    """Return J' times vectors (n, P), where J is the Jacobian of the map at z (1, P)."""
    leaf = z.expand(len(vectors), -1).clone().requires_grad_()
    return torch.autograd.grad(g(flow, leaf), leaf, vectors, create_graph=again)[0]


def _pushed(g: BlockFlow, flow: Tensor, z: Tensor, vectors: Tensor) -> Tensor:
    """Return J times vectors (n, P): J' u is linear in u, and its derivative along u is J."""
    dummy = torch.zeros_like(vectors).requires_grad_()
    return torch.autograd.grad(_pulled(g, flow, z, dummy, again=True), dummy, vectors)[0]


class MirrorOptions(GeometryOptions):
    """Options of mirror descent."""

    form: Literal["official", "fixed", "bounded"] = option(
        "fixed",
        "Form of the map",
        "g(z) = z ⊙ σ(a) + m, block by block. Official: σ = exp and all head factors start at "
        "zero, so that those of matrices never receive a gradient. Fixed: one factor of each head "
        "starts at zero; still the identity at first. Bounded: as fixed, σ(a) = 2 / (1 + e⁻ᵃ).",
        labels={
            "official": "official (authors' code)",
            "fixed": "fixed, exp scale",
            "bounded": "bounded scale",
        },
    )
    partition: str = option(
        "4",
        "Blocks",
        "Which tensors form a block: a number of consecutive tensors, tensor, layer, or names "
        "like layer1.weight+layer1.bias|layer2.weight. Each block's map depends on the blocks "
        "before it.",
    )


@register(
    MirrorOptions,
    id="mirror",
    title="Mirror descent",
    group="Learned geometry",
    color=10,
    summary="Learns the mirror map in which adaptation steps.",
    defaults={
        "sinusoid": {"partition": "2"},
    },
    formula="z ← z − α ∇L_S(φ) at φ = g(z)",
    cost="as MAML, and K + 1 applications of the map with their derivatives",
    citation="Zhang, Li & Giannakis 2024 (MetaMirrorDescent)",
    presets={"authors' code": {"form": "official", "partition": "4"}},
    note="The map is invertible, but it is the gradient of a potential only where its Jacobian is "
    "symmetric; the mirror-map tab measures how far it is from that.",
)
def mirror(options: MirrorOptions, shared: Shared) -> Algorithm:
    """Build mirror descent."""
    rule = MirrorDescent(options.rate(shared), form=options.form, blocks=options.partition)
    return options.compose(rule, shared)
