"""A fresh machine is checked, set up once, and spared a second time."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import bootstrap
import pytest
from bootstrap import SetUpError

ROOT = Path(__file__).resolve().parents[2]
PINS = {"torch": "2.13.0", "torchvision": "0.28.0"}

FAKE_PIP = """
import json, pathlib, sys
log, accepts = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
arguments = sys.argv[3:]
with log.open("a") as file:
    file.write(json.dumps(arguments) + "\\n")
if any(argument.startswith("torch==") for argument in arguments):
    source = "index" if "--index-url" in arguments else "own"
else:
    source = "rest"
sys.exit(source not in accepts)
"""


class FakePip:
    """A stand-in for pip that succeeds from the named sources and writes down what it was asked."""

    def __init__(self, folder: Path, *accepts: str) -> None:
        script = folder / "pip.py"
        script.write_text(FAKE_PIP)
        self.log = folder / "pip.log"
        self.command = [sys.executable, str(script), str(self.log), json.dumps(accepts)]

    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy what set-up reads, so that it has a .venv of its own."""
    files = (
        "packaging/bootstrap.py",
        "metaviz/__init__.py",
        "metaviz/preflight.py",
        "pyproject.toml",
        "constraints.txt",
    )
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run_bootstrap(checkout: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(checkout / "packaging" / "bootstrap.py")],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15), (3, 10, 13)])
def test_check_python_refuses_an_old_one_by_its_version(version: tuple[int, int, int]) -> None:
    with pytest.raises(SetUpError, match=re.escape(".".join(map(str, version)))):
        bootstrap.check_python(version)


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 13, 2), (4, 0, 0)])
def test_check_python_accepts_a_new_one(version: tuple[int, int, int]) -> None:
    bootstrap.check_python(version)


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_check_venv_names_the_package_that_brings_it(missing: str) -> None:
    with pytest.raises(SetUpError, match=f"{missing}.*sudo apt-get install -y python3-venv"):
        bootstrap.check_venv(lambda name: name != missing)


def test_check_venv_accepts_a_complete_python() -> None:
    bootstrap.check_venv(lambda name: name in {"venv", "ensurepip"})


def test_has_module_tells_present_from_absent() -> None:
    assert bootstrap.has_module("json")
    assert not bootstrap.has_module("metaviz_is_not_called_this")


def test_fingerprint_follows_contents_and_python(tmp_path: Path) -> None:
    inputs = [tmp_path / "a", tmp_path / "b"]
    for path in inputs:
        path.write_text("1")
    first = bootstrap.fingerprint(inputs, (3, 11))
    assert bootstrap.fingerprint(inputs, (3, 11)) == first
    assert bootstrap.fingerprint(inputs, (3, 12)) != first
    inputs[1].write_text("2")
    assert bootstrap.fingerprint(inputs, (3, 11)) != first


def test_fingerprint_keeps_the_inputs_apart(tmp_path: Path) -> None:
    inputs = [tmp_path / "a", tmp_path / "b"]
    digests = set()
    for contents in (("xy", ""), ("x", "y"), ("", "xy")):
        for path, text in zip(inputs, contents, strict=True):
            path.write_text(text)
        digests.add(bootstrap.fingerprint(inputs, (3, 11)))
    assert len(digests) == 3


def test_is_stamped_only_by_the_same_fingerprint(tmp_path: Path) -> None:
    stamp = tmp_path / ".ok"
    assert not bootstrap.is_stamped(stamp, "abc")
    stamp.write_text("abc")
    assert bootstrap.is_stamped(stamp, "abc")
    assert not bootstrap.is_stamped(stamp, "abd")


