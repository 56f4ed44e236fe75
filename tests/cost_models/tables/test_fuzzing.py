"""Hostile cost tables: whatever the bytes, either a table or one line that names the file."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.cost_models import CostTable
from bitwright.problems import FLOAT32, InputError, NetworkDescription
from bitwright.problems.operation import operation_key

from ...problems.strategies import many, some
from .boards import OPERATION, W4A8, W8A8, board, by_layer, conv, row

LAYERS = tuple(conv(f"l{side}", 8, 8, side) for side in (5, 6, 7, 8, 9))
NETWORK = NetworkDescription("net", LAYERS)
HEAD = (
    "# device: board", "# batch: 1", "# network: net", "# overhead_us: 2.5", "# rest_us: 1",
    "# change_us: 3", "# change_us_per_element: 0.01", "# factor_us: 0.9", "# factor_us_w8a8: 0.8",
)  # fmt: skip
PRECISIONS = (W8A8, FLOAT32)
BY_LAYER = by_layer(
    HEAD, [(la.name, p, f"{i}.5") for i, la in enumerate(LAYERS) for p in PRECISIONS]
)
BY_OPERATION = "\n".join(
    [*HEAD, OPERATION, *(row(operation_key(la), p, "7.25") for la in LAYERS for p in PRECISIONS)]
)
TABLES = (BY_LAYER.encode(), BY_OPERATION.encode())
NASTY = (
    b"", b",", b'"', b"\0", b"\n", b"\xff", b"1e999999999", b"9" * 400, b"-1", b"nan", b"inf", b"0",
    b"4_0", b"\xe2\x80\xa8", b"# factor_us: 1e-999\n", b"# factor_us_w99a9: 1\n", b"=1+1", b"+", b"1,5",
    b"../../etc/passwd", b"w8a8", b"layer", b"op", b"\xd9\xa3", b"# batch: 99999999999999999999\n",
    b"# batch: 8\n", b"# overhead_us:\n", b"1e308", b"0x10", b" ", b"\t;\t",
)  # fmt: skip


@st.composite
def broken(draw):
    """A table cut off, or with bytes replaced, put in, or repeated."""
    content = bytearray(draw(st.sampled_from(TABLES)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        until = draw(st.integers(at, min(at + 12, len(content))))
        kind = draw(st.sampled_from(("cut", "put", "random", "repeat")))
        if kind == "cut":
            del content[at:]
        elif kind == "repeat":
            content[at:at] = content[at : at + 200]
        else:
            new = st.sampled_from(NASTY) if kind == "put" else st.binary(max_size=6)
            content[at:until] = draw(new)
    return bytes(content)


def used(path, **options):
    """All that a run asks of a table; every figure must then be usable."""
    table = CostTable(file=path, **options).for_network(NETWORK, board())
    assert table.fixed_cost(NETWORK) >= 0
    table.interactions(NETWORK, dict.fromkeys(NETWORK.names, PRECISIONS))
    for layer in NETWORK:
        for precision in (W4A8, *PRECISIONS):
            try:
                assert table.cost(layer, precision) >= 0
                table.source(layer, precision)
            except InputError as error:
                assert_one_line(error, path)
    assert all("\n" not in note for note in table.notes())


def assert_one_line(error, path):
    text = str(error)
    assert str(path) in text
    assert "\n" not in text
    assert len(text) < 3000


def survives(path, content, options):
    path.write_bytes(content)
    try:
        used(path, **options)
    except InputError as error:
        assert_one_line(error, path)


OPTIONS = st.sampled_from(({}, {"interpolate": True}, {"end_to_end": True}, {"end_to_end": False}))


@some
@given(broken(), OPTIONS)
def test_broken_tables_are_explained(tmp_path_factory, content, options):
    """Cut, changed and repeated parts give a table or an error of one line, never another exception."""
    survives(tmp_path_factory.getbasetemp() / "broken.csv", content, options)


@pytest.mark.slow
@many
@given(broken(), OPTIONS)
def test_many_broken_tables_are_explained(tmp_path_factory, content, options):
    """The same at length."""
    survives(tmp_path_factory.getbasetemp() / "broken.csv", content, options)


@some
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace")))
def test_anything_at_all_is_explained(tmp_path_factory, content):
    """Bytes that were never a table give an error of one line."""
    path = tmp_path_factory.getbasetemp() / "anything.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        CostTable(file=path)
    assert_one_line(caught.value, path)


@pytest.mark.parametrize("table", TABLES, ids=["by layer", "by operation"])
def test_truncated_anywhere(tmp_path, table):
    """Every head of a table, cut at any byte, is read or explained."""
    for length in range(0, len(table), 7):
        survives(tmp_path / "cut.csv", table[:length], {})


ENCODINGS = {
    "utf-16": BY_LAYER.encode("utf-16"),
    "utf-32": BY_LAYER.encode("utf-32"),
    "latin-1": BY_LAYER.replace("board", "Gerät").encode("latin-1"),
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\3" + bytes(range(256)),
    "zeros": b"\0" * 4096,
    "binary": bytes(range(256)) * 20,
}


@pytest.mark.parametrize("content", ENCODINGS.values(), ids=ENCODINGS)
def test_other_encodings_are_named(tmp_path, content):
    """What is no UTF-8 table is refused, by file."""
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        CostTable(file=path)
    assert_one_line(caught.value, path)


def test_a_folder_is_no_table(tmp_path):
    """A folder in the place of a file is named."""
    with pytest.raises(InputError, match="cannot be read"):
        CostTable(file=tmp_path)


def test_a_large_table_is_read(tmp_path):
    """Twenty thousand rows are looked up as few are, and an error about them stays short."""
    path = tmp_path / "large.csv"
    rows = [(f"layer{i}", W8A8, i) for i in range(20_000)]
    path.write_text(by_layer((), rows))
    table = CostTable(file=path)
    assert table.cost(conv("layer19999", 3, 8, 6), W8A8) == Decimal(19999)
    with pytest.raises(InputError) as caught:
        table.cost(LAYERS[0], W8A8)
    assert_one_line(caught.value, path)


def test_long_lines_and_numbers_are_refused_in_time(tmp_path):
    """A cell of a million characters and a number of a million digits are errors that stay short."""
    path = tmp_path / "long.csv"
    for cell in ("9" * 1_000_000, "x" * 100_000, '"' + "y" * 1_000_000):
        path.write_text(by_layer((), [("a", W8A8, cell)]))
        with pytest.raises(InputError) as caught:
            CostTable(file=path)
        assert_one_line(caught.value, path)


def test_precisions_beyond_32_bits_are_refused(tmp_path):
    """Bits of a row are those that a layer can have."""
    path = tmp_path / "t.csv"
    path.write_text(by_layer((), [("a", W8A8, 1)]).replace("8,8", "8,64"))
    with pytest.raises(InputError, match="line 2: activation_bits must be an integer from 1 to 32"):
        CostTable(file=path)
