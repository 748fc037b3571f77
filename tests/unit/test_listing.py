"""`metaviz runs` and `metaviz mark`, as a person types them."""

import csv
from pathlib import Path

import numpy as np
import pytest

from metaviz.paths import runs_dir
from metaviz.runs.model.marks import Marks, read_marks
from metaviz.runs.table.groups import spread
from tests.unit.command_line import metaviz, refusal
from tests.unit.entries import store

LOSSES = np.array([0.30, 0.34, 0.32])


@pytest.fixture
def folders() -> list[Path]:
    """Three seeds of MAML, one that diverged, and one run of iMAML."""
    made = [store(runs_dir(), "maml", seed, loss) for seed, loss in enumerate(LOSSES)]
    made.append(store(runs_dir(), "maml", 3, 9.0, "diverged"))
    made.append(store(runs_dir(), "imaml", 0, 0.5, options={"prox": 2.0}))
    return made


def table(path: Path, *arguments: str) -> list[dict[str, str]]:
    outcome = metaviz("runs", *arguments, "--csv", path)
    assert outcome.code == 0, outcome.error
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_search_lists_what_it_finds(folders, tmp_path):
    outcome = metaviz("runs", "algo:maml state:done loss<0.33")
    assert outcome.code == 0
    assert "seed 0" in outcome.out
    assert "seed 1" not in outcome.out
    found = table(tmp_path / "t.csv", "algo:imaml", "--columns", "id,loss,imaml.prox,clip_norm")
    assert found == [{"id": folders[4].name, "loss": "0.5", "imaml.prox": "2.0", "clip_norm": ""}]


def test_groups_have_the_same_numbers_as_their_runs(folders, tmp_path):
    outcome = metaviz("runs", "algo:maml", "--group-by", "all", "--interval", "se")
    assert "± SE" in outcome.out
    found = table(tmp_path / "t.csv", "algo:maml", "--group-by", "algorithm", "--interval", "std")
    wanted = spread(LOSSES, "std")
    assert [float(found[0][key]) for key in ("loss", "loss_std", "loss_n")] == pytest.approx(
        [wanted.mean, wanted.half, 3]
    )
    assert found[0]["state"] == "3 of 4; 1 diverged"


def test_a_baseline_adds_differences(folders, tmp_path):
    name = folders[0].name
    assert "baseline" in metaviz("runs", "algo:maml", "--baseline", name).out
    found = table(tmp_path / "t.csv", "--baseline", name, "--columns", "id,loss")
    deltas = {row["id"]: float(row["delta"]) for row in found}
    assert deltas[folders[4].name] == pytest.approx(0.2)


