"""What is to be exported: a configuration of a run or of a solution file, and the model that carries it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bitwright.pipeline.folder import RunFolder
from bitwright.pipeline.measuring import Measurement, key_of, post_trained, weights_file
from bitwright.pipeline.verifying import VERIFIED, trained_model
from bitwright.pipeline.work import Work
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError, nearest
from bitwright.problems.formats import read_front, read_solution, read_verified, write_atomic
from bitwright.problems.formats.bits_yaml import Bits, bits_to_yaml
from bitwright.problems.formats.tensorrt import tensorrt_arguments, tensorrt_precision
from bitwright.problems.variants import INTEGER, activation_form, svd_rank
from bitwright.progress import Reporter
from bitwright.quantization.export import (
    Export,
    export_overrides,
    export_qdq,
    export_qonnx,
    grid_figures,
)
from bitwright.run_config import read_run_config

TARGETS = ("qdq", "qonnx", "tensorrt-precisions", "ort-overrides", "yaml")
NEEDS_MODEL = ("qdq", "qonnx", "ort-overrides")
WEIGHTS = ("best", "qat", "ptq")
FORMAT = "bitwright-export/1"


@dataclass(frozen=True)
class Chosen:
    """The configuration to export, its name, and the run that it belongs to, if there is one.

    `seed` is that of the training (QAT) whose weights are taken, kept in the file `trained`; without
    one the float network is quantized as it is (PTQ). `or_untrained`: where a target cannot hold the
    trained network, the other may take its place.
    """

    name: str
    network: str
    configuration: BitConfiguration
    work: Work | None
    seed: int | None = None
    trained: Path | None = None
    or_untrained: bool = False

    def model(self) -> tuple[nn.Module, tuple[Any, ...]]:
        """The quantized network, and inputs for one run of it."""
        assert self.work is not None, "a solution file alone has no model"
        torch.set_num_threads(self.work.config.threads)
        if self.seed is not None and self.trained is not None:
            model = trained_model(self.work, self.configuration, self.seed, self.trained)
        else:
            model = post_trained(self.work, self.configuration)
        return model, self.work.task.example_inputs()

    @property
    def weights(self) -> str:
        """Which weights are exported, in words."""
        if self.seed is None:
            return "quantized after training (PTQ)"
        return f"trained for these bits (QAT, seed {self.seed})"


def choose(
    source: str | Path,
    point: str | None,
    reporter: Reporter,
    *,
    weights: str = "best",
    seed: int | None = None,
) -> Chosen:
    """Find the configuration: point `point` of a run folder, or the one of a solution file.

    A point is a name (of a solution, or as in `verified.json`) or a number, counted from 1, of a
    point in `verified.json` or, where nothing was verified, in `front_points.json`. Without one, a
    run's first solution is taken. A solution file inside a run folder belongs to that run.

    `weights` are those of `qat`, of `ptq`, or `best`: of QAT where the run kept them. `seed` says of
    which training (default: the first).
    """
    if weights not in WEIGHTS:
        raise InputError(f"weights {weights!r} are unknown; {nearest(weights, WEIGHTS)}")
    if weights == "ptq" and seed is not None:
        raise InputError("--seed chooses among trained weights, and goes not with --weights ptq")
    chosen = _chosen(source, point, reporter)
    return chosen if weights == "ptq" else _trained(chosen, seed, required=weights == "qat")


def _trained(chosen: Chosen, seed: int | None, *, required: bool) -> Chosen:
    """The same with the weights of a training, where one was kept for the configuration.

    They are looked for by what they were trained for, so that it does not matter which points were
    verified last.
    """
    work = chosen.work
    if work is not None and work.config.verify.qat is not None:
        for known in (seed,) if seed is not None else _seeds(work):
            key = key_of(work, Measurement("qat", "", chosen.configuration, known))
            path = work.folder / weights_file(key)
            if path.is_file():
                may_not = required or seed is not None
                return replace(chosen, seed=known, trained=path, or_untrained=not may_not)
    if required or seed is not None:
        which = "" if seed is None else f" with seed {seed}"
        raise InputError(
            f"no weights trained for {chosen.name!r}{which} are kept; `bitwright verify` with QAT keeps "
            "those of the points that it measures"
        )
    return chosen


def _seeds(work: Work) -> tuple[int, ...]:
    """Seeds of the trainings that the run may have kept, those of its configuration first."""
    verified = work.folder / VERIFIED
    later = read_verified(verified).seeds if verified.is_file() else ()
    return tuple(dict.fromkeys((*work.config.verify.seeds, *later)))


def _chosen(source: str | Path, point: str | None, reporter: Reporter) -> Chosen:
    path = Path(source)
    if path.is_dir():
        work = _work(path, reporter)
        name, configuration = _point(work, point)
        return Chosen(name, work.config.name, configuration, work)
    solution = read_solution(path)
    if solution.configuration is None:
        raise InputError(f"{path}: the solution has no bits to export ({solution.status.meaning})")
    if point is not None:
        raise InputError(f"{path}: --point chooses from a run folder; a solution file is one point")
    home = path.resolve().parent.parent
    inside = path.resolve().parent.name == "solutions" and (home / "config.yaml").is_file()
    work_or_none = _work(home, reporter) if inside else None
    return Chosen(path.stem, solution.problem, solution.configuration, work_or_none)


def _work(folder: Path, reporter: Reporter) -> Work:
    for name in ("config.yaml", "float.safetensors", "network.json"):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder}: no run folder, or one that has not come far: {name} is missing"
            )
    return Work(read_run_config(folder / "config.yaml"), RunFolder(folder), reporter)


def _point(work: Work, point: str | None) -> tuple[str, BitConfiguration]:
    solved = _solutions(work)
    if point is None:
        for name, configuration in solved.items():
            return name, configuration
        raise InputError(f"{work.folder.path}: no solution has bits to export; choose a --point")
    points = _verified(work) or _front(work)
    if point.isdecimal() and 1 <= int(point) <= len(points):
        return points[int(point) - 1]
    known = dict(points) | solved
    if f"uniform {point}" in known:
        point = f"uniform {point}"
    if point not in known:
        raise InputError(
            f"{work.folder.path}: no point {point!r}; a number from 1 to {len(points)}, or a name: "
            f"{nearest(point, known)}"
        )
    return point, known[point]


def _solutions(work: Work) -> dict[str, BitConfiguration]:
    found = {}
    for name in work.config.solutions:
        path = work.folder / f"solutions/{name}.json"
        if path.is_file() and (configuration := read_solution(path).configuration) is not None:
            found[name] = configuration
    return found


def _verified(work: Work) -> list[tuple[str, BitConfiguration]]:
    path = work.folder / VERIFIED
    if not path.is_file():
        return []
    return [(point.name, point.configuration) for point in read_verified(path).points]


def _front(work: Work) -> list[tuple[str, BitConfiguration]]:
    path = work.folder / "front_points.json"
    if not path.is_file():
        return []
    return [
        (f"front {i}", point.configuration)
        for i, point in enumerate(read_front(path), start=1)
        if point.configuration is not None
    ]


def export(
    chosen: Chosen, target: str, out: Path, *, integer_outputs: bool = False, widen: bool = False
) -> dict[str, Any]:
    """Write the configuration for another tool; returns what was written (`bitwright-export/1`).

    `integer_outputs` and `widen` are for `qdq`: see `export_qdq`; the batches are those of the
    calibration.
    """
    for option, given in (("integer-outputs", integer_outputs), ("widen", widen)):
        if given and target != "qdq":
            raise InputError(f"--{option} goes with --to qdq, not with --to {target}")
    if target in NEEDS_MODEL and chosen.work is None:
        raise InputError(
            f"--to {target} needs the network and its weights: give the run folder, or a solution "
            "inside one"
        )
    document: dict[str, Any] = {
        "format": FORMAT,
        "target": target,
        "network": chosen.network,
        "point": chosen.name,
        "files": [str(out)],
    }
    if target == "yaml":
        grids = {}
        if (work := chosen.work) is not None:
            grids = grid_figures(chosen.model()[0], work.nonlinear)
            document["weights"] = chosen.weights
        text = bits_to_yaml(Bits(chosen.network, chosen.configuration, grids))
        write_atomic(out, text)
        return document | {"layers": _configured(chosen.configuration)}
    if target == "tensorrt-precisions":
        write_atomic(out, tensorrt_arguments(chosen.configuration))
        types = {n: {"type": tensorrt_precision(p)} for n, p in chosen.configuration.items()}
        layers = _configured(chosen.configuration)
        document["layers"] = {n: entry | types[n] for n, entry in layers.items()}
        forms = {p.variant for p in chosen.configuration.values()}
        if any(svd_rank(form) or activation_form(form) == INTEGER for form in forms):
            document["notes"] = [
                "TensorRT is not told of factors (svd-K) and rounded outputs (integer); it computes "
                "them as the ONNX file has them"
            ]
        return document
    return document | _with_model(chosen, target, out, integer_outputs, widen)


def _with_model(
    chosen: Chosen, target: str, out: Path, integer_outputs: bool, widen: bool
) -> dict[str, Any]:
    model, inputs = chosen.model()
    document: dict[str, Any] = {"weights": chosen.weights}
    if target == "ort-overrides":
        try:
            overrides = export_overrides(model, inputs)
        except InputError as error:
            # Training may move two readers of one tensor apart, and overrides hold one grid for it.
            if not chosen.or_untrained:
                raise
            document = {"why_untrained": str(error)}
            chosen = replace(chosen, seed=None, trained=None)
            document["weights"] = chosen.weights
            overrides = export_overrides(*chosen.model())
        beside = out.with_suffix(".onnx")
        if beside == out:
            raise InputError(
                f"{out}: the overrides are JSON; the float model goes beside them as .onnx"
            )
        overrides.float_model.write(beside)
        tensors = {"tensors": overrides.tensors, "nodes_to_exclude": list(overrides.excluded)}
        write_atomic(out, json.dumps(tensors, indent=1) + "\n")
        return document | _described(overrides.float_model) | {"files": [str(out), str(beside)]}
    if target == "qdq":
        batches = chosen.work.calibration_inputs() if integer_outputs and chosen.work else None
        made = export_qdq(model, inputs, output_batches=batches, widen=widen)
    else:
        made = export_qonnx(model, inputs)
    made.write(out)
    return document | _described(made)


def _configured(configuration: BitConfiguration) -> dict[str, dict[str, Any]]:
    return {
        name: {"weight_bits": p.weight_bits, "activation_bits": p.activation_bits}
        | ({"variant": p.variant} if p.variant else {})
        for name, p in configuration.items()
    }


def _described(export: Export) -> dict[str, Any]:
    layers: Mapping[str, Any] = {
        name: {
            "weight_bits": one.weight_bits,
            "weight_type": one.weight_type,
            "activation_bits": one.input_bits,
            "activation_type": one.input_type,
        }
        | ({} if one.rank is None else {"rank": one.rank})
        | (
            {}
            if one.output is None
            else dict(zip(("output_bits", "output_type"), one.output, strict=True))
        )
        for name, one in export.layers.items()
    }
    return {
        "layers": layers,
        "opset": export.opset,
        "file_bytes": export.file_bytes,
        "initializer_bytes": export.initializer_bytes,
        "overhead_bytes": export.overhead_bytes,
        "notes": list(export.notes),
    }
