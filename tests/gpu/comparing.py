"""A call of a kernel beside the same call of its reference in float64."""
import numpy as np

UNITS = 256  # epsilons of the largest element: sums of up to 50,000 terms in another order


def compare(function, arguments, options, dtype, place, back):
    """Call `function` on arrays that `place` brings to its device, and hold what it gives, brought `back`, against the reference.

    Whole numbers and truth values stay as they are; real numbers become `dtype`.
    """
    def placed(value):
        if not isinstance(value, np.ndarray):
            return value
        return place(value.astype(dtype) if value.dtype == np.float64 else value)

    found = function(*map(placed, arguments), **{name: placed(value) for name, value in options.items()})
    expected = function.reference(*arguments, **options)
    found, expected = (value if isinstance(value, tuple) else (value,) for value in (found, expected))
    for number, (actual, right) in enumerate(zip(found, expected, strict=True)):
        where = f"{function.__name__}, result {number}, {options}"
        if right is None:  # what a reference leaves out, a kernel may keep for itself
            continue
        actual, right = np.asarray(back(actual)), np.asarray(right)
        assert actual.dtype == dtype and actual.shape == right.shape, where
        finite = np.isfinite(right)
        np.testing.assert_array_equal(actual[~finite], right[~finite].astype(dtype), err_msg=where)
        error = np.abs(np.subtract(actual, right, where=finite, out=np.zeros(right.shape))).max(initial=0)
        scale = np.abs(right[finite]).max(initial=0)
        scale = scale if scale > 1e-12 else 1.0  # what is 0 in mathematics, as the gradient of a softmax over one key, is rounding here
        assert error <= UNITS * np.finfo(dtype).eps * scale, f"{where}: off by {error:.1e} of {scale:.1e}"
