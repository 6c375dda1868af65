"""The report as one HTML file that opens without a network."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.document import Cell, Document, Figure, Photo, Table
from reports.figures.style import GRID, INK, MUTED, TAG
from reports.table_csv import behind_text, full_text

REFERENCE = re.compile(r'(?:url\(#|href="#)([^)"]+)')

# Ink that is drawn once for white paper follows the page's colours on screen.
RECOLOURED = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--rule)",
    # The darkest colours of models would hardly show on dark paper.
    "#0015bb": "var(--navy)",
    "#254104": "var(--moss)",
    "#4a0284": "var(--grape)",
    "#582140": "var(--wine)",
    "#642edc": "var(--indigo)",
    "#7f3386": "var(--plum)",
    "#954717": "var(--brown)",
    "#0a684e": "var(--pine)",
}


def render_html(document: Document) -> str:
    """Return the whole page.

    Parameters
    ----------
    document : Document
        What to set. All its strings are escaped; none is markup.

    Returns
    -------
    str
        HTML 5. Styles, script and figures are inside, and a content security policy keeps the browser from loading
        anything else.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=PackageLoader("reports"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline_svg"] = inline_svg
    environment.filters["data_uri"] = data_uri
    environment.globals["full_text"] = full_text
    environment.globals["behind_text"] = behind_text
    environment.globals["note_number"] = note_number
    # A macro sees globals only, not what is handed to the page.
    environment.globals["numbers"] = document.numbers()
    script = _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html.j2").render(
        document=document,
        # Both are files of this package, not input.
        style=Markup(_asset("report.css")),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_digest=digest,
    )


def _asset(name: str) -> str:
    return resources.files("reports").joinpath("templates", name).read_text(encoding="utf-8")


def note_number(table: Table, cell: Cell) -> int:
    """Return the number of a cell's footnote, 0 without one."""
    return 0 if cell.note is None else table.notes.index(cell.note) + 1


def data_uri(photo: Photo) -> str:
    """Return a picture as an address that holds all of it."""
    return f"data:image/jpeg;base64,{base64.b64encode(photo.jpeg).decode()}"


def inline_svg(figure: Figure) -> Markup:
    """Return a figure's SVG as part of a page: own ids, the page's colours, a text alternative."""
    svg = figure.svg[figure.svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>", "", svg, count=1, flags=re.DOTALL)
    referenced = set(REFERENCE.findall(svg))
    pixels = figure.width * 4 / 3

    def fit(tag: re.Match[str]) -> str:
        text = tag[0]
        if text.startswith("<svg"):
            return _root(text, figure, pixels)
        text = re.sub(
            r' id="([^"]*)"', lambda found: f' id="{figure.name}-{found[1]}"' if found[1] in referenced else "", text
        )
        text = text.replace("url(#", f"url(#{figure.name}-").replace('xlink:href="#', f'href="#{figure.name}-')
        for fixed, variable in RECOLOURED.items():
            text = text.replace(fixed, variable)
        return re.sub(r"\s+", " ", text)

    # Matplotlib escapes every text it writes, so a tag ends at the first ">" and names cannot open one.
    return Markup(re.sub(r">\s+<", "><", TAG.sub(fit, svg)))  # noqa: S704


def _root(tag: str, figure: Figure, width: float) -> str:
    view = re.search(r'viewBox="[^"]*"', tag)
    assert view is not None
    opening = Markup('<svg role="img" aria-label="{}" {} style="--natural: {}px">')
    return opening.format(figure.alt, Markup(view[0]), round(width))  # noqa: S704
