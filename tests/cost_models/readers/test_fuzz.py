"""Every reader of cost data survives any file: it reads it, or says in one line what is wrong with it."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.cost_models import CostTable
from bitwright.cost_models.readers import FORMATS, map_profile, read_mct, read_profile
from bitwright.problems import InputError
from bitwright.problems.formats.device_yaml import read_device
from bitwright.problems.formats.table_csv import read_table

from ...problems.strategies import some
from . import files
from .test_mapping import NET

TABLE = """\
# device: board
# overhead_us: 3.3
layer,weight_bits,activation_bits,variant,latency_us,latency_us_spread
conv1,8,8,,10.10,1
conv1,32,32,,40.5,1e-2
"fc, last",8,8,,0.5,
"""


DEVICE = """\
format: bitwright-device/1
name: board
title: A board
compute_types:
- {name: int8, precision: w8a8, macs_per_second: {value: 6e9, source: its data sheet}}
support:
- kinds: [Conv2d, Linear]
  runs_as: {w4a8: int8, w8a8: int8}
memories:
- {name: flash, size_bytes: {value: 1000000, source: its data sheet}}
"""


def one_profile(path):
    map_profile(read_profile(path), NET)


READERS = {
    **{name: (one_profile, text) for name, text in files.SAMPLES.items()},
    **{
        f"as {tool}": (lambda path, tool=tool: read_profile(path, tool), files.SAMPLES[tool])
        for tool in FORMATS
    },
    "mct": (read_mct, files.MCT),
    "table": (read_table, TABLE),
    "device": (read_device, DEVICE),
    "cost table": (lambda path: CostTable(file=path), TABLE),
}
each_reader = pytest.mark.parametrize("name", READERS)
each_function = pytest.mark.parametrize(
    "name", [*(f"as {tool}" for tool in FORMATS), "trtexec", "mct", "table", "device", "cost table"]
)
each_file = pytest.mark.parametrize(
    "name", [name for name in READERS if not name.startswith("as ")]
)


def survives(name, path, content):
    """Read the file, or refuse it in one line that names it; return whether it was read."""
    path.write_bytes(content)
    started = time.process_time()
    try:
        READERS[name][0](path)
    except InputError as error:
        message = str(error)
        assert message.startswith(f"{path}: "), message
        assert message.isprintable(), ascii(message)
        assert len(message) < 2000, len(message)
        return False
    finally:
        assert time.process_time() - started < 20
    return True


@each_reader
def test_a_file_cut_anywhere(name, tmp_path):
    """Each of many beginnings of a file is read as far as it goes, or refused; JSON always refused."""
    content = READERS[name][1].encode()
    whole = content.rstrip()
    path = tmp_path / "cut"
    for end in sorted({*range(0, len(content), max(1, len(content) // 150)), len(whole) - 1}):
        read = survives(name, path, content[:end])
        assert not (read and whole[:1] in b"[{" and end < len(whole))
    assert survives(name, path, content)


@each_file
@some
@given(data=st.data())
def test_a_file_with_changed_bytes(name, tmp_path_factory, data):
    """Bytes that are changed, left out or put in at random places break no reader."""
    content = bytearray(READERS[name][1].encode())
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content)))
        put = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"-", b"9" * 400, b"e999", b'"', b"[", b"{", b"]", b";", b",", b"\n", b"\x1b[2J", b"NaN", b"null", b"\xff\xfe"])
        )  # fmt: skip
        content[place : place + data.draw(st.integers(0, 4))] = put
    survives(
        name, tmp_path_factory.getbasetemp() / f"changed-{name.replace(' ', '-')}", bytes(content)
    )


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def places(value, path=()):
    """The paths to all values of a document."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


JSON_SAMPLES = {
    name: json.loads(text) for name, (_, text) in READERS.items() if text.lstrip()[0] in "[{"
}


