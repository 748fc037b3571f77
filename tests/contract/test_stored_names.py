"""No name that 0.1 stored has vanished; where one was replaced, an alias says by which."""

import json

import pytest

from tests.contract.conftest import Surveyed
from tests.fixtures import doors
from tests.fixtures.freeze import FIXTURES, NAMES, ROOT
from tests.fixtures.survey import Names, all_names

STORED: Names = json.loads(NAMES.read_text(encoding="utf-8"))
ALIASES: dict[str, dict[str, str]] = json.loads(
    (FIXTURES / "aliases.json").read_text(encoding="utf-8")
)
"""By group, the present name of each that was replaced; a fixture opens through every one."""
DRAWN = "exported figures"
"""The names of figures, which the tests of the fixtures compare as they draw them."""


@pytest.fixture(scope="module")
def present(surveyed: Surveyed, tmp_path_factory: pytest.TempPathFactory) -> Names:
    home = tmp_path_factory.mktemp("names")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METAVIZ_HOME", str(home))
        return all_names(doors, surveyed.names, home, ROOT)


def test_no_stored_name_has_vanished(present: Names) -> None:
    vanished = {}
    for group, names in STORED.items():
        aliases = ALIASES.get(group, {})
        missing = {aliases.get(name, name) for name in names} - set(present.get(group, ()))
        if missing and group != DRAWN:
            vanished[group] = sorted(missing)
    assert not vanished, f"stored by 0.1, unknown now: {vanished}"


def test_aliases_are_of_stored_names() -> None:
    unknown = {group: set(names) - set(STORED.get(group, ())) for group, names in ALIASES.items()}
    assert not any(unknown.values()), unknown
