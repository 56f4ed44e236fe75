"""`bitwright.apply` for one's own training loop: with and without calibration data."""

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

import bitwright
from bitwright.problems.errors import InputError, MeasurementError
from bitwright.problems.precision import Precision
from bitwright.quantization import ESTIMATORS, applied_quantizers, fake_quantize

BITS = bitwright.BitConfiguration({"0": Precision(4, 4), "3": Precision(3, 5)})
SECOND = bitwright.BitConfiguration({"3": BITS["3"]})


@pytest.fixture
def model():
    """A network with a batch norm, in evaluation mode, the weights fixed."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(1)
    ).eval()


@pytest.fixture
def inputs():
    return torch.randn(32, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("estimator", sorted(set(ESTIMATORS) - {"alpha"}))
def test_without_batches_the_first_batch_gives_the_ranges(model, inputs, estimator):
    """The first layer's range is that of calibrating on the batch; the second sees quantized inputs."""
    copy = bitwright.apply(model, BITS, estimator=estimator)
    with pytest.raises(MeasurementError, match="layer '0' has seen no batch yet"):
        _ = applied_quantizers(copy)["0"].input.grid
    copy(inputs)
    calibrated = bitwright.apply(model, BITS, [(inputs,)], estimator=estimator)
    first, wanted = (applied_quantizers(m)["0"].input.grid for m in (copy, calibrated))
    assert torch.equal(first.scale, wanted.scale)
    assert torch.equal(first.zero_point, wanted.zero_point)
    hidden = copy[:3](inputs)
    second = bitwright.apply(model[3:], SECOND, [(hidden,)])
    found = applied_quantizers(copy)["3"].input.grid
    assert torch.equal(found.scale, applied_quantizers(second)["3"].input.grid.scale)
    weight = fake_quantize(model[0].weight, applied_quantizers(copy)["0"].weight.grid)
    assert torch.equal(copy[0].weight, weight)


def test_later_batches_leave_the_ranges_alone(model, inputs):
    """The first batch alone starts them, also across a state dict into another copy."""
    copy = bitwright.apply(model, BITS, estimator="lsq")
    expected = copy(inputs)
    copy(100 * inputs)
    assert torch.equal(copy(inputs), expected)
    other = bitwright.apply(model, BITS, estimator="lsq")
    other.load_state_dict(load(save(copy.state_dict())))
    other(100 * inputs)
    assert torch.equal(other(inputs), expected)


@pytest.mark.parametrize("batches", [None, "given"])
@pytest.mark.parametrize("estimator", sorted(ESTIMATORS))
def test_the_copy_trains_in_a_loop_of_ones_own(model, inputs, batches, estimator):
    """A plain torch loop lowers its loss; the model is left as it was."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    copy = bitwright.apply(
        model, BITS, None if batches is None else [(inputs,)], estimator=estimator
    ).train()
    bitwright.quantization.set_alpha(copy, 0.5)
    optimizer = torch.optim.Adam(copy.parameters(), lr=0.01)
    labels = (inputs[:, 0] > 0).long()
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.nll_loss(copy(inputs).clamp(min=1e-6).log(), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_cannot_start_is_named(model):
    """A first batch with NaN, an unknown layer, an unknown rule or estimator."""
    with pytest.raises(MeasurementError, match="layer '0': its first input holds NaN"):
        bitwright.apply(model, BITS)(torch.full((2, 6), torch.nan))
    with pytest.raises(InputError, match="no layer 'head'"):
        bitwright.apply(model, bitwright.BitConfiguration({"head": Precision(4, 4)}))
    with pytest.raises(InputError, match="'mes'"):
        bitwright.apply(model, BITS, weight_rule="mes")
    with pytest.raises(InputError, match="estimator 'LSQ' is unknown; did you mean 'lsq'"):
        bitwright.apply(model, BITS, estimator="LSQ")


@pytest.mark.parametrize("estimator", ["ste", "lsq", "lsq+", "pact"])
def test_states_load_into_copies_made_with_or_without_batches(model, inputs, estimator):
    """Whoever has the trained state needs no calibration data to load it, nor a model without them."""
    started = bitwright.apply(model, BITS, estimator=estimator)
    started(inputs)
    calibrated = bitwright.apply(model, BITS, [inputs * 2], estimator=estimator)
    assert started.state_dict().keys() == calibrated.state_dict().keys()
    for source in (started, calibrated):
        for target in (
            bitwright.apply(model, BITS, estimator=estimator),
            bitwright.apply(model, BITS, [(inputs * 3,)], estimator=estimator),
        ):
            target.load_state_dict(load(save(source.state_dict())), strict=True)
            assert torch.equal(target(inputs), source(inputs))


def test_an_answer_may_be_a_file_and_nothing_else(model, inputs, tmp_path):
    """A path is read; text that is none, a dictionary or a precision is refused by its type."""
    with pytest.raises(InputError, match=r"nothing\.json"):
        bitwright.apply(model, str(tmp_path / "nothing.json"))
    for wrong in ({"0": "w4a4"}, Precision(4, 4)):
        with pytest.raises(InputError, match=f"got a {type(wrong).__name__}"):
            bitwright.apply(model, wrong)
    with pytest.raises(InputError, match=r"a tuple of the model's inputs.*got a list"):
        bitwright.apply(model, BITS, [[inputs, torch.zeros(32)]])


def test_sides_left_in_float_need_no_batch(model, inputs):
    """32-bit activations have no range to find."""
    weights_only = bitwright.BitConfiguration({"0": Precision(4, 32), "3": Precision(4, 32)})
    copy = bitwright.apply(model, weights_only)
    assert all(found.input is None for found in applied_quantizers(copy).values())
    assert torch.equal(copy(inputs), bitwright.apply(model, weights_only, [(inputs,)])(inputs))


@pytest.mark.parametrize("name", ["0.self_attn.in_proj_weight", "0.self_attn.out_proj", "0.matmul"])
def test_layers_of_functions_need_batches(name):
    """Without a run nobody knows where they are computed; with batches they are quantized."""
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)).eval()
    bits = bitwright.BitConfiguration({name: Precision(4, 8)})
    with pytest.raises(InputError, match=f"layer '{name}' is computed by a function; give batches"):
        bitwright.apply(model, bits)
    if name != "0.matmul":
        x = torch.randn(2, 5, 8)
        twin = bitwright.apply(model, bits, [(x,)], estimator="lsq")
        assert list(applied_quantizers(twin)) == [name]
        assert not torch.equal(twin.eval()(x), model(x))
