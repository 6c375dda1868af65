"""The pictures of the gallery: the images that tell most about an ensemble, and where its networks look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cv_folds.arrays import ByteArray, FloatArray, positions
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import DataError, UsageError
from cv_folds.files import write_text
from cv_folds.images import decode_rgb, to_pixels
from cv_folds.training.exactness import exact_float32
from cv_folds.training.pixels import IMAGENET, normalise
from cv_folds.training.record import MODEL_FILE, read_record
from ensemble.ahead import single_threaded
from ensemble.attribution import find_stage, grad_cam
from ensemble.device import resolve_device
from ensemble.networks import load_network
from ensemble.predictions import Predictions
from ensemble.telling_cases import Case, choose_cases
from hamcv.arms import jobs_of_main
from hamcv.run_config import RunConfig
from hamcv.run_folder import CONFIG_FILE
from hamcv.sources import open_dataset, part_of_run
from reports.gallery_files import DrawnCase, DrawnMap, GalleryFiles, picture_size, remove_gallery, write_gallery
from reports.gallery_section import cases_of
from reports.run_records import DataRecord

_AT_A_TIME = 16
"""Images that go through a network together."""


@dataclass(frozen=True, kw_only=True)
class _Photo:
    """An image as the networks and the report take it: originals of many megapixels are not kept."""

    pixels: ByteArray
    shown: ByteArray


@dataclass(frozen=True, kw_only=True)
class _Looks:
    """Maps by image, class and backbone, each (side, side) from 0 to 1, and which backbones have none."""

    maps: Mapping[tuple[str, int, str], FloatArray]
    unexplained: Mapping[str, str]


def draw_gallery(run: Path, config: RunConfig, dataset: LesionDataset, predictions: Predictions, device: str) -> None:
    """Draw the gallery of a run folder, or remove it when the settings do without.

    Parameters
    ----------
    run : Path
        A run folder whose jobs are finished and still have their weights.
    config : RunConfig
        Its settings.
    dataset : LesionDataset
        Its images.
    predictions : Predictions
        Its out-of-fold probabilities.
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    DataError
        When an image or the weights of a network cannot be read.
    """
    if not config.report.gallery:
        remove_gallery(run)
        return
    chosen = choose_cases(predictions, config.ensemble.deployed, most=config.report.gallery)
    cases = (*chosen.errors, *chosen.disagreements)
    names = dict.fromkeys(case.image_id for case in cases)
    size = config.training.image_size
    images = {name: _decode(dataset.paths[row], size) for name, row in _rows(dataset, names)}
    # On one thread: the order of a sum depends on how many there are, and with it the last digits of a map.
    with single_threaded(1) as alone:
        asked = alone.submit(_look, run, config, cases, images, predictions.classes, device)
    looks = asked.result()

    def drawn(some: Sequence[Case]) -> list[DrawnCase]:
        return [_draw(case, images[case.image_id].shown, looks.maps, predictions.classes) for case in some]

    write_gallery(
        run,
        model=chosen.model,
        most=config.report.gallery,
        errors=drawn(chosen.errors),
        disagreements=drawn(chosen.disagreements),
        unexplained=looks.unexplained,
    )


def redraw_gallery(run: Path, config: RunConfig, data: DataRecord, predictions: Predictions, most: int) -> RunConfig:
    """Draw the gallery of a finished run again, with at most so many images of either kind, and keep that setting.

    Parameters
    ----------
    run : Path
        A run folder, held by this process.
    config : RunConfig
        Its settings.
    data : DataRecord
        What it was trained on.
    predictions : Predictions
        Its out-of-fold probabilities.
    most : int
        Images of either kind; 0 removes the gallery.

    Returns
    -------
    RunConfig
        The settings as they are now in ``config.toml``.

    Raises
    ------
    DataError
        When the images of the run are no longer where they were, or weights are missing.
    """
    changed = config.model_copy(update={"report": config.report.model_copy(update={"gallery": most})})
    if most:
        dataset = part_of_run(open_dataset(config.data, format=config.format, columns=config.columns), config)
        if dataset.fingerprint != data.fingerprint:
            raise DataError(
                f"--gallery: {config.data} does not hold the images of this run any more; put them back there"
            )
        draw_gallery(run, changed, dataset, predictions, _device_here(config.device))
    else:
        remove_gallery(run)
    write_text(run / CONFIG_FILE, changed.to_toml())
    return changed


def drop_stale_gallery(
    run: Path, config: RunConfig, files: GalleryFiles | None, predictions: Predictions
) -> str | None:
    """Remove a gallery that shows other answers than those of now.

    Parameters
    ----------
    run : Path
        A run folder, held by this process.
    config : RunConfig
        Its settings.
    files : GalleryFiles, optional
        Its gallery; None when there is none.
    predictions : Predictions
        Its out-of-fold probabilities.

    Returns
    -------
    str or None
        What was done and how the gallery is drawn again, in one line; None when there is none, or it still holds.
    """
    if files is None or cases_of(files, predictions, config.ensemble.deployed) is not None:
        return None
    remove_gallery(run)
    again = f"`hamcv report {run} --gallery {files.record.most}` draws it again, from images and weights"
    return f"the gallery showed answers of the earlier ensembles and was removed; {again}"


def _device_here(wanted: str) -> str:
    """Return the device of a run; where it is not, as on another machine than that of the run, what there is."""
    try:
        return str(resolve_device(wanted))
    except UsageError:
        return str(resolve_device("auto"))


def _decode(path: Path, size: int) -> _Photo:
    image = decode_rgb(path)
    return _Photo(
        pixels=to_pixels(image, size),
        shown=np.asarray(image.resize(picture_size(*image.size), Image.Resampling.LANCZOS)),
    )


def _rows(dataset: LesionDataset, image_ids: Iterable[str]) -> list[tuple[str, int]]:
    names = list(image_ids)
    return list(zip(names, positions(dataset.image_ids, np.array(names)).tolist(), strict=True)) if names else []


def _look(
    run: Path,
    config: RunConfig,
    cases: Sequence[Case],
    images: Mapping[str, _Photo],
    classes: tuple[str, ...],
    device: str,
) -> _Looks:
    """Let the networks that had not seen an image explain what is claimed of it."""
    maps: dict[tuple[str, int, str], FloatArray] = {}
    unexplained: dict[str, str] = {}
    for job in jobs_of_main(config):
        wanted = sorted(
            {
                (case.image_id, claim.label)
                for case in cases
                for claim in case.claims
                if case.fold == job.fold and job.backbone in claim.backbones
            }
        )
        if not wanted or job.backbone in unexplained:
            continue
        record = read_record(job.folder(run))
        path = job.folder(run) / MODEL_FILE
        if record is None or not path.is_file():
            raise DataError(f"{path}: the weights are missing, without which nothing can be explained")
        size = config.training.image_size
        network = load_network(
            path, record.files[MODEL_FILE], backbone=job.backbone, n_classes=len(classes), image_size=size
        ).to(device)
        try:
            stage = find_stage(network, job.backbone, image_size=size)
        except UsageError as error:
            unexplained[job.backbone] = str(error)
            continue
        for start in range(0, len(wanted), _AT_A_TIME):
            part = wanted[start : start + _AT_A_TIME]
            pixels = torch.from_numpy(np.stack([images[name].pixels for name, _ in part])).to(device)
            labels = torch.tensor([label for _, label in part])
            with exact_float32(torch.device(device)):
                images_seen = normalise(pixels, record.normalisation or IMAGENET)
                found = grad_cam(network, images_seen, labels, stage)
            for (name, label), heat in zip(part, found.double().numpy(), strict=True):
                maps[name, label, job.backbone] = heat
    return _Looks(maps=maps, unexplained=unexplained)


def _draw(
    case: Case, picture: ByteArray, maps: Mapping[tuple[str, int, str], FloatArray], classes: tuple[str, ...]
) -> DrawnCase:
    height, width = picture.shape[:2]
    size, drawn = (width, height), []
    for claim in case.claims:
        known = tuple(name for name in claim.backbones if (case.image_id, claim.label, name) in maps)
        if known:
            heat = np.mean([_stretch(maps[case.image_id, claim.label, name], size) for name in known], axis=0)
            largest = heat.max()
            drawn.append(
                DrawnMap(backbones=known, label=classes[claim.label], heat=heat / largest if largest > 0 else heat)
            )
    return DrawnCase(case=case, picture=picture, maps=tuple(drawn))


def _stretch(heat: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Spread a (side, side) map over a picture of (width, height): the network saw it squeezed to a square."""
    stretched = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    clipped: FloatArray = np.clip(np.asarray(stretched, dtype=np.float64), 0.0, 1.0)
    return clipped
