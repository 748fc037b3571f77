"""Text of strangers steers nothing: no terminal, spreadsheet, page or shell."""

import csv
import io
import shlex
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from metaviz.charts.matplotlib import figure_of, literal
from metaviz.charts.values import Lines
from metaviz.files.foreign import parsed_toml
from metaviz.files.text import one_line, printable, shell_line
from metaviz.runs.model.arrays import write_described
from metaviz.runs.storage.queue import Queue
from tests.unit.command_line import metaviz
from tests.unit.test_command_door import judgement
from tests.unit.test_foreign import stored_run

EVIL = "\x1b]0;owned\x07\x1b[2J\u202egpj.exe\x9b31m<b>bold</b>[red]x[/red]"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\u202egpj.exe\x9b31m"


@given(st.text())
def test_printable_text_has_no_control_characters_and_letters_stay(text: str) -> None:
    shown = printable(text)
    assert not any((ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160 for c in shown)
    assert not {"\u202e", "\u2066", "\u200f", "\u061c", "\u2028"} & set(shown)
    assert "\n" not in one_line(text)
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize("text", ["αβ ± 漢字 é 👩\u200d🔬 نام\u200cها", "a\tb\nc", "x − 3 × 10⁻⁵"])
def test_ordinary_letters_are_left_alone(text: str) -> None:
    assert printable(text) == text


@given(st.lists(st.text(), min_size=1))
def test_a_shell_reads_a_line_of_words_as_those_words(words: list[str]) -> None:
    line = shell_line(words)
    assert shlex.split(line) == [one_line(word) for word in words]
    assert line == one_line(line)


def test_figures_write_control_characters_as_everything_else_does() -> None:
    steering = [one for one in map(chr, range(0x110000)) if printable(one) != one]
    assert len(steering) > 100
    for one in steering:
        (axes,) = (
            figure_of(Lines(id="x", title=f"a{one}b")).axes if one in "\x1b\u202e" else (None,)
        )
        assert literal(one) == printable(one)
        assert axes is None or axes.get_title() == f"a{printable(one)}b"
    assert literal("_a $x$") == r" _a \$x\$"


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A run that names everything so that a terminal would obey."""
    folder = stored_run(tmp_path / "runs")
    about = parsed_toml((folder / "run.toml").read_text())
    about["run"] |= {"id": f"maml{EVIL}", "algorithm": f"x{EVIL}", "problem": f"p{EVIL}"}
    about["run"]["options"] = {EVIL: EVIL, "=cmd()": "=cmd()"}
    about["environment"] = {EVIL: EVIL, "device": EVIL}
    (folder / "run.toml").write_text(tomli_w.dumps(about))
    (folder / "marks.toml").write_text(tomli_w.dumps({"name": "=cmd|'/c calc'!A0", "notes": EVIL}))
    protocol = {**judgement().protocol, "split": f"test; touch /tmp/owned #{EVIL}"}
    about = {**vars(judgement(protocol=protocol)), "label": EVIL}
    arrays = about.pop("per_task")
    (folder / "evaluations").mkdir()
    write_described(folder / "evaluations" / "step3.npz", about, arrays)
    return folder


def harmless(text: str) -> str:
    assert not set(text) & {"\x1b", "\x07", "\u202e", "\x9b"}
    return text


def test_the_terminal_gets_no_escape_bytes(evil: Path, tmp_path: Path, home: Path) -> None:
    hidden = evil.parent / f"bad{EVIL.replace('/', '')}"
    hidden.mkdir()
    (hidden / "run.toml").write_text("[run")
    with_queue = Queue(home)
    with_queue.add([{"algorithm": EVIL, "problem": EVIL, "seed": EVIL}])
    with_queue.mark(1, "failed", EVIL)
    with_queue.close()
    seen = ""
    for command in (
        ("list", "--runs", evil.parent),
        ("runs", "--in", evil.parent),
        ("runs", "--in", evil.parent, "--columns", "run,algorithm,problem"),
        ("runs", "--in", evil.parent, "--group-by", "all"),
        ("export", evil.parent, "--out", tmp_path / "out"),
        ("evaluate", evil),
        ("resume", evil),
        ("mark", evil, "--star"),
        ("queue", "list"),
        ("queue", "list", "--json"),
        ("options", EVIL),
        ("compare", "--algorithms", EVIL),
        ("compare", f"--{EVIL}"),
        ("compare", "--config", f"/nowhere/{EVIL}"),
    ):
        outcome = metaviz(*command)
        assert outcome.code in {0, 1, 2}, outcome
        seen += harmless(outcome.out) + harmless(outcome.error)
    assert r"\x1b]0;owned" in seen


def test_tables_hold_no_formula_and_no_control_character(evil: Path, tmp_path: Path) -> None:
    assert metaviz("export", evil, "--out", tmp_path / "out").code == 0
    out = tmp_path / "runs.csv"
    assert metaviz("runs", "--in", evil.parent, "--csv", out).code == 0
    for path in [*(tmp_path / "out").glob("*.csv"), out]:
        text = harmless(path.read_text(encoding="utf-8"))
        for row in csv.reader(io.StringIO(text)):
            for cell in row:
                assert cell[:1] not in {"=", "@", "+"}, (path, cell)
                assert cell[:1] != "-" or float(cell) <= 0
    header = (tmp_path / "out" / "summary.csv").read_text(encoding="utf-8").partition("\n")[0]
    assert header.startswith("run,algorithm,problem,seed,state,steps")
    assert SHOWN in header


def test_the_report_shows_letters_and_nothing_that_a_shell_would_run(
    evil: Path, tmp_path: Path
) -> None:
    outcome = metaviz("report", evil, "--out", tmp_path / "r.html")
    assert outcome.code == 0, outcome.error
    page = harmless((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold" in page
    # The result whose split is a command is none of held-out tasks: nothing of it is there.
    assert "touch /tmp/owned" not in page
    assert "metaviz evaluate repeated" not in page


def test_what_is_logged_is_printable_too(evil: Path) -> None:
    bad = evil / "evaluations" / f"step3{EVIL.replace('/', '')}.npz"
    bad.write_bytes(b"nothing")
    outcome: Any = metaviz("report", evil, "--out", evil.parent.parent / "r.html")
    assert "is left out" in harmless(outcome.error)
