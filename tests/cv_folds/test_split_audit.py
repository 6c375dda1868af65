from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from cv_folds_samples import image_row, random_dataset
from rich.console import Console

from cv_folds.alike_images import alike_images
from cv_folds.arrays import frozen
from cv_folds.data.dataset import build_dataset
from cv_folds.errors import DataError
from cv_folds.leakage import ImagePair, merge_groups
from cv_folds.near_duplicates.decisions import Decisions
from cv_folds.near_duplicates.search import FoundPair
from cv_folds.published_split import SplitColumns, read_published_split
from cv_folds.shared_lesions import join_lesions
from cv_folds.split_audit import Crossing, audit_split_file
from cv_folds.splits import make_folds
from hamcv.split_screen import show_split_audit

# Lesion to images; L1 and L2 are nv, L3 and L4 mel.
LESIONS = {"L1": "abc", "L2": "de", "L3": "fg", "L4": "h"}
TRAIN, VALIDATION, TEST = "abdf", "ce", "gh"


@pytest.fixture
def dataset(tmp_path):
    file = tmp_path / "image.png"
    file.touch()
    rows = [
        image_row(name, lesion, "nv" if lesion in ("L1", "L2") else "mel", file)
        for lesion, names in LESIONS.items()
        for name in names
    ]
    return build_dataset(rows, name="letters", root=tmp_path, demo=False)


def found_pair(image_a, image_b, score):
    return FoundPair(
        image_a=image_a, image_b=image_b, verdict="confirmed", score=score, mirrored=False, degrees=0.0, scale=1.0,
        inliers=20, possible=50, overlap=0.8, correlation=0.9, matrix=(1, 0, 0, 0, 1, 0),
    )  # fmt: skip


def written(tmp_path, text):
    path = tmp_path / "split.csv"
    path.write_text(text)
    return path


def understood(tmp_path, text, **columns):
    split = read_published_split(written(tmp_path, text), set("abcdefgh"), SplitColumns(**columns))
    return {
        part.name: tuple("".join(sorted(names)) for names in (part.train, part.validation, part.test))
        for part in split.partitions
    }


def part_of(name, words=("train", "val", "test")):
    return words[0] if name in TRAIN else words[1] if name in VALIDATION else words[2]


ONE = {"": (TRAIN, VALIDATION, TEST)}
# Folds ab | cde | fgh.
FOLDS = [("cdefgh", "", "ab"), ("abfgh", "", "cde"), ("abcde", "", "fgh")]
FOLD = {name: number for number, (_, _, test) in enumerate(FOLDS) for name in test}


def rows(header, row):
    return "\n".join([header, *(row(name) for name in "hgfedcba")])


@pytest.mark.parametrize(
    "text",
    [
        rows("image_id,split", lambda n: f"{n},{part_of(n)}"),
        rows("SET;file", lambda n: f"{part_of(n, ('TRAIN', 'VALID', 'Test'))};part_1/{n}.JPG"),
        rows("label\timage\tpart\tage", lambda n: f"x\t{n}.jpg\t{part_of(n, ('training', 'dev', 'testing'))}\t40"),
        rows("image,is_train,is_val,is_test", lambda n: f"{n},{n in TRAIN:d},{n in VALIDATION:d},{n in TEST:d}"),
        rows("image,path,split", lambda n: f"{n},images/{n}.png,{part_of(n)}"),
        "train,val,test\na,c,g.jpg\nb,e.jpg,h\nd\nf,,",
        "\n".join(f"{part_of(n)},{n}.jpg,7" for n in "abcdefgh"),
    ],
    ids=["long", "paths", "more columns", "flags", "id twice", "lists", "no header"],
)  # fmt: skip
def test_forms_of_one_training(tmp_path, text):
    assert understood(tmp_path, text) == ONE


@pytest.mark.parametrize(
    "text",
    [
        rows("image_id,fold", lambda n: f"{n},{FOLD[n]}"),
        rows("image_id,lesion_id,group,label,fold", lambda n: f"{n},L,L,nv,{FOLD[n]}"),
        rows("id,kfold", lambda n: f"{n}.jpg,fold_{FOLD[n]}"),
        rows("id,f0_fold,f1_fold,f2_fold", lambda n: f"{n}," + ",".join(str(int(FOLD[n] == k)) for k in range(3))),
        rows("id,f0_fold,f1_fold,f2_fold", lambda n: f"{n}," + ",".join(str(int(FOLD[n] != k)) for k in range(3))),
        rows("id,once,twice,thrice", lambda n: f"{n}," + ",".join(("train", "test")[FOLD[n] == k] for k in range(3))),
        "fold0,fold1,fold2\na,c,f\nb,d,g\n,e,h\n",
        "fold0_train,fold0_test,fold1_train,fold1_test,fold2_train,fold2_test\n"
        + "\n".join(
            ",".join(names[k] if k < len(names) else "" for train, _, test in FOLDS for names in (train, test))
            for k in range(6)
        ),
        "image,fold,set\n"
        + "\n".join(f"{n},{k},{'test' if FOLD[n] == k else 'train'}" for k in range(3) for n in "abcdefgh"),
    ],
    ids=["long", "ours", "names", "ones test", "ones train", "words", "lists", "lists of parts", "long of both"],
)  # fmt: skip
def test_forms_of_cross_validation(tmp_path, text):
    assert list(understood(tmp_path, text).values()) == FOLDS


