"""Numbers that methods measure of their own: registered, stored beside the columns, read back."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from metaviz.config.quantities import QUANTITIES, Quantity, quantity_of, register_quantity
from metaviz.runs.analysis.reproduction import Difference, first_difference
from metaviz.runs.export.tables import metrics_csv, summary_csv
from metaviz.runs.model.events import STEP_COLUMNS, Ended, Stepped
from metaviz.runs.model.record import Record
from metaviz.runs.storage.database import ADDED, DATABASE, open_to_write
from metaviz.runs.storage.store import create_run, open_last, open_run, reopen_run
from metaviz.training.engine import build_catalogue

CONFIG = {"algorithm": "maml", "problem": "sinusoid", "seed": 3, "steps": 10}
LENGTH = Quantity("path_length", "Length of the inner path", "weights", "smaller", rounding=True)
ANGLE = Quantity("angle", "Angle", "rad")


def stepped(step: int, *own: Quantity) -> Stepped:
    """Return a step whose numbers tell it from all others."""
    values: dict[str, float | None] = {c: step + i / 100 for i, c in enumerate(STEP_COLUMNS)}
    values |= {quantity.id: step + len(quantity.id) / 1000 for quantity in own}
    return Stepped(step, values, np.arange(3.0), np.arange(2.0), own)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Store a run that measures a length at every other step, and an angle once."""
    writer = create_run(tmp_path, CONFIG, {})
    for step in range(1, 7):
        writer.append(stepped(step, *[LENGTH] * (step % 2), *[ANGLE] * (step == 5)))
    writer.append(Ended(6, "done"))
    writer.close()
    return writer.folder


