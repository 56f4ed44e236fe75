"""The profile that ONNX Runtime writes (`SessionOptions.enable_profiling`): kernel times of each run.

A list of Chrome trace events. Those of category `Node` whose name ends in `_kernel_time` are read;
`_fence_before` and `_fence_after` rows of older versions are not. `dur` is in whole microseconds,
sizes in `args` are strings, `input_type_shape` is a list of `{type: shape}`. Events of category
`Session` named `model_run` say where each run begins and ends.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from bitwright.cost_models.readers.files import time_of
from bitwright.cost_models.readers.profile import (
    Measurement,
    Profile,
    Statistic,
    quartile_distance,
    statistic_of,
)
from bitwright.problems.errors import InputError
from bitwright.problems.formats.json_text import Place, naming

_SUFFIX = "_kernel_time"
_HOLDING_OTHERS = ("If", "Loop", "Scan", "SequenceMap")
_ASYNCHRONOUS = ("CUDA", "ROCM", "MIGraphX", "Tensorrt", "NvTensorRTRTX")
_COMPUTED_IN = {
    "float": "float32", "float16": "float16", "bfloat16": "bfloat16", "double": "float64",
    "int8": "int8", "uint8": "int8",
}  # fmt: skip
_Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class _Event:
    key: tuple[str, str]
    start_us: Fraction
    time_us: Fraction
    kind: str
    provider: str
    type: str
    inputs: _Shapes
    outputs: _Shapes


def read_onnxruntime(
    document: object, source: str, statistic: Statistic | None = None, warmup: int | None = None
) -> Profile:
    """Read the parsed JSON: the median, or another statistic, of the runs behind the warm-up.

    `warmup` runs at the start are left out; None: a tenth of the runs and at least one, where there
    are three or more. A row that runs several times in one run counts with its sum. Raises
    `InputError` naming the place.
    """
    events, starts = [], []
    for place in Place(document, source).items():
        category = place["cat"].text() if "cat" in place else ""
        if category == "Node":
            event = _event(place)
            if event is not None:
                events.append(event)
        elif category == "Session" and "name" in place and place["name"].value == "model_run":
            starts.append(time_of(_needed(place, "ts"), 1))
    if not events:
        raise InputError(f"{source}: no event of category 'Node' whose name ends in {_SUFFIX!r}")
    nested = sorted({e.kind for e in events if e.kind in _HOLDING_OTHERS})
    events = [e for e in events if e.kind not in _HOLDING_OTHERS]
    runs = _by_run(sorted(events, key=lambda e: e.start_us), sorted(starts))
    skipped = _warmup(warmup, len(runs), source)
    chosen = statistic or "median"
    notes = [f"{chosen} of {len(runs) - skipped} runs, after {skipped} to warm up"]
    if nested:
        notes.append(f"rows of {', '.join(nested)} are left out: what they run has its own rows")
    if late := sorted({e.provider for e in events if e.provider.startswith(_ASYNCHRONOUS)}):
        notes.append(
            f"times of {', '.join(late)} are those of launching kernels, not of running them"
        )
    with naming(source):
        return Profile("onnxruntime", _rows(runs[skipped:], chosen), tuple(notes))


def _needed(place: Place, key: str) -> Place:
    return place[key] if key in place else place.fail(f"key {key!r} is missing")


def _event(place: Place) -> _Event | None:
    name = _needed(place, "name").text()
    if not name.endswith(_SUFFIX):
        return None
    arguments = _needed(place, "args")
    kind = _needed(arguments, "op_name").text()
    types, inputs = _typed_shapes(arguments, "input_type_shape")
    _, outputs = _typed_shapes(arguments, "output_type_shape")
    return _Event(
        key=(name.removesuffix(_SUFFIX) or kind, _text(arguments, "node_index")),
        start_us=time_of(_needed(place, "ts"), 1),
        time_us=time_of(_needed(place, "dur"), 1),
        kind=kind,
        provider=_text(arguments, "provider"),
        type=types[0] if types else "",
        inputs=inputs,
        outputs=outputs,
    )


def _text(place: Place, key: str) -> str:
    return str(place[key].value)[:100] if key in place else ""


def _typed_shapes(arguments: Place, key: str) -> tuple[list[str], _Shapes]:
    """Types and shapes of tensors; an optional one that is left out has neither."""
    types, shapes = [], []
    for tensor in arguments[key].items() if key in arguments else []:
        for name, shape in tensor.fields():
            types.append(name)
            shapes.append(tuple(size.integer() for size in shape.items()))
    return types, tuple(shapes)


def _by_run(events: Sequence[_Event], starts: Sequence[Fraction]) -> list[list[_Event]]:
    """The events of each run. Where no `model_run` says where one begins, a repeated row does."""
    runs: list[list[_Event]] = []
    if starts:
        by_start: dict[int, list[_Event]] = {}
        for event in events:
            by_start.setdefault(bisect.bisect_right(starts, event.start_us), []).append(event)
        return [by_start[number] for number in sorted(by_start)]
    seen: set[tuple[str, str]] = set()
    for event in events:
        if not runs or event.key in seen:
            runs.append([])
            seen = set()
        seen.add(event.key)
        runs[-1].append(event)
    return runs


def _warmup(asked: int | None, runs: int, source: str) -> int:
    if asked is None:
        return max(1, runs // 10) if runs >= 3 else 0
    if not 0 <= asked < runs:
        raise InputError(
            f"{source}: {asked} runs to warm up of the {runs} that it holds leave none"
        )
    return asked


def _rows(runs: Sequence[Sequence[_Event]], statistic: Statistic) -> tuple[Measurement, ...]:
    first: dict[tuple[str, str], _Event] = {}
    times: dict[tuple[str, str], list[Fraction]] = {}
    for run in runs:
        sums: dict[tuple[str, str], Fraction] = {}
        for event in run:
            first.setdefault(event.key, event)
            sums[event.key] = sums.get(event.key, Fraction(0)) + event.time_us
        for key, time in sums.items():
            times.setdefault(key, []).append(time)
    return tuple(
        Measurement(
            name=key[0],
            time_us=statistic_of(times[key], statistic),
            count=len(times[key]),
            spread_us=quartile_distance(times[key]),
            kind=event.kind,
            details=_details(event),
            inputs=event.inputs,
            outputs=event.outputs,
        )
        for key, event in first.items()
    )


def _details(event: _Event) -> Mapping[str, str]:
    details = {"provider": event.provider}
    if event.type in _COMPUTED_IN:
        details["computed_in"] = _COMPUTED_IN[event.type]
    return details