@pytest.mark.parametrize(
    ("text", "column", "lines"),
    [
        (rows("image_id,split", lambda n: f"{n},{'unused' if n in 'ac' else part_of(n)}"), "split", (7, 9)),
        (rows("image_id,usage", lambda n: f"{n},{'unused' if n in 'ac' else part_of(n)}"), "usage", (7, 9)),
        (rows("image_id,fold", lambda n: f"{n},{'unused' if n in 'ac' else FOLD[n]}"), "fold", (7, 9)),
        (rows("image_id,fold", lambda n: f"{n},{-1 if n == 'h' else FOLD[n]}"), "fold", (2,)),
        (rows("image_id,fold", lambda n: f"{n},{'test' if n == 'h' else FOLD[n]}"), "fold", (2,)),
        (rows("image_id,split", lambda n: f"{n},{'1' if n == 'h' else part_of(n)}"), "split", (2,)),
        (rows("image_id,fold", lambda n: f"{n},{'AB'[n in 'ac']}"), "fold", range(2, 10)),
        (rows("image,split_1,split_2", lambda n: f"{n},train,{'none' if n == 'h' else part_of(n)}"), "split_2", (2,)),
        (rows("image,f0_fold,f1_fold", lambda n: f"{n},{'unused' if n == 'g' else int(n in TEST)},0"), "f0_fold", (3,)),
        (
            "image,fold,set\n" + "".join(f"{n},{k},{'tr' if k else 'test'}\n" for k in range(3) for n in "ab")
            + "a,unused,train\nb,0,excluded",
            "fold", (8,),
        ),
    ],
    ids=["part", "any name", "fold", "negative", "a part", "a fold", "letters", "wide", "flags", "long of both"],
)  # fmt: skip
def test_words_that_are_no_part_and_no_fold_are_refused_with_their_rows(tmp_path, text, column, lines):
    with pytest.raises(DataError, match=f"column {column} must hold ") as caught:
        understood(tmp_path, text)
    told = [
        int(line.split(":")[0].removeprefix("  line ")) for line in str(caught.value).splitlines() if "  line " in line
    ]
    assert told == list(lines)
    assert f"and {len(told)} rows hold something else" in str(caught.value)


def test_a_list_of_unused_images_is_no_fold(tmp_path):
    with pytest.raises(DataError, match="but unused names no part such as train or test and no fold"):
        understood(tmp_path, "fold0,fold1,unused\na,c,f\nb,d,g\n,e,h\n")


def test_a_column_of_other_words_beside_the_folds_is_passed_over(tmp_path):
    text = rows("image,set,fold", lambda n: f"{n},{'Vienna' if n in 'abc' else 'Queensland'},{FOLD[n]}")
    assert list(understood(tmp_path, text).values()) == FOLDS


def test_images_without_a_fold_are_in_no_training(tmp_path):
    text = rows("image,fold", lambda n: f"{n},{'' if n == 'a' else float(FOLD[n])}")
    assert list(understood(tmp_path, text)) == ["0.0", "1.0", "2.0"]
    assert all("a" not in "".join(parts) for parts in understood(tmp_path, text).values())


def test_a_fold_is_told_by_its_number_however_it_is_spelt(tmp_path):
    text = rows("image,fold", lambda n: f"{n},{('fold_', 'Fold ', 'f')[ord(n) % 3]}{FOLD[n]}")
    assert list(understood(tmp_path, text).values()) == FOLDS


def test_a_training_of_a_long_table_is_told_by_its_number_too(tmp_path):
    spelt = ("{}", "fold_{}", "{}.0")
    text = "image,fold,set\n" + "\n".join(
        f"{n},{spelt[ord(n) % 3].format(k)},{'test' if FOLD[n] == k else 'train'}" for k in range(3) for n in "abcdefgh"
    )
    assert list(understood(tmp_path, text).values()) == FOLDS


