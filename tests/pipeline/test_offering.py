"""Which precisions layers are offered."""

import pytest

from bitwright.pipeline.offering import offered_precisions, uniform_choices
from bitwright.problems import FLOAT32, InputError, LayerDescription, NetworkDescription, Precision
from bitwright.problems.ties import Tie
from bitwright.run_config import VariantsSection

W4, W8 = Precision(4, 8), Precision(8, 8)


def labels(offered):
    return {name: " ".join(p.label for p in forms) for name, forms in offered.items()}


def network(*ties, pinned=None):
    """A convolution before a SiLU, one before a ReLU, and a head of 10 x 40: 8 ranks break even."""
    return NetworkDescription(
        "net",
        (
            LayerDescription("silu", "Conv2d", 432, 432 * 64, (1, 3, 8, 8), (1, 16, 8, 8)),
            LayerDescription("relu", "Conv2d", 432, 432 * 64, (1, 3, 8, 8), (1, 16, 8, 8)),
            LayerDescription("head", "Linear", 400, 400, (1, 40), (1, 10), pinned=pinned),
        ),
        ties,
    )


def offered(*ties, precisions=(W4, W8, FLOAT32), pinned=None, **section):
    return labels(
        offered_precisions(
            network(*ties, pinned=pinned), precisions, VariantsSection(**section), {"silu"}
        )
    )


def test_without_variants_every_layer_is_offered_the_precisions():
    """The default adds nothing."""
    assert set(offered().values()) == {"w4a8 w8a8 w32a32"}


@pytest.mark.parametrize(
    ("hybrid", "silu"),
    [
        ("auto", "w4a8-hybrid w8a8-hybrid w32a32"),
        ("choice", "w4a8-hybrid w4a8-integer w8a8-hybrid w8a8-integer w32a32"),
    ],
)
def test_hybrid_forms_stand_where_a_nonlinear_activation_follows(hybrid, silu):
    """Integer precisions take the place of the plain ones there; float32 and other layers stay."""
    plain = "w4a8 w8a8 w32a32"
    assert offered(hybrid=hybrid) == {"silu": silu, "relu": plain, "head": plain}


def test_ranks_stand_beside_each_precision_of_a_matrix():
    """Half of 8 and all that still saves: 4 and 7; convolutions have none."""
    assert offered(precisions=(W4, W8), svd=(0.5, 1.0)) == {
        "silu": "w4a8 w8a8",
        "relu": "w4a8 w8a8",
        "head": "w4a8 w4a8-svd-4 w4a8-svd-7 w8a8 w8a8-svd-4 w8a8-svd-7",
    }


def test_a_matrix_before_a_nonlinear_activation_has_ranks_in_every_form():
    """Each form of the activation is offered with and without factors, none without a form."""
    found = offered_precisions(
        network(), (W4,), VariantsSection(hybrid="choice", svd=(0.5,)), {"head"}
    )
    assert labels(found)["head"] == (
        "w4a8-hybrid w4a8-svd-4+hybrid w4a8-integer w4a8-svd-4+integer"
    )


def test_ties_that_share_a_layer_are_one():
    """What the first and the last of a chain cannot share, none of the chain takes."""
    ties = (Tie(("silu", "relu")), Tie(("relu", "head")))
    for order in (ties, ties[::-1]):
        found = offered(*order, precisions=(W4, W8), hybrid="choice", svd=(0.5,))
        assert set(found.values()) == {"w4a8 w8a8"}


def test_a_precision_with_a_variant_goes_to_the_layers_that_can_take_it():
    """Labels in `precisions` may name variants."""
    forms = tuple(Precision.parse(label) for label in ("w8a8", "w8a8-integer", "w8a8-svd-3"))
    assert offered(precisions=forms) == {
        "silu": "w8a8 w8a8-integer",
        "relu": "w8a8",
        "head": "w8a8 w8a8-svd-3",
    }


def test_a_pin_stays_alone():
    """A pinned layer is offered nothing beside its pin."""
    assert offered(pinned=W8, svd=(0.5,))["head"] == "w8a8"


@pytest.mark.parametrize(
    ("tie", "silu", "head"),
    [
        (Tie(("silu", "relu")), "w4a8", "w4a8 w4a8-svd-4"),
        (Tie(("relu", "head")), "w4a8-hybrid", "w4a8"),
        (Tie(("silu", "head"), "activation"), "w4a8-hybrid", "w4a8 w4a8-svd-4"),
    ],
)
def test_layers_that_must_agree_are_offered_what_all_can_take(tie, silu, head):
    """A tie of one side compares bits alone and needs nothing."""
    found = offered(tie, precisions=(W4,), hybrid="auto", svd=(0.5,))
    assert (found["silu"], found["head"]) == (silu, head)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precisions": (W8, Precision(8, 8, "svd-8"))}, "no layer of network 'net' can take w8a8-svd"),
        ({"precisions": (Precision(8, 8, "hybrid"),)}, "layer 'relu' cannot take w8a8-hybrid: none is for such a layer"),
        ({"pinned": Precision(8, 8, "hybrid")}, "layer 'head' cannot take w8a8-hybrid"),
        ({"precisions": (Precision(8, 8, "hybird"),)}, "unknown; did you mean 'hybrid'"),
    ],
)  # fmt: skip
def test_what_no_layer_can_take_is_refused(arguments, message):
    """A precision without a layer and a layer without a precision are named."""
    with pytest.raises(InputError, match=message):
        offered(**arguments)


def test_a_uniform_configuration_takes_the_form_that_is_offered():
    """Hybrid or integer stands for the plain precision; a rank does not."""
    hybrid, rank = Precision(4, 8, "hybrid"), Precision(4, 8, "svd-2")
    candidates = {"a": (W4, W8), "b": (hybrid, W8), "c": (W8,)}
    assert uniform_choices(W4, candidates) == ({"a": W4, "b": hybrid, "c": W8}, [])
    assert uniform_choices(W4, {"d": (rank, W8)}) == ({}, ["d"])
