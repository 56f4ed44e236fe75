"""Which image serves for what: stratified, and drawn from the items' keys, not from their order.

Every choice comes from the SHA-256 of the seed and an item's key (a file name, say). Listing the same
files in another order, in another process or on another machine changes nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

from bitwright.problems.errors import InputError
from bitwright.problems.protocols import SPLITS

STORED_SPLITS = ("train", "val", "test")
"""The splits that data comes in; `divide` makes `mine` and `score` out of `val`."""


def draw_split(
    keys: Sequence[str],
    labels: Sequence[int],
    *,
    val_share: float,
    test_share: float,
    seed: int,
) -> list[str]:
    """Name one of `STORED_SPLITS` for every item; each class is shared out alike."""
    shares = {"train": 1 - val_share - test_share, "val": val_share, "test": test_share}
    if not all(0 < share < 1 for share in shares.values()):
        raise InputError(
            "val_share and test_share must be above 0 and leave something to train on, "
            f"got {val_share} and {test_share}"
        )
    return stratified(keys, labels, shares, seed=seed)


def divide(
    keys: Sequence[str], labels: Sequence[int], stored: Sequence[str], *, seed: int
) -> dict[str, list[int]]:
    """Items of the four splits of a task, each in a fixed random order.

    `stored` names one of `STORED_SPLITS` per item. `val` is cut into two disjoint halves, `mine`
    and `score`, that hold equally many items of every class, or one more where their number is odd.
    """
    for name, least in (("train", 1), ("val", 2), ("test", 1)):
        if (count := stored.count(name)) < least:
            raise InputError(f"the {name} split must hold at least {least} image(s), got {count}")
    val = [item for item, split in enumerate(stored) if split == "val"]
    halves = stratified(
        [keys[item] for item in val],
        [labels[item] for item in val],
        {"mine": 0.5, "score": 0.5},
        seed=seed,
    )
    split_of = dict(enumerate(stored)) | dict(zip(val, halves, strict=True))
    order = shuffled(keys, seed=seed, purpose="order")
    return {split: [item for item in order if split_of[item] == split] for split in SPLITS}


def stratified(
    keys: Sequence[str], labels: Sequence[int], shares: Mapping[str, float], *, seed: int
) -> list[str]:
    """Name a part for every item, so that each part holds its share of every class within one item.

    `shares` sum to 1. Classes whose count does not divide take turns in who gets the odd item, so
    that the parts as a whole keep their shares too.
    """
    members: dict[int, list[int]] = {label: [] for label in sorted(set(labels))}
    for item in shuffled(keys, seed=seed, purpose="draw"):
        members[labels[item]].append(item)
    parts = [""] * len(keys)
    owed = [0.0] * len(shares)
    for items in members.values():
        counts = _whole_counts(len(items), list(shares.values()), owed)
        names = [name for name, count in zip(shares, counts, strict=True) for _ in range(count)]
        for item, name in zip(items, names, strict=True):
            parts[item] = name
    return parts


def shuffled(keys: Sequence[str], *, seed: int, purpose: str) -> list[int]:
    """Indices of the keys in a random order that depends on seed, purpose and keys only.

    Orders for different purposes are independent: what was drawn first is not listed first.
    """

    def rank(item: int) -> tuple[bytes, str]:
        text = f"{purpose}:{seed}:{keys[item]}".encode(errors="surrogateescape")
        return hashlib.sha256(text).digest(), keys[item]

    return sorted(range(len(keys)), key=rank)


def _whole_counts(size: int, shares: Sequence[float], owed: list[float]) -> list[int]:
    """Round `size * shares` to whole counts; `owed` carries what each part lost by rounding so far."""
    exact = [round(size * share, 6) for share in shares]
    counts = [math.floor(count) for count in exact]
    for part, count in enumerate(counts):
        owed[part] += exact[part] - count
    for _ in range(size - sum(counts)):
        unrounded = [part for part in range(len(shares)) if exact[part] > counts[part]]
        part = max(unrounded, key=owed.__getitem__)
        counts[part] += 1
        owed[part] -= 1
    return counts