def test_columns_can_be_named(tmp_path):
    text = rows("image,x,y,z", lambda n: f"{n},{FOLD[n]},{int(n in TEST)},{part_of(n)}")
    assert list(understood(tmp_path, text, split=("X",)).values()) == FOLDS
    assert understood(tmp_path, text, split=("y",), ones="test") == {"": (VALIDATION[:0] + "abcdef", "", TEST)}
    assert understood(tmp_path, text, image="IMAGE", split=("z",)) == ONE


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        ("image,split\nx,train\ny,test", {}, "is it a split of other images"),
        ("image,age\na,40\nb,50", {}, "which column holds the fold"),
        ("image,fold_1,split_2\na,1,3\nb,2,4\nc,5,6", {}, "fold_1, split_2 could all be meant"),
        ("image,fold_1\na,1\nb,0", {}, "does a 1 mean"),
        ("image,split\na,train\nb,train", {}, "nothing is tested on other images"),
        ("train,other\na,b\nc,d", {}, "its name is no part"),
        ("image,split\na,train\nb,test", {"image": "img"}, "image column img: there is no such column"),
        ("image,split\na,train\nb,test", {"split": ("fold",)}, "there are image, split"),
        ("", {}, "is empty"),
    ],
)
def test_tables_that_cannot_be_understood(tmp_path, text, columns, words):
    with pytest.raises(DataError) as caught:
        understood(tmp_path, text, **columns)
    assert words in str(caught.value)


def test_what_is_shared_is_counted_by_part_and_class(tmp_path, dataset):
    text = rows("image_id,split", lambda n: f"{n},{part_of(n)}") + "\nstranger,test\n"
    near = alike_images([], [("h", "a")])
    audit = audit_split_file(written(tmp_path, text), dataset, dataset.lesion_ids, near)
    validation, test = audit.parts
    # c is of L1 with a and b, e of L2 with d; g of L3 with f; h looks like a.
    assert (validation.part, validation.against) == ("validation", "train")
    assert (validation.overall.images, validation.overall.lesion, validation.overall.any) == (2, 2, 2)
    assert (test.part, test.against) == ("test", "train and validation")
    assert (test.overall.lesion, test.overall.group, test.overall.near_duplicate, test.overall.any) == (1, 1, 1, 2)
    assert test.per_class["mel"] == test.overall
    assert test.per_class["nv"].images == 0
    assert test.examples == ("g: of one lesion with f", "h: near-duplicate of a")
    assert audit.unknown == ("stranger",)
    assert audit.leaks
    with pytest.raises(DataError, match=r"split\.csv leaks: 2 of 2 test images \(100\.0%\)"):
        audit.refuse_leakage()


def test_every_test_image_with_a_near_duplicate_in_training_is_counted(tmp_path, dataset):
    """The lesions L1 and L3 have two pairs; the audit of the data lists the stronger one."""
    found = [found_pair("a", "f", 0.99), found_pair("b", "g", 0.98), found_pair("h", "c", 0.97)]
    shared = join_lesions(dataset, (), found, Decisions(accepted=frozenset(), rejected=frozenset()), searched=True)
    assert [(pair.image_a, pair.image_b) for pair in shared.merged] == [("a", "f"), ("h", "c")]
    text = rows("image_id,split", lambda n: f"{n},{'test' if n in 'fgh' else 'train'}")
    audit = audit_split_file(written(tmp_path, text), dataset, shared.groups, shared.alike)
    assert audit.parts[0].overall.near_duplicate == 3
    assert audit.n_near_duplicates == 6


def test_an_identical_image_of_the_same_lesion_or_the_image_itself_is_no_near_duplicate(tmp_path, dataset):
    alike = alike_images([("a", "b"), ("b", "d")], [])
    audit = audit_split_file(written(tmp_path, "train,test\na,a\nb,b\n,d\n"), dataset, dataset.lesion_ids, alike)
    # d, of L2, is the same picture as a and b, of L1.
    found = audit.parts[0].overall
    assert (found.same_image, found.lesion, found.near_duplicate, found.any) == (2, 2, 1, 3)


@pytest.mark.parametrize("seed", range(10))
def test_near_duplicates_are_counted_as_by_hand(tmp_path, seed):
    dataset = random_dataset(tmp_path, seed, fewest_lesions=6)
    rng = np.random.default_rng(seed)
    images, lesions = dataset.image_ids.tolist(), dataset.lesion_ids.tolist()
    chosen = [tuple(rng.choice(len(images), 2, replace=False).tolist()) for _ in range(40)]
    near = [(images[a], images[b]) for a, b in chosen if lesions[a] != lesions[b]]
    parts = rng.choice(["train", "val", "test"], len(images)).tolist()
    text = "image,part\n" + "\n".join(f"{image},{part}" for image, part in zip(images, parts, strict=True))
    audit = audit_split_file(written(tmp_path, text), dataset, dataset.lesion_ids, alike_images([], near))
    part_of_image = dict(zip(images, parts, strict=True))
    for part, learned in ((audit.parts[0], {"train"}), (audit.parts[1], {"train", "val"})):
        crossing = {
            one
            for pair in near
            for one, other in (pair, pair[::-1])
            if part_of_image[one] == part.part[: len(part_of_image[one])] and part_of_image[other] in learned
        }
        assert part.overall.near_duplicate == len(crossing)
        assert part.overall.images == sum(part.part.startswith(word) for word in parts)


