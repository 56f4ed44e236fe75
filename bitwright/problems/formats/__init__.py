"""File formats of problems, solutions, fronts and networks: strict readers, atomic writers."""

from __future__ import annotations

from pathlib import Path

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.formats.answers_json import (
    front_document,
    front_from_document,
    solution_document,
    solution_from_document,
)
from bitwright.problems.formats.atomic import write_atomic as write_atomic
from bitwright.problems.formats.json_text import dump_json as dump_json
from bitwright.problems.formats.json_text import naming
from bitwright.problems.formats.json_text import read_json as read_json
from bitwright.problems.formats.network_json import network_document as network_document
from bitwright.problems.formats.network_json import network_from_document
from bitwright.problems.formats.problem_csv import problem_from_csv, problem_to_csv
from bitwright.problems.formats.problem_json import problem_document, problem_from_document
from bitwright.problems.formats.problem_npz import problem_from_npz, problem_to_npz
from bitwright.problems.formats.verified_json import verified_document, verified_from_document
from bitwright.problems.front import ParetoFront
from bitwright.problems.network import NetworkDescription
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.solution import Solution
from bitwright.problems.verified import Verified

_PROBLEM_SUFFIXES = (".json", ".csv", ".npz")


def read_problem(path: str | Path) -> AllocationProblem:
    """Read a problem file, by its suffix; raises `InputError` naming file, place, rule and value."""
    suffix = _suffix(path)
    if suffix == ".csv":
        return problem_from_csv(path)
    if suffix == ".npz":
        return problem_from_npz(path)
    return problem_from_document(read_json(path), str(path))


def write_problem(problem: AllocationProblem, path: str | Path) -> None:
    """Write a problem file, by its suffix; raises `InputError` for what that format cannot hold."""
    suffix = _suffix(path)
    if suffix == ".csv":
        write_atomic(path, problem_to_csv(problem))
    elif suffix == ".npz":
        write_atomic(path, problem_to_npz(problem))
    else:
        with naming(str(path)):
            text = dump_json(problem_document(problem))
        write_atomic(path, text + "\n")


def _suffix(path: str | Path) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in _PROBLEM_SUFFIXES:
        raise InputError(
            f"{path}: a problem file ends in one of {', '.join(_PROBLEM_SUFFIXES)}; {nearest(suffix, _PROBLEM_SUFFIXES)}"
        )
    return suffix


def read_solution(path: str | Path) -> Solution:
    """Read a solution file."""
    return solution_from_document(read_json(path), str(path))


def write_solution(solution: Solution, path: str | Path) -> None:
    """Write a solution file."""
    write_atomic(path, dump_json(solution_document(solution)) + "\n")


def read_front(path: str | Path) -> ParetoFront:
    """Read a front file."""
    return front_from_document(read_json(path), str(path))


def write_front(front: ParetoFront, path: str | Path) -> None:
    """Write a front file."""
    write_atomic(path, dump_json(front_document(front)) + "\n")


def read_network(path: str | Path) -> NetworkDescription:
    """Read a network description."""
    return network_from_document(read_json(path), str(path))


def write_network(network: NetworkDescription, path: str | Path) -> None:
    """Write a network description."""
    write_atomic(path, dump_json(network_document(network)) + "\n")


def read_verified(path: str | Path) -> Verified:
    """Read what was verified of a run."""
    return verified_from_document(read_json(path), str(path))


def write_verified(verified: Verified, path: str | Path) -> None:
    """Write what was verified of a run."""
    write_atomic(path, dump_json(verified_document(verified)) + "\n")
