"""The bounded sample of a stream of values."""

import pytest
import torch

from bitwright.quantization.observers import SAMPLE_LIMIT, Observer


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