def test_marks_are_set_and_searched(folders):
    name = folders[0].name
    done = metaviz("mark", name, "--star", "--tag", "paper,x", "--note", "n", "--name", "Best")
    assert done.code == 0, done.error
    assert read_marks(folders[0]) == Marks("Best", ("paper", "x"), "n", star=True)
    metaviz("mark", folders[0], "--untag", "x", "--no-star")
    assert read_marks(folders[0]) == Marks("Best", ("paper",), "n")
    assert "Best" in metaviz("runs", "tag:paper").out
    metaviz("mark", name, "--trash")
    assert "Best" not in metaviz("runs").out
    assert "Best" in metaviz("runs", "is:trashed").out
    metaviz("mark", name, "--restore")
    assert "Best" in metaviz("runs").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runs", "alhpa<1"], "alhpa"),
        (["runs", "--interval", "iqr"], "ci95"),
        (["runs", "--result", "speed"], "accuracy"),
        (["runs", "--group-by", "inner_lrr"], "inner_lr"),
        (["runs", "--columns", "losss"], "loss"),
        (["runs", "--baseline", "nosuch"], "nosuch"),
        (["runs", "--baseline", "maml"], "4 runs"),
        (["mark", "nosuch", "--star"], "nosuch is no run"),
        (["mark", "nosuch"], "Nothing to mark"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(folders, arguments, words):
    assert words in refusal(*arguments)


def test_no_runs_are_an_empty_table():
    assert metaviz("runs").code == 0


def test_runs_are_listed_with_the_id_that_other_commands_take(folders, tmp_path):
    (line,) = [line for line in metaviz("runs", "seed:2").out.splitlines() if "seed 2" in line]
    short = folders[2].name.rpartition("-")[2]
    assert short in line
    assert metaviz("mark", short, "--star").code == 0
    assert read_marks(folders[2]).star
    assert "baseline" in metaviz("runs", "--baseline", short).out
    outcome = metaviz("export", short, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.error
    assert folders[2].name in (tmp_path / "out" / "summary.csv").read_text(encoding="utf-8")
    with (tmp_path / "t.csv").open("w"):
        assert metaviz("runs", "--csv", tmp_path / "t.csv").code == 0
    header = (tmp_path / "t.csv").read_text(encoding="utf-8").partition("\n")[0]
    assert header == "run,seed,state,step,loss,seconds"


def test_a_short_id_of_two_runs_is_refused(folders):
    folders[0].rename(folders[0].with_name("maml-s0-00000000"))
    folders[1].rename(folders[1].with_name("maml-s1-00000000"))
    assert "00000000 means 2 runs in" in refusal("mark", "00000000", "--star")


@pytest.mark.parametrize("place", ["", "runs", "run"])
def test_every_command_takes_the_same_places(place, tmp_path):
    folder = store(tmp_path / "runs", "maml", 0, 0.5)
    other = store(tmp_path / "runs", "maml", 1, 0.5)
    where = folder if place == "run" else tmp_path / place
    outcome = metaviz("runs", "--in", where)
    assert outcome.code == 0
    assert "seed 0" in outcome.out
    assert ("seed 1" in outcome.out) == (place != "run")
    assert metaviz("mark", other.name, "--in", where, "--star").code == 0
    assert read_marks(other).star
    assert metaviz("list", "--runs", where).code == 0
    assert metaviz("export", where, "--out", tmp_path / "out").code == 0


COMMANDS = [
    ("runs", "--in", "GONE"),
    ("mark", "x", "--in", "GONE", "--star"),
    ("mark", "GONE", "--star"),
    ("list", "--runs", "GONE"),
    ("export", "GONE", "--out", "OUT"),
    ("report", "GONE", "--out", "OUT/r.html"),
    ("evaluate", "GONE"),
    ("resume", "GONE"),
    ("repeat", "GONE"),
    ("pack", "GONE", "--out", "OUT/x.zip"),
    ("weights", "GONE", "--out", "OUT/x.safetensors"),
    ("unpack", "GONE/x.zip", "--out", "OUT"),
    ("data", "inspect", "GONE"),
    ("queue", "add", "GONE/x.toml"),
    ("gradients", "--start", "GONE"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_is_not_there_is_one_sentence_and_nothing_is_made(command, tmp_path):
    gone, out = str(tmp_path / "gone"), str(tmp_path / "out")
    told = refusal(*(word.replace("GONE", gone).replace("OUT", out) for word in command))
    assert "gone" in told or "x is no run" in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--colour", "--color"])
def test_colours_are_kept_or_refused(option, folders):
    name = folders[0].name
    assert metaviz("mark", name, option, "#1f77b4").code == 0
    assert read_marks(folders[0]).color == "#1F77B4"
    for odd in ("red", "1f77b4", "#fff", "#12345g", "rgb(1,2,3)", " "):
        told = refusal("mark", name, option, odd)
        assert "use #rrggbb, like #1f77b4, or nothing for the automatic one" in told
    assert read_marks(folders[0]).color == "#1F77B4"
    assert metaviz("mark", name, option, "").code == 0
    assert read_marks(folders[0]).color == ""
