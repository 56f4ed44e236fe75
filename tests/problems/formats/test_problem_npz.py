"""Problems as arrays: round trips, the contract's names, and files that are none."""

import io
import itertools
import re
import zipfile
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.problems import InputError, Precision, Tie
from bitwright.problems.formats import read_problem, write_problem

from ..strategies import build, documents, some
from .documents import read_or_refuse

ARRAYS = {
    "layer_names": np.array(["conv1", "fc"]),
    "choice_start": np.array([0, 2, 3]),
    "weight_bits": np.array([4, 8, 8]),
    "activation_bits": np.array([8, 8, 8]),
    "loss": np.array([0.5, 0.25, 1.0]),
    "cost_size_bits": np.array([4, 8, 8], dtype=np.int32),
    "cost_latency_ms": np.array([0.1, 0.2, 0.3]),
    "ties": np.array([[0, 1]]),
}
EXACT_IN_ARRAYS = st.integers(0, 10**12) | st.decimals(0, 1000, places=3)


def put(path, arrays, **changes):
    np.savez(path, **{k: v for k, v in {**arrays, **changes}.items() if v is not None})
    return path


def test_the_arrays_of_the_contract_mean_what_they_say(tmp_path):
    """Names, bits, losses, costs by name and ties by index; floats count as written."""
    problem = read_problem(put(tmp_path / "net.npz", ARRAYS))
    assert (problem.name, problem.layers) == ("net", ("conv1", "fc"))
    assert [problem.precision(j) for j in problem.span("conv1")] == [
        Precision(4, 8),
        Precision(8, 8),
    ]
    assert problem.ties == (Tie(("conv1", "fc")),)
    evaluation = problem.evaluate([1, 2])
    assert evaluation.costs == {
        "size_bits": 16,
        "latency_ms": problem.costs["latency_ms"].value(0) * 5,
    }
    assert (evaluation.loss, evaluation.costs["latency_ms"] * 2) == (1.25, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"layer_names": np.array([b"conv1", b"fc"])},
        {k: ARRAYS[k].astype(np.uint8) for k in ("choice_start", "weight_bits", "activation_bits")},
        {"loss": ARRAYS["loss"].astype(np.float32)},
        {"cost_latency_ms": ARRAYS["cost_latency_ms"].astype(np.float32)},
        {"cost_size_bits": np.array([4.0, 8.0, 8.0])},
    ],
)
def test_other_dtypes_are_the_same_problem(tmp_path, changes):
    """Bytes for names, narrow integers, float32: what others write is read alike."""
    plain = read_problem(put(tmp_path / "net.npz", ARRAYS))
    assert read_problem(put(tmp_path / "net.npz", ARRAYS, **changes)) == plain


def test_ties_are_optional(tmp_path):
    """None, and an empty list of pairs, tie nothing."""
    for ties in (None, np.empty((0, 2), dtype=int)):
        assert read_problem(put(tmp_path / "net.npz", ARRAYS, ties=ties)).ties == ()


@some
@given(documents(terms=False, variants=False, values=EXACT_IN_ARRAYS))
def test_what_is_written_reads_back_equal(tmp_path, document):
    """Every part that arrays hold survives exactly."""
    problem = build({**document, "name": "net"})
    write_problem(problem, tmp_path / "net.npz")
    assert read_problem(tmp_path / "net.npz") == problem


