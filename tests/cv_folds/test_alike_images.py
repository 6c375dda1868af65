from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from cv_folds.alike_images import alike_images


@pytest.mark.parametrize("seed", range(20))
def test_near_duplicates_of_an_image_are_those_of_its_copies_and_no_further(seed):
    rng = np.random.default_rng(seed)
    images = [f"i{number:02d}" for number in range(16)]
    content = dict(zip(images, rng.integers(0, 11, len(images)).tolist(), strict=True))
    every = list(combinations(images, 2))
    near = [every[place] for place in rng.choice(len(every), 7, replace=False)]
    copies = [[image for image in images if content[image] == number] for number in range(11)]
    # Any pairs that connect the copies do: here a chain in random order.
    chains = [rng.permutation(names).tolist() for names in copies if len(names) > 1]
    identical = [pair for names in chains for pair in pairwise(names)]
    expected = {
        image: {
            other
            for other in images
            if content[other] == content[image]
            or any({content[one], content[two]} == {content[image], content[other]} for one, two in near)
        }
        for image in images
    }
    in_a_pair = {name for pair in (*identical, *near) for name in pair}
    found = alike_images(identical, near)
    assert {image: set(others) for image, others in found.items()} == {
        image: expected[image] for image in images if image in in_a_pair
    }


def test_copies_share_one_set():
    names = [f"i{number}" for number in range(50)]
    found = alike_images([(names[0], name) for name in names[1:]], [])
    assert len({id(others) for others in found.values()}) == 1
    assert found["i3"] == frozenset(names)


def test_no_pairs_no_images():
    assert alike_images([], []) == {}
