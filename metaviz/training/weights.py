"""Weights of a run for other programs: named tensors in a safetensors file."""

from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from metaviz import __version__
from metaviz.files.atomic import write_atomically
from metaviz.runs.storage.store import StoreError, open_run
from metaviz.training.checkpoints import CHECKPOINT, load_checkpoint
from metaviz.training.session import stored_config
from metaviz.training.setting import settle
from metaviz.training.start import fitting


def write_weights(folder: Path, path: Path) -> None:
    """Write the newest weights of a run.

    The start is written as one tensor per parameter of the network (`init.layer1.weight`, ...),
    in the network's shapes; every other group of meta-parameters as one flat tensor by its name.
    The metadata are texts: run, algorithm, problem, seed, step and version.
    Raises: StoreError or OptionError with one sentence where the run cannot be read or the file
    not be written, ValueError for data that cannot be read.
    """
    record = open_run(folder)
    setting = settle(stored_config(record, folder))
    saved = load_checkpoint(folder / CHECKPOINT)
    meta = fitting(setting, saved, folder)
    tensors: dict[str, Tensor] = {}
    for group, value in meta.items():
        if group == "init":
            parts = setting.learner.net.layout.split(value.cpu())
            # A file holds each number once, in the order of its shape.
            tensors |= {f"init.{name}": part.contiguous() for name, part in parts.items()}
        else:
            tensors[group] = value.cpu().contiguous()
    setting.shards.close()
    about = {
        "run": record.id,
        "algorithm": record.algorithm,
        "problem": record.problem,
        "seed": str(record.seed),
        "step": str(saved["step"]),
        "metaviz": __version__,
    }
    data = save(tensors, metadata=about)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda stream: stream.write(data))
    except OSError as error:
        raise StoreError(f"Cannot write {path}: {error.strerror}.") from error
