"""What several tests of stored files share: trained variants, and the unpacked fixtures of 0.1."""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.fixtures import doors, specs
from tests.fixtures.freeze import FIXTURES
from tests.fixtures.survey import Names, survey


class Surveyed(NamedTuple):
    """The fingerprints of all variants, and the names that they use and store."""

    prints: dict[str, Any]
    names: Names


class Stored(NamedTuple):
    """The runs of 0.1, unpacked: their folder of folders, ids by key, and folders by key."""

    root: Path
    ids: dict[str, str]
    folders: dict[str, Path]


@pytest.fixture(scope="session")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> Surveyed:
    """Train every variant that takes less than a second with the present code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(FIXTURES)
        patch.setenv("METAVIZ_HOME", str(tmp_path_factory.mktemp("home")))
        runs = {
            key: doors.of_old(one["config"])
            for key, one in golden("bits.json").items()
            if key not in specs.HEAVY
        }
        return Surveyed(*survey(doors, runs, tmp_path_factory.mktemp("surveyed")))


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Unpack every run of 0.1; tests that change one copy it first."""
    root = tmp_path_factory.mktemp("stored") / "runs"
    root.mkdir()
    ids = json.loads((FIXTURES / "runs.json").read_text(encoding="utf-8"))
    for key, identity in ids.items():
        packed = FIXTURES / "runs" / f"{key}.zip"
        if packed.exists():
            doors.unpack_run(packed, root)
        else:
            shutil.copytree(FIXTURES / "runs" / key / identity, root / identity)
    return Stored(root, ids, {key: root / identity for key, identity in ids.items()})


def golden(name: str) -> Any:
    """Read what 0.1 wrote or said."""
    return json.loads((FIXTURES / "golden" / name).read_text(encoding="utf-8"))
