"""Which tool wrote a profile, told by its content, and reading it."""

from __future__ import annotations

from pathlib import Path

from bitwright.cost_models.readers.files import read_profile_text
from bitwright.cost_models.readers.onnxruntime_profile import read_onnxruntime
from bitwright.cost_models.readers.openvino_counters import COLUMNS, read_openvino
from bitwright.cost_models.readers.profile import Profile, Statistic, require_statistic
from bitwright.cost_models.readers.tflite import read_tflite
from bitwright.cost_models.readers.trtexec import read_trtexec
from bitwright.problems.errors import InputError, nearest
from bitwright.problems.formats.json_text import parse_json

FORMATS = ("trtexec", "onnxruntime", "tflite", "openvino")
_JSON = ("trtexec", "onnxruntime")


def read_profile(
    path: str | Path,
    tool: str | None = None,
    *,
    statistic: Statistic | None = None,
    warmup: int | None = None,
) -> Profile:
    """Read a profile of `trtexec`, ONNX Runtime, TensorFlow Lite or OpenVINO.

    `tool` is one of `FORMATS`; None: told by the content. `statistic` chooses among what the file
    gives; None: the median where there is one, else the mean. `warmup` runs are left out where the
    file has single runs (ONNX Runtime). Files above 64 MB are refused. Raises `InputError`.
    """
    require_statistic(statistic)
    if tool is not None and tool not in FORMATS:
        raise InputError(f"unknown format {tool!r} of a profile; {nearest(tool, FORMATS)}")
    text, source = read_profile_text(path), str(path)
    tool = tool or _told(text, source)
    if warmup is not None and tool != "onnxruntime":
        raise InputError(f"{source}: a {tool} profile holds no single runs, of which some warm up")
    if tool == "tflite":
        return read_tflite(text, source, statistic)
    if tool == "openvino":
        return read_openvino(text, source, statistic)
    document = _document(text, source)
    if tool == "trtexec":
        return read_trtexec(document, source, statistic)
    return read_onnxruntime(document, source, statistic, warmup)


def _document(text: str, source: str) -> object:
    try:
        return parse_json(text, source)
    except InputError as error:
        if text.lstrip().startswith("[") and not text.rstrip().endswith("]"):
            raise InputError(
                f"{error}; the list has no end: was the process stopped while it wrote?"
            ) from None
        raise


def _told(text: str, source: str) -> str:
    start = text.lstrip()[:1]
    if start in ("[", "{"):
        return _json_tool(_document(text, source), source)
    if COLUMNS[0] + ";" + COLUMNS[1] in text:
        return "openvino"
    if "node type," in text and "avg_ms" in text:
        return "tflite"
    if "[node type]" in text.lower():
        raise InputError(
            f"{source}: is the table that TensorFlow Lite prints; "
            "--profiling_output_csv_file makes it write the CSV that is read"
        )
    raise InputError(
        f"{source}: no profile of {', '.join(FORMATS)}; --format says which it is meant to be"
    )


def _json_tool(document: object, source: str) -> str:
    if isinstance(document, dict) and "operator_set" in document:
        raise InputError(f"{source}: is a target platform file of MCT, which holds no times")
    first = document[0] if isinstance(document, list) and document else None
    if isinstance(first, dict) and "count" in first:
        return "trtexec"
    if isinstance(first, dict) and "cat" in first:
        return "onnxruntime"
    raise InputError(f"{source}: JSON, but no profile of {' or '.join(_JSON)}")
