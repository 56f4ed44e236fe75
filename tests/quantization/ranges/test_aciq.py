"""The clips of analytical clipping against the published table and a numeric minimum."""

import math

import pytest
from scipy import integrate, optimize, stats

from bitwright.quantization.ranges.aciq import gauss_clip, laplace_clip

LAPLACE = {2: 2.831, 3: 3.897, 4: 5.029, 5: 6.205, 6: 7.413, 7: 8.646, 8: 9.897}
GAUSS = {2: 1.711, 3: 2.152, 4: 2.559, 5: 2.936, 6: 3.287, 7: 3.615, 8: 3.924}
LAPLACE_ERROR = {2: 0.284878, 4: 0.0460215, 8: 0.000598853}
GAUSS_ERROR = {2: 0.0871485, 4: 0.0104933, 8: 8.70779e-05}


def expected_error(density, clip, bits):
    """Clipping error by numeric integration, and a twelfth of the squared step."""
    beyond, _ = integrate.quad(lambda x: (x - clip) ** 2 * density(x), clip, math.inf)
    return 2 * beyond + clip**2 / (3 * 4.0**bits)


@pytest.mark.parametrize("bits", LAPLACE)
def test_clips_are_those_of_the_table(bits):
    """To the digits printed."""
    assert laplace_clip(bits) == pytest.approx(LAPLACE[bits], abs=5.1e-4)
    assert gauss_clip(bits) == pytest.approx(GAUSS[bits], abs=5.1e-4)


@pytest.mark.parametrize("bits", LAPLACE_ERROR)
def test_errors_at_the_clip_are_those_of_the_table(bits):
    """The expected squared error, integrated numerically, to the digits printed."""
    laplace = expected_error(stats.laplace.pdf, laplace_clip(bits), bits)
    gauss = expected_error(stats.norm.pdf, gauss_clip(bits), bits)
    assert laplace == pytest.approx(LAPLACE_ERROR[bits], rel=1e-5)
    assert gauss == pytest.approx(GAUSS_ERROR[bits], rel=1e-5)


@pytest.mark.parametrize("bits", [1, 9, 12])
@pytest.mark.parametrize(
    ("clip", "density"), [(laplace_clip, stats.laplace.pdf), (gauss_clip, stats.norm.pdf)]
)
def test_clips_beyond_the_table_minimise_the_error(clip, density, bits):
    """A search by scipy over the integrated error finds the same clip."""
    found = optimize.minimize_scalar(
        lambda c: expected_error(density, c, bits), bounds=(0.5, 20), method="bounded"
    )
    assert clip(bits) == pytest.approx(found.x, rel=1e-2)
