"""The documentation builds without a warning, its links lead somewhere, and its commands run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.command_line import metaviz

ROOT = Path(__file__).parents[2]
WRITTEN = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUICK = {
    "compare": ["--steps", "4", "--set", "eval_tasks=4", "--set", "eval_every=2", "--seeds", "0"],
    "evaluate": ["--set", "tasks=5"],
}
"""What makes the commands of the README short; a later value of an option is the one that holds."""
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    built = subprocess.run(
        [*sphinx, "-d", tmp_path / "trees", ROOT / "docs", tmp_path / "html"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    for page in ("index", "generated/methods/maml", "generated/commands", "generated/settings"):
        assert (tmp_path / "html" / f"{page}.html").is_file()
    shown = (tmp_path / "html" / "generated" / "methods" / "maml.html").read_text("utf-8")
    assert "(I − αH₀) ⋯ (I − αH_{K−1}) ∇L_Q(φ^K)" in shown


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_commands_of_the_readme_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    del home
    monkeypatch.chdir(tmp_path)
    commands = commands_of((ROOT / "README.md").read_text(encoding="utf-8"))
    assert {name for name, *_ in commands} >= {"compare", "evaluate", "export", "report"}
    for name, *arguments in commands:
        outcome = metaviz(name, *arguments, *QUICK.get(name, []))
        if name == "resume":
            assert outcome.error.startswith("metaviz: All runs in results are done")
        else:
            assert outcome.code == 0, (name, outcome.error)
    assert (tmp_path / "report" / "report.html").is_file()
    assert len((tmp_path / "tasks.csv").read_text().splitlines()) > 15


def commands_of(text: str) -> list[list[str]]:
    """Return the arguments of every `metaviz` command in code blocks of a page."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("metaviz ")]
