"""Whole networks to measure: uniform and mixed configurations, and their exports."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from bitwright.measuring.models import float_model, serialized
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.network import NetworkDescription
from bitwright.problems.precision import FLOAT32, Precision
from bitwright.quantization import Calibration, quantized_copy
from bitwright.quantization.export import export_qdq

Choices = Mapping[str, Sequence[Precision]]
_TRIES = 1000


def choices_of(
    network: NetworkDescription, measured: Iterable[Precision], layers: Iterable[str]
) -> dict[str, tuple[Precision, ...]]:
    """What each layer may take in a network that is measured: measured precisions that its pin allows.

    Layers of which nothing was measured stay in float32, and so do those whose pin was not measured.
    """
    known, among = tuple(measured), set(layers)
    found = {}
    for layer in network:
        allowed = [p for p in layer.candidates(known) if p in known]
        found[layer.name] = tuple(allowed) if layer.name in among and allowed else (FLOAT32,)
    return found


def uniform(choices: Choices, precision: Precision) -> BitConfiguration:
    """Every layer at one precision, as far as it may take it, else at its first."""
    return BitConfiguration(
        {n: precision if precision in offered else offered[0] for n, offered in choices.items()}
    )


def mixed_configurations(
    network: NetworkDescription,
    choices: Choices,
    count: int,
    *,
    seed: int,
    without: Iterable[BitConfiguration] = (),
) -> tuple[BitConfiguration, ...]:
    """Random configurations, all different and none of those `without`.

    Each draws the shares of the precisions first and then every layer, so that there are some of few
    changes and some of many; layers that a tie joins are drawn together. Fewer than `count` where
    the network has no more.
    """
    generator, groups = random.Random(seed), _tied_groups(network)
    precisions = sorted({p for offered in choices.values() for p in offered})
    found: list[BitConfiguration] = []
    seen = set(without)
    for _ in range(_TRIES * count):
        if len(found) == count:
            break
        shares = {p: generator.random() for p in precisions}
        drawn: dict[str, Precision] = {}
        for group in groups:
            common = [p for p in choices[group[0]] if all(p in choices[n] for n in group)]
            for name in group:
                offered = common or choices[name]
                if name == group[0] or not common:
                    weights = [shares[p] for p in offered]
                    drawn[name] = generator.choices(list(offered), weights)[0]
                else:
                    drawn[name] = drawn[group[0]]
        configuration = BitConfiguration({name: drawn[name] for name in network.names})
        if configuration not in seen:
            seen.add(configuration)
            found.append(configuration)
    return tuple(found)


def _tied_groups(network: NetworkDescription) -> list[list[str]]:
    group_of = {name: [name] for name in network.names}
    for tie in network.ties:
        joined = sorted({n for name in tie.layers for n in group_of[name]}, key=network.names.index)
        group_of.update(dict.fromkeys(joined, joined))
    return list({group[0]: group for group in group_of.values()}.values())


def network_model(
    model: nn.Module,
    inputs: tuple[Any, ...],
    configuration: BitConfiguration,
    calibration: Calibration,
) -> bytes:
    """The network at a configuration as the exporter writes it for ONNX Runtime, for one batch size.

    Eight-bit convolutions give eight bits (`--integer-outputs`), so that they run in integers.
    """
    if all(precision.is_float32 for precision in configuration.values()):
        return float_model(model, inputs)
    quantized = quantized_copy(model, configuration, calibration)
    export = export_qdq(quantized, inputs, dynamic_batch=False, output_batches=[inputs], widen=True)
    return serialized(export.proto)
