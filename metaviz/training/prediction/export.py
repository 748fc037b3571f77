"""An adapted or trained network as a file that programs without MetaViz read."""

import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from metaviz import __version__
from metaviz.config.options import OptionError
from metaviz.files.atomic import write_atomically
from metaviz.files.platform import reason_of
from metaviz.nets.layout import Params
from metaviz.nets.plain import plain_names
from metaviz.nets.spec import NetSpec, build
from metaviz.runs.storage.store import StoreError

ENDINGS = (".safetensors", ".pt", ".onnx")
MISSING = "ONNX files need a package: pip install 'metaviz[onnx]', or write .safetensors or .pt."
NO_ONNX = (
    "This network cannot be written as ONNX for any number of examples: use a name ending in "
    ".safetensors or .pt."
)


@dataclass(frozen=True)
class Network:
    """One network with its weights by our names, without a tasks axis.

    `about` are texts for whoever reads the file; `example` is the shape of one example.
    """

    spec: NetSpec
    named: Params
    classes: tuple[str, ...]
    k: int
    example: tuple[int, ...]
    about: Mapping[str, str]

    def state_dict(self) -> Params:
        """Return the weights by the names of a plain PyTorch network."""
        return plain_names({name: value.float() for name, value in self.named.items()})


class _Module(nn.Module):
    """The network as a PyTorch module, with its weights as constants."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.net = build(network.spec)
        self.names = {name: name.replace(".", "_") for name in network.named}
        for name, place in self.names.items():
            self.register_buffer(place, network.named[name].float()[None])

    def forward(self, x: Tensor) -> Tensor:
        """Map examples (n, *features) to outputs (n, d)."""
        weights = {name: getattr(self, place) for name, place in self.names.items()}
        return self.net(weights, x[None])[0]


def write_network(network: Network, path: Path) -> None:
    """Write a network in the format of the file's ending.

    .safetensors and .pt hold a state_dict of plain names; .safetensors has the description of the
    network, the classes and what it is of as metadata.
    Raises: OptionError for another ending or without the package, StoreError on a full disk.
    """
    match path.suffix.lower():
        case ".safetensors":
            about = {"format": "pt", "network": network.spec.to_json(), "k": str(network.k)}
            about |= {"classes": json.dumps(network.classes), "metaviz": __version__}
            data = save(network.state_dict(), metadata={**about, **network.about})
        case ".pt":
            stream = io.BytesIO()
            torch.save(network.state_dict(), stream)
            data = stream.getvalue()
        case ".onnx":
            data = _onnx(network)
        case _:
            raise OptionError(
                "out", f"{path.name} is not valid: use a name ending in {', '.join(ENDINGS)}."
            )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda stream: stream.write(data))
    except OSError as error:
        raise StoreError(f"Cannot write {path}: {reason_of(error)}.") from error


def _onnx(network: Network) -> bytes:
    """Return the network as ONNX, of any number of examples. Raises: OptionError."""
    if find_spec("onnx") is None or find_spec("onnxscript") is None:
        raise OptionError("out", MISSING)
    module, stream = _Module(network).eval(), io.BytesIO()
    given: dict[str, Any] = {"input_names": ["x"], "output_names": ["outputs"]}
    axes = {"x": {0: torch.export.Dim("n", min=2)}}
    example = torch.zeros(4, *network.example)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of PyTorch's exporter, on its own code
        try:
            traced = torch.export.export(module, (example,), dynamic_shapes=axes)
            program = torch.onnx.export(traced, dynamo=True, verbose=False, **given)
        except Exception as error:
            raise OptionError("out", NO_ONNX) from error
    if program is None:
        raise OptionError("out", NO_ONNX)
    program.save(stream)  # type: ignore[arg-type]  # it takes streams as well
    return stream.getvalue()
