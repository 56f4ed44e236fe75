"""The bounded sample of a stream of values."""

import pytest
import torch

from bitwright.quantization.ranges.observers import SAMPLE_LIMIT, ObservedValues, Observer


def observe(*batches):
    observer = Observer()
    for batch in batches:
        observer.update(batch)
    return observer.result()


def test_a_short_stream_is_kept_whole():
    """Up to the limit, the sample is every value."""
    batches = torch.randn(3, 1000)
    observed = observe(*batches)
    assert torch.equal(observed.sample, batches.flatten())
    assert (observed.minimum, observed.maximum) == (batches.min(), batches.max())


@pytest.mark.parametrize("batch", [1000, 30_000, 2 * SAMPLE_LIMIT + 1])
def test_a_long_stream_is_sampled_within_the_limit(batch):
    """However long the stream and its batches, the sample is bounded; the extremes are exact."""
    stream = torch.randn(6 * SAMPLE_LIMIT)
    stream[12_345], stream[-1] = 100, -100
    observed = observe(*stream.split(batch))
    assert SAMPLE_LIMIT // 4 <= len(observed.sample) <= SAMPLE_LIMIT
    assert (observed.minimum, observed.maximum) == (-100, 100)
    assert torch.isin(observed.sample, stream).all()


def test_the_sample_is_spread_evenly_over_the_stream():
    """Every eighth of the stream has its eighth of the sample."""
    stream = torch.arange(8 * SAMPLE_LIMIT).float()
    sample = observe(*stream.split(10_000)).sample
    shares = torch.histc(sample, bins=8, min=0, max=len(stream)) / len(sample)
    torch.testing.assert_close(shares, torch.full((8,), 1 / 8), rtol=0.05, atol=0)


def test_the_sample_does_not_fall_in_step_with_the_image():
    """Of images whose columns differ, every column has its share, although widths divide strides."""
    images = torch.arange(64).float().expand(4096, 64)
    sample = observe(*images.split(512)).sample
    shares = torch.bincount(sample.long(), minlength=64) / len(sample)
    torch.testing.assert_close(shares, torch.full((64,), 1 / 64), rtol=0.25, atol=0)


def test_the_same_stream_gives_the_same_sample():
    """The sample depends on nothing but the stream; torch's random state is not touched."""
    stream = torch.randn(3 * SAMPLE_LIMIT)
    state = torch.get_rng_state()
    first = observe(*stream.split(7000)).sample
    torch.rand(5)
    assert torch.equal(observe(*stream.split(7000)).sample, first)
    torch.set_rng_state(state)
    observe(stream)
    assert torch.equal(torch.get_rng_state(), state)


def test_empty_batches_are_no_values():
    """A stream without values has no result."""
    assert observe() is None
    assert observe(torch.empty(0, 3)) is None


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_are_refused(bad):
    """One NaN or infinity is enough."""
    with pytest.raises(ValueError, match="NaN or infinity"):
        observe(torch.tensor([1.0, bad, 2.0]))


@pytest.mark.parametrize("batch", [700, 30_000])
def test_moments_are_numpys(batch):
    """However the stream is cut into batches; E|x - mean| is that of the sample."""
    stream = torch.randn(90_000).relu() + 0.5 * (torch.rand(90_000) < 0.1)
    values = stream.double().numpy()
    moments = observe(*stream.split(batch)).get_moments()
    assert moments.mean.item() == pytest.approx(values.mean(), rel=1e-5)
    assert moments.mean_square.item() == pytest.approx((values**2).mean(), rel=1e-5)
    assert moments.mean_magnitude.item() == pytest.approx(abs(values).mean(), rel=1e-5)
    assert moments.deviation.item() == pytest.approx(values.std(), rel=1e-5)
    spread = abs(values - values.mean()).mean()
    assert moments.mean_deviation.item() == pytest.approx(spread, rel=0.01)
    assert moments.nonzero_share.item() == pytest.approx((values != 0).mean(), rel=1e-6)


def test_moments_of_a_stream_with_a_large_mean_do_not_cancel():
    """The deviation of values about ten thousand is right to three digits."""
    stream = 1e4 + torch.randn(20_000)
    moments = observe(*stream.split(3000)).get_moments()
    expected = stream.double().std(correction=0).item()
    assert moments.deviation.item() == pytest.approx(expected, rel=1e-3)


def test_channels_at_hand_have_moments_of_their_own():
    """Along the last axis, in float32, as of a stream of each."""
    rows = torch.randn(3, 4000) * torch.tensor([[0.1], [1.0], [10.0]])
    together = ObservedValues.of(rows).get_moments()
    for row, values in enumerate(rows):
        alone = observe(values).get_moments()
        for name in ("mean_square", "mean_magnitude", "deviation", "mean_deviation"):
            torch.testing.assert_close(getattr(together, name)[row], getattr(alone, name))
