"""Pairs on disk: what is read by place is what was encoded, in the same order, however it is cut, killed or shared."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler, DataLoader

from mint_ray.alignment import encoding
from mint_ray.alignment.collation import EncodedPair, PairOrder, encode_pairs
from mint_ray.alignment.encoded import ENCODED, StoredPairs, data_file, write_lengths, write_pairs
from mint_ray.alignment.encoding import Encoder, encode_splits, parts_of, refused_pairs, remove_data
from mint_ray.errors import RunError
from mint_ray.parquet import part_files
from mint_ray.preferences.store import pair_dataset, pair_schema, stored_schema
from tests.alignment.conftest import pair
from tests.alignment.test_align import run_of
from tests.alignment.test_trainer import losses

PAIRS = [
    EncodedPair(
        case_id=f"case-{i}",
        prompt=list(range(i % 5)),
        chosen=[1] * (i % 3 + 1),
        rejected=[2, 3],
        image=bytes([i]) * 9 if i % 2 else None,
        openings=([4], [5, i]) if i % 4 == 0 else (),
        scores=(-0.1, -1 / 3) if i % 4 == 0 else (),
    )
    for i in range(27)
]


def store(pairs, folder, parts=(27,)) -> StoredPairs:
    """Pairs as parts of these sizes."""
    start = 0
    for number, size in enumerate(parts):
        path = folder / f"part-{number:05d}.parquet"
        write_lengths(write_pairs(pairs[start : start + size], path), path)
        start += size
    return StoredPairs(folder)


@pytest.mark.parametrize("parts", [(27,), (8, 8, 8, 3), (1, 25, 1), (0, 13, 0, 14, 0)])
def test_a_pair_is_read_by_its_place_as_it_was_encoded(parts, tmp_path):
    stored = store(PAIRS, tmp_path, parts)
    assert list(stored) == PAIRS and stored[3:9:2] == PAIRS[3:9:2]
    shuffled = np.random.default_rng(0).permutation(27).tolist()
    assert [stored[i] for i in shuffled] == [PAIRS[i] for i in shuffled]
    assert stored.lengths.tolist() == [pair.length for pair in PAIRS]
    for beyond in (27, -1):
        with pytest.raises(IndexError):
            stored[beyond]


def test_no_parts_are_no_pairs(tmp_path):
    assert len(StoredPairs(tmp_path)) == 0 and not StoredPairs(tmp_path)


def test_all_that_is_held_of_a_pair_is_its_length(tmp_path):
    stored = store(PAIRS, tmp_path, (8, 8, 8, 3))
    arrays = [value for value in vars(stored).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in arrays) == 4 * 27 + 8 * 4  # a pair's length, a part's end


def test_a_process_of_its_own_reads_them_too(tmp_path):
    stored = store(PAIRS, tmp_path)
    assert stored[0] == PAIRS[0]  # opened before the other process is made
    batches = list(DataLoader(stored, batch_size=4, num_workers=1, collate_fn=list))
    assert [pair for batch in batches for pair in batch] == PAIRS


def test_a_process_of_its_own_reads_them_from_a_store(bucket):
    stored = store(PAIRS, bucket, (13, 14))
    assert stored[0] == PAIRS[0]
    batches = list(DataLoader(stored, batch_size=4, num_workers=1, collate_fn=list, timeout=60))
    assert [pair for batch in batches for pair in batch] == PAIRS


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:99])])
def test_a_part_that_is_gone_or_cut_short_is_named(damage, tmp_path):
    stored = store(PAIRS, tmp_path, (8, 19))
    damage(tmp_path / "part-00001.arrow")
    assert stored[7] == PAIRS[7]
    with pytest.raises(RunError, match=r"part-00001\.arrow: cannot be read .*run the stage `alignment` again"):
        stored[8]


def run_in_files(tmp_path, model, train, files=3, groups=4, **settings):
    """A run whose training pairs lie in so many files, in row groups of so many rows."""
    run = run_of(tmp_path / "run", model, **settings)
    folder = run.stage("preferences").path / "pairs" / "train"
    for number, rows in enumerate(np.array_split(np.arange(len(train)), files)):
        written = [{k: v for k, v in train[i].items() if k != "images"} for i in rows]
        table = pa.Table.from_pylist(written, schema=pair_schema(images=False))
        pq.write_table(table, folder / f"part-{number:05d}.parquet", row_group_size=groups)
    return run


def refusals(run):
    return [
        row for path in part_files(run.stage("alignment").path / "refused") for row in pq.read_table(path).to_pylist()
    ]


@pytest.mark.parametrize(
    ("rows", "files", "groups", "parts"),
    [
        (4096, 3, 4, 1),
        (8, 3, 4, 4),  # 10, 10 and 10 rows: groups of 4, 4, 2 | 4, 4 | 2, 4, 4 | 2
        (1, 3, 4, 9),
        (1, 1, 1000, 1),  # a row group is never cut
        (7, 30, 1, 5),
    ],
)
def test_pairs_are_those_that_were_encoded_at_once_however_they_are_cut(
    rows, files, groups, parts, tiny_model, tokenizer, tmp_path, monkeypatch
):
    monkeypatch.setattr(encoding, "ROWS", rows)
    monkeypatch.setattr(encoding, "_HERE", 99)
    monkeypatch.setattr(encoding, "_AT_ONCE", 3)
    train = [pair(i) for i in range(30)]
    for i in (4, 29):
        train[i]["prompt"][0]["content"] += " Seizure;" * 200
    run = run_in_files(tmp_path, tiny_model, train, files, groups)
    assert sum(part.split == "train" for part in parts_of(run)) == parts
    assert encode_splits(run, str(tiny_model)) == {"train": 28, "validation": 4}
    folder = run.stage("alignment").path
    for split in ("train", "validation"):
        encoded, refused = encode_pairs(pair_dataset(run, split), tokenizer, run.config.alignment.max_length)
        assert list(StoredPairs(folder / ENCODED / split)) == encoded
        if split == "train":
            assert refusals(run) == [refusal.model_dump() for refusal in refused]
    assert refused_pairs(run) == {"too-long": 2}


def test_what_is_encoded_is_not_encoded_again_and_what_a_kill_left_half_done_is(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "ROWS", 8)
    monkeypatch.setattr(encoding, "_HERE", 99)
    run = run_in_files(tmp_path, tiny_model, [pair(i) for i in range(30)])
    counts = encode_splits(run, str(tiny_model))
    folder = run.stage("alignment").path / ENCODED / "train"
    whole, (_, second, *_) = list(StoredPairs(folder)), part_files(folder)
    made = []

    class Noting(Encoder):
        def make(self, part):
            made.append(part.name)
            return super().make(part)

    monkeypatch.setattr(encoding, "Encoder", Noting)
    assert encode_splits(run, str(tiny_model)) == counts and made == []
    second.unlink()  # killed before the lengths were written
    data_file(second).write_bytes(b"half")
    assert encode_splits(run, str(tiny_model)) == counts and made == [second.name]
    assert list(StoredPairs(folder)) == whole
    data_file(second).unlink()  # gone, while the lengths are there
    assert encode_splits(run, str(tiny_model)) == counts and made == [second.name] * 2
    remove_data(run)  # after training
    assert encode_splits(run, str(tiny_model), read=False) == counts and len(made) == 2
    assert not list(folder.glob("*.arrow"))


def test_what_an_older_release_refused_is_not_counted_once_more(tiny_model, tmp_path):
    run = run_in_files(tmp_path, tiny_model, [pair(i) for i in range(6)])
    old = run.stage("alignment").path / "refused" / "part-00000.parquet"
    old.parent.mkdir(parents=True)
    pq.write_table(pa.table({"reason": ["too-long"] * 3}), old)
    encode_splits(run, str(tiny_model))
    assert refused_pairs(run) == {}


def test_a_file_of_pairs_that_vanishes_in_the_middle_is_named(tiny_model, tmp_path):
    run = run_in_files(tmp_path, tiny_model, [pair(i) for i in range(30)])
    parts, section = list(parts_of(run)), run.config.alignment
    folder = run.stage("alignment").path
    encoder = Encoder(parts, stored_schema(run), section, str(tiny_model), run.config.task, folder)
    gone = run.stage("preferences").path / "pairs" / "train" / "part-00001.parquet"
    gone.unlink()
    with pytest.raises(RunError, match=r"part-00001\.parquet: cannot be read as Parquet \(FileNotFoundError\)"):
        encoder.make(parts[0])
    assert not part_files(folder / ENCODED / "train")  # a part without its lengths is none


def shares(lengths, batch, workers, epoch=0, seed=3):
    """The places that each worker reads in an epoch, batch by batch, as accelerate deals them out."""
    order = PairOrder(lengths, batch * workers, seed, epoch=lambda: epoch)
    return [list(BatchSamplerShard(BatchSampler(order, batch, False), workers, each)) for each in range(workers)]


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("pairs", [1, 3, 40])
def test_the_batches_of_a_step_are_the_same_for_any_number_of_workers(pairs, epoch):
    lengths = np.random.default_rng(1).integers(5, 400, pairs).astype(np.int32)
    (alone,) = shares(lengths, 8, 1, epoch)
    for workers in (2, 4, 8):
        dealt = shares(lengths, 8 // workers, workers, epoch)
        assert [[i for share in step for i in share] for step in zip(*dealt, strict=True)] == alone


def test_pairs_of_many_tokens_share_their_batches_with_each_other(tmp_path):
    pairs = [EncodedPair(str(i), [7] * (30_000 if i % 4 == 0 else 100), [1], [2, 3]) for i in range(32)]
    stored = store(pairs, tmp_path, (31, 1))
    order = list(PairOrder(stored.lengths, batch=4, seed=0))
    batches = [order[at : at + 4] for at in range(0, 32, 4)]
    assert sum(any(i % 4 == 0 for i in batch) for batch in batches) == 2
    assert len(stored[order[0]].prompt) == len(pairs[order[0]].prompt)


class Watched(StoredPairs):
    read: list[int]

    def __getitem__(self, place):
        self.read.append(place)
        return super().__getitem__(place)


def test_training_on_stored_pairs_has_the_same_losses_and_goes_on_in_the_middle_of_an_epoch(
    make, encoded, tmp_path, monkeypatch
):
    straight = make(save_steps=4)
    straight.train()
    store(encoded, tmp_path / "pairs", (1, 17, 6))
    stored = Watched(tmp_path / "pairs")
    stored.read = []
    monkeypatch.setattr("tests.alignment.conftest.held", lambda pairs: stored)
    again = make(scratch="other", save_steps=4)
    again.train()
    assert losses(again) == losses(straight)  # to the last digit
    read, stored.read = stored.read, []
    resumed = make(scratch="third", save_steps=4)
    resumed.train(resume_from_checkpoint=str(tmp_path / "other" / "checkpoint-4"))
    assert losses(resumed) == losses(straight)
    assert stored.read == read[4 * 8 :]  # and nothing before: step 4 is the first of the second epoch


def test_many_parts_are_made_by_actors(local_ray, tiny_model, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "ROWS", 8)
    train = [pair(i) for i in range(30)]
    train[4]["prompt"][0]["content"] += " Seizure;" * 200
    run = run_in_files(tmp_path, tiny_model, train)
    assert len(list(parts_of(run))) > encoding._HERE
    assert encode_splits(run, str(tiny_model)) == {"train": 29, "validation": 4}
    encoded, _ = encode_pairs(pair_dataset(run, "train"), tokenizer, run.config.alignment.max_length)
    assert list(StoredPairs(run.stage("alignment").path / ENCODED / "train")) == encoded
    assert [(row["case_id"], row["row"]) for row in refusals(run)] == [("case-4", 4)]
