"""Build two example reports on the demo set, and pictures of them for the README.

    python scripts/example_reports.py --out examples --images docs/images

``examples/three-networks/report.html`` is the report of a plain run, ``examples/compared/report.html`` that of its
comparison with a run that lacks the largest network; both also as PDF. The second run takes over the networks that the
first one trained. Trainings that are there already are kept, the reports are made anew.

The pictures need Chromium for the HTML, and ``pdftoppm`` (poppler) for the PDF.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

FOLDS = 3
NETWORKS = ("mobilenet_v3_large", "resnet50", "efficientnet_b0")
"""The default ones."""
LEFT_OUT = "resnet50"
"""The largest, which the second run does without."""
PLAIN = "three-networks"
WITHOUT = "two-networks"
COMPARED = "compared"

WIDTH = 1100
"""Of the pictures of pages on screen, in pixels."""
PAPER_DPI = 75
MOST_BYTES = 300_000
COLOURS = (256, 128, 64, 32)
"""Of the palette, from the best to the smallest picture."""


@dataclass(frozen=True, kw_only=True)
class Screenshot:
    """The beginning of an HTML report."""

    name: str
    """File name of the picture, without its ending."""
    report: str
    """Folder of the report."""
    height: int
    """In pixels."""


@dataclass(frozen=True, kw_only=True)
class Pages:
    """Pages of a PDF report, side by side."""

    name: str
    """File name of the picture, without its ending."""
    report: str
    """Folder of the report."""
    showing: tuple[str, ...]
    """Words, one a page: the first page that holds them is taken."""
    share: float
    """How much of the height of a page is shown, from its top."""


SCREENSHOTS = (Screenshot(name="report-html", report=PLAIN, height=1000),)
PAGES = (
    Pages(
        name="report-pdf",
        report=PLAIN,
        showing=("Overall scores of every model on", "reliability of every model in"),
        share=0.97,
    ),
    Pages(
        name="compare-pdf",
        report=COMPARED,
        showing=("What a difference means", "Differences between runs, with"),
        share=0.97,
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build what is missing and print where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("examples"), help="runs and reports [default: %(default)s]")
    parser.add_argument("--images", type=Path, help="folder of the pictures; none are made without it")
    options = parser.parse_args(arguments)
    if options.images is not None and (missing := missing_programs()):
        sys.exit(f"pictures need {' and '.join(missing)}; install it, or leave --images out")
    build(options.out)
    for name in (PLAIN, COMPARED):
        print(options.out / name / "report.html")
    if options.images is not None:
        for path in draw(options.out, options.images):
            print(f"{path} {path.stat().st_size / 1000:.0f} kB")


def build(out: Path) -> None:
    """Carry out both runs on the demo set, and compare them."""
    plain, without = out / PLAIN, out / WITHOUT
    made = ("--data", "demo", "--folds", str(FOLDS))
    hamcv("run", *made, "--backbones", ",".join(NETWORKS), "--out", str(plain))
    kept = [network for network in NETWORKS if network != LEFT_OUT]
    fewer = (*made, "--backbones", ",".join(kept), "--out", str(without))
    if not (without / "config.toml").is_file():
        hamcv("run", *fewer, "--prepare")
        for network in kept:
            # The seed of a job depends on its network and fold alone: training again would give the same.
            shutil.copytree(plain / "jobs" / network, without / "jobs" / network, dirs_exist_ok=True)
    hamcv("run", *fewer)
    hamcv("compare", str(without), str(plain), "--out", str(out / COMPARED))


def hamcv(*arguments: str) -> None:
    """Call the command line with this interpreter."""
    subprocess.run([sys.executable, "-m", "hamcv", *arguments], check=True)


def missing_programs() -> list[str]:
    """Return which programs for the pictures are not installed."""
    return [
        words
        for words, found in (("Chromium", browser()), ("pdftoppm (poppler)", shutil.which("pdftoppm")))
        if found is None
    ]


def browser() -> str | None:
    """Return the command of a Chromium."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "chrome"))
    return next((path for path in found if path is not None), None)


def draw(out: Path, images: Path) -> list[Path]:
    """Draw all pictures.

    Parameters
    ----------
    out : Path
        Folder of the reports.
    images : Path
        Folder of the pictures; made when missing.

    Returns
    -------
    list of Path
        The pictures.
    """
    images.mkdir(parents=True, exist_ok=True)
    written = []
    with TemporaryDirectory() as folder:
        for shot in SCREENSHOTS:
            picture = screenshot(out / shot.report / "report.html", Path(folder, f"{shot.name}.png"), shot.height)
            written.append(shrunk(picture, images / f"{shot.name}.png"))
        for pages in PAGES:
            pdf = out / pages.report / "report.pdf"
            numbers = [page_with(pdf, words) for words in pages.showing]
            sheet = side_by_side(pdf, numbers, Path(folder), share=pages.share)
            written.append(shrunk(sheet, images / f"{pages.name}.png"))
    return written


def screenshot(page: Path, target: Path, height: int) -> Image.Image:
    """Return the beginning of a page as Chromium shows it."""
    command = browser()
    assert command is not None
    options = ("--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu", f"--window-size={WIDTH},{height}")
    subprocess.run(
        [command, *options, f"--screenshot={target}", page.resolve().as_uri()], check=True, capture_output=True
    )
    with Image.open(target) as picture:
        return picture.convert("RGB")


def page_with(pdf: Path, words: str) -> int:
    """Return the number of the first page, from 1, that holds some words."""
    text = subprocess.run(["pdftotext", str(pdf), "-"], check=True, capture_output=True, text=True).stdout
    for number, page in enumerate(text.split("\f"), start=1):
        if words in " ".join(page.split()):
            return number
    sys.exit(f"{pdf}: no page holds {words!r}; name other words in PAGES")


def side_by_side(pdf: Path, numbers: Sequence[int], folder: Path, *, share: float) -> Image.Image:
    """Return pages of a PDF in one picture, each cut off below a share of its height."""
    pictures = []
    for number in numbers:
        target = folder / f"{pdf.parent.name}-{number}"
        span = ("-f", str(number), "-l", str(number), "-singlefile")
        subprocess.run(["pdftoppm", "-r", str(PAPER_DPI), "-png", *span, str(pdf), str(target)], check=True)
        with Image.open(target.with_suffix(".png")) as picture:
            pictures.append(picture.convert("RGB").crop((0, 0, picture.width, round(share * picture.height))))
    gap = 8
    sheet = Image.new(
        "RGB",
        (sum(picture.width for picture in pictures) + gap * (len(pictures) + 1), pictures[0].height + 2 * gap),
        "#c9ced6",
    )
    left = gap
    for picture in pictures:
        sheet.paste(picture, (left, gap))
        left += picture.width + gap
    return sheet


def shrunk(picture: Image.Image, target: Path) -> Path:
    """Write a picture with as many colours as keep it below the limit."""
    # All of them where that is small enough: a palette shifts the colours of thin lines.
    picture.save(target, optimize=True)
    if target.stat().st_size <= MOST_BYTES:
        return target
    for colours in COLOURS:
        picture.quantize(colours, dither=Image.Dither.NONE).save(target, optimize=True)
        if target.stat().st_size <= MOST_BYTES:
            return target
    sys.exit(f"{target}: is larger than {MOST_BYTES / 1000:.0f} kB; choose a smaller part of the page")


if __name__ == "__main__":
    main()
