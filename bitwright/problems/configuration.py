"""A bit configuration: one precision for every layer, the answer to an allocation problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from bitwright.problems.errors import InputError
from bitwright.problems.precision import Precision


class BitConfiguration(Mapping[str, Precision]):
    """An immutable mapping from layer name to `Precision`.

    Equal by value whatever the order of the layers; the order given is kept for printing.

    >>> BitConfiguration({"conv1": Precision(8, 8), "fc": Precision(4, 8)})
    BitConfiguration(conv1: w8a8, fc: w4a8)
    """

    __slots__ = ("_by_layer",)
    _by_layer: dict[str, Precision]

    def __init__(self, items: Mapping[str, Precision] | Iterable[tuple[str, Precision]]) -> None:
        by_layer: dict[str, Precision] = {}
        for name, precision in items.items() if isinstance(items, Mapping) else items:
            if not isinstance(name, str) or not name:
                raise InputError(f"a layer name must be a non-empty string, got {name!r}")
            if not isinstance(precision, Precision):
                raise InputError(f"layer {name!r} needs a Precision, got {precision!r}")
            if name in by_layer:
                raise InputError(f"layer {name!r} is given twice in a bit configuration")
            by_layer[name] = precision
        object.__setattr__(self, "_by_layer", by_layer)

    @classmethod
    def uniform(cls, layers: Iterable[str], precision: Precision) -> BitConfiguration:
        """The same precision for every layer."""
        return cls((name, precision) for name in layers)

    def __getitem__(self, layer: str) -> Precision:
        return self._by_layer[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_layer)

    def __len__(self) -> int:
        return len(self._by_layer)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BitConfiguration):
            return NotImplemented
        return self._by_layer == other._by_layer

    def __hash__(self) -> int:
        return hash(frozenset(self._by_layer.items()))

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"a BitConfiguration is immutable; cannot set {name!r}")

    def __reduce__(self) -> tuple[type[BitConfiguration], tuple[dict[str, Precision]]]:
        return BitConfiguration, (self._by_layer,)

    def __repr__(self) -> str:
        return f"BitConfiguration({', '.join(f'{n}: {p}' for n, p in self.items())})"
