"""Which images look alike: every pair of them, where the audit lists one pair of two lesions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cv_folds.disjoint_sets import DisjointSets


def alike_images(identical: Iterable[tuple[str, str]], near: Iterable[tuple[str, str]]) -> Mapping[str, frozenset[str]]:
    """Return for each image that is in a pair all images that look like it, itself among them.

    Parameters
    ----------
    identical : iterable of pairs of image ids
        Files of equal content, connected by these pairs: not every two of them need to be a pair.
    near : iterable of pairs of image ids
        Near-duplicates. What is one of an image is one of all that are identical with either; it goes no further,
        since of three images in a row the first and the third may show nothing in common.

    Returns
    -------
    mapping of str to frozenset of str
        Identical images share one set, so that many copies of one file take no more than a few.
    """
    contents = DisjointSets()
    images: set[str] = set()
    for one, other in identical:
        contents.join(one, other)
        images |= {one, other}
    beside: dict[str, set[str]] = {}
    for one, other in near:
        beside.setdefault(contents.first(one), set()).add(contents.first(other))
        beside.setdefault(contents.first(other), set()).add(contents.first(one))
        images |= {one, other}
    copies: dict[str, set[str]] = {}
    for image in images:
        copies.setdefault(contents.first(image), set()).add(image)
    alike = {
        content: frozenset(same.union(*(copies[other] for other in beside.get(content, ()))))
        for content, same in copies.items()
    }
    return {image: alike[contents.first(image)] for image in sorted(images)}
