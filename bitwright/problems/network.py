"""The network description: what every room needs to know of a model, without the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitwright.problems.errors import InputError, nearest
from bitwright.problems.precision import FLOAT32, LeastPrecision, Precision
from bitwright.problems.ties import Tie


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """Where a function, not a module, computes a layer, and by what the call is known again.

    `module` is the innermost module at work. A layer with a weight is known by the `parameter` that
    holds it, whose output channels run along `channel_axis`. A product of activations has none and
    is known by the `function` and how many calls of it the module has made before (`number`).
    """

    module: str
    parameter: str = ""
    channel_axis: int = 0
    function: str = ""
    number: int = 0

    def __post_init__(self) -> None:
        if bool(self.parameter) == bool(self.function):
            raise InputError("a call of a function is known by its parameter or its function")
        for field in ("channel_axis", "number"):
            if getattr(self, field) < 0:
                raise InputError(f"{field} must not be negative, got {getattr(self, field)}")


@dataclass(frozen=True, slots=True)
class LayerDescription:
    """One layer that computes with weights, as seen in one run of the network.

    `parameters` counts the weights that can be quantized (no biases, no batch norm); `macs` the
    multiply-adds of one run, summed over all calls of a shared module. Shapes include the batch.
    `fused` names the modules that run together with the layer (batch norm, activation), and
    `activation` is the kind of that activation, such as `Hardswish`; empty for none.
    `pinned` is the one precision that the layer must take, `least` the bits that it must have on
    either side, or None. A layer that is not `quantizable` stays in float32, such as a recurrent
    module. `function` says where a function computes the layer; None for a module. The second
    operand of a product of activations, which has no weights, stands where weights stand.
    `in_channels`, `out_channels`, `kernel`, `stride`
    and `groups` are what tables of measured costs are keyed by; None or empty where they say nothing.
    `bias_parameters` counts its biases once a batch norm that can be is folded into it,
    `folded_channels` the channels of that batch norm, and `weight_channels` the scales of weights
    that are quantized per channel.
    """

    name: str
    kind: str
    parameters: int
    macs: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    fused: tuple[str, ...] = ()
    pinned: Precision | None = None
    least: Precision | None = None
    quantizable: bool = True
    in_channels: int | None = None
    out_channels: int | None = None
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    groups: int | None = None
    bias_parameters: int = 0
    weight_channels: int = 0
    function: FunctionCall | None = None
    activation: str = ""
    folded_channels: int = 0

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError("a layer needs a name")
        counts = ("parameters", "macs", "bias_parameters", "weight_channels", "folded_channels")
        for field in counts:
            if getattr(self, field) < 0:
                raise InputError(
                    f"layer {self.name!r}: {field} must not be negative, got {getattr(self, field)}"
                )
        for field in ("input_shape", "output_shape", "kernel", "stride"):
            object.__setattr__(self, field, tuple(int(n) for n in getattr(self, field)))
        object.__setattr__(self, "fused", tuple(self.fused))

    def candidates(self, precisions: tuple[Precision, ...]) -> tuple[Precision, ...]:
        """Those of the precisions that the layer may take, in their order.

        A fixed pin, or float32 where nothing else can be, need not be among them. Raises
        `InputError` where a least pin allows none.
        """
        if not self.quantizable:
            return (FLOAT32,)
        if self.pinned is not None:
            return (self.pinned,)
        if self.least is None:
            return precisions
        allowed = tuple(p for p in precisions if LeastPrecision(self.least).allows(p))
        if not allowed:
            offered = ", ".join(p.label for p in precisions)
            raise InputError(
                f"layer {self.name!r} is pinned to at least {self.least}, which none of the "
                f"precisions {offered} has"
            )
        return allowed


@dataclass(frozen=True, slots=True)
class ActivationTensor:
    """A tensor between layers, as one run in the model's own order holds it in memory.

    `elements` counts its values, batch included. `makers` are the layers whose outputs reach it with
    no layer in between, none for an input of the network. `readers` are the layers that read it, or
    something computed from it with no layer in between; none for what only the outputs of the
    network are made of. It is alive from the first of its two `steps` to the last.
    """

    elements: int
    makers: tuple[str, ...]
    readers: tuple[str, ...]
    steps: tuple[int, int]

    def __post_init__(self) -> None:
        for field in ("makers", "readers", "steps"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if self.elements < 1:
            raise InputError(f"a tensor needs elements, got {self.elements}")
        if len(self.steps) != 2 or not 0 <= self.steps[0] <= self.steps[1]:
            raise InputError(f"steps of a tensor go from a first to a last, got {self.steps}")


@dataclass(frozen=True, slots=True)
class Link:
    """The input of layer `target` is computed from the output of `source` with no layer in between.

    `elements` counts the values of that input, batch included, over all calls of the target.
    """

    source: str
    target: str
    elements: int

    def __post_init__(self) -> None:
        if self.source == self.target:
            raise InputError(f"a link needs two different layers, got {self.source!r} twice")
        if self.elements < 1:
            raise InputError(f"a link needs elements, got {self.elements}")


@dataclass(frozen=True, slots=True)
class NetworkDescription:
    """The layers of a network in the order in which they first run, and their ties.

    `links` say which layers feed which, and `tensors` what is kept in memory between them; both are
    empty where nobody recorded them. `other_bytes` is what the network stores in float32 beside the
    weights and biases of its layers, batch norms that fold into a layer left out.
    """

    name: str
    layers: tuple[LayerDescription, ...]
    ties: tuple[Tie, ...] = ()
    other_bytes: int = 0
    links: tuple[Link, ...] = ()
    tensors: tuple[ActivationTensor, ...] = ()

    def __post_init__(self) -> None:
        for field in ("layers", "ties", "links", "tensors"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if self.other_bytes < 0:
            raise InputError(
                f"network {self.name!r}: other_bytes must not be negative, got {self.other_bytes}"
            )
        names = [layer.name for layer in self.layers]
        if not names:
            raise InputError(f"network {self.name!r} has no layer that computes with weights")
        if len(set(names)) != len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise InputError(f"network {self.name!r} has two layers named {twice!r}")
        for tie in self.ties:
            for layer in tie.layers:
                if layer not in names:
                    raise InputError(f"tie names unknown layer {layer!r}; {nearest(layer, names)}")
        named = {n for link in self.links for n in (link.source, link.target)}
        named |= {n for tensor in self.tensors for n in (*tensor.makers, *tensor.readers)}
        for name in sorted(named - set(names)):
            raise InputError(
                f"network {self.name!r}: a link or tensor names unknown layer {name!r}; "
                f"{nearest(name, names)}"
            )

    def __getitem__(self, name: str) -> LayerDescription:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise InputError(
            f"network {self.name!r} has no layer {name!r}; {nearest(name, self.names)}"
        )

    def __iter__(self) -> Iterator[LayerDescription]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers, in order."""
        return tuple(layer.name for layer in self.layers)

    @property
    def quantizable_names(self) -> tuple[str, ...]:
        """Names of the layers that need not stay in float32, in order."""
        return tuple(layer.name for layer in self.layers if layer.quantizable)

    @property
    def parameters(self) -> int:
        """Weights of all layers; a weight that layers share is counted once."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-adds of one run."""
        return sum(layer.macs for layer in self.layers)
