"""Measured cost tables: what is read, and which line explains what cannot be."""

import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.cost_models import CostTable
from bitwright.problems import FLOAT32, InputError, LayerDescription, Precision
from bitwright.problems.costing import CostModel

from ..resnet18 import resnet18

HEADER = """\
# device: board, revision 2
# repeats: 40
# overhead_us: 3.3
"""
ROWS = """\
layer,weight_bits,activation_bits,latency_us,energy_uj
conv1,4,4,10.10,7
conv1,8,8,20.20,9
conv1,32,32,40.5,30
fc,8,8,0.5,1e-3
"""
PLAIN = HEADER + ROWS


@pytest.fixture
def write(tmp_path):
    def put(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return put


def layer(name):
    return LayerDescription(name, "Conv2d", 1, 1, (1,), (1,))


def test_decimals_stay_as_written(write):
    """Each column can be read, and its numbers are the decimals in the file."""
    latency = CostTable(file=write(PLAIN))
    energy = CostTable(file=write(PLAIN), cost="energy_uj")
    assert isinstance(latency, CostModel)
    assert (latency.name, energy.name) == ("latency_us", "energy_uj")
    assert latency.cost(layer("conv1"), Precision(4, 4)) == Decimal("10.1")
    assert latency.cost(layer("conv1"), FLOAT32) == Decimal("40.5")
    assert latency.cost(layer("fc"), Precision(8, 8)) == Decimal("0.5")
    assert energy.cost(layer("fc"), Precision(8, 8)) == Decimal("0.001")


def test_header_lines_are_provenance_and_no_cost(write):
    """Lines on top are kept as text; the overhead of an empty run is added nowhere."""
    table = CostTable(file=write(PLAIN))
    assert table.provenance == {
        "device": "board, revision 2",
        "repeats": "40",
        "overhead_us": "3.3",
    }
    assert table.fixed_cost(resnet18()) == 0


AS_SPREADSHEETS_WRITE = {
    "semicolons": HEADER + ROWS.replace(",", ";"),
    "tabs": HEADER + ROWS.replace(",", "\t"),
    "spaces": HEADER + ROWS.replace(",", " , "),
    "windows lines": PLAIN.replace("\n", "\r\n"),
    "old mac lines": PLAIN.replace("\n", "\r"),
    "byte order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "no last line end": PLAIN.rstrip(),
    "blank lines": PLAIN.replace("\n", "\n\n"),
    "quoted": HEADER + ROWS.replace("fc", '"fc"'),
    "decimal commas": HEADER + ROWS.replace(",", ";").replace(".", ","),
}


@pytest.mark.parametrize("content", AS_SPREADSHEETS_WRITE.values(), ids=AS_SPREADSHEETS_WRITE)
def test_spreadsheets_may_have_had_it(write, content):
    """Delimiter, line ends, quotes, blanks and a byte order mark change nothing that is read."""
    plain, other = CostTable(file=write(PLAIN)), CostTable(file=write(content))
    assert other.provenance == plain.provenance
    for name, precision in (
        ("conv1", FLOAT32),
        ("conv1", Precision(8, 8)),
        ("fc", Precision(8, 8)),
    ):
        assert other.cost(layer(name), precision) == plain.cost(layer(name), precision)


@given(st.permutations(range(5)))
def test_columns_stand_in_any_order(tmp_path_factory, order):
    """Reordering the columns changes no number."""
    path = tmp_path_factory.getbasetemp() / "reordered.csv"
    rows = [line.split(",") for line in ROWS.splitlines()]
    path.write_text("\n".join(",".join(row[i] for i in order) for row in rows))
    assert CostTable(file=path).cost(layer("conv1"), Precision(8, 8)) == Decimal("20.20")


def test_variants_are_rows_of_their_own(write):
    """A variant column tells choices of the same bits apart, and names may hold the delimiter."""
    table = CostTable(
        file=write(
            "variant,layer,weight_bits,activation_bits,latency_us\n"
            'float,"a,b",16,16,5\nbfloat,"a,b",16,16,6\n,"a,b",8,8,3\n'
        )
    )
    costs = [
        table.cost(layer("a,b"), Precision.parse(p)) for p in ("w16a16-float", "w16a16-bfloat")
    ]
    assert costs == [5, 6]
    assert table.cost(layer("a,b"), Precision(8, 8)) == 3


def test_a_missing_row_says_what_is_covered(write):
    """An unknown layer gets the nearest name, an unknown precision what its layer covers."""
    table = CostTable(file=write(PLAIN))
    with pytest.raises(InputError, match="no row for layer 'conv2' at w8a8; did you mean 'conv1'"):
        table.cost(layer("conv2"), Precision(8, 8))
    with pytest.raises(
        InputError,
        match="no row for layer 'conv1' at w3a8; for this layer it covers w4a4, w8a8, w32a32",
    ):
        table.cost(layer("conv1"), Precision(3, 8))


HEAD = "layer,weight_bits,activation_bits,latency_us\n"
BROKEN = {
    "empty": ("", "is empty"),
    "header lines only": ("# device: x\n", "is empty"),
    "column names only": (HEAD, "no rows"),
    "utf-16": (PLAIN.encode("utf-16"), "not UTF-8"),
    "latin-1": (PLAIN.replace("board", "Gerät").encode("latin-1"), "not UTF-8"),
    "open quote": (HEAD + '"a,4,4,1\n', "line 2: not valid CSV"),
    "both keys": ("op," + HEAD + "conv,a,4,4,1\n", "put the two kinds into two files"),
    "operation half named": (
        "op,in_channels,weight_bits,activation_bits,latency_us\nConv2d,3,8,8,1\n",
        "column 'out_channels' is missing; did you mean 'in_channels'",
    ),
    "no stride": (
        "op,in_channels,out_channels,kernel_h,kernel_w,stride,groups,in_h,in_w,"
        "weight_bits,activation_bits,latency_us\nConv2d,3,8,1,1,0,1,9,9,8,8,1\n",
        "line 2: stride must be an integer from 1 to 2147483647, got 0",
    ),
    "far too precise": (HEAD + "a,4,4,1e-999\n", "line 2: latency_us must be below"),
    "factor zero": ("# factor_us: 0\n" + HEAD + "a,4,4,1\n", "'factor_us' must be above 0"),
    "overhead a word": ("# overhead_us: little\n" + HEAD + "a,4,4,1\n", "must start with a number"),
    "change below 0": ("# change_us: -1\n" + HEAD + "a,4,4,1\n", "must not be negative"),
    "factor of what": (
        "# factor_us_int8: 1\n" + HEAD + "a,4,4,1\n",
        "a precision is written like 'w4a8'",
    ),
    "cost missing": (
        HEAD.replace("latency_us", "latency_ms") + "a,4,4,1\n",
        "column 'latency_us' is missing; did you mean 'latency_ms'",
    ),
    "bits missing": (
        HEAD.replace("weight_", "w_") + "a,4,4,1\n",
        "column 'weight_bits' is missing",
    ),
    "column twice": (HEAD.replace("weight", "activation"), "'activation_bits' is given twice"),
    "ragged": (HEAD + "a,4,4,1,9\n", "line 2: 4 cells expected, got 5"),
    "nan": (HEAD + "a,4,4,nan\n", "line 2: latency_us must be finite, got 'nan'"),
    "infinite": (HEAD + "a,4,4,inf\n", "line 2: latency_us must be finite"),
    "word": (HEAD + "a,4,4,fast\n", "line 2: latency_us must be a number, got 'fast'"),
    "not measured": (HEAD + "a,4,4,\n", "line 2: latency_us must be a number, got ''"),
    "negative": (HEAD + "a,4,4,-0.5\n", "line 2: latency_us must not be negative, got '-0.5'"),
    "fractional bits": (HEAD + "a,4.5,4,1\n", "line 2: weight_bits must be an integer, got '4.5'"),
    "zero bits": (HEAD + "a,4,0,1\n", "line 2: activation_bits must be an integer from 1"),
    "no layer": (HEAD + ",4,4,1\n", "line 2: layer must not be empty"),
    "row twice": (HEAD + "a,4,4,1\nb,4,4,1\na,4,4,1\n", "line 4: layer 'a' at w4a4 is given twice"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_is_explained_in_one_line(write, content, message):
    """Every broken table raises one line that names the file, the place and the rule."""
    with pytest.raises(InputError, match=message) as caught:
        CostTable(file=write(content))
    assert str(caught.value).startswith(str(write(content)))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    """A file that is not there is an error of one line, not a traceback."""
    with pytest.raises(InputError, match=r"absent\.csv: no such file"):
        CostTable(file=tmp_path / "absent.csv")


def test_a_table_pickles(write):
    """Workers get a table pickled, without reading the file again."""
    path = write(PLAIN)
    table = CostTable(file=path)
    path.unlink()
    copy = pickle.loads(pickle.dumps(table))
    assert copy.cost(layer("fc"), Precision(8, 8)) == table.cost(layer("fc"), Precision(8, 8))