def test_main_does_nothing_where_the_stamp_matches(checkout: Path) -> None:
    inputs = [checkout / "pyproject.toml", checkout / "constraints.txt"]
    (checkout / ".venv").mkdir()
    stamp = checkout / ".venv" / ".ok"
    stamp.write_text(bootstrap.fingerprint(inputs, sys.version_info[:2]))
    os.utime(stamp, (0, 0))
    done = run_bootstrap(checkout)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in (checkout / ".venv").iterdir()] == [".ok"]
    assert stamp.stat().st_mtime >= inputs[0].stat().st_mtime


def test_main_ends_with_one_sentence_on_a_wrong_choice_of_torch(checkout: Path) -> None:
    done = run_bootstrap(checkout, METAVIZ_TORCH="rocm")
    assert done.returncode == 1
    assert done.stderr == (
        "Set-up stopped: METAVIZ_TORCH is 'rocm'; it has to be auto, cpu or default.\n"
    )
    assert not (checkout / ".venv").exists()


def test_main_refuses_constraints_without_torch(checkout: Path) -> None:
    (checkout / "constraints.txt").write_text("torchvision==0.28.0\n")
    done = run_bootstrap(checkout)
    assert done.returncode == 1
    assert done.stderr.startswith("Set-up stopped: constraints.txt has to pin torch==")
    assert len(done.stderr.splitlines()) == 1


def test_main_ends_with_one_sentence_on_a_missing_file(checkout: Path) -> None:
    (checkout / "constraints.txt").unlink()
    done = run_bootstrap(checkout)
    assert done.returncode == 1
    assert "constraints.txt" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("environ", "mode"),
    [({}, "auto"), ({"METAVIZ_TORCH": ""}, "auto"), ({"METAVIZ_TORCH": "cpu"}, "cpu")],
)
def test_torch_mode_is_auto_unless_chosen(environ: dict[str, str], mode: str) -> None:
    assert bootstrap.torch_mode(environ) == mode


@pytest.mark.parametrize(
    ("mode", "system", "machine", "has_nvidia", "wanted"),
    [
        ("auto", "linux", "x86_64", False, True),
        ("auto", "linux", "x86_64", True, False),
        ("auto", "linux", "aarch64", False, False),
        ("auto", "darwin", "x86_64", False, False),
        ("auto", "win32", "AMD64", False, False),
        ("cpu", "linux", "x86_64", True, True),
        ("cpu", "darwin", "arm64", False, False),
        ("default", "linux", "x86_64", False, False),
    ],
)
def test_wants_cpu_build_where_pip_would_bring_cuda_for_nothing(
    mode: str, system: str, machine: str, has_nvidia: bool, wanted: bool
) -> None:
    found = bootstrap.wants_cpu_build(mode, system=system, machine=machine, has_nvidia=has_nvidia)
    assert found is wanted


def test_read_pins_finds_torch_in_the_constraints_of_this_checkout() -> None:
    pins = bootstrap.read_pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    assert pins.keys() == {"torch", "torchvision"}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pins.values())


def test_constraints_pin_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normalised(line.partition("==")[0]) for line in lines if "==" in line}
    names = {normalised(re.split(r"[<>=!~\[; ]", requirement)[0]) for requirement in wanted}
    assert names
    assert names <= pinned


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_install_takes_the_cpu_build_of_pips_own_sources_without_asking_the_index(
    tmp_path: Path,
) -> None:
    pip = FakePip(tmp_path, "own", "rest")
    bootstrap.install(pip.command, PINS, cpu_build=True, required=False)
    probe, torch, rest = pip.calls()
    assert torch[-2:] == ["--no-deps", "torch==2.13.0+cpu"]
    assert probe == [*torch, "--dry-run"]
    assert rest[-2:] == ["-e", ".[test]"]


def test_install_takes_the_cpu_build_of_the_index_after_a_short_probe(tmp_path: Path) -> None:
    pip = FakePip(tmp_path, "index", "rest")
    bootstrap.install(pip.command, PINS, cpu_build=True, required=True)
    _, probe, torch, rest = pip.calls()
    assert probe[-5:] == ["--dry-run", "--retries", "0", "--timeout", "5"]
    assert torch == probe[:-5]
    assert torch[-4:] == [
        "torch==2.13.0+cpu",
        "torchvision==0.28.0+cpu",
        "--index-url",
        bootstrap.CPU_INDEX,
    ]
    assert rest[-1] == ".[test]"


