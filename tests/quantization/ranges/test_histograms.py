"""Histograms that grow, against numpy's and ONNX Runtime's."""

import contextlib
import io

import numpy as np
import pytest
import torch

from bitwright.quantization.ranges.histograms import BINS, MOST_BINS, GrowingHistogram, histogram_of


def grown(*batches):
    histogram = GrowingHistogram()
    for batch in batches:
        histogram.update(batch, float(batch.max()))
    return histogram.result()


def test_one_batch_is_numpys_histogram():
    """2048 bins from zero to the largest magnitude; values on an edge may fall to either side."""
    values = torch.rand(100_000).square() * 3
    found = histogram_of(values)
    counts, edges = np.histogram(values.double().numpy(), BINS, range=(0, float(values.max())))
    assert found.width == pytest.approx(edges[1])
    assert int(found.counts.sum()) == len(values)
    assert np.abs(found.counts.numpy() - counts).sum() <= 20


def test_larger_values_append_bins_of_the_same_width():
    """What was counted stays where it is, and every value is counted once."""
    first, second = torch.rand(5000), 2.5 * torch.rand(5000)
    alone, both = grown(first), grown(first, second)
    assert both.width == alone.width
    assert BINS < len(both.counts) <= 2.5 * BINS + 3
    assert int(both.counts.sum()) == 10_000
    added = both.counts[:BINS] - alone.counts
    assert (added >= 0).all()
    of_second = torch.bincount((second / both.width).long(), minlength=len(both.counts))
    assert (added - of_second[:BINS]).abs().sum() <= 2


def test_memory_is_bounded_when_the_first_batch_was_tiny():
    """Neighbours are joined instead of appending bins for ever; no value is lost."""
    batches = [torch.full((10,), 10.0**power) for power in range(-6, 7)]
    found = grown(*batches)
    assert len(found.counts) <= MOST_BINS
    assert int(found.counts.sum()) == 130
    assert found.width * len(found.counts) >= 1e6


def test_zeros_alone_have_one_bin():
    """Zeros that come before any other value are counted all the same."""
    assert grown(torch.zeros(7)).counts.tolist() == [7]
    assert grown(torch.zeros(7)).quantile(0.5) == 0
    found = grown(torch.zeros(7), torch.tensor([1.0]))
    assert (int(found.counts[0]), int(found.counts.sum())) == (7, 8)


@pytest.mark.parametrize("part", [0.5, 0.99, 0.9999, 1.0])
def test_quantiles_are_numpys_to_a_bin(part):
    """Also of values that came in several batches."""
    batches = torch.randn(5, 20_000).abs()
    found = grown(*batches)
    expected = np.quantile(batches.numpy(), part)
    assert found.quantile(part) == pytest.approx(expected, abs=found.width)


@pytest.mark.parametrize("percentile", [99.0, 99.9, 99.99])
def test_percentiles_are_onnx_runtimes_to_a_bin(percentile):
    """On the same batches, the percentile is that of ONNX Runtime; its bins start at the least magnitude."""
    calibrate = pytest.importorskip("onnxruntime.quantization.calibrate")
    batches = torch.randn(4, 30_000)
    with contextlib.redirect_stdout(io.StringIO()):
        collector = calibrate.HistogramCollector("percentile", True, BINS, 128, percentile, "same")
        for batch in batches:
            collector.collect({"x": batch.numpy()})
        theirs = float(collector.compute_collection_result()["x"][1])
    found = grown(*batches.abs())
    assert found.quantile(percentile / 100) == pytest.approx(theirs, abs=1.1 * found.width)
