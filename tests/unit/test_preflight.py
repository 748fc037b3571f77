"""What keeps Qt from starting is named before Qt is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from metaviz.preflight import (
    BASE_LIBRARIES,
    DISPLAY_MISSING,
    LIBRARIES_MISSING,
    PYSIDE_UNSUITABLE,
    XCB_LIBRARIES,
    Loader,
    Problem,
    VersionOf,
    install_line,
    installed_version,
    missing_libraries,
    preflight,
)

ROOT = Path(__file__).resolve().parents[2]
X11 = {"DISPLAY": ":0"}
WAYLAND = {"WAYLAND_DISPLAY": "wayland-0"}
OFFSCREEN = {"QT_QPA_PLATFORM": "offscreen"}


def linker_without(*missing: str) -> Loader:
    def load(library: str) -> object:
        if library in missing:
            raise OSError(f"{library}: cannot open shared object file")
        return library

    return load


def pyside(version: str | None) -> VersionOf:
    return {"PySide6-Essentials": version}.get


def on_linux(environ: dict[str, str], *missing: str) -> Problem | None:
    return preflight(
        environ,
        load=linker_without(*missing),
        system="linux",
        python=(3, 11),
        version_of=pyside("6.11.3"),
    )


def test_preflight_finds_nothing_on_a_complete_desktop() -> None:
    assert on_linux(X11) is None


def test_preflight_names_library_package_and_install_line() -> None:
    problem = on_linux(X11, "libEGL.so.1", "libdbus-1.so.3")
    assert problem is not None
    assert (problem.kind, problem.exit_code) == ("libraries", LIBRARIES_MISSING)
    assert "libEGL.so.1" in problem.message
    assert problem.message.endswith("sudo apt-get install -y libegl1 libdbus-1-3")


@pytest.mark.parametrize("library", BASE_LIBRARIES)
def test_preflight_needs_every_base_library_even_offscreen(library: str) -> None:
    problem = on_linux(OFFSCREEN, library)
    assert problem is not None
    assert BASE_LIBRARIES[library] in problem.message.split()


@pytest.mark.parametrize("library", XCB_LIBRARIES)
def test_preflight_needs_every_x_library_on_x11(library: str) -> None:
    problem = on_linux(X11, library)
    assert problem is not None
    assert XCB_LIBRARIES[library] in problem.message.split()


@pytest.mark.parametrize(
    "environ",
    [
        WAYLAND,
        OFFSCREEN,
        X11 | {"QT_QPA_PLATFORM": "vnc:size=640x480"},
        X11 | {"QT_QPA_PLATFORM": "xcb;offscreen"},
        X11 | WAYLAND | {"QT_QPA_PLATFORM": "wayland"},
    ],
)
def test_preflight_does_not_need_x_libraries_without_x_windows(environ: dict[str, str]) -> None:
    assert on_linux(environ, *XCB_LIBRARIES) is None


def test_preflight_needs_x_libraries_where_xcb_is_asked_for() -> None:
    problem = on_linux(X11 | WAYLAND | {"QT_QPA_PLATFORM": "wayland;xcb"}, "libxcb-icccm.so.4")
    assert problem is not None
    assert problem.kind == "libraries"


@pytest.mark.parametrize(
    "environ", [{}, {"DISPLAY": ""}, WAYLAND | {"QT_QPA_PLATFORM": "xcb"}, {"QT_QPA_PLATFORM": ""}]
)
def test_preflight_reports_a_missing_display(environ: dict[str, str]) -> None:
    problem = on_linux(environ)
    assert problem is not None
    assert (problem.kind, problem.exit_code) == ("display", DISPLAY_MISSING)
    assert "xvfb-run -a metaviz" in problem.message


def test_preflight_reports_the_display_before_x_libraries() -> None:
    problem = on_linux({}, *XCB_LIBRARIES)
    assert problem is not None
    assert problem.kind == "display"


@pytest.mark.parametrize("platform", ["offscreen", "minimal", "linuxfb:fb=/dev/fb0", "eglfs"])
def test_preflight_needs_no_display_where_qt_draws_without_one(platform: str) -> None:
    assert on_linux({"QT_QPA_PLATFORM": platform}) is None


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_preflight_checks_libraries_and_display_on_linux_only(system: str) -> None:
    load = linker_without(*BASE_LIBRARIES)
    assert preflight({}, load=load, system=system, version_of=pyside(None)) is None


@pytest.mark.parametrize("version", ["6.12.0", "6.13.1", "7.0", "6.12.0a1"])
def test_preflight_refuses_new_pyside_on_python_3_11(version: str) -> None:
    problem = preflight(OFFSCREEN, system="win32", python=(3, 11), version_of=pyside(version))
    assert problem is not None
    assert (problem.kind, problem.exit_code) == ("pyside", PYSIDE_UNSUITABLE)
    assert version in problem.message
    assert "PySide6-Essentials<6.12" in problem.message
    assert "Python 3.12" in problem.message


def test_preflight_finds_new_pyside_installed_as_a_whole() -> None:
    version_of = {"PySide6": "6.12.0"}.get
    problem = preflight(OFFSCREEN, system="win32", python=(3, 11), version_of=version_of)
    assert problem is not None
    assert problem.kind == "pyside"


@pytest.mark.parametrize(
    ("python", "version"), [((3, 11), "6.11.3"), ((3, 12), "6.12.0"), ((3, 11), None)]
)
def test_preflight_accepts_suitable_pyside(python: tuple[int, int], version: str | None) -> None:
    assert preflight({}, system="win32", python=python, version_of=pyside(version)) is None


def test_installed_version_is_none_for_what_is_not_installed() -> None:
    assert installed_version("metaviz-is-not-called-this") is None


def test_installed_version_reads_the_metadata_of_pytest() -> None:
    assert installed_version("pytest") == pytest.__version__


def test_missing_libraries_asks_the_dynamic_linker() -> None:
    assert missing_libraries(["libmetaviz-does-not-exist.so.7"]) == [
        "libmetaviz-does-not-exist.so.7"
    ]


def test_install_line_can_be_pasted_into_a_shell() -> None:
    assert install_line(["libgl1", "libegl1"]) == "sudo apt-get install -y libgl1 libegl1"


def test_preflight_runs_on_the_standard_library_alone() -> None:
    # -S hides what is installed besides Python itself.
    code = (
        "import metaviz.preflight as p;"
        "print(p.preflight({}, load=str, system='linux', version_of=lambda name: None).kind)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "display"