def test_ties_of_many_layers_become_pairs(tmp_path):
    """A tie of three layers binds the same three after a round trip."""
    choice = {"weight_bits": 8, "activation_bits": 8, "loss": 0, "costs": {}}
    layers = [{"name": n, "choices": [choice]} for n in "abc"]
    tied = {"name": "net", "layers": layers, "ties": [{"layers": list("abc"), "side": "all"}]}
    write_problem(build(tied), tmp_path / "net.npz")
    bound = [set(tie.layers) for tie in read_problem(tmp_path / "net.npz").ties]
    assert set.union(*bound) == set("abc")
    assert all(a & b for a, b in itertools.pairwise(bound))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *[
            ({name: None}, f"array {name!r} is missing; ")
            for name in ("layer_names", "choice_start", "weight_bits", "activation_bits", "loss")
        ],
        ({"losses": ARRAYS["loss"]}, "unknown array 'losses'; did you mean 'loss'"),
        ({"layer_names": np.array([1, 2])}, "layer_names must be a list of strings, got int64"),
        ({"layer_names": np.array([["a", "b"]])}, "got <U1 of shape (1, 2)"),
        ({"layer_names": np.array([b"\xff", b"a"])}, "layer_names given as bytes must be UTF-8"),
        ({"layer_names": np.array(["a", "a"]), "ties": None}, "layer 'a' is given twice"),
        (
            {"weight_bits": np.array([4.0, 8, 8])},
            "weight_bits must be a list of integers, got float64",
        ),
        (
            {"choice_start": np.array([[0, 2, 3]])},
            "choice_start must be a list of integers, got int64",
        ),
        ({"choice_start": np.array([0, 2])}, "choice_start must have length layers + 1 = 3"),
        (
            {"weight_bits": np.array([4, 8, 99])},
            "layer 'fc': weight_bits must be from 1 to 32, got 99",
        ),
        (
            {"loss": np.array([0, 1, np.nan])},
            "layer 'fc', choice w8a8: loss must be finite, got nan",
        ),
        ({"loss": np.array(["0"] * 3)}, "loss must be a list of numbers, got <U1"),
        ({"cost_latency_ms": np.array([0, np.inf, 0])}, "latency_ms[1] must be finite, got inf"),
        ({"cost_latency_ms": np.ones((3, 1))}, "cost_latency_ms must be a list of numbers"),
        ({"cost_latency_ms": np.ones(3, dtype=bool)}, "cost_latency_ms must be a list of numbers"),
        (
            {"cost_latency_ms": np.ones(2)},
            "cost 'latency_ms' must have one value for each of the 3",
        ),
        ({"cost_size_bits": np.array([1, -1, 1])}, "cost 'size_bits' must not be negative, got -1"),
        (
            {"ties": np.array([0, 1])},
            "ties must be pairs of layer indices, got int64 of shape (2,)",
        ),
        ({"ties": np.array([[0.0, 1.0]])}, "ties must be pairs of layer indices, got float64"),
        ({"ties": np.array([[0, 2]])}, "ties must name layers from 0 to 1, got 0 to 2"),
        ({"ties": np.array([[-1, 0]])}, "ties must name layers from 0 to 1, got -1 to 0"),
        ({"ties": np.array([[1, 1]])}, "a tie needs two or more different layers"),
        (
            {"layer_names": np.array(["a", "b"], dtype=object)},
            "not a readable NPZ file without pickles",
        ),
        ({"loss": np.array([1, 2, None])}, "not a readable NPZ file without pickles"),
    ],
)
def test_bad_arrays_are_named(tmp_path, changes, message):
    """One line with file, array, rule and what was found; pickled objects are never loaded."""
    path = put(tmp_path / "net.npz", ARRAYS, **changes)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_problem(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def refused(path, content):
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"net\.npz: ") as caught:
        read_problem(path)
    return len(str(caught.value).splitlines()) == 1


def archive(tmp_path):
    return put(tmp_path / "net.npz", ARRAYS).read_bytes()


def test_what_is_no_archive_is_refused(tmp_path):
    """Missing and empty files, folders, text, a single array, and other archives."""
    path = tmp_path / "net.npz"
    with pytest.raises(InputError, match=r"net\.npz: no such file"):
        read_problem(path)
    path.mkdir()
    with pytest.raises(InputError, match=r"net\.npz: not a readable NPZ file"):
        read_problem(path)
    path.rmdir()
    single, other = io.BytesIO(), io.BytesIO()
    np.save(single, ARRAYS["loss"])
    with zipfile.ZipFile(other, "w") as zipped:
        zipped.writestr("loss", "no array")
        zipped.writestr("layer_names.npy", b"")
    for content in (b"", b"layer,loss\n", single.getvalue(), other.getvalue()):
        assert refused(path, content)


def test_a_cut_archive_is_refused(tmp_path):
    """No beginning of an archive is one."""
    content = archive(tmp_path)
    for stop in range(0, len(content), 37):
        assert refused(tmp_path / "net.npz", content[:stop])


def damage(tmp_path, content, data):
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.npz"
    path.write_bytes(content)
    read_or_refuse(read_problem, path)


@some
@given(st.data())
def test_damaged_bytes_are_no_surprise(tmp_path, data):
    """Bytes changed at random, headers included, give a problem or one line."""
    damage(tmp_path, archive(tmp_path), data)


@pytest.mark.slow
@pytest.mark.parametrize("byte", [0, 255, ord("9")])
def test_every_damaged_byte_is_no_surprise(tmp_path, byte):
    """The same for each byte of the file in turn."""
    whole = archive(tmp_path)
    for at in range(len(whole)):
        content = whole[:at] + bytes([byte]) + whole[at + 1 :]
        (tmp_path / "d.npz").write_bytes(content)
        read_or_refuse(read_problem, tmp_path / "d.npz")


def drawn(name="a", cost="ms", value=1, variant=""):
    choice = {"weight_bits": 8, "activation_bits": 8, "variant": variant, "loss": 0}
    return build(
        {"name": "net", "layers": [{"name": name, "choices": [{**choice, "costs": {cost: value}}]}]}
    )


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (drawn(variant="svd"), "NPZ arrays cannot hold variants; write JSON"),
        (drawn(name="a\0"), r"NPZ arrays cannot hold the layer name 'a\x00'; write JSON"),
        (drawn(cost="m\0s"), r"NPZ arrays cannot hold the cost name 'm\x00s'; write JSON"),
        (drawn(value=2**63), "cost 'ms' has more digits than an NPZ array holds; write JSON"),
        (drawn(value=Decimal("0.1234567890123456789")), "more digits"),
    ],
)
def test_what_arrays_would_change_is_refused(tmp_path, problem, message):
    """Nothing is rounded or dropped in silence."""
    with pytest.raises(InputError, match=re.escape(message)):
        write_problem(problem, tmp_path / "net.npz")
    assert list(tmp_path.iterdir()) == []
