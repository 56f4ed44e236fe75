"""Running the network over the score split, once per (component, precision), each alone."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from bitwright.networks import evaluation_mode
from bitwright.problems import (
    BitConfiguration,
    BitwrightError,
    InputError,
    MeasurementError,
    nearest,
)
from bitwright.problems.protocols import ScoringContext, Task
from bitwright.significance.index import INDEX, Index, Plan, read_index
from bitwright.significance.losses import ObjectLosses, read_losses
from bitwright.significance.recording import Losses, LossRecorder, begin

SPLIT = "score"
_TERM = re.compile(r"[a-z][a-z0-9_]*")


def measure_losses(context: ScoringContext) -> ObjectLosses:
    """Return the losses kept in the context's folder, after measuring those that are missing.

    A precision of float32 is not run: its losses are those of the float network. Raises `InputError`
    when the folder holds losses of another network, other data or other candidates: they may have
    taken hours, so nothing is thrown away here.
    """
    plan = _plan(context)
    index = read_index(context.folder) if (context.folder / INDEX).exists() else None
    if index is not None and (changed := plan.differences(index.plan)):
        raise InputError(
            f"{context.folder}: holds losses measured with other {', '.join(changed)}; "
            "remove it or choose another folder to measure again"
        )
    if index is None or index.seconds is None:
        with evaluation_mode(context.model):
            if index is None:
                _begin(context, plan)
            _measure_missing(context, LossRecorder(context.folder))
    return read_losses(context.folder)


def _plan(context: ScoringContext) -> Plan:
    names = context.network.names
    if not context.candidates:
        raise InputError("no layer has candidate precisions, so there is nothing to measure")
    for name, offered in context.candidates.items():
        if name not in names:
            raise InputError(f"candidates name unknown layer {name!r}; {nearest(name, names)}")
        if not offered or len(set(offered)) != len(offered):
            labels = [precision.label for precision in offered]
            raise InputError(f"layer {name!r} needs distinct candidate precisions, got {labels}")
    return Plan(
        candidates={
            name: tuple(sorted(context.candidates[name]))
            for name in names
            if name in context.candidates
        },
        classes=context.task.classes,
        split=SPLIT,
        seed=context.seed,
        weights=weights_digest(context.model),
        data=context.task.fingerprint(),
        quantization=context.quantization,
    )


def weights_digest(model: nn.Module) -> str:
    """A digest of every parameter and buffer, by name, type, shape and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _begin(context: ScoringContext, plan: Plan) -> None:
    context.progress("float network", 0, len(plan.cells))
    object_classes = _object_classes(context.task)
    losses = _object_losses(context, len(object_classes), "the float network")
    for term in losses:
        if not _TERM.fullmatch(term):
            raise MeasurementError(
                f"task {context.task.name!r}: a loss term is named in lower case, got {term!r}"
            )
    begin(context.folder, Index(plan, tuple(losses), object_classes), losses)


def _measure_missing(context: ScoringContext, recorder: LossRecorder) -> None:
    index = recorder.index
    for component, precision in index.plan.cells:
        if (component, precision) in recorder.seconds:
            continue
        what = f"{component} at {precision}"
        started = time.perf_counter()
        if precision.is_float32:
            losses = recorder.float_losses
        else:
            with context.quantize(BitConfiguration({component: precision})):
                losses = _object_losses(context, len(index.object_classes), what, index.terms)
        recorder.record(component, precision, losses, time.perf_counter() - started)
        context.progress(what, len(recorder.seconds), len(index.plan.cells))
    recorder.finish()


def _object_classes(task: Task) -> tuple[int, ...]:
    classes = [
        int(k) for _, targets in task.batches(SPLIT) for k in task.object_classes(targets).tolist()
    ]
    if not classes:
        raise InputError(f"task {task.name!r}: the {SPLIT} split holds no objects")
    wrong = [k for k in classes if not 0 <= k < len(task.classes)]
    if wrong:
        raise MeasurementError(
            f"task {task.name!r}: an object has class {wrong[0]} of {len(task.classes)} classes"
        )
    return tuple(classes)


def _object_losses(
    context: ScoringContext, objects: int, what: str, terms: Sequence[str] | None = None
) -> Losses:
    """Losses of every object by term, float32, as the model now is; raises `MeasurementError`."""
    try:
        losses = _run(context)
    except BitwrightError:
        raise
    except RuntimeError as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise MeasurementError(f"{what}: the network cannot be run: {reason}") from error
    if terms is not None and set(losses) != set(terms):
        raise MeasurementError(
            f"{what}: the task gives loss terms {sorted(losses)}, expected {sorted(terms)}"
        )
    for term, values in losses.items():
        if values.shape != (objects,):
            raise MeasurementError(
                f"{what}: the {term} loss must have one value for each of the {objects} objects, "
                f"got shape {values.shape}"
            )
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise MeasurementError(
                f"{what}: the {term} loss of {len(bad)} of {objects} objects is not finite, "
                f"such as {values[bad[0]]} for object {bad[0]}"
            )
    return losses


def _run(context: ScoringContext) -> Losses:
    batches: dict[str, list[np.ndarray]] = {}
    # Modules that `quantize` has put into the model are in training mode until told otherwise.
    with evaluation_mode(context.model) as model:
        for inputs, targets in context.task.batches(SPLIT):
            losses = context.task.object_losses(model(*inputs), targets)
            for term, values in losses.items():
                batches.setdefault(term, []).append(values.to("cpu", torch.float32).numpy())
    return {term: np.concatenate(parts) for term, parts in batches.items()}
