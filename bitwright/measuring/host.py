"""Measuring a network on this machine: its operations, then the network at several configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bitwright.measuring.configurations import (
    choices_of,
    mixed_configurations,
    network_model,
    uniform,
)
from bitwright.measuring.end_to_end import Terms, fit, terms_of
from bitwright.measuring.layer_export import operation_model
from bitwright.measuring.models import EMPTY, batch_of, random_inputs, time_models
from bitwright.measuring.operations import LayersFound, Operation, find_operations
from bitwright.measuring.results import HostMeasurement, NetworkTimes, OperationTimes, Settings
from bitwright.measuring.runtime import Runtime
from bitwright.measuring.timing import Times, pinned_to
from bitwright.networks import pin
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import BitwrightError, InputError
from bitwright.problems.precision import Precision
from bitwright.progress import Reporter
from bitwright.quantization import calibrate
from bitwright.sources import SourceNetwork


def measure_source(
    source: SourceNetwork,
    runtime: Runtime,
    settings: Settings,
    journal: Path,
    reporter: Reporter,
) -> HostMeasurement:
    """Measure the operations of a network and, unless told otherwise, whole networks.

    Operations that the runtime refuses at a precision are left out and said. Raises `InputError`
    where nothing is left, and for a source without a model.
    """
    if source.model is None:
        raise InputError(
            f"network {source.traced.description.name!r}: an ONNX file is measured as it is, by any "
            "runtime; layers are taken out of a run configuration, torchvision:NAME or "
            "module.path:function"
        )
    found = find_operations(source.model, source.traced)
    keys = _keys(found, settings.precisions)
    _configurations(source, found, keys, settings)  # refuses what there are too few of at once
    models, left_out = _runnable(keys, runtime, settings, reporter)
    configurations = _configurations(source, found, list(models), settings)
    times = time_models(
        {
            **{str(key): model for key, model in models.items()},
            **_network_models(source, configurations, reporter),
        },
        runtime,
        threads=settings.threads,
        repeats=settings.repeats,
        seed=settings.seed,
        journal=journal,
        reporter=reporter,
    )
    overhead = times[EMPTY]
    measured = HostMeasurement(
        source.traced.description.name,
        batch_of(source.inputs),
        found,
        overhead,
        tuple(
            OperationTimes(
                key.operation,
                key.precision,
                times[str(key)].without(overhead.least),
                runtime.runs_as(model),
            )
            for key, model in models.items()
        ),
        left_out={**found.left_out, **left_out},
    )
    return _with_networks(measured, source, configurations, times) if configurations else measured


@dataclass(frozen=True, eq=False)
class _Key:
    operation: Operation
    precision: Precision

    def __str__(self) -> str:
        return f"{self.operation.name} {self.precision}"


def _keys(found: LayersFound, precisions: Sequence[Precision]) -> list[_Key]:
    return [
        _Key(operation, precision)
        for operation in found.operations
        for precision in precisions
        if operation.quantizable or precision.is_float32
    ]


def _runnable(
    keys: Sequence[_Key], runtime: Runtime, settings: Settings, reporter: Reporter
) -> tuple[dict[_Key, bytes], dict[str, str]]:
    """Models of what can be exported and run, and why the others cannot; one at least can be."""
    models, left_out = _operation_models(keys, reporter)
    with pinned_to(settings.threads):
        left_out |= _refused(runtime, models, settings)
    models = {key: model for key, model in models.items() if str(key) not in left_out}
    if not models:
        reasons = sorted(set(left_out.values()))
        raise InputError(f"no layer can be measured in {runtime.name}: {'; '.join(reasons)}")
    return models, left_out


def _operation_models(
    keys: Sequence[_Key], reporter: Reporter
) -> tuple[dict[_Key, bytes], dict[str, str]]:
    models: dict[_Key, bytes] = {}
    left_out: dict[str, str] = {}
    with reporter.bar("exporting layers") as bar:
        for number, key in enumerate(keys):
            bar.update(number, len(keys))
            try:
                models[key] = operation_model(key.operation, key.precision)
            except BitwrightError as error:
                left_out[str(key)] = str(error)
    return models, left_out


def _refused(runtime: Runtime, models: Mapping[_Key, bytes], settings: Settings) -> dict[str, str]:
    """What the runtime cannot run, with what it says."""
    refused: dict[str, str] = {}
    for key, model in models.items():
        try:
            runtime.load(model, random_inputs(model, settings.seed), settings.threads)()
        # Runtimes have errors of their own; whatever it is, this operation cannot be run there.
        except Exception as error:
            refused[str(key)] = f"{runtime.name}: {' '.join(str(error).split())[:200]}"
    return refused


def _configurations(
    source: SourceNetwork, found: LayersFound, measured: Sequence[_Key], settings: Settings
) -> dict[str, tuple[str, BitConfiguration]]:
    """Role and configuration by name."""
    if not settings.calibration and not settings.validation:
        return {}
    network = pin(source.traced.description, source.pins)
    everywhere = [
        precision
        for precision in settings.precisions
        if {key.operation for key in measured if key.precision == precision}
        >= {one for one in found.operations if one.quantizable}
    ]
    choices = choices_of(network, everywhere, found.operation_of)
    chosen = {f"uniform {p}": ("uniform", uniform(choices, p)) for p in everywhere}
    known = [configuration for _, configuration in chosen.values()]
    wanted = settings.calibration + settings.validation
    mixed = mixed_configurations(network, choices, wanted, seed=settings.seed, without=known)
    if len(mixed) < wanted:
        raise InputError(
            f"network {network.name!r} has {len(mixed)} mixed configurations of what can be measured, "
            f"and --calibration and --validation ask for {wanted}; --no-networks measures layers only"
        )
    for number, configuration in enumerate(mixed):
        role = "calibration" if number < settings.calibration else "validation"
        chosen[f"mixed {number + 1}"] = (role, configuration)
    return chosen


def _network_models(
    source: SourceNetwork,
    configurations: Mapping[str, tuple[str, BitConfiguration]],
    reporter: Reporter,
) -> dict[str, bytes]:
    if not configurations:
        return {}
    assert source.model is not None
    network = source.traced.description
    calibration = calibrate(source.model, network, [source.inputs])
    models = {}
    with reporter.bar("exporting networks") as bar:
        for number, (name, (_, configuration)) in enumerate(configurations.items()):
            bar.update(number, len(configurations))
            models[name] = network_model(source.model, source.inputs, configuration, calibration)
    return models


def _with_networks(
    measured: HostMeasurement,
    source: SourceNetwork,
    configurations: Mapping[str, tuple[str, BitConfiguration]],
    times: Mapping[str, Times],
) -> HostMeasurement:
    """The same with the fit to calibration networks, and predictions of all."""
    links = source.traced.description.links
    terms: dict[str, Terms] = {
        name: terms_of(configuration, measured.layer_times, links)
        for name, (_, configuration) in configurations.items()
    }
    known = [name for name, (role, _) in configurations.items() if role != "validation"]
    fitted = fit([(terms[name], times[name].least) for name in known], measured.overhead_us)
    networks = tuple(
        NetworkTimes(name, role, configuration, times[name], fitted.predict(terms[name]))
        for name, (role, configuration) in configurations.items()
    )
    return replace(measured, networks=networks, end_to_end=fitted)
