"""Bad JSON of every format: any value at any place, any cut, any byte; always one line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.problems import InputError
from bitwright.problems.formats import read_front, read_network, read_problem, read_solution

from ..strategies import many, some
from .documents import (
    FULL_FRONT,
    FULL_NETWORK,
    FULL_PROBLEM,
    HOLE,
    SOLUTION,
    VALUES,
    holes,
    kind,
    read_or_refuse,
)

READERS = {
    "problem": (read_problem, FULL_PROBLEM),
    "solution": (read_solution, json.loads(SOLUTION)),
    "front": (read_front, FULL_FRONT),
    "network": (read_network, FULL_NETWORK),
}


BEYOND_FLOATS = {v for v in VALUES if "e" in v and "999" in v} | {"NaN", "-Infinity", "9" * 5000}


def outcome(read, path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_or_refuse(read, path)


@pytest.fixture(params=READERS)
def case(request, tmp_path):
    read, document = READERS[request.param]
    return read, tmp_path / "file.json", document


def test_any_other_value_at_any_place_is_refused(case):
    """A value of another kind, or beyond floats, is an error of one line at once; null where allowed."""
    read, path, document = case
    assert outcome(read, path, json.dumps(document)) is not None
    for where, old, text in holes(document):
        for new in VALUES:
            value = outcome(read, path, text.replace(f'"{HOLE}"', new))
            if new != "null" and old != "null" and kind(new) != kind(old):
                assert value is None, (where, new)
            if new in BEYOND_FLOATS:
                assert value is None, (where, new)


def test_any_missing_key_is_no_surprise(case):
    """Without one of its keys a document is refused, or read where the key is optional."""
    read, path, document = case
    for where, _, _ in holes(document):
        if where and isinstance(where[-1], str):
            copy = json.loads(json.dumps(document))
            place = copy
            for key in where[:-1]:
                place = place[key]
            del place[where[-1]]
            outcome(read, path, json.dumps(copy))


def test_any_misspelt_key_of_the_format_is_refused(case):
    """Each key of the document itself is named with the nearest when a letter is missing."""
    read, path, document = case
    for key in document:
        path.write_text(json.dumps({(key[:-1] if k == key else k): v for k, v in document.items()}))
        with pytest.raises(InputError, match=f"unknown key '{key[:-1]}'; did you mean '{key}'"):
            read(path)


def test_a_cut_file_is_refused(case):
    """No beginning of a document is a document."""
    read, path, document = case
    text = json.dumps(document, indent=1)
    for stop in range(0, len(text), 7):
        assert outcome(read, path, text[:stop]) is None


def test_missing_files_and_folders_are_refused(case):
    """The file is named."""
    read, path, _ = case
    with pytest.raises(InputError, match=r"file\.json: no such file"):
        read(path)
    path.mkdir()
    with pytest.raises(InputError, match=r"file\.json: cannot be read: Is a directory"):
        read(path)


def damage(case, data):
    read, path, document = case
    content = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(
            st.binary(max_size=2)
            | st.sampled_from([b'"', b",", b"9", b"e", b"-", b"{", b"\\u0000"])
        )
    outcome(read, path, bytes(content))


@some
@given(data=st.data())
def test_damaged_bytes_are_no_surprise(case, data):
    """Bytes changed at random give a document or one line."""
    damage(case, data)


@pytest.mark.slow
@many
@given(data=st.data())
def test_many_damaged_bytes_are_no_surprise(case, data):
    """The same with many more changes."""
    damage(case, data)
