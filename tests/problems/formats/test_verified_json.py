"""What was verified as JSON: a round trip, what others may leave out, and one line for what is bad."""

from __future__ import annotations

import json
import re

import pytest

from bitwright.problems import InputError
from bitwright.problems.formats import read_verified, write_verified
from bitwright.problems.formats.json_text import parse_json
from bitwright.problems.formats.verified_json import verified_document, verified_from_document

from ..verified import point, verified
from .test_problem_json import at

DOCUMENT = json.loads(json.dumps(verified_document(verified())))
FIRST = ("points", 0)


def read(document):
    """The value of a document, through text."""
    return verified_from_document(parse_json(json.dumps(document), "file"), "file")


@pytest.mark.parametrize(
    "value",
    [verified(), verified([]), verified([point("x", qat=(), weights=())], seeds=())],
    ids=["all kinds", "no points", "PTQ only"],
)
def test_it_reads_back_equal(tmp_path, value):
    """Every figure survives, and any JSON reader takes the file: no NaN stands in it."""
    write_verified(value, tmp_path / "v.json")
    assert read_verified(tmp_path / "v.json") == value
    json.loads((tmp_path / "v.json").read_text(), parse_constant=pytest.fail)


def test_it_holds_what_the_contract_lists():
    """Per point: bits, both losses, costs, quality before and after QAT in all three readings, dominated."""
    document = DOCUMENT["points"][0]
    assert DOCUMENT["format"] == "bitwright-verified/1"
    assert document["bits"] == {"conv": {"weight_bits": 2, "activation_bits": 8, "variant": ""}}
    assert document["predicted_loss"] == 0.5
    assert document["measured_loss"] == {"critical": 0.75, "overall": None}
    assert document["costs"] == {"size_bits": 200, "latency_us": 0.2}
    assert document["ptq"]["per_class"] == {"a": 0.2, "b": None}
    for figures in (document["qat"]["metrics"]["accuracy"], document["qat"]["per_class"]["a"]):
        assert figures["seeds"] == [0.6, 0.7]
        assert figures["mean"] == pytest.approx(0.65)
        assert figures["spread"] == pytest.approx(0.1 / 2**0.5)
    assert document["qat"]["critical"]["seeds"] == [0.3, 0.35]
    assert [p["dominated"] for p in DOCUMENT["points"]] == [False, True, False]
    assert document["weights"] == ["verify/small-0.safetensors", "verify/small-1.safetensors"]


def test_what_follows_or_is_not_known_may_be_left_out():
    """Mean and spread follow from the seeds; weights, version and splits need not be told."""
    document = json.loads(json.dumps(DOCUMENT))
    for name in ("version", "seed", "quality_split", "loss_split"):
        del document[name]
    for entry in document["points"]:
        del entry["weights"]
        for figures in entry["qat"]["metrics"].values():
            del figures["mean"], figures["spread"]
    found = read(document)
    assert found.points[0].qat == verified().points[0].qat
    assert (found.points[0].weights, found.quality_split, found.version) == ((), "test", "")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "bitwright-front/1", "is a front (bitwright-front/1), where bitwright-verified/1 is needed"),
        (("cots",), 1, "unknown key 'cots'; did you mean 'cost'"),
        (("seeds",), ["0"], "seeds[0]: must be an integer"),
        ((*FIRST, "kind"), "fronts", "points[0].kind: 'fronts' is unknown; did you mean 'front'"),
        ((*FIRST, "predicted_loss"), "0", 'points[0].predicted_loss: must be a number, got "0"'),
        ((*FIRST, "measured_loss", "criticl"), 1, "points[0].measured_loss: unknown key 'criticl'; did you mean 'critical'"),
        ((*FIRST, "bits", "conv", "weight_bits"), 0, "points[0].bits.conv: weight_bits must be an int"),
        ((*FIRST, "ptq", "confusion"), [[1.5]], "points[0].ptq.confusion[0][0]: must be an integer"),
        ((*FIRST, "qat", "critical", "mean"), "x", "points[0].qat.critical.mean: must be a number"),
        ((*FIRST, "qat", "metrics", "f1", "seeds"), [0.5], "point 'small' must have one figure per seed, 2"),
        ((*FIRST, "weights"), ["a"], "point 'small' must have weights for all 2 seeds or for none, got 1"),
        ((*FIRST, "dominated"), 1, "points[0].dominated: must be true or false, got 1"),
        (("float", "losses"), {}, "float.losses: key 'critical' is missing"),
        (("main_metric",), "map", "main_metric 'map' was not measured"),
    ],
)  # fmt: skip
def test_bad_documents_are_named_by_file_place_and_rule(path, value, message):
    """One line: file, place, rule, value."""
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read(at(DOCUMENT, path, value))
    assert str(caught.value).startswith("file: ")
