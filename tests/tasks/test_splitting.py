"""Splits are disjoint, complete, stratified and independent of the order of the files."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from bitwright.problems.errors import InputError
from bitwright.problems.protocols import SPLITS
from bitwright.tasks.splitting import divide, draw_split, shuffled, stratified

SIZES = (1, 2, 3, 7, 10, 25)
LABELS = [label for label, size in enumerate(SIZES) for _ in range(size)]
KEYS = [f"class{label}/{item}.png" for item, label in enumerate(LABELS)]
SHARES = {"train": 0.55, "val": 0.25, "test": 0.2}


@pytest.mark.parametrize("shares", [SHARES, {"mine": 0.5, "score": 0.5}, {"a": 0.1, "b": 0.9}])
@pytest.mark.parametrize("seed", range(3))
def test_each_class_is_shared_out_within_one(shares, seed):
    """Every item gets a part; a part holds its share of every class, rounded up or down."""
    parts = stratified(KEYS, LABELS, shares, seed=seed)
    assert len(parts) == len(KEYS)
    assert set(parts) <= set(shares)
    counts = Counter(zip(parts, LABELS, strict=True))
    for name, share in shares.items():
        for label, size in enumerate(SIZES):
            assert abs(counts[name, label] - size * share) < 1
        assert abs(parts.count(name) - len(KEYS) * share) < 1.5


def test_classes_take_turns_in_the_odd_item():
    """Halving many classes of odd size leaves two halves of equal size."""
    labels = [label for label in range(10) for _ in range(5)]
    parts = stratified([str(k) for k in range(50)], labels, {"mine": 0.5, "score": 0.5}, seed=0)
    assert parts.count("mine") == parts.count("score") == 25


def test_splits_are_disjoint_and_complete():
    """Every item lands in exactly one of the four splits."""
    stored = draw_split(KEYS, LABELS, val_share=0.3, test_share=0.2, seed=0)
    parts = divide(KEYS, LABELS, stored, seed=0)
    assert tuple(parts) == SPLITS
    assert sorted(item for part in parts.values() for item in part) == list(range(len(KEYS)))


def test_order_of_the_files_does_not_matter():
    """Listing the same files in another order gives the same files per split, in the same order."""
    order = np.random.default_rng(0).permutation(len(KEYS))
    keys, labels = [KEYS[i] for i in order], [LABELS[i] for i in order]

    def named(keys, labels):
        stored = draw_split(keys, labels, val_share=0.3, test_share=0.2, seed=3)
        parts = divide(keys, labels, stored, seed=3)
        return {name: [keys[i] for i in items] for name, items in parts.items()}

    assert named(keys, labels) == named(KEYS, LABELS)


def test_seed_decides():
    """The same seed draws the same split, another seed another one."""
    draws = [draw_split(KEYS, LABELS, val_share=0.3, test_share=0.2, seed=s) for s in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_another_process_draws_the_same():
    """The order depends on the keys and not on Python's own hash seed."""
    code = (
        "from bitwright.tasks.splitting import shuffled\n"
        "print(shuffled('abcd', seed=5, purpose='order'))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(shuffled("abcd", seed=5, purpose="order"))


def test_halves_come_out_of_val_alone():
    """Train and test stay as stored; mine and score part val between them, class by class."""
    stored = [("train", "val", "val", "test")[item % 4] for item in range(40)]
    labels = [item // 20 for item in range(40)]
    parts = divide([str(item) for item in range(40)], labels, stored, seed=0)
    for name in ("train", "test"):
        assert sorted(parts[name]) == [item for item in range(40) if stored[item] == name]
    assert sorted(parts["mine"] + parts["score"]) == [i for i in range(40) if stored[i] == "val"]
    for name in ("mine", "score"):
        assert Counter(labels[item] for item in parts[name]) == {0: 5, 1: 5}


def test_classes_are_mixed_within_a_split():
    """The first items of a split are not all of one class, so that they can serve as a sample."""
    labels = [item // 100 for item in range(300)]
    keys = [str(item) for item in range(300)]
    stored = draw_split(keys, labels, val_share=0.2, test_share=0.2, seed=0)
    for items in divide(keys, labels, stored, seed=0).values():
        assert len({labels[item] for item in items[:12]}) == 3


@pytest.mark.parametrize(("val_share", "test_share"), [(0.0, 0.2), (0.5, 0.5), (0.3, -0.1)])
def test_shares_out_of_range(val_share, test_share):
    """Shares that leave a split empty are refused with both values."""
    with pytest.raises(InputError, match=f"above 0 .* got {val_share} and {test_share}"):
        draw_split(KEYS, LABELS, val_share=val_share, test_share=test_share, seed=0)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (["val", "val", "test"], "the train split must hold at least 1 image.s., got 0"),
        (["train", "val", "test"], "the val split must hold at least 2 image.s., got 1"),
        (["train", "val", "val"], "the test split must hold at least 1 image.s., got 0"),
    ],
)
def test_empty_split(stored, message):
    """A split without enough images is named."""
    with pytest.raises(InputError, match=message):
        divide(["a", "b", "c"], [0, 0, 1], stored, seed=0)
