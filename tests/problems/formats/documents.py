"""The examples of formats.md, without what it elides, and ways to break them."""

import json

from bitwright.problems import InputError

PROBLEM_LAYER = """
{"name": "stage1.unit1.conv1", "channels": null,
 "choices": [{"weight_bits": 4, "activation_bits": 4, "variant": "", "loss": 0.46242320718,
              "costs": {"size_bits": 147456, "latency_ms": 0.21094404}}]}
"""
TIES = '[{"layers": ["stage2.unit1.conv1", "stage2.unit1.identity"], "side": "all"}]'
INTERACTIONS = """
[{"layers": ["a", "b"], "loss": [[0.0, 0.1], [0.2, 0.0]], "costs": {"latency_us": [[0, 1.4], [1.4, 0]]}}]
"""
PEAKS = """
[{"cost": "peak_activation_bytes", "steps": [{"conv1": 100352, "layer1.0.conv1": 25088}]}]
"""
SOLUTION = """
{"format": "bitwright-solution/1", "problem": "resnet18-t4", "solver": "exact", "status": "optimal",
 "loss": 0.0123, "lower_bound": 0.0123, "gap": 0.0, "relative_gap": 0.0,
 "costs": {"latency_ms": 2.4991, "size_bits": 81231872}, "budgets": {"latency_ms": 2.5}, "slack": {"latency_ms": 0.0009},
 "bits": {"stage1.unit1.conv1": {"weight_bits": 4, "activation_bits": 4, "variant": ""}},
 "explanation": null, "seconds": 0.004, "seed": 0, "version": "0.1.0"}
"""
FRONT = """
{"format": "bitwright-front/1", "problem": "...", "costs": ["size_bits"], "solver": "front", "exact": true, "epsilon": 0.0,
 "points": [{"costs": {"size_bits": 1234}, "loss": 0.5, "bits": {}}]}
"""
NETWORK = """
{"format": "bitwright-network/1", "name": "resnet18",
 "layers": [{"name": "layer1.0.conv1", "kind": "Conv2d", "parameters": 36864, "macs": 115605504,
             "input_shape": [1, 64, 56, 56], "output_shape": [1, 64, 56, 56], "fused": ["layer1.0.bn1", "layer1.0.relu"], "pinned": null}],
 "ties": [],
 "totals": {"parameters": 11678912, "macs": 1814073344},
 "costs": {"w8a8": {"bitops": 116100694016, "size_bits": 93431296}, "w4a4": {}}}
"""


def choice(bits, **more):
    costs = {"size_bits": 1000 * bits, "latency_us": 0.1}
    entry = {"weight_bits": bits, "activation_bits": bits, "loss": 1 / bits, "costs": costs}
    return {**entry, **more}


FULL_PROBLEM = {
    "format": "bitwright-problem/1",
    "name": "full",
    "layers": [
        {"name": "a", "channels": [0, 16], "choices": [choice(4), choice(8, variant="svd-32")]},
        {"name": "b", "choices": [choice(4), choice(8, variant="svd-32")]},
    ],
    "ties": [{"layers": ["a", "b"], "side": "weight"}],
    "interactions": json.loads(INTERACTIONS),
    "peaks": [{"cost": "peak_bytes", "steps": [{"a": 100, "b": 0.5}]}],
    "fixed_costs": {"size_bits": 4171264},
    "budgets": {"latency_us": 2.5, "peak_bytes": 900},
}
FULL_FRONT = {
    "format": "bitwright-front/1",
    "problem": "p",
    "costs": ["ms", "bits"],
    "solver": "front",
    "exact": False,
    "epsilon": 0.5,
    "points": [
        {"costs": {"ms": 0.5, "bits": 7}, "loss": 2.5},
        {
            "costs": {"ms": 1.5, "bits": 3},
            "loss": 1.5,
            "bits": {"a": {"weight_bits": 4, "activation_bits": 8, "variant": "x"}},
        },
    ],
}
FULL_NETWORK = {
    **json.loads(NETWORK),
    "layers": [
        {**json.loads(NETWORK)["layers"][0], "name": name, "pinned": "w8a8"} for name in ("a", "b")
    ],
    "ties": [{"layers": ["a", "b"], "side": "activation", "reason": "added in layer1.0"}],
    "links": [[0, 1, 200704]],
    "tensors": [{"elements": 200704, "makers": [0], "readers": [1], "steps": [1, 2]}],
}

VALUES = (
    "null true false 17 -1 1.5 0 {} [] [[]] NaN -Infinity 1e999 1e999999999 1e-999999999 "
    f'1e99999999999999999999 {"9" * 400} {"9" * 5000} "x" "" "\\n" "\\ud800" "w4a8" {{"x":1}} [1] ["x","y"]'
).split(" ")
HOLE = "@hole@"


def kind(text):
    """Which of the six kinds of JSON value a text is."""
    first = text[0]
    return {"{": "object", "[": "list", '"': "string", "n": "null", "t": "bool", "f": "bool"}.get(
        first, "number"
    )


def holes(document):
    """Every place of a document: its path, the text there, and the document's text with a hole."""
    yield (), json.dumps(document), f'"{HOLE}"'
    if isinstance(document, dict | list):
        for key in document if isinstance(document, dict) else range(len(document)):
            for path, old, text in holes(document[key]):
                copy = document.copy()
                copy[key] = json.loads(text)
                yield (key, *path), old, json.dumps(copy)


def read_or_refuse(read, path):
    """The value read, or None where it was refused in one line that begins with the file."""
    try:
        return read(path)
    except InputError as error:
        line = str(error)
    assert line.startswith(f"{path}: ")
    assert len(line.splitlines()) == 1
    return None
