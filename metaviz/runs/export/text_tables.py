"""A table as text that is pasted elsewhere: plain, Markdown, or LaTeX with booktabs."""

from collections.abc import Collection, Sequence
from typing import Literal

Kind = Literal["text", "markdown", "latex"]
KINDS: dict[Kind, str] = {"text": "Text", "markdown": "Markdown", "latex": "LaTeX"}
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "−": "$-$", "≤": r"$\le$", "≥": r"$\ge$", "∞": r"$\infty$", "·": r"$\cdot$",
    "–": "--", "▲": "", "▼": "", "’": "'", "τ": r"$\tau$", "α": r"$\alpha$", "β": r"$\beta$",
}  # fmt: skip


def text_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    kind: Kind,
    *,
    words: Collection[int] = (0,),
    best: int | None = None,
) -> str:
    """Return a table; columns that are not `words` stand to the right, the row `best` is bold.

    Columns without anything in them are left out.
    """
    kept = [at for at in range(len(heads)) if any(row[at].strip() for row in rows)] or [0]
    titles = [heads[at] for at in kept]
    cells = [[" ".join(row[at].split()) for at in kept] for row in rows]
    right = [at not in words for at in kept]
    made = {"text": _plain, "markdown": _markdown, "latex": _latex}
    return made[kind](titles, cells, right, best)


def _plain(heads: list[str], rows: list[list[str]], right: list[bool], _best: int | None) -> str:
    lines = [heads, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _markdown(heads: list[str], rows: list[list[str]], right: list[bool], best: int | None) -> str:
    def line(cells: Sequence[str], *, bold: bool = False) -> str:
        escaped = (cell.replace("|", "\\|").replace("*", "\\*") for cell in cells)
        return f"| {' | '.join(f'**{c}**' if bold and c else c for c in escaped)} |"

    rule = [" ---: " if is_right else " --- " for is_right in right]
    body = [line(row, bold=place == best) for place, row in enumerate(rows)]
    return "\n".join([line(heads), f"|{'|'.join(rule)}|", *body])


def _latex(heads: list[str], rows: list[list[str]], right: list[bool], best: int | None) -> str:
    def line(cells: Sequence[str], *, bold: bool = False) -> str:
        escaped = ("".join(_LATEX.get(letter, letter) for letter in cell) for cell in cells)
        shown = [f"\\textbf{{{c.strip()}}}" if bold and c else c.strip() for c in escaped]
        return f"{' & '.join(shown)} \\\\"

    body = [line(row, bold=place == best) for place, row in enumerate(rows)]
    layout = "".join("r" if is_right else "l" for is_right in right)
    begin, end = f"\\begin{{tabular}}{{{layout}}}", "\\end{tabular}"
    return "\n".join([begin, "\\toprule", line(heads), "\\midrule", *body, "\\bottomrule", end])
