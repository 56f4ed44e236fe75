"""What `bitwright cost` says of a network, for people."""

from __future__ import annotations

from bitwright.problems.network import LayerDescription, NetworkDescription
from bitwright.text import figure, share, text_table, wrapped


def network_text(network: NetworkDescription, costs: str, widest: int | None) -> str:
    """Layers and ties, with the text of the costs of uniform configurations behind them."""
    parts = [f"{network.name}: {_counted(network)}", _layers(network, widest)]
    if network.ties:
        parts.append(_ties(network))
    if fixed := len(network) - len(network.quantizable_names):
        parts.append(
            wrapped(
                f"* {fixed} stay in float32: no quantizer carries them out (recurrent modules, "
                "computed weights, einsum: docs/networks.md says which); their costs, too, are those of float32"
            )
        )
    parts.append(costs)
    return "\n\n".join(parts)


def _counted(network: NetworkDescription) -> str:
    return (
        f"{len(network):,} layers, {figure(network.parameters)} weights, "
        f"{figure(network.macs)} multiply-adds"
    )


def _layers(network: NetworkDescription, widest: int | None) -> str:
    tied: dict[str, list[str]] = {}
    for number, tie in enumerate(network.ties, 1):
        for name in tie.layers:
            tied.setdefault(name, []).append(f"{number}")
    rows = [_row(layer, network, ",".join(tied.get(layer.name, ()))) for layer in network]
    head = ["layer", "kind", "input", "output", "weights", "MACs", "share", "fused", "tie", "pin"]
    used = [i for i in range(len(head)) if i < 7 or any(row[i] for row in rows)]
    return text_table([head[i] for i in used], [[row[i] for i in used] for row in rows], widest)


def _row(layer: LayerDescription, network: NetworkDescription, tied: str) -> list[str]:
    pinned = layer.pinned.label if layer.pinned else ""
    if layer.least:
        pinned = f">={layer.least.label}"
    return [
        layer.name if layer.quantizable else f"{layer.name} *",
        _kind(layer),
        _shape(layer.input_shape),
        _shape(layer.output_shape),
        figure(layer.parameters),
        figure(layer.macs),
        share(layer.macs, network.macs),
        "+".join(_last(name) for name in layer.fused),
        tied,
        pinned,
    ]


def _kind(layer: LayerDescription) -> str:
    """The kind with its kernel, stride and groups where they say something."""
    said = layer.kind
    if layer.kernel:
        said += " " + "x".join(str(n) for n in layer.kernel)
    if any(n > 1 for n in layer.stride):
        said += " /" + "x".join(str(n) for n in dict.fromkeys(layer.stride))
    if (layer.groups or 1) > 1:
        said += " depthwise" if layer.groups == layer.in_channels else f" groups {layer.groups}"
    return said


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape)


def _last(name: str) -> str:
    """The last part of a name, with the one before where it is only a number."""
    parts = name.strip("/").replace("/", ".").split(".")
    return ".".join(parts[-2:] if parts[-1].isdecimal() else parts[-1:])


def _ties(network: NetworkDescription) -> str:
    lines = ["ties (layers that share bits):"]
    for number, tie in enumerate(network.ties, 1):
        side = "all sides" if tie.side == "all" else f"{tie.side} bits"
        lines.append(f"  {number}. {side}: {', '.join(tie.layers)} ({tie.reason})")
    return "\n".join(lines)
