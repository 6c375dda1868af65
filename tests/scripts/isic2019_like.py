"""A generated data set in ISIC 2019's layout, with its eight classes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from cv_folds.data.demo import write_demo_set

CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")

_NAMES = {"akiec": "AK", "bcc": "BCC", "bkl": "BKL", "df": "DF", "mel": "MEL", "nv": "NV", "vasc": "VASC"}


def write_isic2019_like(folder: Path, *, n_lesions: int = 70, n_images: int = 96) -> Path:
    """Write demo pictures under the names of ISIC 2019; every fifth lesion of nv is called SCC, unknown to HAM10000."""
    source = folder / "source"
    write_demo_set(source, seed=3, n_lesions=n_lesions, n_images=n_images)
    table = pd.read_csv(source / "HAM10000_metadata.csv", dtype=str, keep_default_na=False)
    eighth = sorted(set(table.loc[table["dx"] == "nv", "lesion_id"]))[::5]
    table["class"] = table["dx"].map(_NAMES).mask(table["lesion_id"].isin(eighth), "SCC")
    truth = pd.DataFrame({"image": table["image_id"]})
    for name in CLASSES:
        truth[name] = (table["class"] == name).map({True: "1.0", False: "0.0"})
    root = folder / "isic2019"
    images = root / "ISIC_2019_Training_Input"
    images.mkdir(parents=True)
    for path in source.rglob("*.jpg"):
        shutil.move(path, images / path.name)
    truth.to_csv(root / "ISIC_2019_Training_GroundTruth.csv", index=False)
    metadata = table[["image_id", "age", "localization", "lesion_id", "sex"]]
    metadata.columns = pd.Index(["image", "age_approx", "anatom_site_general", "lesion_id", "sex"])
    metadata.to_csv(root / "ISIC_2019_Training_Metadata.csv", index=False)
    return root
