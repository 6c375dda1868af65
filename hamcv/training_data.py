"""Finding the images that an ensemble learned from, to compare others with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cv_folds.arrays import frozen
from cv_folds.data.dataset import LesionDataset
from cv_folds.data.readers import AUTO
from cv_folds.errors import DataError, UsageError
from cv_folds.scheduling.threads import cpu_cores
from cv_folds.training_images import TrainingImages, file_digests
from ensemble.bundle import Bundle
from hamcv.config import read_config
from hamcv.run_folder import CONFIG_FILE
from hamcv.sources import choose_data, open_dataset, part_of_run
from reports.wording import plural


@dataclass(frozen=True, kw_only=True)
class TrainingDataAtHand:
    """The training images as far as they are here."""

    dataset: LesionDataset | None
    """Those that are here; None when they are not."""
    absent: str | None
    """Why some or all of them are not here, in words for a report; None when all are."""


def find_training_data(source: Path, folder: str | None, bundle: Bundle) -> TrainingDataAtHand:
    """Look for the training images in the folder that was named, or in that of the run.

    Parameters
    ----------
    source : Path
        A run folder or a bundle.
    folder : str or None
        Folder of the data set that was trained on, as the user says.
    bundle : Bundle
        The ensemble.

    Raises
    ------
    DataError
        When `folder` cannot be read, or holds none of the training images.
    """
    learned = bundle.training_images()
    config = read_config(source / CONFIG_FILE) if (source / CONFIG_FILE).is_file() else None
    if folder is not None:
        # The layout of the run's own data, if it is a run: the folder may be a copy of it.
        layout, columns = (AUTO, None) if config is None else (config.format, config.columns)
        return _named(open_dataset(choose_data(folder).data, format=layout, columns=columns), learned)
    if config is None:
        return TrainingDataAtHand(dataset=None, absent="a bundle does not hold them")
    name = Path(config.data).name
    try:
        whole = open_dataset(config.data, format=config.format, columns=config.columns)
    except (DataError, UsageError):
        # UsageError: columns that the table of another data set in its place does not have.
        return TrainingDataAtHand(dataset=None, absent=f"the folder {name} of the run is not there or has changed")
    dataset = part_of_run(whole, config)
    if dataset.fingerprint != bundle.manifest.training_data.fingerprint:
        return TrainingDataAtHand(dataset=None, absent=f"the folder {name} of the run has changed")
    return TrainingDataAtHand(dataset=_part(dataset, learned), absent=None)


def learned_from(bundle: Bundle, at_hand: TrainingDataAtHand) -> TrainingImages:
    """Return the list of training images of a bundle, or make it from the images of one that has none.

    Raises
    ------
    DataError
        When there is neither.
    """
    if (learned := bundle.training_images()) is not None:
        return learned
    if at_hand.dataset is None:
        raise DataError(
            f"{bundle.folder}: does not list its training images, so that nothing keeps them out of the test; name the "
            "data set that it was trained on with --training-data PATH"
        )
    # All that is there, more than was learned from after a hold-out: what is not known is left out.
    dataset = at_hand.dataset
    return TrainingImages(
        image_ids=dataset.image_ids,
        lesion_ids=frozen(np.where(dataset.lesion_given, dataset.lesion_ids, ""), np.str_),
        digests=file_digests(dataset.paths, workers=cpu_cores()),
    )


def _named(dataset: LesionDataset, learned: TrainingImages | None) -> TrainingDataAtHand:
    if learned is None:
        return TrainingDataAtHand(dataset=dataset, absent=None)
    part = np.isin(dataset.image_ids, learned.image_ids)
    if not part.any():
        raise DataError(
            f"--training-data {dataset.root}: holds none of the {plural(len(learned), 'training image')}, by image id"
        )
    missing = len(learned) - int(part.sum())
    absent = f"{missing} of {plural(len(learned), 'training image')} are not in {dataset.name}" if missing else None
    return TrainingDataAtHand(dataset=dataset.select(part), absent=absent)


def _part(dataset: LesionDataset, learned: TrainingImages | None) -> LesionDataset:
    return dataset if learned is None else dataset.select(np.isin(dataset.image_ids, learned.image_ids))