def test_install_takes_the_default_build_where_there_is_no_cpu_build(tmp_path: Path) -> None:
    pip = FakePip(tmp_path, "rest")
    bootstrap.install(pip.command, PINS, cpu_build=True, required=False)
    assert pip.calls()[-1][-1] == ".[test]"


def test_install_refuses_to_replace_a_required_cpu_build(tmp_path: Path) -> None:
    pip = FakePip(tmp_path, "rest")
    with pytest.raises(SetUpError, match=re.escape("2.13.0+cpu")):
        bootstrap.install(pip.command, PINS, cpu_build=True, required=True)
    assert all(call[-1] != ".[test]" for call in pip.calls())


def test_install_leaves_torch_to_pip_where_every_build_will_do(tmp_path: Path) -> None:
    pip = FakePip(tmp_path, "rest")
    bootstrap.install(pip.command, PINS, cpu_build=False, required=False)
    assert len(pip.calls()) == 1


@pytest.mark.parametrize("source", ["own", "index", "none"])
def test_install_never_calls_pip_without_the_constraints(tmp_path: Path, source: str) -> None:
    pip = FakePip(tmp_path, source, "rest")
    bootstrap.install(pip.command, PINS, cpu_build=True, required=False)
    for call in pip.calls():
        assert call[:3] == ["install", "-c", str(bootstrap.CONSTRAINTS)]


def test_install_says_so_when_pip_fails(tmp_path: Path) -> None:
    pip = FakePip(tmp_path)
    with pytest.raises(SetUpError, match="pip could not install"):
        bootstrap.install(pip.command, PINS, cpu_build=False, required=False)


def test_provide_system_packages_is_silent_where_nothing_is_missing() -> None:
    asked: list[Sequence[str]] = []
    assert bootstrap.provide_system_packages(lambda: ([], []), asked.append) is None
    assert asked == []


def test_provide_system_packages_installs_what_is_missing() -> None:
    lacking = {"libGL.so.1": "libgl1", "a font": "fonts-dejavu-core"}
    asked: list[str] = []

    def install(packages: Sequence[str]) -> None:
        asked.extend(packages)
        lacking.clear()

    def find() -> tuple[list[str], list[str]]:
        return list(lacking), list(lacking.values())

    assert bootstrap.provide_system_packages(find, install) is None
    assert asked == ["libgl1", "fonts-dejavu-core"]


@pytest.mark.parametrize("install", [None, lambda packages: None])
def test_provide_system_packages_gives_the_install_line_for_what_stays_missing(
    install: Callable[[Sequence[str]], None] | None,
) -> None:
    advice = bootstrap.provide_system_packages(lambda: (["libGL.so.1"], ["libgl1"]), install)
    assert advice is not None
    assert "libGL.so.1" in advice
    assert advice.endswith("sudo apt-get install -y libgl1")


def test_has_font_looks_into_subfolders_for_fonts_only(tmp_path: Path) -> None:
    folder = tmp_path / "truetype" / "dejavu"
    folder.mkdir(parents=True)
    (folder / "fonts.dir").touch()
    folders = [str(tmp_path / "absent"), str(tmp_path)]
    assert not bootstrap.has_font(folders)
    (folder / "DejaVuSans.TTF").touch()
    assert bootstrap.has_font(folders)


def test_is_usable_tells_an_environment_with_pip_from_none(tmp_path: Path) -> None:
    assert bootstrap.is_usable(Path(sys.executable))
    assert not bootstrap.is_usable(tmp_path / "bin" / "python")


def test_is_usable_refuses_an_environment_whose_python_is_broken(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    assert not bootstrap.is_usable(python)
