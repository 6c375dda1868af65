"""Lay a data set out as one folder a class, with its lesions in a table beside them.

    python scripts/make_class_folders.py data/ham10000 data/ham10000-folders
    python scripts/make_class_folders.py data/isic2019 data/isic2019-folders --copy
    hamcv run --data data/isic2019-folders --recipe eight-class-sgd

Reads every layout that hamcv reads. Images are linked where the file system can (``--copy`` copies them), so that the
folders take no room; ``lesions.csv`` keeps images of one lesion together, which class folders alone do not say.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from cv_folds.data.dataset import LesionDataset
from cv_folds.data.readers import AUTO, FORMATS
from cv_folds.files import write_text
from hamcv.sources import open_dataset

LESIONS_FILE = "lesions.csv"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the folders and print how many images each holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of a data set")
    parser.add_argument("out", type=Path, help="where to write; must not exist or be empty")
    parser.add_argument("--format", choices=FORMATS, default=AUTO, help="layout of the data [default: %(default)s]")
    parser.add_argument("--limit-lesions", type=int, help="a random subset of about this many lesions")
    parser.add_argument("--copy", action="store_true", help="copy the images instead of linking them")
    options = parser.parse_args(arguments)
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        parser.error(f"{options.out} exists and is not empty; name a new folder")
    dataset = open_dataset(str(options.data.absolute()), format=options.format, limit_lesions=options.limit_lesions)
    write_class_folders(dataset, options.out, copy=options.copy)
    for name, count in dataset.class_counts().items():
        print(f"{options.out / name}: {count} images")


def write_class_folders(dataset: LesionDataset, out: Path, *, copy: bool) -> None:
    """Link or copy every image into the folder of its class, and write the table of lesions.

    Parameters
    ----------
    dataset : LesionDataset
        What to lay out.
    out : Path
        A new or empty folder.
    copy : bool
        Copy even where links are possible.
    """
    targets = [
        Path(dataset.classes[label], f"{image}{path.suffix}")
        for image, label, path in zip(dataset.image_ids.tolist(), dataset.labels.tolist(), dataset.paths, strict=True)
    ]
    for source, target in zip(dataset.paths, targets, strict=True):
        (out / target).parent.mkdir(parents=True, exist_ok=True)
        _place(source, out / target, copy=copy)
    if not dataset.lesion_given.any():
        # All own groups, which is what class folders say without a table.
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "lesion"])
    lesions = zip(targets, dataset.lesion_ids.tolist(), dataset.lesion_given.tolist(), strict=True)
    writer.writerows((target.as_posix(), lesion if given else "") for target, lesion, given in lesions)
    write_text(out / LESIONS_FILE, text.getvalue())


def _place(source: Path, target: Path, *, copy: bool) -> None:
    if not copy:
        try:
            os.link(source.resolve(), target)
        except OSError:
            # Another file system, or one without hard links.
            pass
        else:
            return
    shutil.copyfile(source, target)


if __name__ == "__main__":
    main()
