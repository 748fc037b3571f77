"""Meta-parameters of a stored run as the start of a new one."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from metaviz.config.options import OptionError
from metaviz.config.traits import USUAL
from metaviz.files.atomic import write_atomically
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.meta.context import Meta
from metaviz.nets.layout import Layout
from metaviz.nets.order import ORDER, OTHER_ORDER, lies_as_now
from metaviz.runs.storage.store import START, StoreError
from metaviz.training.checkpoints import find_checkpoint
from metaviz.training.setting import Setting


def starting_from(setting: Setting, source: Path) -> Setting:
    """Return a setting that starts from the weights of another run's newest checkpoint.

    Groups of meta-parameters that the other run lacks start as they are drawn.
    Raises: StoreError where the source has no readable checkpoint, OptionError where its weights
    do not fit.
    """
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


def _started(setting: Setting, state: Mapping[str, object], source: Path) -> Setting:
    return replace(setting, start=fitting(setting, state, source))