def change(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def tables(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master")}


def as_of_version_2(folder: Path) -> None:
    """Take away what version 3 added."""
    about = "UPDATE about SET value = '2' WHERE key = 'schema'"
    change(folder, "DROP TABLE quantities", "DROP TABLE readings", about)


def test_columns_of_every_database_stay_as_they_are() -> None:
    assert (
        *("seconds", "gradient_evaluations", "hessian_vector_products"),
        *("pre_support_loss", "post_support_loss", "pre_query_loss", "post_query_loss"),
        *("pre_support_accuracy", "post_support_accuracy"),
        *("pre_query_accuracy", "post_query_accuracy", "meta_gradient_norm"),
        *("inner_residual", "solver_residual", "peak_memory_mb"),
    ) == STEP_COLUMNS


@pytest.mark.parametrize("name", ["", "Loss", "1st", "a b", "a-b", "größe", "a\n"])
def test_ids_that_cannot_name_a_column_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="small letters, digits and underscores"):
        Quantity(name, "Title")


def test_an_id_means_one_thing() -> None:
    known = QUANTITIES["condition_loss"]
    assert register_quantity(known) is known
    with pytest.raises(ValueError, match="There is a quantity 'condition_loss' already"):
        register_quantity(Quantity("condition_loss", "Something else"))
    assert quantity_of("not_known").title == "Not known"
    assert "not_known" not in QUANTITIES


def test_no_quantity_has_the_name_of_an_option() -> None:
    catalogue = build_catalogue()
    entries = [catalogue.shared, catalogue.comparison]
    entries += [entry.options for entry in (*catalogue.algorithms, *catalogue.problems)]
    assert not QUANTITIES.keys() & {spec.name for options in entries for spec in options}


def test_own_quantities_come_back_with_their_meaning(folder: Path) -> None:
    record = open_run(folder)
    assert [q.id for q in record.quantities] == ["path_length", "angle"]
    assert (record.quantities[0].title, record.quantities[0].unit) == (LENGTH.title, LENGTH.unit)
    assert (record.quantities[0].better, record.quantities[0].per) == ("smaller", "meta-step")
    lengths = [1.011, np.nan, 3.011, np.nan, 5.011, np.nan]
    np.testing.assert_array_equal(record.column("path_length"), lengths)
    np.testing.assert_array_equal(record.column("angle"), [np.nan] * 4 + [5.005, np.nan])
    assert np.isnan(record.column("of_another_run")).all()
    assert len(record.column("of_another_run")) == 6
    last, _ = open_last(folder)
    assert last.column("path_length").tolist() == pytest.approx([np.nan], nan_ok=True)


def test_the_last_step_is_read_with_its_own_numbers(folder: Path) -> None:
    change(folder, "DELETE FROM steps WHERE step = 6")
    last, _ = open_last(folder)
    assert (last.column("path_length")[-1], last.column("angle")[-1]) == (5.011, 5.005)


def test_columns_grow_with_a_quantity_that_comes_late() -> None:
    record = Record("x", CONFIG)
    for step in range(1, 1001):
        record.apply(stepped(step, *[LENGTH] * (step >= 400)))
    assert np.isnan(record.column("path_length")[:399]).all()
    np.testing.assert_allclose(record.column("path_length")[399:], np.arange(400, 1001) + 0.011)
    assert record.column("post_query_loss")[-1] == 1000.06


def test_tables_have_own_quantities_after_the_columns(folder: Path) -> None:
    plain = Record("plain", CONFIG)
    plain.apply(stepped(1))
    header, *rows = metrics_csv([plain, open_run(folder)]).splitlines()
    assert header.endswith(
        "post_query_accuracy,meta_gradient_norm,pre_support_accuracy,post_support_accuracy,"
        "inner_residual,solver_residual,peak_memory_mb,path_length,angle"
    )
    assert [row.split(",")[-2:] for row in rows[:2]] == [["", ""], ["1.011", ""]]
    header, *rows = summary_csv([plain, open_run(folder)]).splitlines()
    assert ",notes,path_length,angle,device," in header
    place = header.split(",").index("path_length")
    assert [row.split(",")[place : place + 2] for row in rows] == [["", ""], ["5.011", "5.005"]]


def test_an_older_run_is_read_as_it_is_and_changed_only_when_written(folder: Path) -> None:
    as_of_version_2(folder)
    before = (folder / DATABASE).read_bytes()
    assert open_run(folder).quantities == ()
    assert open_run(folder).step == open_last(folder)[0].step == 6
    assert (folder / DATABASE).read_bytes() == before
    _, writer = reopen_run(folder)
    writer.roll_back(4, whole=True)
    writer.append(stepped(5, ANGLE))
    writer.append(Ended(5, "done"))
    writer.close()
    assert {"quantities", "readings", "checkpoints"} <= tables(folder)
    assert open_run(folder).column("angle")[-1] == 5.005
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        (schema,) = database.execute("SELECT value FROM about WHERE key = 'schema'").fetchone()
    assert schema == "3"


def test_rolling_back_takes_own_numbers_away(folder: Path) -> None:
    _, writer = reopen_run(folder)
    writer.roll_back(3, whole=True)
    writer.append(stepped(4, ANGLE))
    writer.append(Ended(4, "done"))
    writer.close()
    record = open_run(folder)
    np.testing.assert_array_equal(record.column("path_length"), [1.011, np.nan, 3.011, np.nan])
    np.testing.assert_array_equal(record.column("angle"), [np.nan] * 3 + [4.005])


def test_what_is_added_is_added_once(folder: Path) -> None:
    with closing(open_to_write(folder)) as database:
        database.executescript(ADDED)
    assert open_run(folder).column("angle")[4] == 5.005


def test_a_quantity_that_one_run_lacks_altogether_is_no_difference(folder: Path) -> None:
    one, other = open_run(folder), open_run(folder)
    assert first_difference(one, other) is None
    change(folder, "UPDATE readings SET value = 7 WHERE step = 3")
    apart = first_difference(one, open_run(folder))
    assert apart == Difference(3, "path_length", 3.011, 7.0)
    change(folder, "DELETE FROM readings WHERE id = 'path_length' AND step = 1")
    apart = first_difference(one, open_run(folder))
    assert apart is not None
    assert (apart.step, apart.quantity) == (1, "path_length")
    as_of_version_2(folder)
    older = open_run(folder)
    assert first_difference(one, older) is first_difference(older, one) is None
