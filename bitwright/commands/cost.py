"""Show what a network consists of: layers, multiply-adds, what runs together, ties, pins and costs.

SOURCE is a run configuration (.yaml), an ONNX file, torchvision:NAME (random weights), or
module.path:function, which returns a model. Exit status: 0 done, 2 bad usage or input.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitwright.commands.shared import (
    add_input_argument,
    add_plot_argument,
    answer,
    check_plot,
    draw,
    say,
)
from bitwright.problems.errors import InputError
from bitwright.problems.formats import dump_json, network_document
from bitwright.problems.network import NetworkDescription
from bitwright.problems.precision import LeastPrecision, Precision, parse_pin
from bitwright.text import terminal_width

if TYPE_CHECKING:
    from bitwright.problems.device import Device
    from bitwright.uniform_costs import UniformConfiguration

EXAMPLES = """examples:
  bitwright cost torchvision:resnet18
  bitwright cost torchvision:mobilenet_v2 --input 1,3,160,160 --plot mobilenet.png
  bitwright cost model.onnx --bits 8 --bits 4 --json
  bitwright cost my_package.models:detector --pins first=w8a8 "head.*=>=w4a8" --ties hawq_v3
  bitwright cost configs/digits.yaml --pins
  bitwright cost torchvision:resnet18 --device nvidia_t4 --cost roofline --per-layer
  bitwright cost model.onnx --cost size_bytes --cost board.csv --cost my_costs.py:Energy:volt=0.8
"""
_BITS = (8, 4)
_MODELS = ("bitops", "size_bits")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "source", metavar="SOURCE",
        help="run configuration, ONNX file, torchvision:NAME or module.path:function",
    )  # fmt: skip
    add_input_argument(parser)
    parser.add_argument(
        "--bits", action="append", default=[], type=int, metavar="B",
        help="cost of B bits for the weights and inputs of every layer; may be given several times "
             "(default 8 and 4)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", action="append", default=[], metavar="LABEL",
        help="cost of a precision such as w4a8 for every layer; may be given several times",
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
    _add_cost_arguments(parser)
    add_plot_argument(parser, "the graph of layers")
    parser.add_argument(
        "--plot-costs", type=Path, metavar="FILE",
        help="draw what each layer costs at each precision into FILE",
    )  # fmt: skip
    parser.add_argument(
        "--plot-roofline", type=Path, metavar="FILE",
        help="draw the roofline of the device, with the layers below it, into FILE",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.add_argument("--quiet", action="store_true", help="no messages on stderr")


def _add_cost_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cost", action="append", default=[], metavar="NAME[:OPTION=VALUE...]",
        help="cost model by name, a table of measured costs (FILE.csv) or a class of a file "
             "(FILE.py:CLASS), with options behind colons; may be given several times (default bitops "
             "and size_bits); `bitwright plugins` lists the names",
    )  # fmt: skip
    parser.add_argument(
        "--device", metavar="NAME",
        help="device by name or file: costs are those on it, and precisions that it does not store "
             "are left out (default: the run configuration's)",
    )  # fmt: skip
    parser.add_argument(
        "--per-layer", action="store_true", help="show the costs of every layer, too"
    )


def run(options: argparse.Namespace) -> int:
    """Read the network, draw it if asked, and print it."""
    for path in (options.plot, options.plot_costs, options.plot_roofline):
        check_plot(path)
    given = dict(_pin(text) for text in options.pins or ())
    uniform = [Precision(bits, bits) for bits in options.bits]
    uniform += [Precision.parse(label) for label in options.precision]
    uniform = uniform or [Precision(bits, bits) for bits in _BITS]

    from bitwright.cost_models.devices import load_device
    from bitwright.networks import TracedNetwork, pin
    from bitwright.sources import read_source
    from bitwright.uniform_costs import uniform_configurations

    models = [_model(text) for text in options.cost or _MODELS]
    source = read_source(options.source, options.input, options.ties)
    named = options.device or source.device
    device = load_device(named) if named else None
    network = pin(source.traced.description, {**source.pins, **given})
    made, left_out = uniform_configurations(
        network, uniform, models, device, pinned=options.pins is not None
    )
    if options.plot:
        from bitwright.graph_plot import draw_network

        draw(options, draw_network(TracedNetwork(network, source.traced.graph)))
    if options.plot_costs:
        _draw_costs(options, network, made)
    if options.plot_roofline:
        _draw_roofline(options, network, made, models, device)
    if options.json:
        for precision, reason in left_out.items():
            say(options, f"{precision} is left out: {reason}")
        answer(dump_json(_document(network, made, per_layer=options.per_layer)))
    else:
        from bitwright.commands.cost_text import network_text
        from bitwright.commands.uniform_text import costs_text

        costs = costs_text(
            network,
            made,
            left_out,
            device,
            pins="applied" if options.pins is not None else "not applied",
            per_layer=options.per_layer,
            widest=terminal_width(),
        )
        answer(network_text(network, costs, terminal_width()))
    return 0


def _model(text: str) -> Any:
    from bitwright import plugins

    return plugins.create("cost_models", *plugins.parse("cost_models", text))


def _document(
    network: NetworkDescription, made: list[UniformConfiguration], *, per_layer: bool
) -> dict[str, Any]:
    """The network with the costs of uniform configurations, and what the models say beside them."""
    document = network_document(network, {c.precision.label: c.totals for c in made})
    if per_layer:
        document["layer_costs"] = {
            c.precision.label: {
                name: {cost: c.layer_cost(name, cost) for cost in c.layer_costs}
                for name in network.names
            }
            for c in made
        }
    notes = {cost: list(said) for c in made for cost, said in c.table.notes.items() if said}
    return document | ({"notes": notes} if notes else {})


def _draw_costs(
    options: argparse.Namespace, network: NetworkDescription, made: list[UniformConfiguration]
) -> None:
    from bitwright.layer_costs_plot import Bar, draw_layer_costs

    names = made[0].layer_costs if made else ()
    costs = {
        cost: {
            layer: {
                c.precision.label: Bar(
                    float(c.layer_cost(layer, cost)), float(c.source(layer, cost).spread or 0)
                )
                for c in made
            }
            for layer in network.names
        }
        for cost in names
    }
    if not costs:
        raise InputError("--plot-costs: there is no cost of a layer to draw")
    draw(options, draw_layer_costs(network.name, costs), options.plot_costs)


def _draw_roofline(
    options: argparse.Namespace,
    network: NetworkDescription,
    made: list[UniformConfiguration],
    models: list[Any],
    device: Device | None,
) -> None:
    from bitwright.cost_models import Roofline
    from bitwright.roofline_plot import draw_roofline

    asked = [model for model in models if isinstance(model, Roofline)]
    model = (asked or [Roofline()])[0].for_network(network, device)
    if not made:
        raise InputError("--plot-roofline: the device stores none of the precisions")
    estimates = {
        c.precision.label: [model.estimate(layer, c.chosen[layer.name]) for layer in network]
        for c in made
    }
    draw(options, draw_roofline(network.name, estimates), options.plot_roofline)


def _pin(text: str) -> tuple[str, Precision | LeastPrecision]:
    pattern, equals, label = text.partition("=")
    if not pattern or not equals:
        raise InputError(f"a pin is written like first=w8a8 or 'head.*=>=w4a8', got {text!r}")
    return pattern, parse_pin(label)
