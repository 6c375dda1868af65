"""What is published under doi:10.7910/DVN/DBW86T, by file name: no id of a server is written down anywhere."""

from __future__ import annotations

from dataclasses import dataclass

SERVER = "https://dataverse.harvard.edu"
DATASET = "doi:10.7910/DVN/DBW86T"
LICENCE = "CC BY-NC 4.0 (https://creativecommons.org/licenses/by-nc/4.0/): not for commercial use"
CITATION = (
    "Tschandl, P., Rosendahl, C. & Kittler, H. The HAM10000 dataset, a large collection of multi-source dermatoscopic "
    "images of common pigmented skin lesions. Sci. Data 5, 180161 (2018). https://doi.org/10.1038/sdata.2018.161"
)


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """A table of one row an image, with the columns of the HAM10000 metadata."""

    name: str
    """File name as uploaded, and here."""
    also: tuple[str, ...]
    """Other names that servers and browsers give it."""

    @property
    def names(self) -> tuple[str, ...]:
        """`name` and the other ones."""
        return (self.name, *self.also)


@dataclass(frozen=True, kw_only=True)
class PublishedArchive:
    """A zip file of images."""

    name: str
    """File name."""
    folders: tuple[str, ...]
    """Names of the folder with the unpacked images; the first is the one that is made."""
    images: int
    """How many images it holds."""


@dataclass(frozen=True, kw_only=True)
class PublishedSet:
    """A table and the images that it describes."""

    title: str
    """For people."""
    table: PublishedTable
    """One row an image."""
    archives: tuple[PublishedArchive, ...]
    """All images."""
    without_image: frozenset[str] = frozenset()
    """Image ids that the table names although no image is published."""

    @property
    def images(self) -> int:
        """Images of all archives."""
        return sum(archive.images for archive in self.archives)


HAM10000 = PublishedSet(
    title="HAM10000",
    table=PublishedTable(
        name="HAM10000_metadata", also=tuple(f"HAM10000_metadata.{suffix}" for suffix in ("csv", "tab", "tsv", "txt"))
    ),
    archives=(
        PublishedArchive(name="HAM10000_images_part_1.zip", folders=("HAM10000_images_part_1",), images=5000),
        PublishedArchive(name="HAM10000_images_part_2.zip", folders=("HAM10000_images_part_2",), images=5015),
    ),
)

ISIC2018_TEST = PublishedSet(
    title="ISIC 2018 Task 3, test set",
    table=PublishedTable(name="ISIC2018_Task3_Test_GroundTruth.csv", also=("ISIC2018_Task3_Test_GroundTruth.tab",)),
    archives=(
        PublishedArchive(
            name="ISIC2018_Task3_Test_Images.zip",
            folders=("ISIC2018_Task3_Test_Images", "ISIC2018_Task3_Test_Input"),
            images=1511,
        ),
    ),
    # A picture made by the organisers, which the challenge's own scoring leaves out; the archive lacks it.
    without_image=frozenset({"ISIC_0035068"}),
)
