"""Hundreds of hostile runs, packed runs and data sets at once, by the program's own commands.

All run in a program whose memory is limited to 512 MB above what it takes to start. Nothing outside
changes, nothing is carried out, nothing waits, and every harmless neighbour is still there.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import mutations as how
from tests.fuzz.kinds import KINDS
from tests.unit.test_foreign import HOSTILE, hot_journal, stored_run

RUNS, PACKED, DATA, HARMLESS = 200, 100, 100, 5
LIMIT_MB, SECONDS_EACH = 512, 10
PROGRAM = """
import json, resource, sys, time
from pathlib import Path
import h5py, matplotlib.figure, numpy, PIL.Image, torch
from metaviz.cli import listing, main, tables
from metaviz.images import layouts
mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = mapped + int(sys.argv[1]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
ended, told = [], Path(sys.argv[2])
for command in json.load(sys.stdin):
    began = time.monotonic()
    try:
        sys.argv = ["metaviz", *command]
        main.main()
        code = 0
    except SystemExit as exit:
        code = exit.code or 0
    ended.append([code, round(time.monotonic() - began, 2)])
told.write_text(json.dumps(ended))
"""


def carried_out(tmp_path: Path, *commands: list[str]) -> tuple[list[tuple[int, float]], str]:
    """Run commands in one limited program; return their codes, seconds, and all that was said."""
    told = tmp_path / "told.json"
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(LIMIT_MB), str(told)],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_EACH * (len(commands) + 20),
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said[-3000:]
    assert "Traceback" not in said
    found = [tuple(one) for one in json.loads(told.read_text())]
    told.unlink()
    return found, said


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that nothing may change."""
    place = tmp_path / "outside"
    place.mkdir()
    (place / "victim.txt").write_text("precious")
    return place


def untouched(outside: Path) -> bool:
    return {path.name: path.read_text() for path in outside.iterdir()} == {"victim.txt": "precious"}


def kind(name: str):
    return next(one for one in KINDS if one.name == name)


def test_hostile_runs_hide_no_harmless_one(tmp_path: Path, outside: Path) -> None:
    root, chance = tmp_path / "runs", random.Random(0)
    pattern = stored_run(tmp_path / "pattern")
    harmless = {stored_run(root).name for _ in range(HARMLESS)}
    names = list(HOSTILE)
    slow = ("bomb", "huge", "computed", "large")
    quick = [name for name in names if not any(word in name for word in slow)]
    for number in range(RUNS):
        folder = root / f"hostile-{number}"
        shutil.copytree(pattern, folder)
        if number % 2:
            how.written(folder / "run.toml", how.changed_toml, chance)
        if number < len(names):
            HOSTILE[names[number]][0](folder)
            continue
        if number % 3 == 0:
            how.written(folder / "metrics.db", how.changed_database, chance)
        else:
            HOSTILE[chance.choice(quick)][0](folder)
        if number % 5 == 0 and (folder / "metrics.db").is_file():
            hot_journal(folder / "metrics.db", outside / "victim.txt")
    before = sorted(path.name for path in root.iterdir())
    out = tmp_path / "out"
    out.mkdir()
    commands = [
        ["runs", "--in", str(root), "--columns", "id,loss", "--csv", str(out / "runs.csv")],
        ["list", "--runs", str(root)],
        ["runs", "tag:*a*a*a*a*b loss<1", "--in", str(root)],
    ]
    ended, said = carried_out(tmp_path, *commands)
    assert [code for code, _ in ended][:3] == [0, 0, 0], said[-2000:]
    assert all(seconds < SECONDS_EACH for _, seconds in ended[:3]), ended
    table = (out / "runs.csv").read_text(encoding="utf-8")
    assert table.count("\n") > HARMLESS
    assert harmless <= {row.partition(",")[0] for row in table.splitlines()}, said[-2000:]
    assert sorted(path.name for path in root.iterdir()) == before
    assert untouched(outside)


def test_hostile_packed_runs_leave_nothing_behind(tmp_path: Path, outside: Path) -> None:
    packed = kind("packed run")
    (tmp_path / "made").mkdir()
    packed.make(tmp_path / "made")
    commands = []
    for number in range(PACKED):
        path = tmp_path / "packed" / f"{number}.zip"
        path.parent.mkdir(exist_ok=True)
        shutil.copyfile(tmp_path / "made" / "run.zip", path)
        chance = random.Random(number)
        how.written(path, chance.choice((*packed.mutations, how.harmed)), chance)
        commands.append(["unpack", str(path), "--out", str(tmp_path / "store" / str(number))])
    shutil.copyfile(tmp_path / "made" / "run.zip", tmp_path / "packed" / "harmless.zip")
    good = tmp_path / "store" / "good"
    commands.append(["unpack", str(tmp_path / "packed" / "harmless.zip"), "--out", str(good)])
    ended, said = carried_out(tmp_path, *commands)
    assert {code for code, _ in ended} <= {0, 2}, said[-2000:]
    assert max(seconds for _, seconds in ended) < SECONDS_EACH
    assert ended[-1][0] == 0, said[-2000:]
    for number, (code, _) in enumerate(ended[:-1]):
        if code:
            left = tmp_path / "store" / str(number)
            assert not left.exists() or not list(left.iterdir()), number
    assert {path.name for path in tmp_path.iterdir()} == {"made", "packed", "store", "outside"}
    assert untouched(outside)


def test_hostile_data_sets_are_one_sentence_each(tmp_path: Path, outside: Path) -> None:
    kinds = [one for one in KINDS if one.name.startswith(("tables", "lists", "zipped", "image"))]
    kinds += [one for one in KINDS if one.name.startswith(("pickles", "NumPy", "HDF5", "Omniglot"))]
    valid = {}
    for one in kinds:
        valid[one.name] = tmp_path / "valid" / one.name
        valid[one.name].mkdir(parents=True)
        one.make(valid[one.name])
    commands = []
    for number in range(DATA):
        one = kinds[number % len(kinds)]
        place = tmp_path / "changed" / str(number)
        shutil.copytree(valid[one.name], place)
        one.change(place, random.Random(number))
        commands.append(["data", "inspect", str(place / "data"), "--json"])
    commands += [["data", "inspect", str(valid[one.name] / "data")] for one in kinds]
    ended, said = carried_out(tmp_path, *commands)
    assert {code for code, _ in ended} <= {0, 2}, said[-2000:]
    assert max(seconds for _, seconds in ended) < SECONDS_EACH
    assert [code for code, _ in ended[DATA:]] == [0] * len(kinds)
    assert {path.name for path in tmp_path.iterdir()} == {"valid", "changed", "outside"}
    assert untouched(outside)
