"""Colours, type and rendering that all figures share; global matplotlib settings stay as they are."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from ensemble.predictions import ModelKind
from reports.wording import printable, shorten

INK = "#1b1f24"
MUTED = "#6a7380"
GRID = "#e2e5e9"

SHORT = 9
WIDTH = 7.1
"""Inches: the text width of an A4 page with margins of 15 mm."""

# Vermilion, blue and green of Okabe and Ito's palette; the others were searched for the greatest least distance between
# any two colours, for full sight and for eyes that lack one kind of cones, among those that stand out from white paper.
# Curves have no markers, so that every ensemble has a colour of its own.
ENSEMBLE_COLOURS = ("#d55e00", "#0072b2", "#7f3386", "#0015bb", "#c91fae", "#4a0284", "#642edc")
BACKBONE_COLOURS = ("#009e73", "#9d50fa", "#954717", "#d66ba5", "#254104", "#9288db", "#0a684e", "#582140")
ENSEMBLE_MARKERS = ("D", "s", "p", "h", "d", "H", "8")
BACKBONE_MARKERS = ("o", "^", "v", "P", "X", "<", ">", "*")

_REMARK_HEIGHT = 8.5
"""Points from one line under the name of a panel to the next."""

# A hundredth of a point is finer than any screen or printer; the text between the tags stays as it is.
TAG = re.compile(r"<[^>]*>")
LONG_FRACTION = re.compile(r"(\d\.\d\d)\d+")

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hamcv",
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.2,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True, kw_only=True)
class ModelLook:
    """How one model is drawn in every figure of a report."""

    colour: str
    """Hexadecimal colour."""
    marker: str
    """Matplotlib marker, a second key for those who do not tell the colours apart."""
    kind: ModelKind
    """Ensembles are drawn stronger."""


def model_looks(kinds: Mapping[str, ModelKind]) -> dict[str, ModelLook]:
    """Give every model its own look, by its place among its kind."""
    looks: dict[str, ModelLook] = {}
    seen = dict.fromkeys(kinds.values(), 0)
    for name, kind in kinds.items():
        colours = ENSEMBLE_COLOURS if kind == "ensemble" else BACKBONE_COLOURS
        markers = ENSEMBLE_MARKERS if kind == "ensemble" else BACKBONE_MARKERS
        place = seen[kind]
        looks[name] = ModelLook(colour=colours[place % len(colours)], marker=markers[place % len(markers)], kind=kind)
        seen[kind] += 1
    return looks


def render(paint: Callable[[Canvas], None], *, height: float, width: float = WIDTH) -> str:
    """Return what `paint` draws as an SVG document; the same drawing gives the same bytes.

    Parameters
    ----------
    paint : callable
        Draws on the empty canvas that it is given.
    height, width : float
        Size in inches.
    """
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        # The letters are written as text, so a glyph that matplotlib's own font lacks is the viewer's to find.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        # At the resolution of SVG: the layout is worked out once, here, and not by a drawing before the drawing.
        canvas = Canvas(figsize=(width, height), dpi=72, layout="constrained")
        FigureCanvasSVG(canvas)
        paint(canvas)
        layout = canvas.get_layout_engine()
        assert layout is not None
        layout.execute(canvas)
        canvas.set_layout_engine(None)
        stream = io.StringIO()
        canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return TAG.sub(lambda tag: LONG_FRACTION.sub(r"\1", tag[0]), stream.getvalue())


def label(name: str, most: int = 22) -> str:
    """Return a class or model name that fits in a figure."""
    return shorten(printable(name), most)


def file_name(*parts: str) -> str:
    """Join a figure's kind and a model's name into something that is safe as a file name and as an anchor."""
    return re.sub(r"[^a-z0-9_-]+", "-", "-".join(parts).lower()).strip("-")


def grid_shape(panels: int) -> tuple[int, int]:
    """Return rows and columns for small multiples: three or four columns, whichever leaves fewer gaps."""
    if panels <= 2:
        return 1, panels
    columns = min((4, 3), key=lambda wanted: math.ceil(panels / wanted) * wanted - panels)
    return math.ceil(panels / columns), columns


def panels(canvas: Canvas, amount: int) -> list[Axes]:
    """Add `amount` axes in a grid."""
    rows, columns = grid_shape(amount)
    return [canvas.add_subplot(rows, columns, place + 1) for place in range(amount)]


def panels_width(amount: int) -> float:
    """Return the width in inches of a grid of square panels."""
    return WIDTH if amount > 2 else 0.3 + 2.4 * amount


def panels_height(amount: int, *, title_lines: int = 1) -> float:
    """Return the height in inches of a grid of square panels with a title and a label each."""
    rows, columns = grid_shape(amount)
    return rows * (panels_width(amount) / columns + 0.1 + 0.12 * title_lines)


def title_lines(names: Iterable[str]) -> int:
    """Return how many lines `panel_title` takes for the longest of `names` and a remark."""
    return 2 if any(len(label(name)) > SHORT for name in names) else 1


def unit_square(axes: Axes, *, across: str, up: str) -> None:
    """Prepare axes for two quantities between 0 and 1; only the first panel of a row names its vertical axis."""
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xlabel=across)
    ticks = (0, 0.5, 1)
    axes.set_xticks(ticks, ["0", "0.5", "1"])
    axes.set_yticks(ticks, ["0", "0.5", "1"])
    axes.grid(visible=True)
    place = axes.get_subplotspec()
    assert place is not None
    if place.is_first_col():
        axes.set_ylabel(up)


def dashed(axes: Axes, across: tuple[float, float], up: tuple[float, float]) -> None:
    """Draw a line of reference."""
    axes.plot(across, up, color=MUTED, linewidth=0.6, linestyle=(0, (3, 2)))


def panel_title(axes: Axes, name: str, *remarks: str) -> None:
    """Write a name and remarks over a panel: a single remark on the line of a short name, else a line each."""
    beside = len(label(name)) <= SHORT and len(remarks) == 1
    lines = 0 if beside else len(remarks)
    # The lowest line stands on the panel, and the name over the highest.
    axes.set_title(label(name, 20), pad=None if not lines else 4.5 + _REMARK_HEIGHT * lines)
    if beside:
        axes.set_title(remarks[0], loc="right", fontsize=7, fontweight="normal")
        return
    for height, remark in enumerate(reversed(remarks)):
        axes.annotate(
            remark,
            (0, 1),
            xytext=(0, 3.5 + _REMARK_HEIGHT * height),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=7,
        )


def model_key(canvas: Canvas, looks: Mapping[str, ModelLook]) -> None:
    """Write the key to the models over the whole figure."""
    handles = [
        Line2D([], [], color=look.colour, linewidth=line_width(look), label=label(name)) for name, look in looks.items()
    ]
    canvas.legend(handles=handles, loc="outside upper left", ncols=_key_columns(looks), handlelength=1.6)


def key_height(looks: Mapping[str, ModelLook]) -> float:
    """Return the height in inches that `model_key` takes."""
    return 0.12 + 0.16 * math.ceil(len(looks) / _key_columns(looks))


def _key_columns(looks: Mapping[str, ModelLook]) -> int:
    longest = max(len(label(name)) for name in looks)
    most = int(WIDTH / (0.45 + 0.066 * longest))
    return math.ceil(len(looks) / math.ceil(len(looks) / most))


def line_width(look: ModelLook) -> float:
    """Return the width of a model's curves in points: ensembles are drawn stronger."""
    return 1.5 if look.kind == "ensemble" else 0.9
