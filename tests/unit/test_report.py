"""A report is one file that loads and runs nothing, and says what is needed to repeat it."""

import base64
import html
import io
import re
import shlex
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaviz.config.run_config import EvaluationProtocol, read_comparison
from metaviz.runs.export.html_report import write_report
from metaviz.runs.model.statistics import interval_text
from metaviz.runs.storage.store import list_runs, open_run
from metaviz.training.protocol import judge
from tests.unit.command_line import TINY, metaviz

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags, images and text, and fails where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small runs."""
    out = tmp_path_factory.mktemp("results")
    settings = ("--steps", "3", "--set", "eval_every=2", "--set", "metasgd.form=direct")
    outcome = metaviz("compare", "--algorithms", "maml,metasgd", "--out", out, *TINY, *settings)
    assert outcome.code == 0, outcome.error
    return out


def test_report_holds_results_figures_settings_and_commands(results: Path, tmp_path: Path) -> None:
    for folder in list_runs(results / "runs"):
        judge(folder, EvaluationProtocol(tasks=4))
    out = tmp_path / "report" / "sinusoids.html"
    outcome = metaviz("report", results, "--out", out, "--title", "Two methods")
    assert outcome.code == 0, outcome.error
    text = out.read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    links = [value or "" for name, value in page.attributes if name in {"src", "href"}]
    assert links
    assert all(link.startswith("data:image/png;base64,") for link in links)
    for link in links:
        with Image.open(io.BytesIO(base64.b64decode(link.partition(",")[2]))) as image:
            assert image.width > 300
    for word in ("Two methods", "Meta-SGD · seed 0", "Held-out tasks", "sign test", "torch"):
        assert word in page.text
    record = open_run(list_runs(results / "runs")[0])
    last = record.evaluations[-1]
    shown = interval_text(last.at("query_loss"), last.at("query_loss_ci95"))
    assert "±" in shown
    assert shown in page.text
    for folder in list_runs(results / "runs"):
        config = read_comparison(out.parent / "configs" / f"{folder.name}.toml")
        stored = open_run(folder).config
        kept = {key: "" if value is None else value for key, value in stored["options"].items()}
        assert config.options[stored["algorithm"]] == kept
        assert config.shared["inner_lr"] == stored["shared"]["inner_lr"]
        assert f"--config configs/{folder.name}.toml" in page.text
    names = {path.stem.partition("-")[0] for path in (out.parent / "figures").glob("*.pdf")}
    assert {"training", "inner", "convergence", "fan", "geometry", "benchmark"} <= names
    assert len((out.parent / "results.csv").read_text().splitlines()) == 3
    listed = {Path(line) for line in outcome.out.splitlines()}
    assert all(path.exists() for path in listed)


def test_what_a_run_holds_possible_is_in_its_report(tmp_path: Path) -> None:
    small = ("--set", "eval_tasks=4", "--set", "mixture.hidden=8", "--set", "platipus.samples=3")
    made = metaviz(
        *("compare", "--problem", "mixture", "--algorithms", "platipus,llama", "--steps", 2),
        *small,
        *("--out", tmp_path / "c"),
    )
    assert made.code == 0, made.error
    out = tmp_path / "r" / "report.html"
    outcome = metaviz("report", tmp_path / "c", "--out", out)
    assert outcome.code == 0, outcome.error
    text = Page(out.read_text(encoding="utf-8")).text
    for name in ("functions of task 1", "calibration", "spread against error"):
        assert text.count(f"What is held possible: {name}") == 2
    charts = (out.parent / "charts.csv").read_text(encoding="utf-8")
    assert "posterior-fan-1" in charts


def test_a_copied_run_is_reported_with_what_it_was_judged_as(results: Path, tmp_path: Path) -> None:
    for folder in list_runs(results / "runs"):
        judge(folder, EvaluationProtocol(tasks=5))
        shutil.copytree(folder, tmp_path / "runs" / f"copy-of-{folder.name}")
    out = tmp_path / "r.html"
    outcome = metaviz("report", tmp_path / "runs", "--out", out)
    assert outcome.code == 0, outcome.error
    text = Page(out.read_text("utf-8")).text
    assert "5 test tasks" in text
    assert "metaviz evaluate repeated --set tasks=5 --set split=test --set seed=0" in text
    (original, *_) = list_runs(results / "runs")
    outcome = metaviz("report", original, tmp_path / "runs", "--out", out)
    assert outcome.code == 1
    assert f"is a copy of the run in {original}." in outcome.error


def test_the_command_of_a_run_can_be_pasted(results: Path, tmp_path: Path) -> None:
    records = [open_run(folder) for folder in list_runs(results / "runs")]
    words = ["metaviz", "compare", "--out", 'it\'s my "best" run', "--set", "images.path=~/my data"]
    for record in records:
        record.environment["command"] = words
    write_report(records, {}, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text("utf-8")
    (line,) = re.findall(r'<td class="key">command</td><td>(.*?)</td>', text)
    assert shlex.split(html.unescape(line)) == words


def protocols(results: Path, tmp_path: Path, *asked: tuple[str, EvaluationProtocol]) -> str:
    """Return the report's part on held-out tasks, of runs judged by these protocols."""
    copied = shutil.copytree(results / "runs", tmp_path / "runs")
    for folder in list_runs(copied):
        shutil.rmtree(folder / "evaluations", ignore_errors=True)
        for algorithm, protocol in asked:
            if folder.name.startswith(f"{algorithm}-"):
                judge(folder, protocol)
    assert metaviz("report", copied, "--out", tmp_path / "r.html").code == 0
    text = (tmp_path / "r.html").read_text("utf-8")
    return html.unescape(text.partition("Task by task")[2].partition("<h2>")[0])


