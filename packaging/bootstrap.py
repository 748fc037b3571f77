"""Set up MetaViz on a fresh machine: check it, make .venv, and install the tested versions.

Run it as `python3 packaging/bootstrap.py` (Linux, macOS) or `py packaging/bootstrap.py` (Windows).
METAVIZ_TORCH chooses the build of torch on Linux: `auto` (the CPU build where there is no NVIDIA
driver), `cpu` (always the CPU build) or `default` (whatever pip's own sources offer).
"""

from __future__ import annotations  # A SyntaxError here means: MetaViz needs Python 3.11 or newer.

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".ok"
CONSTRAINTS = ROOT / "constraints.txt"
INPUTS = (ROOT / "pyproject.toml", CONSTRAINTS)

PINNED = frozenset({"torch", "torchvision"})
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
FONT_PACKAGE = "fonts-dejavu-core"
FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts")
FONT_SUFFIXES = frozenset({".ttf", ".otf", ".ttc", ".pfb"})

# An old Python has to come as far as check_python, so nothing newer may run at import.
if TYPE_CHECKING:
    Finder = Callable[[], tuple[list[str], list[str]]]
    Installer = Callable[[Sequence[str]], None]


class SetUpError(Exception):
    """Set-up cannot go on; the message says why and what would help, in words for the user."""


def main() -> int:
    """Set up .venv unless its stamp says that this has been done, and return the exit code."""
    # The table of libraries is shared with metaviz.preflight.
    sys.path.insert(0, str(ROOT))
    try:
        set_up()
    except SetUpError as error:
        print(f"Set-up stopped: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Set-up stopped because of the file system: {error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Set-up was interrupted; the next one starts again.", file=sys.stderr)
        return 130
    return 0


def set_up() -> None:
    """Bring .venv up to date with pyproject.toml, constraints.txt and this Python.

    Raises: SetUpError, if the machine lacks something that set-up may not or cannot install.
    """
    check_python(sys.version_info[:3])
    stamp = fingerprint(INPUTS, sys.version_info[:2])
    if is_stamped(STAMP, stamp):
        # A newer time keeps make from asking again.
        STAMP.touch()
        return
    mode = torch_mode(os.environ)
    pins = read_pins(CONSTRAINTS.read_text(encoding="utf-8"))
    check_venv(has_module)
    advice = None
    if sys.platform.startswith("linux"):
        advice = provide_system_packages(missing_system_packages, system_installer())
    STAMP.unlink(missing_ok=True)
    pip = [str(make_venv(VENV)), "-m", "pip", "--disable-pip-version-check"]
    install(pip, pins, cpu_build=wants_cpu_build(mode), required=mode == "cpu")
    STAMP.write_text(stamp, encoding="utf-8")
    print("MetaViz is set up.")
    if advice:
        print(f"Note: {advice}", file=sys.stderr)


def check_python(version: tuple[int, int, int]) -> None:
    """Refuse a Python that is too old, with SetUpError."""
    if version < (3, 11):
        found = ".".join(map(str, version))
        raise SetUpError(
            f"MetaViz needs Python 3.11 or newer, and this is Python {found}. "
            "Name a newer one, for example: make setup PYTHON=python3.11"
        )


def check_venv(has: Callable[[str], bool]) -> None:
    """Refuse a Python that cannot make virtual environments, with SetUpError."""
    missing = [name for name in ("venv", "ensurepip") if not has(name)]
    if missing:
        raise SetUpError(
            f"this Python comes without {' and '.join(missing)}. "
            "On Debian and Ubuntu, run: sudo apt-get install -y python3-venv"
        )


def has_module(name: str) -> bool:
    """Say whether a top-level module can be imported."""
    from importlib.util import find_spec

    return find_spec(name) is not None


def fingerprint(inputs: Sequence[Path], python: tuple[int, int]) -> str:
    """Digest everything that decides what belongs into .venv."""
    digest = hashlib.sha256(f"{python[0]}.{python[1]}".encode())
    for path in inputs:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_stamped(stamp: Path, expected: str) -> bool:
    """Say whether an earlier set-up with the same inputs reached its end."""
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == expected


def torch_mode(environ: Mapping[str, str]) -> str:
    """Read METAVIZ_TORCH; raises SetUpError, naming the value, if it is not a known one."""
    mode = environ.get("METAVIZ_TORCH") or "auto"
    if mode not in {"auto", "cpu", "default"}:
        raise SetUpError(f"METAVIZ_TORCH is {mode!r}; it has to be auto, cpu or default.")
    return mode


def wants_cpu_build(
    mode: str,
    *,
    system: str = sys.platform,
    machine: str | None = None,
    has_nvidia: bool | None = None,
) -> bool:
    """Say whether torch should be a CPU build that pip would not choose by itself.

    Only on Linux do the public packages bring gigabytes of CUDA along.
    """
    if not system.startswith("linux") or mode == "default":
        return False
    if machine is None:
        machine = os.uname().machine
    if has_nvidia is None:
        has_nvidia = shutil.which("nvidia-smi") is not None
    return mode == "cpu" or (machine == "x86_64" and not has_nvidia)


