"""Plugins: where they are found, and their loading into every process that asks a registry."""

import hashlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from metaviz.config.options import OptionError
from metaviz.config.quantities import QUANTITIES
from metaviz.files.foreign import ForeignError, read_bytes
from metaviz.paths import data_dir
from metaviz.registry import Registry

GROUP = "metaviz.plugins"
"""The group of entry points under which installed packages name their plugins."""
VARIABLE = "METAVIZ_PLUGINS"
"""An environment variable with further files, which processes hand on to those they start."""
_PREFIX = "metaviz_plugin_"
_MOST_BYTES = 10_000_000
_log = logging.getLogger("metaviz.plugins")


@dataclass(frozen=True)
class Source:
    """A plugin that was found: a file, or an entry point of an installed package."""

    name: str
    place: Path | EntryPoint


@dataclass(frozen=True)
class Plugin:
    """A plugin that was loaded; `adds` are ids and names of what it registered."""

    name: str
    version: str
    sha256: str
    place: str
    module: str
    adds: tuple[str, ...]

    @property
    def text(self) -> str:
        """What runs store of it."""
        return f"{self.name} {self.version} sha256:{self.sha256}"


class PluginError(ValueError):
    """A plugin cannot be loaded; the message is one sentence."""


class Plugins:
    """What was loaded into this process, and why other plugins were not."""

    def __init__(self) -> None:
        """Begin with nothing loaded."""
        self.loaded: dict[str, Plugin] = {}
        self.broken: dict[str, str] = {}
        self._is_loaded = False

    def load_all(self) -> None:
        """Load every plugin there is, once; a broken one is logged in one sentence and left out."""
        if self._is_loaded:
            return
        self._is_loaded = True
        for source in sources():
            try:
                self.load(source)
            except PluginError as error:
                self.broken[source.name] = str(error)
                _log.warning("%s", error)

    def load(self, source: Source) -> Plugin:
        """Load one plugin, wholly or not at all. Raises: PluginError."""
        for registry in Registry.every:
            len(registry)  # what is shipped comes first
        before = _known()
        try:
            plugin = self._executed(source, before)
        except PluginError:
            _restore(before)
            raise
        self.loaded[plugin.name] = plugin
        return plugin

    def of_modules(self, modules: set[str]) -> list[Plugin]:
        """Return the plugins whose code is in one of these modules."""
        return [one for one in self.loaded.values() if one.module in modules]

    def _executed(self, source: Source, before: "_Known") -> Plugin:
        if source.name in self.loaded:
            raise PluginError(
                f"There are two plugins {source.name!r}: the one in {_place(source)} is left out."
            )
        module, sha256, version = _module_of(source)
        adds = _added(before, source)
        name = str(getattr(module, "NAME", source.name))
        version = str(getattr(module, "__version__", version))
        place = _place(source)
        return Plugin(name, version, sha256, place, module.__name__, adds)


PLUGINS = Plugins()
"""The plugins of this process."""


def sources() -> list[Source]:
    """Return the plugins there are, without loading any."""
    return [*_files(), *(Source(point.name, point) for point in entry_points(group=GROUP))]


def plugin_folder() -> Path:
    """Return the folder whose .py files are plugins. It may not exist."""
    return data_dir() / "plugins"


def add_file(path: Path) -> None:
    """Let a file be a plugin of this process and of those it starts. Raises: OptionError."""
    if not path.is_file():
        raise OptionError("plugin", f"--plugin {path} is no file: name a plugin's .py file.")
    known = [part for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    os.environ[VARIABLE] = os.pathsep.join([*known, str(path.resolve())])


def source_of(path: Path) -> Source:
    """Return a file as a plugin."""
    return Source(path.stem, path)


def _files() -> Iterator[Source]:
    home = plugin_folder()
    found = sorted(home.glob("*.py")) if home.is_dir() else []
    named = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    for path in dict.fromkeys([*found, *named]):
        if not path.name.startswith("_"):
            yield source_of(path)


def _place(source: Source) -> str:
    return source.place.value if isinstance(source.place, EntryPoint) else str(source.place)


def _module_of(source: Source) -> tuple[ModuleType, str, str]:
    """Run a plugin's code; return its module, hash and version. Raises: PluginError."""
    if isinstance(source.place, EntryPoint):
        point = source.place
        module = _run(source, lambda: _imported(point))
        path = getattr(module, "__file__", None)
        version = point.dist.version if point.dist is not None else "0"
        return module, _sha256(Path(path)) if path else "", version
    path = source.place
    sha256 = _sha256(path)
    name = f"{_PREFIX}{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"The plugin {path} is no Python file.")
    module, loader = module_from_spec(spec), spec.loader
    sys.modules[name] = module
    try:
        _run(source, lambda: loader.exec_module(module))
    except PluginError:
        sys.modules.pop(name, None)
        raise
    return module, sha256, "0"


def _imported(point: EntryPoint) -> ModuleType:
    found = point.load()
    return found if isinstance(found, ModuleType) else sys.modules[found.__module__]


def _run(source: Source, code: "Callable[[], ModuleType | None]") -> ModuleType:
    """Call what runs a plugin's code; whatever it raises is one sentence. Raises: PluginError."""
    try:
        return code()  # type: ignore[return-value]
    except (Exception, SystemExit) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        kind = "" if isinstance(error, OptionError) else f"{type(error).__name__}: "
        _log.info("The plugin %s could not be loaded", source.name, exc_info=True)
        raise PluginError(
            f"The plugin {source.name} in {_place(source)} is left out: {kind}{reason.rstrip('.')}."
        ) from error


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(read_bytes(path, _MOST_BYTES)).hexdigest()
    except ForeignError as error:
        raise PluginError(f"The plugin {path} cannot be read: {error}.") from error


@dataclass(frozen=True)
class _Known:
    """What was registered before a plugin was loaded."""

    kinds: Mapping[int, Mapping[str, object]]
    quantities: Mapping[str, object]


def _known() -> _Known:
    return _Known(
        {place: dict(registry) for place, registry in enumerate(Registry.every)}, dict(QUANTITIES)
    )


def _restore(before: _Known) -> None:
    for place, registry in enumerate(Registry.every):
        registry.restore(before.kinds.get(place, {}))
    for name in QUANTITIES.keys() - before.quantities.keys():
        del QUANTITIES[name]


def _added(before: _Known, source: Source) -> tuple[str, ...]:
    """Return what a plugin registered. Raises: PluginError for ids that are taken."""
    found = []
    for place, registry in enumerate(Registry.every):
        kinds = before.kinds[place]
        for name, kind in registry.items():
            if name not in kinds:
                found.append(f"{registry.noun} {name}")
            elif kind is not kinds[name]:
                raise PluginError(
                    f"The plugin {source.name} in {_place(source)} is left out: the "
                    f"{registry.noun} id {name!r} is taken, so choose another."
                )
    found += [f"quantity {name}" for name in QUANTITIES if name not in before.quantities]
    return tuple(found)
