"""What a training step with fake quantization costs, beside the float step and beside others' QAT.

Run `python -m benchmarks.quantization` from the root of a checkout. All contenders train torchvision's
ResNet18 (weights 4 bits per channel, activations 8 bits per tensor; others where they offer it) on
the same random batch with SGD, one step each in turn, the order turning too, so that a busy machine
touches all of them. A ratio is the median over rounds of step time over the float step's time in
the same round. Contenders that are not installed are left out and named.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bitwright.networks import read_network
from bitwright.networks.torchvision_import import import_torchvision
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.precision import Precision
from bitwright.quantization import ESTIMATORS, apply_configuration, calibrate, set_alpha

WEIGHT_BITS, ACTIVATION_BITS = 4, 8

Make = Callable[[nn.Module, Tensor], nn.Module]


def ours(estimator: str) -> Make:
    """bitwright with an estimator; blending is measured half-way, where it costs most."""

    def make(model: nn.Module, images: Tensor) -> nn.Module:
        network = read_network(model, (images[:1],)).description
        calibration = calibrate(
            model, network, [(images,)], weight_rule="minmax", activation_rule="minmax"
        )
        bits = BitConfiguration.uniform(network.names, Precision(WEIGHT_BITS, ACTIVATION_BITS))
        apply_configuration(model, bits, calibration, estimator=estimator)
        set_alpha(model, 0.5)
        return model

    return make


def torch_ao(model: nn.Module, images: Tensor) -> nn.Module:
    """torch.ao's FX graph mode QAT with its default configuration for x86 (8 bits, fused observers)."""
    from torch.ao.quantization import get_default_qat_qconfig_mapping
    from torch.ao.quantization.quantize_fx import prepare_qat_fx

    return prepare_qat_fx(model.train(), get_default_qat_qconfig_mapping("x86"), (images[:1],))


def brevitas(model: nn.Module, images: Tensor) -> nn.Module:  # noqa: ARG001 - as the others
    """Brevitas layers: weight scales from statistics, learned activation scales."""
    import brevitas.nn as qnn
    from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerChannelFloat

    options = {
        "weight_quant": Int8WeightPerChannelFloat.let(bit_width=WEIGHT_BITS),
        # Its learned scale starts after the steps in which it collects percentiles.
        "input_quant": Int8ActPerTensorFloat.let(bit_width=ACTIVATION_BITS, collect_stats_steps=1),
    }
    for name, layer in list(model.named_modules()):
        parent = model.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, nn.Conv2d):
            twin: nn.Module = qnn.QuantConv2d(
                layer.in_channels,
                layer.out_channels,
                layer.kernel_size,
                layer.stride,
                layer.padding,
                bias=layer.bias is not None,
                **options,
            )
        elif isinstance(layer, nn.Linear):
            twin = qnn.QuantLinear(layer.in_features, layer.out_features, bias=True, **options)
        else:
            continue
        setattr(parent, name.rpartition(".")[2], twin)
    return model


CONTENDERS: dict[str, Make] = {
    "float": lambda model, images: model,  # noqa: ARG005
    **{f"bitwright {name}": ours(name) for name in ESTIMATORS},
    "torch.ao (fx)": torch_ao,
    "Brevitas": brevitas,
}


def step_times(
    batch: int, size: int, rounds: int, names: Sequence[str]
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds of every contender's step in every round, and why some are missing."""
    import_torchvision()
    from torchvision.models import resnet18

    torch.manual_seed(0)
    model, images = resnet18(num_classes=10), torch.randn(batch, 3, size, size)
    labels = torch.randint(10, (batch,))
    steps: dict[str, Callable[[], None]] = {}
    missing = {}
    for name in names:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = CONTENDERS[name](copy.deepcopy(model), images)
        except ImportError as error:
            missing[name] = str(error)
            continue
        steps[name] = training_step(made.train(), images, labels)
    for step in steps.values():
        for _ in range(3):
            step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds):
        order = list(steps)
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            start = time.perf_counter()
            steps[name]()
            times[name].append(time.perf_counter() - start)
    return times, missing


def training_step(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None]:
    """One step of training as a call."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=sorted(CONTENDERS), default=[])
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    names = [name for name in CONTENDERS if not options.only or name in {"float", *options.only}]
    times, missing = step_times(options.batch, options.size, options.rounds, names)
    print(
        f"ResNet18, {options.batch} x 3 x {options.size} x {options.size}, torch {torch.__version__}"
    )
    print(f"{'':18}{'median ms':>10}{'least ms':>10}{'x float':>9}")
    for name, seconds in times.items():
        ratio = statistics.median(a / b for a, b in zip(seconds, times["float"], strict=True))
        middle, least = 1e3 * statistics.median(seconds), 1e3 * min(seconds)
        print(f"{name:18}{middle:10.1f}{least:10.1f}{ratio:9.2f}")
    for name, reason in missing.items():
        print(f"{name}: not installed ({reason})")


if __name__ == "__main__":
    main()