def provide_system_packages(find: Finder, install: Installer | None) -> str | None:
    """Install the system packages that Qt misses if that is possible, else return advice on them.

    Raises: SetUpError, if the installation fails.
    """
    missing, packages = find()
    if packages and install is not None:
        install(packages)
        missing, packages = find()
    if not packages:
        return None
    from metaviz.preflight import install_line

    return (
        f"MetaViz's window needs {', '.join(missing)}, which this machine lacks. "
        f"On Debian and Ubuntu, run: {install_line(packages)}"
    )


def missing_system_packages() -> tuple[list[str], list[str]]:
    """List what Qt needs and the system lacks, and the Debian packages that would bring it."""
    from metaviz.preflight import BASE_LIBRARIES, XCB_LIBRARIES, missing_libraries

    libraries = {**BASE_LIBRARIES, **XCB_LIBRARIES}
    missing = missing_libraries(libraries)
    packages = [libraries[name] for name in missing]
    if not has_font(FONT_FOLDERS):
        return [*missing, "a font"], [*packages, FONT_PACKAGE]
    return missing, packages


def has_font(folders: Sequence[str]) -> bool:
    """Say whether any of the folders holds a font; without one, Qt draws boxes for letters."""
    return any(
        path.suffix.lower() in FONT_SUFFIXES
        for folder in folders
        for path in Path(folder).expanduser().rglob("*")
    )


def system_installer() -> Installer | None:
    """Choose how to install system packages: by apt-get as root, or not at all."""
    return apt_install if os.geteuid() == 0 and shutil.which("apt-get") else None


def apt_install(packages: Sequence[str]) -> None:
    """Install Debian packages as root; raises SetUpError if apt-get fails."""
    print(f"Installing system packages: {' '.join(packages)}", flush=True)
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Old lists may still do when the update cannot reach every source.
    succeeds(["apt-get", "update", "-q"], environ)
    command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
    if not succeeds(command, environ):
        raise SetUpError(f"apt-get could not install {' '.join(packages)}; it says why above.")


def make_venv(folder: Path) -> Path:
    """Make the virtual environment where there is no usable one, and return its Python."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not is_usable(python):
        print(f"Making {folder}", flush=True)
        if not succeeds([sys.executable, "-m", "venv", "--clear", str(folder)]):
            raise SetUpError(f"{sys.executable} could not make {folder}; it says why above.")
    return python


def is_usable(python: Path) -> bool:
    """Say whether a virtual environment has pip and the same Python as this one."""
    probe = f"import pip, sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    return python.exists() and succeeds([str(python), "-c", probe], quiet=True)


def install(
    pip: Sequence[str], pins: Mapping[str, str], *, cpu_build: bool, required: bool
) -> None:
    """Install MetaViz and its tests' needs, with torch first where its build matters.

    Raises: SetUpError, if pip fails, or if there is no CPU build although one is required.
    """
    install_with_pins = [*pip, "install", "-c", str(CONSTRAINTS)]
    if cpu_build and not install_cpu_build(install_with_pins, pins):
        if required:
            raise SetUpError(
                f"METAVIZ_TORCH is cpu, but neither pip's sources nor {CPU_INDEX} "
                f"offer torch {pins['torch']}+cpu for this Python."
            )
        print("No CPU build of torch was found; taking the default build.", flush=True)
    if not succeeds([*install_with_pins, "-e", ".[test]"]):
        raise SetUpError("pip could not install what MetaViz needs; it says why above.")


def read_pins(constraints: str) -> dict[str, str]:
    """Read the versions of torch and torchvision; raises SetUpError if one is not pinned."""
    lines = (line.partition("==") for line in constraints.splitlines())
    pins = {name: version for name, _, version in lines if name in PINNED}
    if pins.keys() != PINNED:
        raise SetUpError("constraints.txt has to pin torch== and torchvision==, and does not.")
    return pins


def install_cpu_build(install_with_pins: Sequence[str], pins: Mapping[str, str]) -> bool:
    """Install the pinned torch as a CPU build, and say whether one was found.

    Where pip's own sources offer one it is taken, without asking PyTorch's index.
    """
    torch, vision = (f"{name}=={pins[name]}+cpu" for name in ("torch", "torchvision"))
    own = [*install_with_pins, "--no-deps", torch]
    if succeeds([*own, "--dry-run"], quiet=True):
        return succeeds(own)
    index = [*own, vision, "--index-url", CPU_INDEX]
    # The probe gives up soon on an index that cannot be reached; the download itself may be slow.
    probe = [*index, "--dry-run", "--retries", "0", "--timeout", "5"]
    return succeeds(probe, quiet=True) and succeeds(index)


def succeeds(
    command: Sequence[str], environ: Mapping[str, str] | None = None, *, quiet: bool = False
) -> bool:
    """Run a command and say whether it ended well; a quiet one prints nothing."""
    output = subprocess.DEVNULL if quiet else None
    done = subprocess.run(command, env=environ, stdout=output, stderr=output, cwd=ROOT, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