def test_merged_groups_leak_where_the_lesion_ids_do_not(tmp_path, dataset):
    pairs = [ImagePair(image_a="h", image_b="a", lesion_a="L4", lesion_b="L1", score=1.0)]
    text = rows("image_id,split", lambda n: f"{n},{'test' if n == 'h' else 'train'}")
    path = written(tmp_path, text)
    assert not audit_split_file(path, dataset, dataset.lesion_ids).leaks
    merged = audit_split_file(path, dataset, merge_groups(dataset.lesion_ids, pairs)).parts[0].overall
    assert (merged.lesion, merged.group, merged.any) == (0, 1, 1)


def test_an_image_on_both_sides_is_told(tmp_path, dataset):
    text = "train,test\na,h\nb,a\n"
    audit = audit_split_file(written(tmp_path, text), dataset, dataset.lesion_ids)
    assert audit.parts[0].overall.same_image == 1
    assert audit.n_absent == 5


def test_a_leak_into_the_validation_part_alone_is_one_too(tmp_path, dataset):
    text = "train,val,test\na,b,f\n,,g"
    audit = audit_split_file(written(tmp_path, text), dataset, dataset.lesion_ids)
    assert [part.overall.any for part in audit.parts] == [1, 0]
    with pytest.raises(DataError, match="1 of 1 validation images"):
        audit.refuse_leakage()


@pytest.mark.parametrize("seed", range(10))
def test_grouped_folds_do_not_leak_and_random_ones_as_much_as_counted_by_hand(tmp_path, seed):
    dataset = random_dataset(tmp_path, seed, fewest_lesions=6)
    folds = make_folds(dataset, n_folds=3, seed=seed)
    folds.write_csv(tmp_path / "good.csv")
    good = audit_split_file(tmp_path / "good.csv", dataset, dataset.lesion_ids)
    good.refuse_leakage()
    assert not good.leaks
    assert len(good.parts) == 3
    random = np.random.default_rng(seed).integers(0, 3, len(dataset))
    text = "image_id,fold\n" + "\n".join(f"{n},{k}" for n, k in zip(dataset.image_ids, random, strict=True))
    bad = audit_split_file(written(tmp_path, text), dataset, dataset.lesion_ids)
    for part in bad.parts:
        inside = random == int(part.training)
        shared = np.isin(dataset.lesion_ids[inside], dataset.lesion_ids[~inside])
        assert part.overall.lesion == part.overall.any == shared.sum()
        for label, name in enumerate(dataset.classes):
            assert part.per_class[name].any == shared[dataset.labels[inside] == label].sum()
            assert part.per_class[name].images == (dataset.labels[inside] == label).sum()


def test_a_terminal_of_80_columns_cuts_no_head_and_no_count(tmp_path, dataset):
    text = "\n".join(f"{n},{k},{'test' if FOLD[n] == k else 'train'}" for k in range(3) for n in "abcdefgh")
    audit = audit_split_file(written(tmp_path, "image,fold,set\n" + text), dataset, dataset.lesion_ids)
    large = Crossing(images=10015, same_image=10015, lesion=10015, group=10015, near_duplicate=10015, any=10015)
    parts = tuple(replace(part, overall=large, per_class=dict.fromkeys(part.per_class, large)) for part in audit.parts)
    out = StringIO()
    show_split_audit(replace(audit, parts=parts), Console(file=out, width=80))
    assert "…" not in out.getvalue()
    assert out.getvalue().count("10015 (100.0%)") == 3
    assert out.getvalue().count("30045 (100.0%)") == 2


def test_the_screen_and_the_file_say_it(tmp_path, dataset):
    text = rows("image_id,split", lambda n: f"{n},{part_of(n)}")
    audit = audit_split_file(written(tmp_path, text), dataset, frozen(dataset.lesion_ids))
    out = StringIO()
    show_split_audit(audit, Console(file=out, width=120))
    assert "1 (50.0%)" in out.getvalue()
    assert "g: of one lesion with f" in out.getvalue()
    assert "near-duplicates were not searched for" in out.getvalue()
    assert "This split leaks." in out.getvalue()
    content = json.loads(json.dumps(audit.to_json()))
    assert content["leaks"] is True
    assert content["parts"][1]["per_class"]["mel"]["lesion"] == 1
