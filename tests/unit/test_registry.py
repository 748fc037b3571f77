"""What can be chosen by an id: found, ordered by module, and refused with the nearest id."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from metaviz.config.options import OptionError, Options
from metaviz.registry import Registered, Registry

PACKAGE = "registered_things"
MODULE = """
import {module}
@{module}.thing("{name}")
def build(options):
    return "{name}"
"""


class Side(Options):
    """The option that a thing has."""

    side: int = 1


@dataclass(frozen=True)
class Entry:
    """What is known of a thing."""

    id: str


Things = Registry[Registered[Entry, Any]]


@pytest.fixture
def things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Things]:
    """Return a registry of a package with the modules circle, square and oval."""
    (tmp_path / PACKAGE).mkdir()
    for name in ("circle", "square", "oval"):
        text = MODULE.format(module="things_of_a_test", name=name)
        (tmp_path / PACKAGE / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    found: Things = Registry("thing", "things", PACKAGE, ("circle", "square", "oval"))

    class Door:
        @staticmethod
        def thing(name: str) -> Any:
            def keep(build: Any) -> Any:
                found.register(Registered(Entry(name), Side, build))
                return build

            return keep

    monkeypatch.setitem(sys.modules, "things_of_a_test", Door)  # type: ignore[arg-type]
    yield found
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]


def outsider(options: Any) -> Any:
    """Build what a module outside the package registers."""
    return options


def test_nothing_is_imported_before_the_registry_is_asked(things: Things) -> None:
    assert f"{PACKAGE}.circle" not in sys.modules
    assert len(things) == 3
    assert f"{PACKAGE}.circle" in sys.modules


def test_the_order_is_that_of_the_modules_and_others_come_last(things: Things) -> None:
    things.register(Registered(Entry("other"), Side, outsider))
    __import__(f"{PACKAGE}.oval")
    assert list(things) == ["circle", "square", "oval", "other"]
    things.register(Registered(Entry("later"), Side, outsider))
    assert list(things)[-2:] == ["other", "later"]


def test_what_is_found_checks_its_options_under_its_own_id(things: Things) -> None:
    found = things.find("square")
    assert found.factory(found.checked({})) == "square"
    with pytest.raises(OptionError, match=r"There is no option square\.a; known: square\.side\."):
        found.checked({"a": 1})


@pytest.mark.parametrize(
    ("name", "hint"), [("sqare", " (did you mean square?)"), ("triangle-free", "")]
)
def test_an_unknown_id_is_refused_with_those_there_are(
    things: Things, name: str, hint: str
) -> None:
    with pytest.raises(OptionError) as refused:
        things.find(name)
    assert str(refused.value) == f"There is no thing {name!r}; known: circle, square, oval{hint}."
    assert refused.value.field == "things"
