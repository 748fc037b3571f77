"""`metaviz plugin`: lists plugins, writes a new one, and checks one."""

import keyword
from pathlib import Path
from typing import Annotated

import typer

from metaviz.cli.output import put, say, write_file

plugin_app = typer.Typer(help="Methods, problems and networks of your own, in one Python file.")


@plugin_app.command("list")
def list_() -> int:
    """List the plugins that are loaded, what they add, and those that are broken."""
    from metaviz.algorithms.registry import ALGORITHMS
    from metaviz.plugin_loader import PLUGINS, plugin_folder

    len(ALGORITHMS)  # which loads them
    for one in PLUGINS.loaded.values():
        put(f"{one.name} {one.version} ({one.place}): {', '.join(one.adds) or 'nothing'}")
    if not PLUGINS.loaded and not PLUGINS.broken:
        say(f"There are no plugins: put their files into {plugin_folder()}.")
    return int(bool(PLUGINS.broken))


@plugin_app.command()
def new(
    name: Annotated[str, typer.Argument(help="Letters, digits and _; the id of its method.")],
    out: Annotated[Path | None, typer.Option(help="The file; NAME.py unless given.")] = None,
) -> None:
    """Write a plugin to begin with: a method, a quantity, a chart, a data set and a network."""
    from metaviz.config.options import OptionError
    from metaviz.config.quantities import is_name
    from metaviz.plugin_kit.template import template
    from metaviz.runs.storage.store import StoreError

    if not is_name(name) or keyword.iskeyword(name):
        raise OptionError(
            "name",
            f"{name!r} is no name: use small letters, digits and _, and begin with a letter.",
        )
    path = out or Path(f"{name}.py")
    if path.exists():
        raise StoreError(f"{path} exists already: choose another file.")
    write_file(path, template(name))
    put(path)


@plugin_app.command()
def check(file: Annotated[Path, typer.Argument(help="The plugin's .py file.")]) -> int:
    """Check what a plugin adds: shapes, gradients, determinism, independence of tasks, resuming."""
    from metaviz.config.options import OptionError
    from metaviz.plugin_kit.checking import check_plugin
    from metaviz.plugin_loader import PLUGINS, PluginError, source_of

    path = file.expanduser()
    if not path.is_file():
        raise OptionError("file", f"{path} is no file: name a plugin's .py file.")
    try:
        known = [p for p in PLUGINS.loaded.values() if Path(p.place).resolve() == path.resolve()]
        plugin = known[0] if known else PLUGINS.load(source_of(path))
    except PluginError as error:
        raise OptionError("file", str(error)) from error
    put(f"{plugin.name} {plugin.version} adds {', '.join(plugin.adds) or 'nothing'}.")
    failed = False
    for one in check_plugin(plugin):
        failed = failed or bool(one.failure)
        outcome = "FAILED" if one.failure else "not checked" if one.left_out else "ok"
        put(f"{outcome}  {one.subject}: {one.check}")
        if one.failure or one.left_out:
            put(f"        {one.failure or one.left_out}")
    return int(failed)
