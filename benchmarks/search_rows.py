"""The rows of the search benchmark: what is solved, by whom, how often, and the figure to reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.instances import FAMILIES, Spec
from benchmarks.search_contenders import OURS
from benchmarks.search_rivals import RIVALS

Job = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """Jobs that every contender gets in turn, `repeats` times, and what is to be reached.

    `kind` decides what is told of them: `proved` times until proved, `within` what is proved or
    certified in a given time, `points` whole fronts, `memory`. `theirs` are the rivals' jobs where
    they differ, their times to be multiplied by `times`.
    """

    title: str
    target: str
    jobs: tuple[Job, ...]
    kind: str = "proved"
    repeats: int = 3
    rivals: tuple[str, ...] = tuple(RIVALS)
    theirs: tuple[Job, ...] = ()
    times: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """The contenders, ours first; memory is told without numba."""
        return (*list(OURS)[: 1 if self.kind == "memory" else 2], *self.rivals)


def rows(*, quick: bool, seconds: float, seed: int) -> list[Row]:
    """All rows; `quick` ones have fewer and smaller problems, no job more than `seconds`."""
    return [
        *_one_budget(quick, seconds, seed),
        _many_groups(quick, seconds, seed),
        _sweep(quick, seconds, seed),
        *_fronts(quick, seconds),
        *_three_budgets(quick, seconds, seed),
        _chain(quick, seconds, seed),
        *_memory(quick, seed),
    ]


def _solves(specs: Sequence[Spec], seconds: float, work: str = "solve") -> tuple[Job, ...]:
    return tuple({"work": work, "instance": s.document(), "seconds": seconds} for s in specs)


def _one_budget(quick: bool, seconds: float, seed: int) -> list[Row]:
    targets = {
        50: "CBC / 30 without numba, / 500 with",
        1000: "CBC / 50 without numba, / 1000 with",
        10_000: "CBC / 100 without numba, / 1000 with (hard: / 150)",
    }
    found = []
    for layers, target in targets.items():
        for family in FAMILIES:
            if quick and layers > (1000 if family == "network" else 50):
                continue
            seeds = 1 if quick else {50: 5, 1000: 3, 10_000: 2}[layers]
            specs = [Spec(family, layers, seed=seed + k) for k in range(seeds)]
            title = f"one budget, proved, N = {layers:,} x 16, {family}"
            found.append(Row(title, target, _solves(specs, seconds)))
    return found


def _many_groups(quick: bool, seconds: float, seed: int) -> Row:
    specs = [Spec(f, 100_000, seed=seed) for f in FAMILIES[: 1 if quick else 2]]
    rivals = () if quick else ("scipy milp",)
    title = "one budget, proved, N = 100,000 x 16"
    return Row(
        title,
        "under 1 s without numba, 0.2 s with",
        _solves(specs, seconds),
        rivals=rivals,
    )


def _sweep(quick: bool, seconds: float, seed: int) -> Row:
    shares = [round(0.02 * k - 0.01, 2) for k in range(1, 51)]
    job = {"work": "sweep", "instance": Spec("network", 200, seed=seed).document()}
    few = shares[5::20] if quick else shares[2::5]
    return Row(
        "50 budgets at N = 200 x 16, each proved",
        "1 s without numba, 0.1 s with",
        jobs=({**job, "shares": shares, "seconds": seconds},),
        theirs=({**job, "shares": few, "seconds": seconds},),
        times=len(shares) / len(few),
        rivals=("PuLP+CBC",) if quick else tuple(RIVALS),
    )


def _fronts(quick: bool, seconds: float) -> list[Row]:
    """Seeds with fronts of about 100,000 and 300,000 points; rivals take ten of fifty budgets."""
    sizes = [(50, 0, "1 s without numba, 0.1 s with"), (100, 2, "4 s without numba, 0.4 s with")]
    found = []
    for layers, seed, target in sizes[: 1 if quick else 2]:
        instance = Spec("network", layers, 8, seed=seed).document()
        shares = [0.1, 0.5] if quick else [0.05 + 0.1 * k for k in range(10)]
        sweep = {"work": "sweep", "instance": instance, "shares": shares, "seconds": seconds}
        found.append(
            Row(
                f"whole exact front, {layers} x 8 bit-ops (rivals: 50 points of it)",
                target,
                jobs=({"work": "front", "instance": instance, "seconds": max(seconds, 20.0)},),
                theirs=(sweep,),
                times=50 / len(shares),
                kind="points",
                rivals=("PuLP+CBC",),
            )
        )
    return found


def _three_budgets(quick: bool, seconds: float, seed: int) -> list[Row]:
    families, seeds = FAMILIES[:3], 1 if quick else 5

    def specs(layers: int) -> list[Spec]:
        return [
            Spec(f, layers, budgets=3, seed=seed + k)
            for f in families[: 1 if quick else 3]
            for k in range(seeds)
        ]

    return [
        Row(
            "three budgets, N = 200 x 16, until proved",
            "1 s on most, 10 s on all",
            _solves(specs(200), seconds),
            repeats=1,
        ),
        Row(
            "three budgets, N = 1,000 x 16, within 0.5 s",
            "certified relative gap <= 1e-3",
            _solves(specs(1000), 0.5),
            kind="within",
            repeats=1,
            rivals=("PuLP+CBC", "scipy milp", "CP-SAT"),
        ),
    ]


def _chain(quick: bool, seconds: float, seed: int) -> Row:
    layers = 30 if quick else 100
    specs = [
        Spec("network", layers, 4, linked=True, seed=seed + k) for k in range(1 if quick else 5)
    ]
    return Row(
        f"chain with skip terms, {layers} x 4",
        "0.1 s without numba, 5 ms with",
        _solves(specs, seconds),
    )


def _memory(quick: bool, seed: int) -> list[Row]:
    sizes = (1000, 10_000) if quick else (1000, 10_000, 100_000)
    singles = _solves([Spec("network", n, seed=seed) for n in sizes], 60.0, "memory")
    front = Spec("network", 20 if quick else 50, 8, seed=0).document()
    fronts = {"work": "memory", "front": True, "instance": front, "seconds": 60.0}
    return [
        Row(title, target, jobs, kind="memory", repeats=1, rivals=())
        for title, target, jobs in (
            ("memory of a solve, one budget", "linear in the input", singles),
            ("memory of a whole front", "stated", (fronts,)),
        )
    ]
