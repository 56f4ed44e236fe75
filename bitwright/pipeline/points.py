"""Which configurations `verify` measures: solutions, points of a front, uniform ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bitwright.pipeline.offering import uniform_choices
from bitwright.pipeline.work import Work
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError, nearest
from bitwright.problems.formats import read_front, read_solution
from bitwright.problems.formats.json_text import naming
from bitwright.problems.front import ParetoFront
from bitwright.problems.precision import Precision

_NAMED = 5


@dataclass(frozen=True)
class Point:
    """A configuration to be measured, and where it comes from: `solution`, `front` or `uniform`."""

    name: str
    kind: str
    configuration: BitConfiguration


@dataclass(frozen=True)
class Picks:
    """Files to take configurations from; with none of them, the run's own solutions and front.

    `front_points`: so many spread over a front file's points with bits; None takes all of them.
    """

    front: Path | None = None
    solutions: tuple[Path, ...] = ()
    front_points: int | None = None


def points_of(work: Work, picks: Picks | None = None) -> list[Point]:
    """The configurations to verify: solutions, uniform baselines, points of a front.

    Each configuration comes once, under its first name. Raises `InputError` for a file whose layers
    or precisions are not those of the run, and where picks leave nothing to verify.
    """
    if picks is None or (picks.front is None and not picks.solutions):
        solutions, front = _of_run(work), _of_run_front(work)
    else:
        solutions, front = _of_solution_files(work, picks), _of_front_file(work, picks)
    first: dict[BitConfiguration, Point] = {}
    for point in (*solutions, *_uniform(work), *front):
        first.setdefault(point.configuration, point)
    names = [point.name for point in first.values()]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two points would be named {twice[0]!r}; rename the file of the solution")
    if picks is not None and not first:
        raise InputError("nothing is left to verify: no solution, no point of a front, no uniform")
    return list(first.values())


def _of_run(work: Work) -> Iterator[Point]:
    if not work.config.verify.solutions:
        return
    for name in work.config.solutions:
        solution = read_solution(work.folder / f"solutions/{name}.json")
        if solution.configuration is not None:
            yield Point(name, "solution", solution.configuration)


def _of_run_front(work: Work) -> Iterator[Point]:
    if work.config.verify.front_points:
        front = read_front(work.folder / "front_points.json")
        yield from _spread(front, work.config.verify.front_points)


def _of_solution_files(work: Work, picks: Picks) -> Iterator[Point]:
    stems = [path.stem for path in picks.solutions]
    for path in picks.solutions:
        solution = read_solution(path)
        if solution.configuration is None:
            raise InputError(f"{path}: a solution that is {solution.status} has no bits to verify")
        _check(work, solution.configuration, str(path))
        name = path.stem if stems.count(path.stem) == 1 else str(path)
        yield Point(name, "solution", solution.configuration)


def _of_front_file(work: Work, picks: Picks) -> Iterator[Point]:
    if picks.front is None:
        return
    front = read_front(picks.front)
    if not any(front.configurations):
        raise InputError(
            f"{picks.front}: no point of this front has bits; "
            "make it with `bitwright front PROBLEM --points N --json`"
        )
    for point in _spread(front, picks.front_points or len(front)):
        _check(work, point.configuration, f"{picks.front}: {point.name}")
        yield point


def _spread(front: ParetoFront, count: int) -> Iterator[Point]:
    for i in front.spread(count).tolist():
        configuration = front[i].configuration
        if configuration is not None:
            yield Point(f"front {i + 1}/{len(front)}", "front", configuration)


def _uniform(work: Work) -> Iterator[Point]:
    for precision in work.config.verify.uniform:
        bits, missing = uniform_choices(precision, work.candidates)
        missing = missing or _not_stored(work, precision)
        if missing:
            work.reporter.say(f"  uniform {precision} is left out: not offered to {missing[0]}")
            continue
        if work.problem.broken_ties(work.problem.selection(bits)):
            work.reporter.say(f"  uniform {precision} is left out: pins and ties contradict it")
            continue
        yield Point(f"uniform {precision}", "uniform", BitConfiguration(bits))


def _not_stored(work: Work, precision: Precision) -> list[str]:
    """Layers of which the run's device cannot store the precision, so that it would not be uniform.

    One that the device leaves a single choice takes that, as a pinned layer does, but not all of them.
    """
    device = work.device
    if device is None:
        return []
    free = [layer for layer in work.network if layer.quantizable and layer.pinned is None]
    without = [la.name for la in free if device.layer_runs_as(la, precision) is None]
    return [name for name in without if len(without) == len(free) or len(work.candidates[name]) > 1]


def _check(work: Work, configuration: BitConfiguration, source: str) -> None:
    """Raise `InputError` for layers, or precisions of layers, that the run does not have."""
    ours = work.problem.layers
    if foreign := [name for name in configuration if name not in work.problem.index]:
        raise InputError(
            f"{source}: made for another network than run {work.config.name!r}: it has no "
            f"{_listed(foreign)}; {nearest(foreign[0], ours)}"
        )
    if missing := [name for name in ours if name not in configuration]:
        raise InputError(
            f"{source}: made for another network than run {work.config.name!r}: it gives no bits "
            f"for {_listed(missing)}"
        )
    with naming(source):
        work.problem.selection(configuration)


def _listed(layers: list[str]) -> str:
    """Names of layers in words, the first few of many."""
    names = ", ".join(repr(name) for name in layers[:_NAMED])
    more = f" and {len(layers) - _NAMED} more" if len(layers) > _NAMED else ""
    return f"layer{'s' * (len(layers) > 1)} {names}{more}"
