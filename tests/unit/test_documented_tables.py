"""Every column of every table is explained in `docs/tables.md`, and nothing else is."""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from metaviz.config.catalogue import shipped_catalogue
from metaviz.config.quantities import EVALUATED, QUANTITIES, STORED
from metaviz.config.run_config import EvaluationProtocol
from metaviz.runs.export.tables import write_tables
from metaviz.runs.model.speed import SPEED_HEADER
from metaviz.runs.storage.store import open_run
from metaviz.runs.table.columns import COLUMNS, DELTA, Columns
from metaviz.training.engine import build_catalogue
from metaviz.training.protocol import judge
from tests.unit.command_line import metaviz
from tests.unit.stored import config, train

DOCUMENT = Path(__file__).parents[2] / "docs" / "tables.md"
OPTIONS = set(Columns(shipped_catalogue()).spec_keys())


def documented() -> dict[str, set[str]]:
    """Return the columns that each section explains; every row has a meaning."""
    found: dict[str, set[str]] = {}
    section = ""
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").strip("`")
            found[section] = set()
        elif line.startswith("| `"):
            names, _unit, meaning = (cell.strip() for cell in line.strip("|").split("|"))
            assert meaning, line
            found[section] |= set(re.findall(r"`(\w+)`", names))
    return found


def header(path: Path) -> list[str]:
    return next(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return the columns of all tables of runs with a quantity, options, a geometry and charts."""
    root = tmp_path_factory.mktemp("runs")
    folders = [train(config("ecml", steps=2), root), train(config("metasgd", steps=2), root)]
    folders.append(train(config("ecml", steps=2).model_copy(update={"seed": 4}), root))
    for folder in folders:
        judge(folder, EvaluationProtocol(tasks=2))
    written = write_tables([open_run(folder) for folder in folders], root / "tables", folders)
    written += write_tables([open_run(train(config("bauer", steps=1), root))], root / "more")
    return {path.name: header(path) for path in written}


def unexplained(columns: Iterable[str], known: set[str]) -> list[str]:
    """Return columns that are neither of a table nor of methods' own nor hyperparameters."""
    more = documented()
    own = more["Quantities of methods' own"]
    known = known | own | {f"{name}_ci95" for name in own} | more["Hyperparameters"] | OPTIONS
    return [name for name in columns if name not in known]


def test_every_column_of_every_table_is_explained(tables: dict[str, list[str]]) -> None:
    names = {"metrics", "inner", "summary", "comparison", "geometry", "evaluations", "charts"}
    assert set(tables) == {f"{name}.csv" for name in names}
    for name, columns in tables.items():
        known = documented()[name]
        assert unexplained(columns, known) == [], name
        assert known <= set(columns), name


def test_columns_of_the_table_of_runs_and_of_speeds_are_explained() -> None:
    found = documented()
    assert found["runs --csv"] == {column.key for column in COLUMNS} | {DELTA}
    assert found["benchmark.csv"] == set(SPEED_HEADER)


def test_quantities_of_shipped_methods_are_explained() -> None:
    methods = {name for entry in build_catalogue().algorithms for name in entry.quantities}
    fixed = {quantity.id for quantity in (*STORED, *EVALUATED)}
    assert methods - fixed == documented()["Quantities of methods' own"]
    assert methods <= set(QUANTITIES)


def test_a_star_is_true_where_there_is_one(tmp_path: Path) -> None:
    runs = [train(config("maml", steps=1), tmp_path / "runs") for _ in range(2)]
    metaviz("mark", runs[0], "--star")
    out = tmp_path / "runs.csv"
    outcome = metaviz("runs", "--in", tmp_path / "runs", "--columns", "id,star", "--csv", out)
    assert outcome.code == 0, outcome.error
    rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    assert {row["id"]: row["star"] for row in rows} == {
        runs[0].name: "true",
        runs[1].name: "false",
    }
