"""Names of weights in plain PyTorch networks, and in those of the field's repositories."""

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from metaviz.config.options import OptionError
from metaviz.nets.layout import Layout, Params
from metaviz.nets.spec import NetSpec

_OURS = {"gamma": "weight", "beta": "bias"}
_NORM = re.compile(r"(?:^|\.)norm\d+\.")
_SKIPPED = ("num_batches_tracked", "running_mean", "running_var")
_WRAPPED = ("state_dict", "model_state", "state", "params", "model")
_PREFIXES = ("module.", "encoder.", "backbone.", "features.", "feature.", "net.", "model.")
Rename = Callable[[str], str | None]


def plain_names(named: Mapping[str, Tensor]) -> Params:
    """Return weights by the names of `nn.Conv2d`, `nn.BatchNorm2d` and `nn.Linear`.

    γ is a normalisation's weight and β its bias; convolutions and the head keep their names.
    """
    return {_plain(name): value.contiguous() for name, value in named.items()}


def _plain(name: str) -> str:
    *before, last = name.split(".")
    return ".".join([*before, _OURS.get(last, last)])


def imported(
    spec: NetSpec, layout: Layout, state: Mapping[str, object]
) -> tuple[Params, list[str]]:
    """Return a state_dict's weights by our names, and the names of ours that it lacks.

    Understood are our own exports, Conv4 and ResNet-12 of easyfsl, learn2learn, MetaOptNet and
    their kin, and any state_dict whose layers come in the network's order. The head may be absent
    or of another size, and biases of convolutions that are normalised by the batch.
    Raises: OptionError with one sentence, naming what does not fit.
    """
    given = _tensors(state)
    shapes = dict(layout.shapes)
    plain = {_plain(name): name for name in shapes}
    by_name = {plain[name]: value for name, value in given.items() if name in plain}
    kept = by_name if len(by_name) > len(layout.head) else _by_order(spec, layout, given)
    found: Params = {}
    for name, value in kept.items():
        if tuple(value.shape) != shapes[name]:
            if name in layout.head:
                continue
            raise OptionError(
                "weights",
                f"{name} has the shape {tuple(value.shape)} in the file, and {shapes[name]} in "
                f"{spec.id}: give weights of the same network.",
            )
        found[name] = value
    absent = [name for name in shapes if name not in found]
    missing = [name for name in absent if name not in layout.head and not _is_idle(name, shapes)]
    if missing:
        raise OptionError(
            "weights",
            f"The file has no weights for {missing[0]} of {spec.id}, nor for "
            f"{len(missing) - 1} more: give weights of the same network.",
        )
    return found, absent


def _tensors(state: Mapping[str, object]) -> Params:
    """Return the tensors of a state_dict, without what wraps it and what training keeps."""
    while True:
        inner = next((state[key] for key in _WRAPPED if isinstance(state.get(key), dict)), None)
        if not isinstance(inner, dict):
            break
        state = inner
    found: Params = {}
    for name, value in state.items():
        if isinstance(value, Tensor) and not str(name).endswith(_SKIPPED):
            found[str(name)] = value.detach().to(torch.float64)
    if not found:
        raise OptionError("weights", "The file holds no weights by name: give a state_dict.")
    return found


def _is_idle(name: str, shapes: Mapping[str, Sequence[int]]) -> bool:
    """Return whether it is the bias of a convolution whose mean a normalisation subtracts."""
    block, _, last = name.rpartition(".")
    return last == "bias" and "conv" in block and block.replace("conv", "norm") + ".beta" in shapes


def _by_order(spec: NetSpec, layout: Layout, given: Mapping[str, Tensor]) -> Params:
    """Match kernels, normalisations and the head in the order in which they come."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in given.items():
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)  # noqa: PLW2901
        module, _, last = name.rpartition(".")
        groups.setdefault(module, {})[last] = value
    kinds: dict[str, list[dict[str, Tensor]]] = {"conv": [], "norm": [], "head": []}
    for parts in groups.values():
        weight = parts.get("weight")
        axes = weight.dim() if weight is not None else 0
        kinds[{4: "conv", 1: "norm", 2: "head"}.get(axes, "norm")].append(parts)
    found: Params = {}
    for kind, places in _places(layout).items():
        modules = kinds[kind]
        if kind == "head":
            modules = modules[-1:]
        elif len(modules) != len(places):
            raise OptionError(
                "weights",
                f"The file has {len(modules)} {_WORDS[kind]}, and {spec.id} {len(places)}: give "
                "weights of the same network.",
            )
        for place, parts in zip(places, modules, strict=False):
            for ours, theirs in _LETTERS[kind].items():
                if theirs in parts and f"{place}.{ours}" in dict(layout.shapes):
                    found[f"{place}.{ours}"] = parts[theirs]
    return found


def _places(layout: Layout) -> dict[str, list[str]]:
    """Return the modules of a network by kind, in the order in which PyTorch modules list them."""
    found: dict[str, list[str]] = {"conv": [], "norm": [], "head": []}
    for name in dict.fromkeys(name.rpartition(".")[0] for name, _ in layout.shapes):
        kind = "norm" if "norm" in name else "conv" if "conv" in name else "head"
        found[kind].append(name)
    return found


_WORDS = {"conv": "convolutions", "norm": "normalisations"}
_LETTERS = {
    "conv": {"weight": "weight", "bias": "bias"},
    "norm": {"gamma": "weight", "beta": "bias"},
    "head": {"weight": "weight", "bias": "bias"},
}
