"""Which network a run's weights belong to, as plain values: it is rebuilt from these alone."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from metaviz.config.options import OptionError, Options
from metaviz.nets.base import Net
from metaviz.registry import Registered, Registry

Builder = Callable[[Any], Net]


@dataclass(frozen=True)
class NetSpec:
    """A network by its id, the version of its code, and every option that its code takes.

    The options are numbers, texts, booleans and lists of these, so that TOML and JSON hold them.
    """

    id: str
    version: int
    options: Mapping[str, Any]

    def values(self) -> dict[str, Any]:
        """Return plain values, which `read_spec` understands."""
        return asdict(self)

    def to_json(self) -> str:
        """Return JSON, which `from_json` understands."""
        return json.dumps(self.values())

    @staticmethod
    def from_json(text: str) -> "NetSpec":
        """Read what `to_json` wrote. Raises: OptionError with one sentence."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise OptionError("network", "The network's description is not valid JSON.") from None
        return read_spec(values)


@dataclass(frozen=True)
class NetEntry:
    """A network's id, and the newest version of its code.

    A version is higher where the same weights would give other outputs.
    """

    id: str
    version: int = 1


class RegisteredNet(Registered[NetEntry, Builder]):
    """A network's id and version, its option model and its builder."""


NETS: Registry[RegisteredNet] = Registry(
    "network",
    "network",
    "metaviz.nets",
    lambda: ("mlp", "point", "conv4", "resnet12", "identity", "linear", "agent", "cells"),
)


def register_net(options: type[Options], **description: Any) -> Callable[[Builder], Builder]:
    """Register a network; `description` has the fields of NetEntry."""

    def keep(builder: Builder) -> Builder:
        NETS.register(RegisteredNet(NetEntry(**description), options, builder))
        return builder

    return keep


def net_spec(name: str, **options: Any) -> NetSpec:
    """Describe a network in the newest version of its code.

    Raises: OptionError where the id or an option is wrong.
    """
    return read_spec({"id": name, "version": NETS.find(name).entry.version, "options": options})


def read_spec(values: Any) -> NetSpec:
    """Check what describes a network, from any source.

    Raises: OptionError with one sentence.
    """
    match values:
        case {"id": str(name), "version": int(version), "options": dict(options)} if version > 0:
            known = NETS.find(name)
        case _:
            raise OptionError(
                "network", "A network is described by its id, its version and a table of options."
            )
    if version > known.entry.version:
        raise OptionError(
            "network",
            f"The network {name} has version {version} here, and this program knows it up to "
            f"version {known.entry.version}: use a newer MetaViz.",
        )
    return NetSpec(name, version, known.checked(options).model_dump(mode="json"))


def build(spec: NetSpec) -> Net:
    """Build the network that is described.

    Raises: OptionError for wrong options, ValueError where images are too small for it.
    """
    known = NETS.find(spec.id)
    return known.factory(known.checked(spec.options))
