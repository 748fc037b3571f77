"""Runs as TensorBoard event files, for people who keep all their experiments there.

TensorBoard is an extra of this package; nothing else needs it.
"""

import math
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from metaviz.files.platform import plain_names
from metaviz.runs.export.tables import hyperparameters
from metaviz.runs.model.events import INNER_COLUMNS, STEP_COLUMNS
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import StoreError

MISSING = "Event files need the package tensorboard: run pip install 'metaviz[tensorboard]'."


def has_tensorboard() -> bool:
    """Return whether event files can be written."""
    return find_spec("tensorboard") is not None


def write_event_files(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write one folder of event files per run, with its hyperparameters; return the folders.

    Tags are `train/` and a column of the record, `evaluation/` and a curve's value after the
    trained number of inner steps, `evaluation/…_ci95` its 95 % half-width. Numbers that do not
    apply or are not finite are left out. Wall times count from 0 by the seconds of training.
    Raises: StoreError where the package is absent, OSError where the folder cannot be written.
    """
    if not has_tensorboard():
        raise StoreError(MISSING)
    written = []
    files = plain_names(record.id for record in records)
    for record in records:
        place = folder / files[record.id]
        place.mkdir(parents=True, exist_ok=True)
        for old in place.glob("events.out.tfevents.*"):  # TensorBoard would show both
            old.unlink()
        _write(record, place)
        written.append(place)
    return written


def scalars(record: Record) -> Iterator[tuple[str, int, float, float]]:
    """Yield tag, meta-step, seconds since the start, and value."""
    seconds = record.column("seconds")
    steps = record.column("step")
    for name in (*STEP_COLUMNS, *(own.id for own in record.quantities)):
        for step, when, value in zip(steps, seconds, record.column(name), strict=True):
            if math.isfinite(value):
                yield f"train/{name}", int(step), float(when), float(value)
    spent = dict(zip(steps.astype(int).tolist(), seconds.tolist(), strict=True))
    for evaluation in record.evaluations:
        when = spent.get(evaluation.step, 0.0)
        for name in (*INNER_COLUMNS, *evaluation.own):
            for tag in (name, f"{name}_ci95"):
                value = evaluation.at(tag)
                if math.isfinite(value):
                    yield f"evaluation/{tag}", evaluation.step, when, value


def _write(record: Record, folder: Path) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    try:
        for summary in _session(record):
            writer.add_event(Event(wall_time=0, summary=summary))
        for tag, step, when, value in scalars(record):
            point = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(wall_time=when, step=step, summary=point))
    finally:
        writer.close()


def _session(record: Record) -> Iterator[Any]:
    """Yield what TensorBoard's table of hyperparameters reads: settings, and how the run ended."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import (
        HParamsPluginData,
        SessionEndInfo,
        SessionStartInfo,
    )

    about = {"problem": record.problem, "algorithm": record.algorithm, "seed": record.seed}
    start = SessionStartInfo()
    for key, value in {**about, **hyperparameters(record)}.items():
        if isinstance(value, bool):
            start.hparams[key].bool_value = value
        elif isinstance(value, int | float):
            start.hparams[key].number_value = value
        elif value is not None:
            start.hparams[key].string_value = str(value)
    done = record.state == "done"
    end = SessionEndInfo(status=api_pb2.STATUS_SUCCESS if done else api_pb2.STATUS_FAILURE)
    version = metadata.PLUGIN_DATA_VERSION
    for tag, content in (
        (metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start)),
        (metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end)),
    ):
        content.version = version
        plugin = SummaryMetadata.PluginData(
            plugin_name=metadata.PLUGIN_NAME, content=content.SerializeToString()
        )
        described = SummaryMetadata(plugin_data=plugin)
        value = Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)
        yield Summary(value=[value])
