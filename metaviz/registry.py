"""What can be chosen by an id: each module of a package registers what it adds."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from metaviz.config.options import OptionError, Options, checked, known_text


class Described(Protocol):
    """What an entry has at least."""

    @property
    def id(self) -> str:
        """The id that it is found by."""


Entry = TypeVar("Entry", bound=Described)
Factory = TypeVar("Factory", bound=Callable[..., object])


@dataclass(frozen=True)
class Registered(Generic[Entry, Factory]):
    """A description, the model of the options, and what builds the thing from them."""

    entry: Entry
    options: type[Options]
    factory: Factory

    def checked(self, values: Mapping[str, Any]) -> Options:
        """Check the options. Raises: OptionError."""
        return checked(self.options, dict(values), prefix=f"{self.entry.id}.")


Kind = TypeVar("Kind", bound=Registered[Any, Any])


class Registry(Mapping[str, Kind]):
    """All of one kind by id, in the order of the modules that register them; others come last.

    The modules of the package are imported when the registry is first asked, and then plugins.
    """

    every: ClassVar["list[Registry[Any]]"] = []
    """All registries of the process."""

    def __init__(
        self, noun: str, field: str, package: str, modules: Callable[[], Iterable[str]]
    ) -> None:
        """Take what the things are called, the option that names one, and where they are."""
        self.noun, self._field = noun, field
        self._package, self._modules = package, modules
        self._kinds: dict[str, Kind] = {}
        self._loaded = False
        Registry.every.append(self)

    def register(self, kind: Kind) -> None:
        """Add one, or replace the one that has its id."""
        self._kinds[kind.entry.id] = kind

    def restore(self, kinds: Mapping[str, Any]) -> None:
        """Go back to what was registered before."""
        self._kinds = dict(kinds)

    def find(self, name: str) -> Kind:
        """Return the one of an id. Raises: OptionError naming those there are."""
        if name not in self:
            sentence = f"There is no {self.noun} {name!r}; {known_text(name, self)}."
            raise OptionError(self._field, sentence)
        return self[name]

    def __getitem__(self, name: str) -> Kind:
        """Return the one of an id."""
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the ids in order."""
        return iter(self._all())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._all())

    def _all(self) -> dict[str, Kind]:
        if not self._loaded:
            modules = [f"{self._package}.{module}" for module in self._modules()]
            for module in modules:
                import_module(module)
            places = {module: place for place, module in enumerate(modules)}
            self._kinds = dict(
                sorted(
                    self._kinds.items(),
                    key=lambda item: places.get(item[1].factory.__module__, len(places)),
                )
            )
            self._loaded = True
            import_module("metaviz.plugin_loader").PLUGINS.load_all()
        return self._kinds
