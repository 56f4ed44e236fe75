"""Tiny problems as documents and files, and the command line as a function."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bitwright import plugins
from bitwright.cli import main

RESNET18 = str(Path(__file__).parents[2] / "configs/resnet18_t4.json")


def choice(bits: int, loss: float, size: float, time: float) -> dict[str, Any]:
    """One choice of a layer."""
    costs = {"size_bytes": size, "latency_us": time}
    return {"weight_bits": bits, "activation_bits": 8, "loss": loss, "costs": costs}


def document(**changes: Any) -> dict[str, Any]:
    """Three layers with three choices, the outer two tied; losses are dyadic, so that sums are exact."""
    return {
        "format": "bitwright-problem/1",
        "name": "tiny",
        "layers": [
            {"name": "conv1", "choices": [choice(2, 4.0, 3, 0.3), choice(4, 1.5, 5, 0.4), choice(8, 0.0, 9, 0.9)]},
            {"name": "conv2", "choices": [choice(2, 2.5, 2, 0.1), choice(4, 0.75, 6, 0.1), choice(8, -0.25, 7, 0.2)]},
            {"name": "head", "choices": [choice(2, 1.0, 1, 0.5), choice(4, 1.25, 4, 0.2), choice(8, 0.5, 8, 0.1)]},
        ],
        "ties": [{"layers": ["conv1", "head"]}],
        "fixed_costs": {"size_bytes": 10},
    } | changes  # fmt: skip


def write(folder: Path, name: str = "tiny.json", **changes: Any) -> str:
    """The document as a file."""
    (folder / name).write_text(json.dumps(document(**changes)), encoding="utf-8")
    return str(folder / name)


def configurations(plain: dict[str, Any]):
    """Loss, costs and weight bits of every configuration that respects the tie, by enumeration."""
    for picked in itertools.product(*(layer["choices"] for layer in plain["layers"])):
        if picked[0]["weight_bits"] != picked[2]["weight_bits"]:
            continue
        costs = {
            name: sum(Fraction(str(c["costs"][name])) for c in picked) + plain["fixed_costs"].get(name, 0)
            for name in ("size_bytes", "latency_us")
        }  # fmt: skip
        yield sum(Fraction(c["loss"]) for c in picked), costs, [c["weight_bits"] for c in picked]


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of one command."""
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def refused(capsys, *arguments: str) -> str:
    """The one line on stderr with which a command refuses its input, with exit status 2."""
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
    assert err.startswith(f"bitwright {arguments[0]}: ")
    return err.removeprefix(f"bitwright {arguments[0]}: ").rstrip("\n")


def install(monkeypatch, **classes: type) -> None:
    """Register solver classes of nobody's package under these names, beside those installed."""
    found = plugins.entry_points

    def with_ours(group: str) -> list[Any]:
        ours = [
            SimpleNamespace(name=n, value=f"ours:{n}", module="ours", dist=None, load=lambda c=c: c)
            for n, c in classes.items()
        ]
        return [*found(group=group), *(ours if group == "bitwright.solvers" else [])]

    monkeypatch.setattr(plugins, "entry_points", with_ours)
