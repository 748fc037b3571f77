"""Meta-parameters of a stored run as the start of a new one."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from metaviz.config.options import OptionError
from metaviz.config.traits import USUAL
from metaviz.files.atomic import write_atomically
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint, read_state, stored_bytes
from metaviz.meta.context import Meta
from metaviz.nets.layout import Layout
from metaviz.nets.order import ORDER, OTHER_ORDER, lies_as_now
from metaviz.nets.plain import imported
from metaviz.runs.storage.store import START, StoreError, open_run
from metaviz.training.checkpoints import find_checkpoint
from metaviz.training.setting import Setting

_log = logging.getLogger("metaviz.training")


def starting_from(setting: Setting, source: Path) -> Setting:
    """Return a setting that starts from the weights of another run's newest checkpoint.

    A file has the weights of a network alone, see `metaviz.nets.plain.imported`.
    Groups of meta-parameters that the other run lacks start as they are drawn.
    Raises: StoreError where the source has no readable checkpoint, OptionError where its weights
    do not fit.
    """
    if source.is_file():
        return _started(setting, _imported(setting, source), source)
    found = find_checkpoint(source)
    saved = load_checkpoint(source / CHECKPOINT) if found is None else found.state
    return _started(setting, saved, source)


def keep_start(folder: Path, setting: Setting) -> None:
    """Store what a run starts from, unless its seed says so. Raises: StoreError on a full disk."""
    if setting.start is None:
        return
    meta = {name: value.cpu() for name, value in setting.start.items()}
    state = {"order": ORDER, "meta": meta, "optimizer": {}, "step": 0}
    try:
        write_atomically(folder / START, lambda stream: torch.save(state, stream))
    except (OSError, RuntimeError) as error:
        raise StoreError(f"Cannot write to {folder}: {error}.") from error


def restarted(setting: Setting, folder: Path) -> Setting:
    """Return a stored run's setting with what it started from. Raises: as `starting_from`."""
    path = folder / START
    return _started(setting, load_checkpoint(path), folder) if path.exists() else setting


def stored_meta(
    state: Mapping[str, object], layout: Layout, source: Path, network: str = USUAL.network
) -> Meta:
    """Return a stored state's meta-parameters; `layout` is that of the group of their network.

    Raises: StoreError where there are none or where they lie in another order than now.
    """
    saved = state["meta"]
    if not isinstance(saved, dict) or not isinstance(saved.get(network), Tensor):
        raise StoreError(f"{source} has a checkpoint without weights: choose another run.")
    if not lies_as_now(state, layout):
        raise StoreError(f"{source} cannot be used: {OTHER_ORDER}")
    return saved


def fitting(setting: Setting, state: Mapping[str, object], source: Path) -> Meta:
    """Return a stored state's meta-parameters on the setting's device; those that lack are drawn.

    Raises: StoreError where there are none or where they lie in another order than now,
    OptionError where one has another shape.
    """
    network = setting.algorithm.network or ""
    saved = stored_meta(state, setting.learner.net.layout, source, network)
    meta: Meta = {}
    for name, drawn in setting.init().items():
        value = saved.get(name, drawn)
        if not isinstance(value, Tensor) or value.shape != drawn.shape:
            there = value.numel() if isinstance(value, Tensor) else "no"
            raise OptionError(
                "from",
                f"{source.name} has {there} values of {name!r}, but {setting.config.algorithm} on "
                f"{setting.config.problem} needs {drawn.numel()} here: choose a run of the same "
                "problem, network and options.",
            )
        meta[name] = value.to(drawn).clone()
    return meta


def source_parent(source: Path) -> dict[str, str]:
    """Return what is stored of where a run's weights come from. Raises: StoreError."""
    if not source.is_file():
        return {"run": open_run(source).id, "kind": "fine-tune"}
    sha256 = hashlib.sha256(stored_bytes(source)).hexdigest()
    return {"kind": "import", "file": source.name, "weights_sha256": sha256}


def _imported(setting: Setting, source: Path) -> dict[str, object]:
    """Return the weights of a file as a state. Raises: StoreError, OptionError."""
    network = setting.algorithm.network
    drawn = setting.init()
    if not network or network not in drawn:
        raise OptionError(
            "from", f"{setting.config.algorithm} has no network that weights of a file could start."
        )
    layout = setting.learner.net.layout
    given, absent = imported(setting.problem.net_spec(), layout, read_state(source))
    if absent:
        _log.warning("%s has no %s: drawn from the seed.", source.name, ", ".join(absent))
    own = layout.split(drawn[network]) | {k: v.to(drawn[network]) for k, v in given.items()}
    return {"order": ORDER, "meta": {network: layout.join(own)}}


def _started(setting: Setting, state: Mapping[str, object], source: Path) -> Setting:
    return replace(setting, start=fitting(setting, state, source))
