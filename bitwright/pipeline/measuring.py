"""One measurement of `verify`: a configuration on the real network, journaled in the run folder.

A measurement is named by a digest of all that it depends on. Its result is `verify/KEY.json`, the
network that was trained for it `verify/KEY.safetensors`, written first: a result that is there is
whole. A lock per measurement keeps two processes from doing the same one at a time, such as a
restarted run and a worker of the killed one; whoever comes second finds the result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import save
from torch import nn

from bitwright.pipeline.evaluating import Evaluated, evaluate
from bitwright.pipeline.folder import fingerprint
from bitwright.pipeline.work import Work
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.formats import read_json, write_atomic
from bitwright.problems.formats.answers_json import bits_document
from bitwright.problems.formats.json_text import Place
from bitwright.problems.formats.verified_json import (
    quality_document,
    quality_from_place,
    readings_from_place,
)
from bitwright.problems.measurements import Quality
from bitwright.problems.verified import MeasuredQuality
from bitwright.problems.version import __version__
from bitwright.quantization import TrainingRecipe, fit, post_training, quantized_copy

WEIGHTS_FORMAT = "bitwright-qat-weights/1"


@dataclass(frozen=True)
class Measurement:
    """What is measured: the float network, or a configuration after PTQ or after QAT with a seed."""

    kind: Literal["float", "ptq", "qat"]
    point: str = ""
    configuration: BitConfiguration | None = None
    seed: int | None = None

    def __str__(self) -> str:
        if self.kind == "float":
            return "float network"
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{self.point!r} ({self.kind.upper()}{seed})"

    @property
    def what(self) -> dict[str, Any]:
        """What tells two measurements of one run apart; the name of the point does not."""
        what: dict[str, Any] = {"kind": self.kind}
        if self.configuration is not None:
            what["bits"] = bits_document(self.configuration)
        return what if self.seed is None else what | {"seed": self.seed}


@dataclass(frozen=True)
class Measured:
    """A result: quality on the test split and, but for trained networks, losses on the score split."""

    quality: MeasuredQuality
    losses: Mapping[str, float | None]


def key_of(work: Work, measurement: Measurement) -> str:
    """Names a measurement by all that it depends on."""
    config = work.config.identity()
    recipe = config["verify"]["qat"] if measurement.kind == "qat" else None
    steps = config["verify"]["post_training"] if measurement.kind == "ptq" else []
    digest = fingerprint(
        what=measurement.what,
        weights=work.weights,
        data=work.data,
        settings={name: config[name] for name in ("calibration", "threads")},
        recipe=recipe,
        post_training=steps,
        critical=list(work.critical.classes),
        version=__version__,
    )
    return digest[:16]


def weights_file(key: str) -> str:
    """Where the network that was trained for a measurement is kept, relative to the run folder."""
    return f"verify/{key}.safetensors"


def is_measured(work: Work, measurement: Measurement, key: str) -> bool:
    """Whether the result is there, with the trained network where it is to be kept."""
    if not (work.folder / f"verify/{key}.json").exists():
        return False
    kept = measurement.kind != "qat" or not work.config.verify.keep_weights
    return kept or (work.folder / weights_file(key)).exists()


def read_measured(work: Work, key: str) -> Measured:
    """Read a result; raises `InputError` for a damaged file."""
    path = work.folder / f"verify/{key}.json"
    root = Place(read_json(path), str(path))
    root.keys(("what", "result"))
    result = root["result"]
    result.keys(("quality",), ("losses",))
    losses = readings_from_place(result["losses"]) if "losses" in result else {}
    return Measured(quality_from_place(result["quality"]), losses)


def measure(work: Work, measurement: Measurement, key: str) -> None:
    """Measure and write the result, unless it is there."""
    checkpoint, lock = _aids(work, key)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        if not is_measured(work, measurement, key):
            result = _measured(work, measurement, key, checkpoint)
            document = {"what": measurement.what, "result": result}
            work.folder.write_json(f"verify/{key}.json", document)
            checkpoint.unlink(missing_ok=True)
        # Who waits for this very file gets it, finds the result, and is done.
        lock.unlink(missing_ok=True)


def _aids(work: Work, key: str) -> tuple[Path, Path]:
    """The training's checkpoint and the lock, which are of no use once the result is there."""
    return work.folder / f"checkpoints/qat-{key}.pt", work.folder / f"checkpoints/{key}.lock"


