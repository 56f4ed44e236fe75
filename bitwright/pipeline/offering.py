"""Which precisions every layer is offered: pins, the run's precisions, and their variants."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from bitwright.problems.device import Device, is_depthwise
from bitwright.problems.errors import InputError
from bitwright.problems.network import LayerDescription, NetworkDescription
from bitwright.problems.placing import listed
from bitwright.problems.precision import FLOAT32, FLOAT_BITS, Precision
from bitwright.problems.variants import HYBRID, INTEGER, matrix_shape, svd_rank, svd_variant
from bitwright.quantization.low_rank import offered_ranks
from bitwright.quantization.variants import is_available
from bitwright.run_config import VariantsSection

_ACTIVATION_FORMS = {"off": ("",), "auto": (HYBRID,), "choice": (HYBRID, INTEGER)}

Candidates = dict[str, tuple[Precision, ...]]


def offered_precisions(
    network: NetworkDescription,
    precisions: tuple[Precision, ...],
    section: VariantsSection,
    nonlinear: Collection[str],
    device: Device | None = None,
) -> Candidates:
    """The precisions that every layer may take; a pinned one only its own.

    A precision with a variant is offered to the layers that can take it, and `section` adds variants
    of those without (docs/variants.md). `nonlinear` names the layers that a nonlinear activation
    follows. Layers that a tie makes equal in everything are offered what all of them can take.
    What a `device` cannot store is not offered; a layer of which it can store nothing is left in
    float32. Raises `InputError` for a layer that can take nothing, for a precision that no layer can,
    for a pin that the device cannot store, and for tied layers to which it leaves nothing in common.
    """
    for precision in precisions:
        if precision.variant and not any(is_available(la, precision, nonlinear) for la in network):
            raise InputError(
                f"precisions: no layer of network {network.name!r} can take {precision}"
            )
    allowed = {layer.name: _allowed(layer, precisions, nonlinear) for layer in network}
    if device is not None:
        allowed = {layer.name: _stored(layer, allowed[layer.name], device) for layer in network}
    offered = {
        layer.name: _forms(layer, allowed[layer.name], section, nonlinear) for layer in network
    }
    _agree_in_ties(network, offered, allowed)
    if device is not None:
        _check_ties(network, offered, device)
    return offered


def uniform_choices(
    precision: Precision, candidates: Mapping[str, tuple[Precision, ...]]
) -> tuple[dict[str, Precision], list[str]]:
    """One precision everywhere, in the form that each layer is offered, and the layers without any.

    A layer with a single candidate takes that one, and one that must have more bits its least. The
    form of a precision is itself, else its hybrid or integer one; factors of rank K are another layer
    of the same bits and no form of it.
    """
    chosen, missing = {}, []
    for name, offered in candidates.items():
        form = offered[0] if len(offered) == 1 else _form_of(precision, offered)
        if form is None:
            missing.append(name)
        else:
            chosen[name] = form
    return chosen, missing


def _form_of(precision: Precision, offered: Sequence[Precision]) -> Precision | None:
    if precision in offered:
        return precision
    bits = (precision.weight_bits, precision.activation_bits)
    for other in offered:
        same_bits = (other.weight_bits, other.activation_bits) == bits
        if same_bits and other.variant in ("", HYBRID, INTEGER):
            return other
    least = min(offered)
    is_more = least.weight_bits >= bits[0] and least.activation_bits >= bits[1]
    return least if is_more and svd_rank(least.variant) is None else None


def _is_decided(layer: LayerDescription) -> bool:
    return layer.pinned is not None or not layer.quantizable


def _allowed(
    layer: LayerDescription, precisions: tuple[Precision, ...], nonlinear: Collection[str]
) -> tuple[Precision, ...]:
    """The precisions that the layer can take, as the configuration lists them."""
    candidates = layer.candidates(precisions)
    allowed = tuple(p for p in candidates if is_available(layer, p, nonlinear))
    if not allowed:
        labels = ", ".join(precision.label for precision in candidates)
        raise InputError(f"layer {layer.name!r} cannot take {labels}: none is for such a layer")
    return allowed


def _stored(
    layer: LayerDescription, allowed: tuple[Precision, ...], device: Device
) -> tuple[Precision, ...]:
    """Those of the precisions that the device can store for such a layer, or else float32."""
    storable = device.storable(layer.kind, depthwise=is_depthwise(layer))
    stored = tuple(p for p in allowed if device.layer_runs_as(layer, p) is not None)
    if stored:
        return stored
    what = f"layer {layer.name!r} (a {layer.kind})"
    known = f"it stores {listed(storable) or 'no layers of that kind'}"
    if layer.pinned is not None:
        raise InputError(
            f"{what} is pinned to {layer.pinned}, which device {device.name!r} cannot store; {known}"
        )
    if not layer.quantizable:
        raise InputError(
            f"{what} can only be left in float32, which device {device.name!r} cannot store; {known}"
        )
    if FLOAT32 in storable:
        return (FLOAT32,)
    raise InputError(
        f"device {device.name!r} can store none of {listed(dict.fromkeys(allowed))} for {what}; {known}"
    )


def _check_ties(network: NetworkDescription, offered: Candidates, device: Device) -> None:
    for tie in network.ties:
        shared = set.intersection(*({tie.key(p) for p in offered[name]} for name in tie.layers))
        if not shared:
            each = "; ".join(
                f"{name} {listed(dict.fromkeys(offered[name]))}" for name in tie.layers
            )
            raise InputError(
                f"device {device.name!r} leaves tied layers (side {tie.side!r}) nothing in common: "
                f"{each}"
            )


def _forms(
    layer: LayerDescription,
    allowed: tuple[Precision, ...],
    section: VariantsSection,
    nonlinear: Collection[str],
) -> tuple[Precision, ...]:
    """The precisions, each followed by the variants that are added, without repetition."""
    if _is_decided(layer):
        return allowed
    shape, forms = matrix_shape(layer), dict[Precision, None]()
    ranks = offered_ranks(*shape, section.svd) if shape else ()
    for precision in allowed:
        if precision.variant:
            forms[precision] = None
            continue
        is_integer = FLOAT_BITS not in (precision.weight_bits, precision.activation_bits)
        activations: tuple[str, ...] = ("",)
        if is_integer and layer.name in nonlinear:
            activations = _ACTIVATION_FORMS[section.hybrid]
        for form in activations:
            forms[replace(precision, variant=form)] = None
            for rank in ranks:
                forms[replace(precision, variant=svd_variant(rank, form))] = None
    return tuple(forms)


def _agree_in_ties(
    network: NetworkDescription, offered: Candidates, allowed: Mapping[str, tuple[Precision, ...]]
) -> None:
    """Leave layers that must take the same precision with those that all of them can take.

    Where that is nothing, no variant is added to any of them.
    """
    decided = {layer.name for layer in network if _is_decided(layer)}
    groups: list[set[str]] = []
    for tie in network.ties:
        if tie.side == "all":
            tied = set(tie.layers) - decided
            touching = [group for group in groups if group & tied]
            groups = [group for group in groups if not group & tied]
            groups.append(tied.union(*touching))
    for group in groups:
        sets = [set(offered[name]) for name in group]
        common = set.intersection(*sets) if sets else set()
        for name in group:
            kept = tuple(p for p in offered[name] if p in common)
            offered[name] = kept or allowed[name]
