"""Adam in plain NumPy."""
import numpy as np


def adam(parameter, gradient, m, v, learning_rate, beta1, beta2, eps, weight_decay, step, decoupled, scale=1.0):
    """One step of Adam, in place in `parameter`, `m` and `v`.

    All four arrays have one shape and dtype, float32 or float64; those that change are contiguous. `step` counts from
    1; `scale` multiplies the gradient; with `decoupled` the weight decay is AdamW's.
    """
    check(parameter, gradient, m, v, step)
    gradient = gradient * parameter.dtype.type(scale)
    if decoupled:
        parameter *= 1 - learning_rate * weight_decay
    else:
        gradient = gradient + weight_decay * parameter
    m[...] = beta1 * m + (1 - beta1) * gradient
    v[...] = beta2 * v + (1 - beta2) * gradient * gradient
    parameter -= learning_rate * (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + eps)


def clipping(gradient, limit):
    """The norm √Σ g² over all elements, and the scale with which it is at most `limit`: min(1, limit / norm).

    Python floats, the sum being kept in float64; on the GPU arrays () of the gradient's dtype, for which nobody waits.
    """
    gradient = gradient.astype(np.float64)
    norm = float(np.sqrt(np.sum(gradient * gradient)))
    return norm, scale_to(limit, norm)


def scale_to(limit, norm):
    """The scale with which a norm is at most `limit` (Pascanu et al. 2013); NaN of a norm that is NaN."""
    return 1.0 if norm + 1e-6 <= limit else limit / (norm + 1e-6)


def check(parameter, gradient, m, v, step):
    """Raise ValueError with what is wrong, what was expected and the likely fix."""
    for name, array in (("gradient", gradient), ("m", m), ("v", v)):
        if array.shape != parameter.shape or array.dtype != parameter.dtype:
            raise ValueError(f"adam: {name} is {array.dtype} {array.shape} but parameter is {parameter.dtype} "
                             f"{parameter.shape}; they must be alike")
    for name, array in (("parameter", parameter), ("m", m), ("v", v)):
        if not (array.flags.c_contiguous and getattr(array.flags, "writeable", True)):
            raise ValueError(f"adam: {name} is changed in place and must be contiguous and writeable; pass a .copy()")
    if step < 1:
        raise ValueError(f"adam: step is {step}, but steps are counted from 1: the corrections divide by 1 − βᵗ")
