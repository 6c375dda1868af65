"""Writing the demo set to disk in HAM10000's layout.

Guarantee: the set is written beside its folder and renamed into place (POSIX rename), so that a reader meets the
whole set or none, and of two processes that write the same folder one wins and the other leaves nothing behind.
Only a killed process can leave its unfinished ``*.partial-*`` folder.
"""

from __future__ import annotations

import csv
import errno
import shutil
import uuid
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np

from cv_folds.data.demo.lesion import render_lesion
from cv_folds.data.demo.photograph import photograph
from cv_folds.data.demo.plan import DEMO_LESION_PREFIX, LesionPlan, plan_lesions
from cv_folds.data.demo.traits import draw_traits
from cv_folds.errors import UsageError

__all__ = ["DEMO_LESION_PREFIX", "DEMO_VERSION", "demo_folder", "write_demo_set"]

DEMO_VERSION = 1
"""Goes up whenever the same seed gives other files."""

METADATA = "HAM10000_metadata.csv"
PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
JPEG_QUALITY = 90

README = """\
hamcv demo set, version {version}, seed {seed}

Every picture and every row of metadata in this folder was generated from random numbers by a program.
They only have the layout of HAM10000 and a likeness to dermatoscopic photographs. No image and no record of
any patient was used. Scores reached on this set say nothing about patients, and nothing about how well a
model would do on real lesions.
"""


def write_demo_set(folder: Path, *, seed: int = 0, n_lesions: int = 300, n_images: int = 420) -> None:
    """Write generated dermatoscopy-like images and metadata in HAM10000's layout.

    ``HAM10000_metadata.csv``, 200x150 JPEG files in ``HAM10000_images_part_1`` and ``_part_2``, and a
    ``README.txt`` that says what they are. Lesions with several images are one rendered lesion, photographed anew.

    Parameters
    ----------
    folder : Path
        Made by this call; an empty folder may be there already.
    seed : int
        The same seed and sizes give the same bytes (with the same versions of numpy and Pillow).
    n_lesions : int
        At least 35: five for each of the seven classes.
    n_images : int
        From one to six for each lesion.

    Raises
    ------
    UsageError
        When the folder has content already or the sizes can't be met.
    """
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise _taken(folder)
    plans = plan_lesions(seed=seed, n_lesions=n_lesions, n_images=n_images)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f"{folder.name}.partial-{uuid.uuid4().hex}")
    try:
        partial.mkdir()
        (partial / "README.txt").write_text(README.format(version=DEMO_VERSION, seed=seed), encoding="utf-8")
        _write_images(partial, plans)
        _write_metadata(partial / METADATA, plans)
        partial.rename(folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise _taken(folder) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def demo_folder(cache: Path, *, seed: int = 0, n_lesions: int = 300, n_images: int = 420) -> Path:
    """Return the folder of the demo set below `cache`, writing the set when it isn't there yet.

    Parameters
    ----------
    cache : Path
        Any folder; made when missing.
    seed : int
        At least 0.
    n_lesions, n_images : int
        As for `write_demo_set`. Each seed, size and `DEMO_VERSION` has its own folder.

    Raises
    ------
    UsageError
        When the folder has other content or the sizes can't be met.
    """
    folder = cache / f"demo-{DEMO_VERSION}-seed-{seed}-{n_lesions}-lesions-{n_images}-images"
    if not (folder / METADATA).is_file():
        try:
            write_demo_set(folder, seed=seed, n_lesions=n_lesions, n_images=n_images)
        except UsageError:
            # Another process may have finished first; its files are the same.
            if not (folder / METADATA).is_file():
                raise
    return folder


def _taken(folder: Path) -> UsageError:
    return UsageError(f"{folder}: exists and is not an empty folder; give a new folder for the demo set")


def _write_images(folder: Path, plans: Sequence[LesionPlan]) -> None:
    image_ids = sorted(name for plan in plans for name in plan.image_ids)
    first_part = set(image_ids[: (len(image_ids) + 1) // 2])
    for part in PARTS:
        (folder / part).mkdir()
    for plan in plans:
        generator = np.random.default_rng(plan.seeds)
        canvas = render_lesion(generator, draw_traits(generator, plan.diagnosis))
        for image_id in plan.image_ids:
            part = PARTS[0] if image_id in first_part else PARTS[1]
            photograph(generator, canvas).save(folder / part / f"{image_id}.jpg", quality=JPEG_QUALITY)


def _write_metadata(path: Path, plans: Sequence[LesionPlan]) -> None:
    plan_of = {image_id: plan for plan in plans for image_id in plan.image_ids}
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for image_id, plan in sorted(plan_of.items(), key=itemgetter(0)):
            details = (plan.diagnosis, plan.dx_type, plan.age, plan.sex, plan.localization)
            writer.writerow((plan.lesion_id, image_id, *details))
