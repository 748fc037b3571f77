"""Weights of a run for other programs: named tensors in a safetensors file."""

import json
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from metaviz import __version__
from metaviz.files.atomic import write_atomically
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.nets.spec import NetSpec, build, read_spec
from metaviz.problems.registry import find_problem
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import StoreError, open_run
from metaviz.training.session import stored_config
from metaviz.training.start import stored_meta

_VERSION = "1"


def write_weights(folder: Path, path: Path) -> None:
    """Write the newest weights of a run; its data need not be there any more.

    The start is written as one tensor per parameter of the network (`init.layer1.weight`, ...),
    in the network's shapes; every other group of meta-parameters as one flat tensor by its name.
    The metadata are texts: run, algorithm, problem, seed, step and version of the program; the
    version of this format and `pt`; as JSON the names of all groups, and the network, which
    `metaviz.nets.spec` builds.
    Raises: StoreError or OptionError with one sentence where the run cannot be read or the file
    not be written, ValueError for data that cannot be read.
    """
    record = open_run(folder)
    saved = load_checkpoint(folder / CHECKPOINT)
    network = stored_network(record, folder)
    layout = build(network).layout
    start = record.traits.network
    meta = stored_meta(saved, layout, folder, start)
    if meta[start].shape != (layout.size,):
        raise StoreError(
            f"{folder} has {meta[start].numel()} weights, but its network has {layout.size}: its "
            "checkpoint is another run's."
        )
    tensors: dict[str, Tensor] = {}
    for group, value in meta.items():
        parts = {group: value}
        if group == start:
            parts = {f"{start}.{name}": part for name, part in layout.split(value).items()}
        # A file holds each number once, in the order of its shape.
        tensors |= {name: part.contiguous() for name, part in parts.items()}
    about = {
        "format": "pt",
        "format_version": _VERSION,
        "run": record.id,
        "algorithm": record.algorithm,
        "problem": record.problem,
        "seed": str(record.seed),
        "step": str(saved["step"]),
        "metaviz": __version__,
        "groups": json.dumps(sorted(meta)),
        "network": network.to_json(),
    }
    data = save(tensors, metadata=about)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda stream: stream.write(data))
    except OSError as error:
        raise StoreError(f"Cannot write {path}: {error.strerror}.") from error


def stored_network(record: Record, folder: Path) -> NetSpec:
    """Return what a run's weights belong to; runs of 0.1 do not say so, but their problem does.

    Raises: StoreError or OptionError with one sentence, also where the problem's data are needed
    and cannot be read.
    """
    if record.network:
        return read_spec(record.network)
    config = stored_config(record, folder)
    try:
        problem = find_problem(config.problem).build(
            config.problem_options, config.shared, config.seed
        )
    except ValueError as error:
        raise StoreError(
            f"{folder} is of a version that did not store which network a run has, and its data, "
            f"which would tell, cannot be read: {error}"
        ) from error
    return problem.net_spec()
