"""Name what would stop Qt from starting, before Qt aborts the process over it.

Qt answers a missing platform library or display with abort(), which Python cannot catch, and its
message names the wrong library. This module therefore runs before PySide6 is imported, and uses
the standard library only, so that the set-up script can share it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Loader = Callable[[str], object]
VersionOf = Callable[[str], "str | None"]

LIBRARIES_MISSING = 3
DISPLAY_MISSING = 4
PYSIDE_UNSUITABLE = 5

BASE_LIBRARIES: Mapping[str, str] = MappingProxyType(
    {
        "libglib-2.0.so.0": "libglib2.0-0",
        "libGL.so.1": "libgl1",
        "libEGL.so.1": "libegl1",
        "libX11.so.6": "libx11-6",
        "libxkbcommon.so.0": "libxkbcommon0",
        "libfontconfig.so.1": "libfontconfig1",
        "libfreetype.so.6": "libfreetype6",
        "libdbus-1.so.3": "libdbus-1-3",
    }
)
"""Shared libraries that Qt needs on every platform, with the Debian packages that hold them."""

XCB_LIBRARIES: Mapping[str, str] = MappingProxyType(
    {
        "libX11-xcb.so.1": "libx11-xcb1",
        "libxcb-cursor.so.0": "libxcb-cursor0",
        "libxcb-icccm.so.4": "libxcb-icccm4",
        "libxcb-image.so.0": "libxcb-image0",
        "libxcb-keysyms.so.1": "libxcb-keysyms1",
        "libxcb-randr.so.0": "libxcb-randr0",
        "libxcb-render-util.so.0": "libxcb-render-util0",
        "libxcb-shape.so.0": "libxcb-shape0",
        "libxcb-xkb.so.1": "libxcb-xkb1",
        "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    }
)
"""Shared libraries that Qt needs besides to open windows on an X server."""

_WITHOUT_DISPLAY = frozenset(
    {"offscreen", "minimal", "minimalegl", "vnc", "linuxfb", "eglfs", "vkkhrdisplay"}
)


@dataclass(frozen=True)
class Problem:
    """What keeps the window from opening, in words for the person who started the program."""

    kind: Literal["libraries", "display", "pyside"]
    message: str
    exit_code: int


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None where it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def preflight(
    environ: Mapping[str, str],
    *,
    load: Loader = ctypes.CDLL,
    system: str = sys.platform,
    python: tuple[int, int] = sys.version_info[:2],
    version_of: VersionOf = installed_version,
) -> Problem | None:
    """Find the first reason why Qt could not start here, or None.

    The keyword arguments stand for the machine and are there for tests. A missing display comes
    before the X libraries, because a machine without a display has no use for them.
    """
    problem = _pyside_problem(python, version_of)
    if problem is not None or not system.startswith("linux"):
        return problem
    return (
        _library_problem(BASE_LIBRARIES, load)
        or _display_problem(environ)
        or (_library_problem(XCB_LIBRARIES, load) if _opens_x_windows(environ) else None)
    )


def missing_libraries(libraries: Iterable[str], load: Loader = ctypes.CDLL) -> list[str]:
    """List those of the shared libraries that the dynamic linker cannot load."""
    return [library for library in libraries if not _loads(library, load)]


def install_line(packages: Iterable[str]) -> str:
    """Write the command that installs Debian packages."""
    return "sudo apt-get install -y " + " ".join(packages)


def _loads(library: str, load: Loader) -> bool:
    try:
        load(library)
    except OSError:
        return False
    return True


def _library_problem(libraries: Mapping[str, str], load: Loader) -> Problem | None:
    missing = missing_libraries(libraries, load)
    if not missing:
        return None
    return Problem(
        "libraries",
        f"MetaViz cannot open a window because {', '.join(missing)} cannot be loaded. "
        f"On Debian and Ubuntu, run: {install_line(libraries[name] for name in missing)}",
        LIBRARIES_MISSING,
    )


def _qt_platforms(environ: Mapping[str, str]) -> list[str]:
    """Read the platforms that QT_QPA_PLATFORM asks for, such as "wayland;xcb" or "vnc:size=9x9"."""
    wanted = environ.get("QT_QPA_PLATFORM", "").split(";")
    return [name for name in (platform.split(":")[0].strip() for platform in wanted) if name]


def _opens_x_windows(environ: Mapping[str, str]) -> bool:
    platforms = _qt_platforms(environ)
    if not _WITHOUT_DISPLAY.isdisjoint(platforms):
        return False
    return "xcb" in platforms if platforms else bool(environ.get("DISPLAY"))


def _display_problem(environ: Mapping[str, str]) -> Problem | None:
    platforms = _qt_platforms(environ)
    usable = environ.get("DISPLAY") or (environ.get("WAYLAND_DISPLAY") and platforms != ["xcb"])
    if usable or not _WITHOUT_DISPLAY.isdisjoint(platforms):
        return None
    return Problem(
        "display",
        "MetaViz cannot open a window because this session has no display: neither DISPLAY nor "
        "WAYLAND_DISPLAY is set. Start it from a desktop session, or with: xvfb-run -a metaviz",
        DISPLAY_MISSING,
    )


def _pyside_problem(python: tuple[int, int], version_of: VersionOf) -> Problem | None:
    version = version_of("PySide6-Essentials") or version_of("PySide6")
    if python >= (3, 12) or version is None or _major_minor(version) < (6, 12):
        return None
    return Problem(
        "pyside",
        f"MetaViz cannot use PySide6 {version} with Python {python[0]}.{python[1]}, because that "
        "pair loses references to None and aborts after a while. "
        "Run: pip install 'PySide6-Essentials<6.12', or use Python 3.12",
        PYSIDE_UNSUITABLE,
    )


def _major_minor(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)
