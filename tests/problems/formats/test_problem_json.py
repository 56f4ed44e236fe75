"""Problems as JSON: the contract's examples, exact decimals, round trips, and bad input."""

import json
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given

from bitwright.problems import InputError, Peak, Precision, Tie
from bitwright.problems.formats import dump_json, read_problem, write_problem
from bitwright.problems.formats.json_text import parse_json
from bitwright.problems.formats.problem_json import problem_document, problem_from_document

from ..strategies import build, documents, many, some
from .documents import FULL_PROBLEM, INTERACTIONS, PEAKS, PROBLEM_LAYER, TIES, choice


def read(document, **changes):
    """Read a document given as text or as plain Python."""
    text = document if isinstance(document, str) else json.dumps({**document, **changes})
    return problem_from_document(parse_json(text, "file"), "file")


def named(*names, **terms):
    layers = [{"name": n, "choices": [choice(4), choice(8)]} for n in names]
    return {"format": "bitwright-problem/1", "name": "n", "layers": layers, **terms}


def test_the_layer_of_the_contract_means_what_it_says():
    """Every figure of the example is there, decimals exactly."""
    problem = read(
        '{"format": "bitwright-problem/1", "name": "resnet18-t4", "layers": ['
        + PROBLEM_LAYER
        + "],"
        '"fixed_costs": {"size_bits": 4171264}, "budgets": {"latency_ms": 2.5}}'
    )
    assert (problem.name, problem.layers) == ("resnet18-t4", ("stage1.unit1.conv1",))
    assert problem.precision(0) == Precision(4, 4)
    assert (problem.loss[0], problem.channels) == (0.46242320718, {})
    evaluation = problem.evaluate(np.array([0]))
    assert evaluation.costs["latency_ms"] == Fraction("0.21094404")
    assert evaluation.costs["size_bits"] == 147456 + 4171264
    assert problem.budgets == {"latency_ms": Fraction("2.5")}


def test_the_terms_of_the_contract_mean_what_they_say():
    """Ties, interactions and peaks as in the examples."""
    tied = read(named("stage2.unit1.conv1", "stage2.unit1.identity"), ties=json.loads(TIES))
    assert tied.ties == (Tie(("stage2.unit1.conv1", "stage2.unit1.identity"), "all"),)

    pair = read(named("a", "b"), interactions=json.loads(INTERACTIONS))
    alone = read(named("a", "b"))
    added = pair.evaluate(np.array([0, 3])), alone.evaluate(np.array([0, 3]))
    assert added[0].loss - added[1].loss == pytest.approx(0.1)
    assert added[0].costs["latency_us"] - added[1].costs["latency_us"] == Fraction("1.4")

    peak = read(named("conv1", "layer1.0.conv1"), peaks=json.loads(PEAKS))
    by_hand = 100352 * 8 + 25088 * 4
    assert peak.evaluate(np.array([1, 2])).costs["peak_activation_bytes"] == by_hand


def test_what_is_optional_may_be_left_out():
    """Without variant, side, channels and terms the defaults of the contract hold."""
    document = named("a", "b", ties=[{"layers": ["a", "b"]}])
    assert read(document).ties == (Tie(("a", "b"), "all"),)
    assert read(document).variants == ("",) * 4
    bare = {"weight_bits": 16, "activation_bits": 16, "variant": "bfloat", "loss": 0, "costs": {}}
    alone = read(named(), layers=[{"name": "a", "choices": [bare]}])
    assert (alone.precision(0), alone.cost_names) == (Precision(16, 16, "bfloat"), ())


@some
@given(documents())
def test_reader_and_constructors_agree(document):
    """What a document says is what the same numbers make by hand; integers and decimals exactly."""
    assert problem_from_document(document_as_parsed(document), "file") == build(document)


def document_as_parsed(document):
    text = json.dumps(document, default=lambda d: f"{d:f}")
    numbers = re.sub(r'"(\d+\.\d+)"', r"\1", text)
    return parse_json(numbers, "file")


@some
@given(documents())
def test_what_is_written_reads_back_equal(tmp_path, document):
    """Every problem survives, in every part and to the last of 25 digits."""
    problem = build(document)
    write_problem(problem, tmp_path / "p.json")
    assert read_problem(tmp_path / "p.json") == problem


@pytest.mark.slow
@many
@given(documents())
def test_what_is_written_reads_back_equal_for_many(document):
    """The same over many more problems."""
    problem = build(document)
    text = dump_json(problem_document(problem))
    assert problem_from_document(parse_json(text, "file"), "file") == problem


def test_nineteen_digits_survive(tmp_path):
    """A decimal that no float holds is written digit by digit."""
    digits = "1234567890.123456789"
    document = named("a", budgets={"latency_us": 1.5})
    document["budgets"]["latency_us"] = Decimal(digits)
    problem = build(document)
    write_problem(problem, tmp_path / "p.json")
    assert digits in (tmp_path / "p.json").read_text()
    assert read_problem(tmp_path / "p.json").budgets["latency_us"] == Fraction(digits)


