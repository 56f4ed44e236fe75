"""Allocation problems for hypothesis, as plain documents that a slow twin can read too."""

from decimal import Decimal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from bitwright.problems import (
    AllocationProblem,
    BitConfiguration,
    Choice,
    Interaction,
    LayerChoices,
    Peak,
    Precision,
    Tie,
)

some = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
many = settings(some, max_examples=1500)

losses = st.floats(-1e100, 1e100) | st.integers(-9, 9).map(float)
amounts = (
    st.integers(0, 9)
    | st.integers(0, 10**25)
    | st.decimals(0, 1000, places=3)
    | st.decimals(0, 10, places=19)
)
names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6)
precisions = st.builds(
    Precision, st.integers(1, 32), st.integers(1, 32), st.sampled_from(["", "", "svd-32", "bfloat"])
)
COSTS = ("size_bits", "latency_ms")


def _table(costs, values):
    return st.fixed_dictionaries(dict.fromkeys(costs, values))


def _choices(draw, shared, costs, variants, values):
    offered = draw(st.lists(precisions, max_size=3))
    if not variants:
        offered = [Precision(p.weight_bits, p.activation_bits) for p in offered]
    return [
        {
            "weight_bits": p.weight_bits,
            "activation_bits": p.activation_bits,
            "variant": p.variant,
            "loss": draw(losses),
            "costs": draw(_table(costs, values)),
        }
        for p in dict.fromkeys([*offered, shared])  # one that all offer, so that ties can hold
    ]


@st.composite
def documents(draw, *, terms=True, variants=True, values=amounts):
    """Problem documents as `formats.md` describes them, numbers as int, float or Decimal."""
    costs = draw(st.sampled_from([COSTS, COSTS[:1], ()]))
    shared = Precision(8, 8)
    layers = [
        {"name": name, "choices": _choices(draw, shared, costs, variants, values)}
        for name in draw(st.lists(names, min_size=1, max_size=4, unique=True))
    ]
    document = {"format": "bitwright-problem/1", "name": "drawn", "layers": layers}
    labels = [layer["name"] for layer in layers]
    if len(labels) > 1 and draw(st.booleans()):
        sides = st.sampled_from(["all", "weight", "activation"] if terms else ["all"])
        document["ties"] = [{"layers": labels[:2], "side": draw(sides)}]
    if not terms:
        return document
    known = costs
    if draw(st.booleans()):
        known = (*costs, "peak_bytes")
        steps = st.lists(
            st.dictionaries(st.sampled_from(labels), values, min_size=1), min_size=1, max_size=3
        )
        document["peaks"] = [{"cost": "peak_bytes", "steps": draw(steps)}]
    if len(labels) > 1 and draw(st.booleans()):
        first, second = layers[0], layers[-1]
        rows, columns = len(first["choices"]), len(second["choices"])

        def matrix(cells):
            return draw(
                st.lists(
                    st.lists(cells, min_size=columns, max_size=columns),
                    min_size=rows,
                    max_size=rows,
                )
            )

        document["interactions"] = [
            {
                "layers": [first["name"], second["name"]],
                "loss": matrix(losses),
                "costs": {name: matrix(values) for name in costs[:1]},
            }
        ]
    for part in ("fixed_costs", "budgets"):
        document[part] = draw(
            st.dictionaries(st.sampled_from(known), values) if known else st.just({})
        )
    if draw(st.booleans()):
        layers[0]["channels"] = [0, draw(st.integers(1, 64))]
    return document


def build(document):
    """The problem of a document, by the constructors and not by the reader."""
    layers = [
        LayerChoices(
            layer["name"],
            tuple(
                Choice(
                    Precision(c["weight_bits"], c["activation_bits"], c.get("variant", "")),
                    c["loss"],
                    c["costs"],
                )
                for c in layer["choices"]
            ),
            tuple(layer["channels"]) if layer.get("channels") else None,
        )
        for layer in document["layers"]
    ]
    return AllocationProblem.from_layers(
        document["name"],
        layers,
        ties=[Tie(t["layers"], t["side"]) for t in document.get("ties", [])],
        interactions=[
            Interaction(t["layers"], t["loss"], t["costs"])
            for t in document.get("interactions", [])
        ],
        peaks=[Peak(p["cost"], p["steps"]) for p in document.get("peaks", [])],
        fixed_costs=document.get("fixed_costs", {}),
        budgets=document.get("budgets", {}),
    )


configurations = st.dictionaries(names, precisions, min_size=1, max_size=4).map(BitConfiguration)
figures = st.dictionaries(
    names, st.integers(0, 10**20) | st.floats(0, 1e300).filter(lambda x: x != int(x))
)


def decimal(value):
    """A number as it is written: floats by their shortest decimal."""
    return value if isinstance(value, int | Decimal) else Decimal(repr(value))
