"""JSON text: exact decimals both ways, and one line for whatever is wrong with a file."""

import json
import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bitwright.problems import InputError
from bitwright.problems.exact import exact
from bitwright.problems.formats import dump_json, read_json
from bitwright.problems.formats.json_text import Place, decimal_text, naming, parse_json

from ..strategies import some

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
DOCUMENTS = st.recursive(
    SCALARS | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
)
DECIMALS = st.builds(lambda n, k: Fraction(n, 10**k), st.integers(), st.integers(0, 40))


@some
@given(DOCUMENTS, st.sampled_from([None, 1, 4]))
def test_any_document_reads_back(document, indent):
    """Python's own reader, and ours, get the same document at every indentation."""
    text = dump_json(document, indent=indent)
    assert json.loads(text) == document
    assert json.loads(text, parse_float=Decimal) == parse_json(text, "file")
    assert indent or "\n" not in text


@some
@given(DECIMALS)
@example(Fraction(0))
@example(Fraction(-1, 10**30))
def test_decimals_are_written_without_exponent_and_rounding(value):
    """The text is a plain decimal, exactly the value, and no shorter one is."""
    text = decimal_text(value)
    assert re.fullmatch(r"-?\d+(\.\d*[1-9])?", text)
    assert Fraction(text) == value == exact(parse_json(f"[{text}]", "file")[0])
    assert dump_json([value]) == f"[{text}]"


def test_an_endless_decimal_is_refused():
    """A third cannot be written."""
    with pytest.raises(InputError, match="must have a finite decimal form, got 1/3"):
        dump_json({"x": Fraction(1, 3)})


def test_long_documents_break_into_lines():
    """What does not fit a line is indented, what fits stays together."""
    text = dump_json({"short": [1, 2], "long": ["x" * 100, "y" * 100]})
    assert text.splitlines()[:3] == ["{", ' "short": [1, 2],', ' "long": [']


WRONG = {
    b"": "not valid JSON, line 1 column 1: Expecting value",
    b" \n": "not valid JSON, line 2 column 1: Expecting value",
    b'{"a": 1,\n "b": }': "not valid JSON, line 2 column 7: Expecting value",
    b'{"a": 1} x': "not valid JSON, line 1 column 10: Extra data",
    b"{'a': 1}": "not valid JSON, line 1 column 2",
    b'{"a": NaN}': "NaN is not a number that JSON allows",
    b"[-Infinity]": "-Infinity is not a number that JSON allows",
    b'{"a": 1, "b": {"c": 1, "c": 2}}': "key 'c' is given twice in one object",
    b"[" * 100_000: "nested too deeply",
    b'{"a":' * 100_000: "nested too deeply",
    b"[1e99999999999999999999]": "number out of range: 1e99999999999999999999",
    b"9" * 5000: "not valid JSON: Exceeds the limit",
    "{}".encode("utf-16"): "not UTF-8 text (byte 0)",
    b'["\xe9"]': "not UTF-8 text (byte 2)",
    b'["\x00"]': "not valid JSON, line 1 column 3: Invalid control character",
}


@pytest.mark.parametrize("content", WRONG, ids=lambda c: repr(c[:16]))
def test_what_is_no_json_is_refused_in_one_line(tmp_path, content):
    """The line begins with the file and says what is wrong, and where if that is known."""
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(WRONG[content])) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    """Files from Windows editors are read."""
    path = tmp_path / "bom.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 0.10}')
    assert read_json(path) == {"a": Decimal("0.10")}


def test_missing_files_name_the_nearest(tmp_path):
    """A mistyped file name is refused with the file that was probably meant."""
    (tmp_path / "problem.json").touch()
    with pytest.raises(
        InputError, match=r"problm\.json: no such file; did you mean 'problem\.json'\?$"
    ):
        read_json(tmp_path / "problm.json")
    with pytest.raises(InputError, match=r"other/x\.json: no such file$"):
        read_json(tmp_path / "other" / "x.json")


def test_a_folder_is_no_file(tmp_path):
    """The reason is the operating system's."""
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_json(tmp_path)


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("mapping", [], "must be an object, got []"),
        ("items", {}, "must be a list, got {}"),
        ("text", Decimal("1.50"), "must be a string, got 1.50"),
        ("text", None, "must be a string, got null"),
        ("integer", True, "must be an integer, got true"),
        ("integer", Decimal("4.0"), "must be an integer, got 4.0"),
        ("number", "1", 'must be a number, got "1"'),
        ("exact", False, "must be a number, got false"),
        ("real", 10**400, "must be below 1.8e+308"),
        ("boolean", 1, "must be true or false, got 1"),
        ("text", ["x" * 99], f'must be a string, got ["{"x" * 55}...'),
    ],
)
def test_wrong_types_are_named_with_their_place(method, value, message):
    """Every access says file, place, rule and value, the value cut short."""
    place = Place({"a": [value]}, "file")["a"][0]
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        getattr(place, method)()
    assert str(caught.value).startswith("file: a[0]: ")


def test_unknown_words_and_keys_name_the_nearest():
    """Mistyped keys and words are refused with the right ones; missing keys are named."""
    with pytest.raises(InputError, match=r"^file: unknown key 'nmae'; did you mean 'name'"):
        Place({"nmae": 1}, "file").keys(["name"])
    with pytest.raises(InputError, match=r"^file: key 'name' is missing"):
        Place({}, "file").keys(["name"])
    with pytest.raises(
        InputError, match=r"^file: side: 'wieght' is unknown; did you mean 'weight'"
    ):
        Place({"side": "wieght"}, "file")["side"].choice(["weight", "all"])


def test_places_stay_on_one_line():
    """A line break in a key does not break the message."""
    with pytest.raises(InputError, match=r"^file: costs\.'a\\n': must be a number"):
        Place({"costs": {"a\n": None}}, "file")["costs"]["a\n"].number()


def test_a_place_is_named_once():
    """Nested readers do not repeat the file, and the kind of error is kept."""
    with (
        pytest.raises(InputError, match=r"^file: here: wrong$"),
        naming("file"),
        naming("file", "here"),
    ):
        raise InputError("wrong")