def test_an_endless_budget_cannot_be_written(tmp_path):
    """A third has no decimal: the file is named, and none is left behind."""
    problem = build(named("a")).with_budgets({"latency_us": Fraction(1, 3)})
    with pytest.raises(InputError, match=r"p\.json: .*finite decimal form, got 1/3"):
        write_problem(problem, tmp_path / "p.json")
    assert list(tmp_path.iterdir()) == []


def test_the_suffix_says_the_format(tmp_path):
    """Other suffixes are refused with the nearest; capitals are as good."""
    problem = build(named("a"))
    write_problem(problem, tmp_path / "P.JSON")
    assert read_problem(str(tmp_path / "P.JSON")) == problem
    for use in (read_problem, lambda path: write_problem(problem, path)):
        with pytest.raises(
            InputError, match=r"p\.jsn: a problem file ends in .*did you mean '\.json'"
        ):
            use(tmp_path / "p.jsn")


def at(document, path, value):
    """A copy of a document with another value at a path; a value of None removes it."""
    copy = json.loads(json.dumps(document))
    place = copy
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copy


CHOICE = ("layers", 0, "choices", 0)
BROKEN = [
    (("format",), "bitwright-problem/2", "format: 'bitwright-problem/2' is unknown; did you mean"),
    (("layer",), [], "unknown key 'layer'; did you mean 'layers'"),
    (("name",), None, "key 'name' is missing"),
    ((*CHOICE, "losss"), 1, "layers[0].choices[0]: unknown key 'losss'; did you mean 'loss'"),
    ((*CHOICE, "loss"), None, "layers[0].choices[0]: key 'loss' is missing"),
    ((*CHOICE, "loss"), 10**400, "layers[0].choices[0].loss: value must be below"),
    (
        (*CHOICE, "weight_bits"),
        33,
        "layers[0].choices[0]: weight_bits must be an integer from 1 to",
    ),
    (
        (*CHOICE, "weight_bits"),
        4.0,
        "layers[0].choices[0].weight_bits: must be an integer, got 4.0",
    ),
    ((*CHOICE, "variant"), "a b", "layers[0].choices[0]: variant must be a short label"),
    (
        (*CHOICE, "costs", "latency_us"),
        "1",
        "layers[0].choices[0].costs.latency_us: must be a number",
    ),
    (
        (*CHOICE, "costs", "latency_us"),
        None,
        "layer 'a', choice w8a8-svd-32: every choice must name",
    ),
    ((*CHOICE, "costs", "latency_us"), -1, "cost 'latency_us' must not be negative, got -1"),
    (("layers", 0, "choices"), [], "layer 'a' has no choices"),
    (("layers",), [], "problem 'full' has no layers"),
    (("layers", 0, "channels"), [0], "layers[0].channels: must be [start, stop], got [0]"),
    (("layers", 0, "channels"), [4, 2], "channels must be [start, stop] with 0 <= start < stop"),
    (("ties", 0, "side"), "weights", "ties[0].side: 'weights' is unknown; did you mean 'weight'"),
    (("ties", 0, "layers"), ["a"], "ties[0]: a tie needs two or more different layers"),
    (
        ("interactions", 0, "loss", 1),
        [0],
        "interactions[0]: interaction of 'a' and 'b': loss must be",
    ),
    (("interactions", 0, "loss", 1, 1), None, "must be a full matrix, got rows of lengths [2, 1]"),
    (
        ("peaks", 0, "steps", 0, "b"),
        -1,
        "peaks[0]: peak 'peak_bytes', step 0, layer 'b' must not be",
    ),
    (
        ("fixed_costs", "size_bit"),
        1,
        "fixed cost for unknown cost 'size_bit'; did you mean 'size_bits'",
    ),
    (
        ("budgets", "latency_ms"),
        1,
        "budget for unknown cost 'latency_ms'; did you mean 'latency_us'",
    ),
]


@pytest.mark.parametrize(("path", "value", "message"), BROKEN)
def test_bad_problems_are_named_by_file_place_and_rule(path, value, message):
    """One line: file, place, rule, value, nearest valid name."""
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read(at(FULL_PROBLEM, path, value))
    assert str(caught.value).startswith("file: ")


def test_the_full_problem_has_every_part():
    """The document that the tests break is valid, and its parts are all read."""
    problem = read(FULL_PROBLEM)
    assert problem.channels == {"a": (0, 16)}
    assert problem.peaks == (Peak("peak_bytes", [{"a": 100, "b": 0.5}]),)
    assert problem.ties == (Tie(("a", "b"), "weight"),)
    assert len(problem.interactions) == 1
    assert problem.cost_names == ("size_bits", "latency_us", "peak_bytes")
