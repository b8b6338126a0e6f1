"""Rotary positions: cpu against reference, and what they are for: scores that depend on distances alone."""
import numpy as np
import pytest

from minitx.kernels.rotary import cpu, reference

from .checks import DTYPES, assert_close, assert_same_bits, awkward, differences, normal

SHAPES = [  # batch, time, heads, d, features behind the heads
    (1, 1, 1, 2, 0), (2, 7, 3, 8, 0), (3, 5, 2, 6, 11), (2, 33, 6, 32, 64), (0, 4, 2, 4, 0), (2, 0, 2, 4, 3), (2, 3, 0, 4, 5)]
UNITS = 4  # two products and a sum


def inputs(batch, time, heads, d, rest, dtype, positions=40):
    """x, cos, sin."""
    angles = np.arange(positions)[:, None] * 10000.0 ** (-np.arange(0, d, 2) / d)
    return normal(batch, time, heads * d + rest, dtype=dtype), np.cos(angles).astype(dtype), np.sin(angles).astype(dtype)


def start_of(batch):
    return np.random.default_rng(0).integers(0, 5, batch)


@DTYPES
@pytest.mark.parametrize("begins", ["at zero", "anywhere"])
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_the_reference(shape, begins, dtype):
    x, cos, sin = inputs(*shape, dtype)
    start = None if begins == "at zero" else start_of(shape[0])
    out = cpu.rotary(x, cos, sin, shape[2], start)
    assert out.dtype == dtype
    assert_close(out, reference.rotary(*(array.astype(np.float64) for array in (x, cos, sin)), shape[2], start), UNITS)


def test_each_plane_of_each_head_is_turned_by_its_angle():
    (x, cos, sin), start = inputs(2, 3, 2, 6, 4, np.float64), np.array([0, 7])
    out = reference.rotary(x, cos, sin, 2, start)
    for b, t, h, i in np.ndindex(2, 3, 2, 3):
        angle = (start[b] + t) * 10000.0 ** (-2 * i / 6)
        turned = (x[b, t, h * 6 + i] + 1j * x[b, t, h * 6 + i + 3]) * np.exp(1j * angle)
        assert out[b, t, h * 6 + i] + 1j * out[b, t, h * 6 + i + 3] == pytest.approx(turned, rel=1e-13)
    np.testing.assert_array_equal(out[..., 12:], x[..., 12:])


def test_scores_depend_on_distances_alone():
    q, cos, sin = inputs(1, 1, 1, 8, 0, np.float64)
    k = normal(1, 1, 8, seed=1)

    def score(query_position, key_position):
        at = [cpu.rotary(x, cos, sin, 1, np.array([position])) for x, position in ((q, query_position), (k, key_position))]
        return float(np.sum(at[0] * at[1]))

    assert score(9, 4) == pytest.approx(score(30, 25), rel=1e-12) != pytest.approx(score(9, 5), rel=1e-3)


def test_the_negative_angle_is_the_backward_pass():
    (x, cos, sin), start = inputs(2, 3, 2, 4, 3, np.float64), np.array([2, 0])
    g = normal(*x.shape, seed=1)
    expected = differences(lambda x: np.sum(g * reference.rotary(x, cos, sin, 2, start)), x)
    np.testing.assert_allclose(cpu.rotary(g, cos, -sin, 2, start), expected, atol=1e-8)


def test_layout_does_not_matter():
    (x, cos, sin), start = inputs(2, 7, 3, 8, 5, np.float32), np.array([3, 1], np.int32)
    np.testing.assert_array_equal(cpu.rotary(*map(awkward, (x, cos, sin)), 3, awkward(start)), cpu.rotary(x, cos, sin, 3, start))


def test_same_bits_on_any_number_of_threads():
    x, cos, sin = inputs(64, 40, 6, 32, 64, np.float32)
    assert_same_bits(lambda: cpu.rotary(x, cos, sin, 6))


@pytest.mark.parametrize("file", [cpu, reference])
def test_wrong_inputs_are_named(file):
    x, cos, sin = inputs(2, 3, 2, 4, 0, np.float32)
    for arguments, message in [
        ((x[0], cos, sin, 2), r"x has shape \(3, 8\); expected \(batch, time"),
        ((x, cos, sin[:5], 2), r"cos has shape \(40, 2\) and sin \(5, 2\)"),
        ((x, cos, sin, 3), "3 heads of 4 features .* do not fit into the 8"),
        ((x, cos.astype(np.float64), sin, 2), "x is float32, cos float64"),
        ((x, cos, sin, 2, np.array([1])), r"start has shape \(1,\); expected \(2,\)"),
        ((x, cos, sin, 2, np.array([0, 38])), "positions run from 0 to 40 but cos and sin have 40 rows"),
        ((x, cos, sin, 2, np.array([-1, 3])), "positions run from -1"),
    ]:
        with pytest.raises(TypeError if "float" in message else ValueError, match=message):
            file.rotary(*arguments)
    with pytest.raises(TypeError, match="x is int64"):
        file.rotary(x.astype(np.int64), cos, sin, 2)
