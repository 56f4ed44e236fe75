"""Entropy calibration against the textbook's loops, its laws, and published figures."""

import contextlib
import io
import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from bitwright.quantization.ranges.entropy import entropy_threshold
from bitwright.quantization.ranges.histograms import Histogram, histogram_of


def threshold_by_loops(histogram, bits, unsigned):
    """The pseudo-code of entropy calibration, bin by bin, with scipy's divergence."""
    counts = histogram.counts.double().numpy().copy()
    counts[0] = counts[1]
    levels = 2 ** (bits - 1 + unsigned)
    start = max(levels, 128 if bits == 8 else levels)
    best, best_size = math.inf, len(counts)
    for size in range(start, len(counts) + 1):
        if counts[:size].sum() < counts.sum() / 2:
            continue
        p = counts[:size].copy()
        p[-1] += counts[size:].sum()
        group = np.arange(size) * levels // size
        q = np.zeros(size)
        for g in range(levels):
            inside = (group == g) & (counts[:size] > 0)
            if inside.any():
                q[inside] = counts[:size][inside].sum() / inside.sum()
        q[(p > 0) & (q == 0)] = 1e-4
        divergence = entropy(p, q)
        if divergence <= best + 1e-12:
            best, best_size = min(best, divergence), size
    return best_size * histogram.width


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize(("bits", "bins"), [(2, 60), (3, 200), (4, 200), (5, 200), (8, 300)])
def test_the_threshold_is_that_of_the_loops(bits, bins, unsigned):
    """For several distributions, with empty bins and outliers, the same bin is chosen."""
    generator = np.random.default_rng(bits)
    for draw in (
        np.abs(generator.standard_normal(4000)),
        generator.exponential(size=4000),
        np.append(np.abs(generator.standard_normal(4000)), 12.0),
        np.concatenate([np.zeros(3000), generator.gamma(3.0, size=1000)]),
    ):
        counts, edges = np.histogram(draw, bins, range=(0, draw.max()))
        histogram = Histogram(torch.from_numpy(counts), float(edges[1]))
        found = entropy_threshold(histogram, bits, unsigned=unsigned)
        assert found == pytest.approx(threshold_by_loops(histogram, bits, unsigned), rel=1e-9)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("unsigned", [False, True])
def test_a_flat_histogram_keeps_its_maximum(bits, unsigned):
    """Where all bins hold the same, clipping only loses."""
    flat = Histogram(torch.full((2048,), 50), 0.25)
    assert entropy_threshold(flat, bits, unsigned=unsigned) == 2048 * 0.25


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("unsigned", [False, True])
def test_one_far_outlier_is_clipped(bits, unsigned):
    """A single value of 40 standard deviations does not stretch the range."""
    values = torch.cat([torch.randn(200_000).abs(), torch.tensor([40.0])])
    assert entropy_threshold(histogram_of(values), bits, unsigned=unsigned) < 6


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_few_or_discrete_values_are_not_piled_on_one_bin(bits):
    """Of 17 grey levels, or of a filter's nine weights, more than half the range is kept."""
    grey = torch.randint(0, 17, (20_000,)) / 16
    assert entropy_threshold(histogram_of(grey), bits, unsigned=True) > 0.5
    filter_ = torch.tensor([0.1, 0.13, 0.2, 0.31, 0.4, 0.52, 0.66, 0.7, 1.0])
    assert entropy_threshold(histogram_of(filter_), bits, unsigned=False) > 0.5


def test_scaled_values_have_a_scaled_threshold():
    """The threshold of three times the values is three times theirs."""
    values = torch.randn(50_000).abs()
    small, large = (entropy_threshold(histogram_of(a * values), 4, unsigned=False) for a in (1, 4))
    assert large == pytest.approx(4 * small, rel=1e-6)


@pytest.mark.parametrize(
    ("draw", "bits", "expected", "within"),
    [
        ("gauss", 8, 4.3, 0.3),
        ("gauss", 4, 3.5, 0.3),
        ("laplace", 8, 10.5, 1.0),
        ("laplace", 4, 6.2, 0.5),
        ("gauss and 40", 8, 4.0, 0.6),
    ],
)
def test_thresholds_of_known_distributions(draw, bits, expected, within):
    """In standard deviations, or in E|x|: as measured elsewhere with 200,000 values (methods, 1)."""
    values = {
        "gauss": torch.randn(200_000).abs(),
        "laplace": torch.distributions.Exponential(1.0).sample((200_000,)),
        "gauss and 40": torch.cat([torch.randn(200_000).abs(), torch.tensor([40.0])]),
    }[draw]
    found = entropy_threshold(histogram_of(values), bits, unsigned=False)
    assert found == pytest.approx(expected, abs=within)


def test_with_fewer_bins_than_levels_nothing_is_clipped():
    """16 bits tell more magnitudes apart than a histogram of 2048 bins does."""
    values = torch.randn(10_000).abs()
    found = entropy_threshold(histogram_of(values), 16, unsigned=False)
    assert found == pytest.approx(values.max().item(), rel=1e-6)


@pytest.mark.parametrize(("bits", "levels"), [(4, 15), (5, 31)])
def test_near_onnx_runtimes_entropy_threshold(bits, levels):
    """ONNX Runtime's sweep leaves a remainder of bins unquantized; its threshold is within an eighth."""
    calibrate = pytest.importorskip("onnxruntime.quantization.calibrate")
    values = torch.randn(100_000)
    with contextlib.redirect_stdout(io.StringIO()):
        collector = calibrate.HistogramCollector("entropy", True, 1025, levels, 99.99, "same")
        collector.collect({"x": [values.numpy()]})
        theirs = float(collector.compute_collection_result()["x"][1])
    ours = entropy_threshold(histogram_of(values.abs()), bits, unsigned=False)
    assert ours == pytest.approx(theirs, rel=1 / 8)
