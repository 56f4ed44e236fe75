"""Devices by name: what comes with bitwright, each figure with its public source, and one's own files.

A device that comes with bitwright is the file `NAME.yaml` beside this one (docs/devices.md).
"""

from __future__ import annotations

from importlib import import_module, resources
from pathlib import Path

from bitwright.problems.device import Device
from bitwright.problems.errors import InputError, nearest
from bitwright.problems.formats.device_yaml import device_from_yaml, read_device

_SUFFIXES = (".yaml", ".yml", ".json")


def load_device(name_or_path: str | Path) -> Device:
    """The device of a name, or of a file: `.yaml` of ours, `.json` of Sony's Model Compression Toolkit.

    Raises `InputError` for an unknown name, and for what a file holds, by file, place and rule.
    """
    if not is_device_path(name_or_path):
        names = known_devices()
        name = str(name_or_path)
        if name not in names:
            raise InputError(
                f"unknown device {name!r}; {nearest(name, names)}; the path of a device file ends "
                f"in one of {', '.join(_SUFFIXES)}"
            )
        return _bundled(name)
    path = Path(name_or_path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        device: Device = import_module("bitwright.cost_models.readers.mct").read_mct(path)
        return device
    if suffix not in _SUFFIXES:
        raise InputError(
            f"{path}: a device file ends in one of {', '.join(_SUFFIXES)}; "
            f"{nearest(suffix, _SUFFIXES)}"
        )
    return read_device(path)


def is_device_path(name_or_path: str | Path) -> bool:
    """Whether a file is meant: a path, a text with a folder in it, or with the ending of such a file."""
    text = str(name_or_path)
    is_path = isinstance(name_or_path, Path) or "/" in text or "\\" in text
    return is_path or Path(text).suffix.lower() in _SUFFIXES


def known_devices() -> tuple[str, ...]:
    """Names of the devices that come with bitwright, in order."""
    files = resources.files(__name__).iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


def _bundled(name: str) -> Device:
    file = resources.files(__name__) / f"{name}.yaml"
    return device_from_yaml(file.read_text(encoding="utf-8"), f"device {name!r}")
