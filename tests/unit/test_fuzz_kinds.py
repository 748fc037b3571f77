"""Whatever a file of any kind holds, its reader returns, or says in one sentence what is wrong."""

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from metaviz.config.options import OptionError
from metaviz.files.archives import DataError
from metaviz.files.foreign import ForeignError
from metaviz.runs.model.marks import MarksError
from metaviz.runs.storage.store import StoreError
from tests.fuzz.kinds import KINDS, Kind
from tests.fuzz.reach import lines_of, name_of, reached
from tests.unit.test_fuzz import sentence

EXAMPLES = 150
SLOWEST_SECONDS = 10.0
WANTED = 0.8
SILENT = {
    *("session.toml", "index", "evaluation", "robustness", "HDF5", "queue.db"),
    *("checkpoint of an earlier version", "split.json for all splits"),
    "classes.csv for all splits",  # a list that is not honoured, which the data's remarks tell
}
"""What is set aside and made anew where it is damaged, or left out with a line in the log."""
TOLD = (OptionError, StoreError, MarksError, DataError, ForeignError)


def made(kind: Kind, folder: Path) -> Path:
    """Write valid files where they will be read, read them, and return where they lie now.

    An index knows where its runs are, so that all copies are read at one place.
    """
    place, valid = folder / "place", folder / kind.name
    place.mkdir()
    kind.make(place)
    shutil.copytree(place, valid)
    kind.read(place)
    shutil.rmtree(place)
    return valid


def read_changed(kind: Kind, valid: Path, place: Path, seed: int) -> str:
    """Read a changed copy of valid files; return what was said, empty where it was read."""
    shutil.copytree(valid, place)
    kind.change(place, random.Random(seed))
    began = time.monotonic()
    try:
        kind.read(place)
    except TOLD as error:
        return sentence(error)
    finally:
        shutil.rmtree(place)
        assert time.monotonic() - began < SLOWEST_SECONDS, seed
    return ""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_changed_files_are_read_or_one_sentence(kind: Kind, tmp_path: Path) -> None:
    valid = made(kind, tmp_path)
    said = [read_changed(kind, valid, tmp_path / "place", seed) for seed in range(EXAMPLES)]
    assert {path.name for path in tmp_path.iterdir()} == {valid.name}
    assert len(set(said)) > 1 or kind.name in SILENT, "nothing was ever refused"


def test_mutations_reach_the_readers(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    readers = {name_of(reader): reader for kind in KINDS for reader in kind.readers}
    wanted = {name: lines_of([reader]) for name, reader in readers.items()}
    with reached(set().union(*wanted.values())) as lines:
        for kind in KINDS:
            valid = made(kind, tmp_path)
            for seed in range(EXAMPLES):
                read_changed(kind, valid, tmp_path / "place", seed)
    missed = {}
    for name, its in wanted.items():
        share = len(lines & its) / len(its)
        record_property(name, round(share, 3))
        if share < WANTED:
            missed[name] = (round(share, 2), sorted(line for _, line in its - lines))
    assert not missed, "\n".join(f"{name}: {what}" for name, what in missed.items())
