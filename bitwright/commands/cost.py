"""Show what a network consists of: layers, multiply-adds, what runs together, ties, pins and costs.

SOURCE is a run configuration (.yaml), an ONNX file, torchvision:NAME (random weights), or
module.path:function, which returns a model. Exit status: 0 done, 2 bad usage or input.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from bitwright.commands.shared import add_plot_argument, answer, check_plot, draw, shape
from bitwright.problems.errors import InputError
from bitwright.problems.formats import dump_json, network_document
from bitwright.problems.network import LayerDescription, NetworkDescription
from bitwright.problems.precision import LeastPrecision, Precision, parse_pin
from bitwright.text import terminal_width

EXAMPLES = """examples:
  bitwright cost torchvision:resnet18
  bitwright cost torchvision:mobilenet_v2 --input 1,3,160,160 --plot mobilenet.png
  bitwright cost model.onnx --bits 8 --bits 4 --json
  bitwright cost my_package.models:detector --pins first=w8a8 "head.*=>=w4a8" --ties hawq_v3
  bitwright cost configs/digits.yaml --pins
"""
_BITS = (8, 4)
_MODELS = ("bitops", "size_bits")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "source", metavar="SOURCE",
        help="run configuration, ONNX file, torchvision:NAME or module.path:function",
    )  # fmt: skip
    parser.add_argument(
        "--input", action="append", default=[], type=shape, metavar="N,C,H,W",
        help="shape of an input, batch included (default: the source's own, or 1,3,224,224); once "
             "per input",
    )  # fmt: skip
    parser.add_argument(
        "--bits", action="append", default=None, type=int, metavar="B",
        help="cost of B bits for the weights and inputs of every layer; may be given several times "
             "(default 8 and 4)",
    )  # fmt: skip
    parser.add_argument(
        "--pins", nargs="*", action="extend", metavar="LAYERS=PRECISION",
        help="apply pins to those costs: the source's own, and these: first, last or a pattern of "
             "names, with a precision (w8a8) or a least one (>=w4a8)",
    )  # fmt: skip
    parser.add_argument(
        "--ties", nargs="+", action="extend", metavar="RULE",
        help="rules of ties: shared_input, shared_weight, addition, concatenation, hawq_v3, ompq "
             "(default: the source's own, or the first two)",
    )  # fmt: skip
    add_plot_argument(parser, "the graph of layers")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.add_argument("--quiet", action="store_true", help="no messages on stderr")


def run(options: argparse.Namespace) -> int:
    """Read the network, draw it if asked, and print it."""
    check_plot(options.plot)
    given = dict(_pin(text) for text in options.pins or ())
    uniform = [Precision(bits, bits) for bits in options.bits or _BITS]

    from bitwright.networks import TracedNetwork, pin
    from bitwright.sources import read_source

    source = read_source(options.source, options.input, options.ties)
    network = pin(source.traced.description, {**source.pins, **given})
    costs = {
        precision.label: uniform_costs(network, precision, pinned=options.pins is not None)
        for precision in uniform
    }
    if options.plot:
        from bitwright.graph_plot import draw_network

        draw(options, draw_network(TracedNetwork(network, source.traced.graph)))
    if options.json:
        answer(dump_json(network_document(network, costs)))
    else:
        from bitwright.commands.cost_text import network_text

        pins = "applied" if options.pins is not None else "not applied"
        answer(network_text(network, costs, pins, terminal_width()))
    return 0


def uniform_costs(
    network: NetworkDescription, precision: Precision, *, pinned: bool
) -> dict[str, int | float]:
    """Total bit operations and bits of the weights with every layer at one precision.

    Pins hold where `pinned` says so. Layers that cannot be quantized count as float32.
    """
    from bitwright import plugins
    from bitwright.cost_models import tabulate

    models = [plugins.create("cost_models", name) for name in _MODELS]
    chosen = {layer.name: (_chosen(layer, precision, pinned),) for layer in network}
    table = tabulate(network, chosen, models)
    return {
        model.name: int(table.fixed[model.name])
        + sum(int(table.of[name][bits][model.name]) for name, (bits,) in chosen.items())
        for model in models
    }


def _chosen(layer: LayerDescription, precision: Precision, pinned: bool) -> Precision:
    if not pinned:
        layer = replace(layer, pinned=None, least=None)
    if layer.least is not None:
        raised = Precision(
            max(precision.weight_bits, layer.least.weight_bits),
            max(precision.activation_bits, layer.least.activation_bits),
        )
        return layer.candidates((raised,))[0]
    return layer.candidates((precision,))[0]


def _pin(text: str) -> tuple[str, Precision | LeastPrecision]:
    pattern, equals, label = text.partition("=")
    if not pattern or not equals:
        raise InputError(f"a pin is written like first=w8a8 or 'head.*=>=w4a8', got {text!r}")
    return pattern, parse_pin(label)
