"""Critical classes: mined from a confusion matrix, or named by the user.

Source: Khrupin & Shaptsev 2025, "semantic significance"; the rule is in `confusion_rates`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitwright.problems import CriticalClasses, InputError, Quality, nearest

Pair = tuple[str, str, float]


def confusion_rates(quality: Quality) -> NDArray[np.float64]:
    """How often two classes are taken for each other, shape (C, C), symmetric, from 0 to 1.

        m_ij = (N_ij + N_ji) / (N_i + N_j),    N_i = objects of class i

    `N_ij` counts objects of class i taken for class j. Objects taken for background, and background
    taken for objects, are left out everywhere. The diagonal, and pairs without objects, are 0.
    """
    count = len(quality.classes)
    confusion = quality.confusion[:count, :count]
    objects = confusion.sum(axis=1)
    either = objects[:, None] + objects[None, :]
    rates: NDArray[np.float64] = (confusion + confusion.T) / np.maximum(either, 1)
    np.fill_diagonal(rates, 0.0)
    return rates


def most_confused(
    quality: Quality, *, threshold: float = 0.05, top: int | None = None
) -> CriticalClasses:
    """The classes of every pair whose confusion rate reaches `threshold`, or of the `top` pairs.

    Where no pair reaches the threshold the single most confused one is taken; where no class is
    confused with another, all classes that occur. Both are marked by `above_threshold=False`.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"threshold must be above 0 and at most 1, got {threshold}")
    if top is not None and top < 1:
        raise InputError(f"top must be at least 1, got {top}")
    confused = _confused_pairs(quality)
    if not confused:
        return CriticalClasses(_occurring(quality), threshold=threshold, above_threshold=False)
    if top is not None:
        return _of_pairs(quality.classes, confused[:top])
    reaching = [pair for pair in confused if pair[2] >= threshold]
    return _of_pairs(
        quality.classes,
        reaching or confused[:1],
        threshold=threshold,
        above_threshold=bool(reaching),
    )


def given_classes(names: Sequence[str], classes: Sequence[str]) -> CriticalClasses:
    """The classes that the user named, as one group; raises `InputError` for an unknown one."""
    if not names:
        raise InputError(f"name at least one critical class; {nearest('', classes)}")
    for name in names:
        if name not in classes:
            raise InputError(f"unknown critical class {name!r}; {nearest(name, classes)}")
    kept = tuple(name for name in classes if name in names)
    return CriticalClasses(kept, groups=(kept,), given=True)


def describe(critical: CriticalClasses) -> str:
    """One sentence for people: which classes are critical, and why."""
    names = ", ".join(critical.classes)
    if critical.given:
        return f"critical classes, as given: {names}"
    if not critical.pairs:
        return f"no class is confused with another, so all count as critical: {names}"
    first, second, rate = critical.pairs[0]
    if not critical.above_threshold:
        return (
            f"no two classes are confused at a rate of {critical.threshold:g} or more; "
            f"the most confused pair is taken as critical: {first}, {second} ({rate:.3g})"
        )
    count = len(critical.pairs)
    pairs = "1 pair" if count == 1 else f"{count} pairs"
    return f"critical classes, from {pairs} confused at a rate of up to {rate:.3g}: {names}"


def _confused_pairs(quality: Quality) -> list[Pair]:
    """The pairs with a rate above 0, the most confused first; equal rates in the order of classes."""
    rates, classes = confusion_rates(quality), quality.classes
    pairs = [
        (classes[i], classes[j], float(rates[i, j]))
        for i, j in zip(*np.triu_indices(len(classes), k=1), strict=True)
        if rates[i, j] > 0
    ]
    return sorted(pairs, key=lambda pair: -pair[2])


def _occurring(quality: Quality) -> tuple[str, ...]:
    count = len(quality.classes)
    objects = quality.confusion[:count].sum(axis=1)
    names = tuple(name for name, n in zip(quality.classes, objects, strict=True) if n)
    if not names:
        raise InputError("no class can be critical: the confusion matrix counts no objects")
    return names


def _of_pairs(
    classes: Sequence[str],
    pairs: Sequence[Pair],
    *,
    threshold: float | None = None,
    above_threshold: bool = True,
) -> CriticalClasses:
    groups = _groups(classes, pairs)
    members = {name for group in groups for name in group}
    return CriticalClasses(
        classes=tuple(name for name in classes if name in members),
        pairs=tuple(pairs),
        groups=groups,
        threshold=threshold,
        above_threshold=above_threshold,
    )


def _groups(classes: Sequence[str], pairs: Sequence[Pair]) -> tuple[tuple[str, ...], ...]:
    """The connected components of the graph whose edges are the pairs, in the order of classes."""
    groups: list[set[str]] = []
    for first, second, _ in pairs:
        touched = [group for group in groups if first in group or second in group]
        apart = [group for group in groups if group not in touched]
        groups = [*apart, {first, second}.union(*touched)]
    ordered = [tuple(name for name in classes if name in group) for group in groups]
    return tuple(sorted(ordered, key=lambda group: classes.index(group[0])))
