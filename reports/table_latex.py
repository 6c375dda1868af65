"""A table of the report as LaTeX, for the paper that cites it: `booktabs` rules, the report's own digits."""

from __future__ import annotations

from reports.document import Cell, Column, Table

_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "`": "{`}",
    # After the end of a row these would be read as its arguments.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "\N{GREEK SMALL LETTER KAPPA}": r"$\kappa$",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
    "\N{NARROW NO-BREAK SPACE}": r"\,",
    "\N{NO-BREAK SPACE}": "~",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
}


def table_latex(table: Table) -> str:
    r"""Return a floating table for a document that loads `booktabs` and nothing else.

    Numbers are written as in the report. Second lines, such as intervals, stand below them, footnotes below the
    table; the best value of a column is bold. Names are text: no sign in them is a command. Letters beyond ASCII are
    kept, and need ``\usepackage[utf8]{inputenc}`` in an old LaTeX.
    """
    layout = "".join("r" if column.numeric else "l" for column in table.columns)
    heading = " & ".join(_heading(column) for column in table.columns)
    rows = "\n".join(" & ".join(_cell(table, cell) for cell in row) + r" \\" for row in table.rows)
    notes = "".join(
        f"\n\n\\vspace{{2pt}}\n\\raggedright\\footnotesize $^{{{place}}}$ {escaped(note)}"
        for place, note in enumerate(table.notes, start=1)
    )
    return rf"""% Needs \usepackage{{booktabs}}.
\begin{{table}}
\centering
\caption{{{escaped(table.caption)}}}
\label{{tab:{table.name}}}
\footnotesize
\setlength{{\tabcolsep}}{{3pt}}
\renewcommand{{\arraystretch}}{{1.15}}
\begin{{tabular}}{{{layout}}}
\toprule
{heading} \\
\midrule
{rows}
\bottomrule
\end{{tabular}}{notes}
\end{{table}}
"""


def escaped(text: str) -> str:
    """Return text that LaTeX sets as it is: signs that it gives a meaning are written by their commands."""
    pieces: list[str] = []
    for place, letter in enumerate(text):
        if letter in "-'" and text[place - 1 : place] == letter:
            # Two of these in a row would be set as one longer sign.
            pieces.append("{}")
        pieces.append(_SIGNS.get(letter, letter if letter.isprintable() else " "))
    return "".join(pieces)


def _heading(column: Column) -> str:
    lines = [escaped(word) for word in column.label.split()]
    if not column.numeric or len(lines) == 1:
        return " ".join(lines)
    return r"\shortstack[r]{" + r"\\".join(lines) + "}"


def _cell(table: Table, cell: Cell) -> str:
    words = escaped(cell.text)
    if cell.best:
        words = rf"\textbf{{{words}}}"
    if cell.note is not None:
        words += f"$^{{{table.notes.index(cell.note) + 1}}}$"
    if not cell.detail:
        return words
    side = "r" if cell.value is not None else "l"
    return rf"\begin{{tabular}}[t]{{@{{}}{side}@{{}}}}{words}\\{{\scriptsize {escaped(cell.detail)}}}\end{{tabular}}"