def clear_up(work: Work, key: str) -> None:
    """Remove what a process left that was killed right after it had written its result."""
    for aid in _aids(work, key):
        aid.unlink(missing_ok=True)


def _measured(work: Work, measurement: Measurement, key: str, checkpoint: Path) -> dict[str, Any]:
    configuration, seed = measurement.configuration, measurement.seed
    if configuration is None:
        return _with_losses(work, work.float_model())
    if seed is None:
        return _with_losses(work, post_trained(work, configuration))
    recipe = work.config.verify.qat
    assert recipe is not None, "QAT needs a recipe"
    model = untrained(work, configuration, seed)
    _train(work, model, recipe, seed, checkpoint)
    if work.config.verify.keep_weights:
        write_atomic(work.folder / weights_file(key), _weights(model, recipe, configuration, seed))
    return {"quality": _quality(work, evaluate(model, work.task, "test").quality)}


def post_trained(work: Work, configuration: BitConfiguration) -> nn.Module:
    """The quantized network after post-training quantization, by the steps that the run asks for."""
    if not (steps := work.config.verify.post_training):
        return quantized_copy(work.float_model(), configuration, work.calibration)
    return post_training(
        work.float_model(),
        work.read_network(),
        configuration,
        work.calibration_inputs(),
        steps=steps,
        observe_outputs=work.nonlinear,
        **work.config.calibration.rules,
    )


def untrained(work: Work, configuration: BitConfiguration, seed: int) -> nn.Module:
    """The quantized network as QAT finds it: the float weights with the configuration applied."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        recipe = work.config.verify.qat
        assert recipe is not None, "QAT needs a recipe"
        return quantized_copy(
            work.float_model(), configuration, work.calibration, estimator=recipe.estimator
        )


def _train(
    work: Work, model: nn.Module, recipe: TrainingRecipe, seed: int, checkpoint: Path
) -> None:
    """Quantization-aware training; one that was killed goes on from its last epoch."""
    teacher = work.float_model() if recipe.needs_teacher else None
    fit(model, work.task, recipe, seed=seed, checkpoint=checkpoint, teacher=teacher)


def _weights(
    model: nn.Module, recipe: TrainingRecipe, configuration: BitConfiguration, seed: int
) -> bytes:
    """The trained network's state, quantizers included, and what it was trained for."""
    # Copies, since safetensors refuses tensors that share memory, such as tied weights.
    state = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    made_for = {
        "format": WEIGHTS_FORMAT,
        "bits": bits_document(configuration),
        "seed": seed,
        "recipe": asdict(recipe),
    }
    # One entry, since the order of several would change from one writing to the next.
    return bytes(save(state, {"bitwright": json.dumps(made_for)}))


def _with_losses(work: Work, model: nn.Module) -> dict[str, Any]:
    return {
        "quality": _quality(work, evaluate(model, work.task, "test").quality),
        "losses": _losses(work, evaluate(model, work.task, "score")),
    }


def _quality(work: Work, quality: Quality) -> dict[str, Any]:
    measured = MeasuredQuality(
        metrics=quality.metrics,
        critical=_number(quality.over_classes(work.critical.classes)),
        per_class={name: _number(value) for name, value in quality.per_class.items()},
        confusion=tuple(map(tuple, quality.confusion.tolist())),
    )
    return quality_document(measured)


def _losses(work: Work, evaluated: Evaluated) -> dict[str, float | None]:
    """Mean loss over critical and over all objects, the terms of an object added up."""
    total = np.sum([v.astype(np.float64) for v in evaluated.losses.values()], axis=0)
    wanted = [work.task.classes.index(name) for name in work.critical.classes]
    critical = total[np.isin(evaluated.object_classes, wanted)]
    return {
        "critical": _number(critical.mean() if critical.size else np.nan),
        "overall": _number(total.mean()),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
