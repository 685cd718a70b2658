import io

import numpy as np
import pytest
from PIL import Image

from mint_ray.corpora.pannuke import PanNuke, encode_patch, open_fold, read_patch
from mint_ray.errors import CorpusError, RowError


def write_fold(folder, fold, types, dtype=np.float64, shape=(256, 256, 3)):
    part = folder / f"Fold {fold}" / "images" / f"fold{fold}"
    part.mkdir(parents=True)
    rng = np.random.default_rng(fold)
    images = rng.integers(0, 256, (len(types), *shape)).astype(dtype)
    np.save(part / "images.npy", images)
    np.save(part / "types.npy", np.array(types))
    return part, images


def row(**changes):
    return {"source": "images.npy", "row": 12, "fold": 1, "split": "train", "type": "Breast"} | changes


def test_floats_become_the_same_whole_numbers():
    patch = np.random.default_rng(0).integers(0, 256, (256, 256, 3)).astype(np.float64)
    assert (np.asarray(Image.open(io.BytesIO(encode_patch(patch)))) == patch).all()


@pytest.mark.parametrize("bad", [-1.0, 256.0, np.nan, np.inf])
def test_a_patch_with_a_value_outside_of_0_to_255_is_refused(bad):
    patch = np.full((256, 256, 3), 100.0)
    patch[3, 4, 1] = bad
    with pytest.raises(RowError, match="pixel-range"):
        encode_patch(patch)


def test_a_patch_scaled_to_one_is_refused_and_not_made_black():
    with pytest.raises(RowError, match="saw 1 to 1; expected values of 0 to 255"):
        encode_patch(np.ones((256, 256, 3)))


def test_a_patch_becomes_a_case_that_is_its_own_group():
    case = read_patch(row(pixels=np.full((256, 256, 3), 100.0)))
    assert (case.case_id, case.group_id) == ("fold1-000012", "fold1-000012")
    assert (case.label_id, case.split, case.source) == ("Breast", "train", "images.npy:12")


def test_an_unknown_tissue_is_refused_with_the_nearest_known_one():
    refused = read_patch(row(type="Breats", pixels=np.full((256, 256, 3), 100.0)))
    assert (refused.reason, refused.case_id, refused.row) == ("unknown-tissue", "fold1-000012", 12)
    assert refused.expected == "did you mean Breast?"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda part: (part / "types.npy").unlink(), "types.npy: is not there"),
        (lambda part: np.save(part / "types.npy", np.array(["Breast"])), "1 names for 2 images"),
        (lambda part: np.save(part / "types.npy", np.array([1, 2])), "expected n names"),
        (lambda part: np.save(part / "types.npy", np.array(["Breast", None])), "never loaded"),
        (lambda part: np.save(part / "images.npy", np.zeros((2, 128, 128, 3))), r"shape \(2, 128, 128, 3\)"),
        (lambda part: np.save(part / "images.npy", np.zeros((2, 256, 256, 3), np.int32)), "holds int32"),
        (lambda part: (part / "images.npy").write_bytes((part / "images.npy").read_bytes()[:-9]), "may be cut off"),
    ],
)
def test_a_fold_whose_files_do_not_fit_is_refused_as_a_whole(tmp_path, spoil, message):
    part, _ = write_fold(tmp_path, 1, ["Breast", "Colon"])
    spoil(part)
    with pytest.raises(CorpusError, match=message):
        open_fold(part / "images.npy")


def test_a_missing_fold_is_named(tmp_path):
    write_fold(tmp_path, 1, ["Breast"])
    with pytest.raises(CorpusError, match="for fold 3, there is none"):
        PanNuke(kind="pannuke", folder=tmp_path, folds={1: "train", 3: "test"}).outcomes(0)


def test_folds_are_splits_and_nothing_is_lost(tmp_path, local_ray):
    write_fold(tmp_path, 1, ["Breast"] * 65 + ["Tonsil"], np.uint8)
    _, images = write_fold(tmp_path, 2, ["Colon", "HeadNeck"])
    rows = PanNuke(kind="pannuke", folder=tmp_path, folds={1: "train", 2: "test"}).outcomes(0).take_all()
    cases = {row["case"]["case_id"]: row["case"] for row in rows if row["case"]}
    (refused,) = [row["refusal"] for row in rows if row["refusal"]]
    assert len(cases) == 67
    assert (refused["reason"], refused["row"], refused["source"]) == (
        "unknown-tissue",
        65,
        "Fold 1/images/fold1/images.npy",
    )
    assert {case["split"] for name, case in cases.items() if name.startswith("fold1")} == {"train"}
    assert cases["fold2-000001"]["label_id"] == "HeadNeck"
    assert (np.asarray(Image.open(io.BytesIO(cases["fold2-000001"]["image"]))) == images[1]).all()