@pytest.mark.parametrize("name", JSON_SAMPLES)
@some
@given(data=st.data())
def test_a_document_with_another_value_anywhere(name, tmp_path_factory, data):
    """Any JSON in the place of any value of the document breaks no reader."""
    document = json.loads(json.dumps(JSON_SAMPLES[name]))
    *steps, last = data.draw(st.sampled_from([p for p in places(document) if p]))
    inner = document
    for step in steps:
        inner = inner[step]
    inner[last] = data.draw(JSON_VALUES)
    path = tmp_path_factory.getbasetemp() / f"value-{name.replace(' ', '-')}"
    survives(name, path, json.dumps(document).encode())


ESCAPE = "\x1b]0;owned\x07\x1b[2J\u202e"
HOSTILE = {
    "empty": b"",
    "zeros": bytes(1000),
    "utf-16": "layer,x\n".encode("utf-16"),
    "utf-32": "[1]".encode("utf-32"),
    "latin-1": "Gerät".encode("latin-1"),
    "half a character": "é".encode()[:1],
    "a mark alone": b"\xef\xbb\xbf",
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"a":' * 200_000,
    "closed deep lists": b"[" * 50_000 + b"]" * 50_000,
    "deep in a row": b'[{"count": 1}, {"name": ' + b"[" * 5000 + b"]" * 5000 + b"}]",
    "one long line": b"a" * 2_000_000,
    "many delimiters": b";" * 500_000,
    "many commas": b"," * 500_000,
    "many lines": b"\n" * 1_000_000,
    "many keys": b"{" + b",".join(b'"k%d": 1' % i for i in range(50_000)) + b', "k49999": 1}',
    "many columns": b",".join(b"c%d" % i for i in range(50_000)) + b",c7\n1\n",
    "one long name": json.dumps([{"count": 1}, {"name": "a" * 200_000, "averageMs": 1}]).encode(),
    "many rows": json.dumps([{"count": 1}, *({"name": f"n{i}", "averageMs": 1} for i in range(8_000))]).encode(),
    "many bad rows": json.dumps([{"count": 1}, *({"name": 1} for i in range(8_000))]).encode(),
    "escapes": json.dumps([{"count": ESCAPE, ESCAPE: ESCAPE}]).encode(),
    "raw escapes": f"{ESCAPE};{ESCAPE}".encode(),
    "escaped counters": files.OPENVINO.replace("EXECUTED", ESCAPE).encode(),
    "escaped cells": files.OPENVINO.replace("0.120", ESCAPE).encode(),
    "escaped operators": files.TFLITE.replace("0.3025", ESCAPE).encode(),
    "escaped section": files.TFLITE.replace("Operator-wise", ESCAPE).encode(),
    "escaped platform": files.MCT.replace("MaxPool", ESCAPE).replace("Conv", "MaxPool").encode("utf-8"),
    "escaped table": TABLE.replace("10.10", ESCAPE).replace("latency_us", ESCAPE).encode(),
    "long number": b'[{"count": 1}, {"name": "a", "averageMs": ' + b"1" * 100_000 + b"}]",
    "long decimal": b'[{"count": 1}, {"name": "a", "averageMs": 0.' + b"1" * 100_000 + b"}]",
    "long cell": files.OPENVINO.replace("0.120", "1" * 100_000).encode(),
    "long exponent": TABLE.replace("10.10", "1e" + "9" * 10_000).encode(),
    "surrogate": b'[{"count": 1}, {"name": "\\ud800", "averageMs": 1}]',
    "yaml aliases": b"a: &a [1,1,1,1,1,1,1,1,1]\n"
    + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(9))
    + DEVICE.replace("A board", "*j").encode(),
    "yaml loop": b"format: &a [*a]\nname: &b {b: *b}\n",
    "yaml tag": b"format: !!python/object/apply:os.system [exit]\n",
    "yaml depth": b"- " * 100_000,
    "escaped device": DEVICE.replace("int8", ESCAPE).encode(),
    "quotes": b'"' * 100_001,
}  # fmt: skip


@each_function
@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.timeout(60)
def test_a_file_made_to_do_harm(name, tmp_path, content):
    """Broken encodings, depth, length, numbers and escapes are refused, or read, in bounded time."""
    survives(name, tmp_path / "hostile", content)
