"""Large problems as NPZ arrays, for 100,000 layers and beyond; never loads pickles."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.exact import ExactColumn
from bitwright.problems.formats.json_text import naming
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.ties import Tie

_REQUIRED = ("layer_names", "choice_start", "weight_bits", "activation_bits", "loss")
_COST = "cost_"


def problem_from_npz(path: str | Path) -> AllocationProblem:
    """Read the arrays that `formats` describes; the problem is named after the file."""
    try:
        # Opened here because numpy leaves the file of a broken archive open.
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: np.asanyarray(archive[name]) for name in archive.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds for a broken file
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path}: not a readable NPZ file without pickles: {reason}") from None
    with naming(str(path)):
        return _problem(Path(path).stem, arrays)


def _problem(name: str, arrays: dict[str, NDArray[Any]]) -> AllocationProblem:
    for required in _REQUIRED:
        if required not in arrays:
            raise InputError(f"array {required!r} is missing; {nearest(required, arrays)}")
    for key in arrays:
        if key not in (*_REQUIRED, "ties") and not key.startswith(_COST):
            raise InputError(
                f"unknown array {key!r}; {nearest(key, (*_REQUIRED, 'ties', 'cost_<name>'))}"
            )
    names = arrays["layer_names"]
    if names.dtype.kind not in "US" or names.ndim != 1:
        raise InputError(
            f"layer_names must be a list of strings, got {names.dtype} of shape {names.shape}"
        )
    try:
        layers = tuple(n.decode() if isinstance(n, bytes) else str(n) for n in names)
    except UnicodeDecodeError:
        raise InputError("layer_names given as bytes must be UTF-8") from None
    costs = {
        key.removeprefix(_COST): ExactColumn.of(_numbers(key, array), key)
        for key, array in arrays.items()
        if key.startswith(_COST)
    }
    return AllocationProblem(
        name=name,
        layers=layers,
        choice_start=_integers("choice_start", arrays),
        weight_bits=_integers("weight_bits", arrays),
        activation_bits=_integers("activation_bits", arrays),
        loss=_numbers("loss", arrays["loss"]),
        costs=costs,
        ties=_ties(arrays, layers),
    )


def _integers(name: str, arrays: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    array = arrays[name]
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise InputError(
            f"{name} must be a list of integers, got {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)


def _numbers(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "iuf" or array.ndim != 1:
        raise InputError(
            f"{name} must be a list of numbers, got {array.dtype} of shape {array.shape}"
        )
    return array


def _ties(arrays: dict[str, NDArray[Any]], layers: tuple[str, ...]) -> tuple[Tie, ...]:
    if "ties" not in arrays or arrays["ties"].size == 0:
        return ()
    pairs = arrays["ties"]
    if pairs.dtype.kind not in "iu" or pairs.ndim != 2 or pairs.shape[1] != 2:
        raise InputError(
            f"ties must be pairs of layer indices, got {pairs.dtype} of shape {pairs.shape}"
        )
    if pairs.min() < 0 or pairs.max() >= len(layers):
        raise InputError(
            f"ties must name layers from 0 to {len(layers) - 1}, got {int(pairs.min())} to {int(pairs.max())}"
        )
    return tuple(Tie((layers[int(a)], layers[int(b)])) for a, b in pairs)


def problem_to_npz(problem: AllocationProblem) -> bytes:
    """Write the arrays; raises `InputError` for what they cannot hold exactly."""
    lost = {
        "budgets": problem.budgets, "fixed costs": problem.fixed_costs, "interactions": problem.interactions,
        "peaks": problem.peaks, "channel ranges": problem.channels, "variants": any(problem.variants),
        "ties of one side": [t for t in problem.ties if t.side != "all"],
    }  # fmt: skip
    for what, value in lost.items():
        if value:
            raise InputError(f"problem {problem.name!r}: NPZ arrays cannot hold {what}; write JSON")
    names = np.array(problem.layers)
    for name, held in zip(problem.layers, names.tolist(), strict=True):
        if name != held:
            raise InputError(
                f"problem {problem.name!r}: NPZ arrays cannot hold the layer name {name!r}; write JSON"
            )
    for name in problem.costs:
        if not name.isprintable():
            raise InputError(
                f"problem {problem.name!r}: NPZ arrays cannot hold the cost name {name!r}; write JSON"
            )
    arrays: dict[str, NDArray[Any]] = {
        "layer_names": names,
        "choice_start": problem.choice_start,
        "weight_bits": problem.weight_bits.astype(np.int16),
        "activation_bits": problem.activation_bits.astype(np.int16),
        "loss": problem.loss,
    }
    for name, column in problem.costs.items():
        array = column.units if column.digits == 0 else column.floats()
        if array.dtype == object or ExactColumn.of(array, name) != column:
            raise InputError(
                f"problem {problem.name!r}: cost {name!r} has more digits than an NPZ array holds; write JSON"
            )
        arrays[_COST + name] = array
    if problem.ties:
        pairs = [
            (problem.index[a], problem.index[b])
            for t in problem.ties
            for a, b in zip(t.layers, t.layers[1:], strict=False)
        ]
        arrays["ties"] = np.array(pairs, dtype=np.int64)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