def test_only_evaluations_by_one_protocol_are_subtracted(results: Path, tmp_path: Path) -> None:
    alike = EvaluationProtocol(tasks=4)
    text = protocols(
        *(results, tmp_path, ("maml", alike), ("metasgd", alike)),
        ("metasgd", EvaluationProtocol(tasks=4, steps=4)),
        ("maml", EvaluationProtocol(tasks=4, seed=1)),
        ("metasgd", EvaluationProtocol(tasks=4, shots=3)),
        ("maml", EvaluationProtocol(tasks=4, draws="training")),
        ("maml", EvaluationProtocol(tasks=4, together=False)),
    )
    (caption,) = re.findall("<caption>(.*?)</caption>", text)
    assert "4 test tasks, 10-shot, 100 query examples predicted together, k = 2, seed 0" in caption
    assert text.count("<tr>") == 2
    left_out = re.findall("Not subtracted.*?: (.*?)</p>", text)
    assert len(left_out) == 5
    for told in ("k = 4", "seed 1", "3-shot", "drawn as training draws", "one by one"):
        assert sum(told in sentence for sentence in left_out) == 1, told


def test_methods_may_take_as_many_steps_each_as_in_training(tmp_path: Path) -> None:
    out, own = tmp_path / "own", ("--set", "imaml.inner_steps=4", "--steps", "1")
    outcome = metaviz("compare", "--algorithms", "maml,imaml", "--out", out, *TINY, *own)
    assert outcome.code == 0, outcome.error
    alike = EvaluationProtocol(tasks=4)
    text = protocols(out, tmp_path, ("maml", alike), ("imaml", alike))
    assert "k as trained (2, 4)" in text
    assert "Not subtracted" not in text
    outcome = metaviz("evaluate", out, "--set", "tasks=4")
    assert "k as trained (2, 4)" in " ".join(outcome.out.split())


def test_a_repeated_run_gives_the_same_numbers(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    assert metaviz("report", results, "--out", out).code == 0
    (folder,) = [f for f in list_runs(results / "runs") if f.name.startswith("metasgd")]
    config = tmp_path / "configs" / f"{folder.name}.toml"
    assert metaviz("compare", "--config", config, "--out", tmp_path / "again").code == 0
    one, other = open_run(folder), open_run(list_runs(tmp_path / "again" / "runs")[0])
    assert (
        one.evaluations[-1].curves["query_loss"].tolist()
        == other.evaluations[-1].curves["query_loss"].tolist()
    )


def test_text_of_a_run_cannot_become_markup(results: Path, tmp_path: Path) -> None:
    records = [open_run(folder) for folder in list_runs(results / "runs")]
    hostile = '<img src=x onerror="alert(1)"></td><script>'
    records[0].name = hostile
    records[0].message = hostile
    records[0].environment["gpu"] = hostile
    records[0].config["options"]["memory"] = hostile
    page = Page(write_report(records, {}, tmp_path / "r.html", hostile)[0].read_text("utf-8"))
    assert "script" not in page.tags
    assert not any(name == "onerror" for name, _ in page.attributes)
    assert page.text.count(hostile) >= 4
    assert "Content-Security-Policy" in {value for _, value in page.attributes}


def test_report_that_cannot_be_written_is_one_sentence(results: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out, said in (
        (tmp_path / "file" / "r.html", "Cannot write the report"),
        (tmp_path / "r.docx", "use a name ending in .html"),
    ):
        outcome = metaviz("report", results, "--out", out)
        assert outcome.code == 2
        assert said in outcome.error
        assert re.match(r".+\n?$", outcome.error)


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_browser_shows_every_figure_without_complaint_and_prints_on_a4(
    results: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.html"
    assert metaviz("report", results, "--out", out).code == 0
    figures = out.read_text("utf-8").count("<img ")
    printed = tmp_path / "r.pdf"
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
        *(f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={printed}", out.as_uri()),
    ]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in told.stderr
    pdf = printed.read_bytes()
    assert len(re.findall(rb"/Subtype */Image", pdf)) >= figures > 3
    (size,) = set(re.findall(rb"/MediaBox *\[0 0 ([\d.]+) ([\d.]+)\]", pdf))
    assert [float(side) for side in size] == pytest.approx([595.3, 841.9], abs=1)


def test_a_method_over_seeds_has_a_row_of_its_own(tmp_path: Path) -> None:
    arguments = ("--algorithms", "maml,reptile", "--steps", "3", "--seeds", "0-2", *TINY)
    assert metaviz("compare", *arguments, "--out", tmp_path).code == 0
    records = [open_run(folder) for folder in list_runs(tmp_path / "runs")]
    (out, *_) = write_report(records, {}, tmp_path / "report.html")
    cells = out.read_text(encoding="utf-8").split("<h3>Single runs</h3>")
    losses = [r.evaluations[-1].at("query_loss") for r in records if r.algorithm == "maml"]
    half = 4.302652729696142 * np.std(losses, ddof=1) / np.sqrt(3)
    wanted = ("MAML", "sinusoid", "3 runs", "3", interval_text(float(np.mean(losses)), half))
    row = "".join(f'<td class="{"number" * (n > 2)}">{cell}</td>' for n, cell in enumerate(wanted))
    assert row in cells[0]
    assert cells[0].count("<tr>") == 3
    assert cells[1].count("sinusoid</td>") >= 6
    (out, *_) = write_report(records[:1], {}, tmp_path / "one.html")
    assert "<h3>Single runs</h3>" not in out.read_text(encoding="utf-8")
