"""The option `device` of cost models: a bundled device by name, or a device file by path."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from bitwright.cost_models.devices import is_device_path


class _PathIfFile:
    """A text that names a file becomes a path, which a run configuration anchors and digests."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        # Imported here: tables and devices are read where pydantic is not installed.
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(_path_if_file, handler(source))


def _path_if_file(value: Any) -> Any:
    return Path(value) if isinstance(value, str) and is_device_path(value) else value


DeviceOption = Annotated[str | Path, _PathIfFile()]
