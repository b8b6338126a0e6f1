"""Cross-entropy in plain NumPy; the forward functions run on Tensors as well."""
import numpy as np


def cross_entropy(logits, targets, smoothing=0.0, ignore_index=-100):
    """The loss of each row: −Σ_j q_j log p_j with p = softmax(logits) and q = (1 − smoothing) · one-hot(target) +
    smoothing / classes.

    logits (n, classes) float32 or float64; targets (n,) integers, each a class or `ignore_index`. Returns losses (n,),
    0 where ignored, and log Σ exp of each row (n,).
    """
    check("cross_entropy", logits, targets, smoothing, ignore_index)
    counts = targets != ignore_index
    largest = np.max(logits, axis=-1, keepdims=True)
    log_sum_exp = np.log(np.sum(np.exp(logits - largest), axis=-1)) + largest.reshape(targets.shape)
    classes = np.where(counts, targets, 0)[:, None]
    losses = (1 - smoothing) * (log_sum_exp - np.take_along_axis(logits, classes, axis=-1).reshape(targets.shape))
    if smoothing > 0:
        losses = losses + smoothing * (log_sum_exp - np.sum(logits, axis=-1) / logits.shape[-1])
    return np.where(counts, losses, 0), log_sum_exp


def cross_entropy_backward(g, logits, targets, log_sum_exp, smoothing=0.0, ignore_index=-100):
    """dlogits from g = ∂L/∂losses (n,) and what the forward pass took and gave; zeros in the rows that are ignored."""
    check("cross_entropy_backward", logits, targets, smoothing, ignore_index)
    counts = targets != ignore_index
    expected = np.full(logits.shape, smoothing / logits.shape[-1], logits.dtype)
    expected[np.flatnonzero(counts), targets[counts]] += 1 - smoothing
    difference = np.exp(logits - log_sum_exp[:, None]) - expected
    return np.where(counts[:, None], g[:, None] * difference, logits.dtype.type(0))


def linear_cross_entropy(x, weight, bias, targets, smoothing=0.0, ignore_index=-100, needs_gradient=True):
    """`cross_entropy` of logits = x Wᵀ + b, and the gradients of the sum of the losses.

    x (n, d), weight (classes, d), bias (classes,) or None, targets (n,). Returns losses (n,), dx, dweight, dbias; the
    last three are None if not needed, dbias also without a bias. For another upstream gradient than 1, the same for
    each row, multiply them by it.
    """
    check_linear("linear_cross_entropy", x, weight, bias)
    logits = x @ np.swapaxes(weight, 0, 1)
    if bias is not None:
        logits = logits + bias
    losses, log_sum_exp = cross_entropy(logits, targets, smoothing, ignore_index)
    if not needs_gradient:
        return losses, None, None, None
    ones = np.ones(targets.shape, logits.dtype)
    dlogits = cross_entropy_backward(ones, logits, targets, log_sum_exp, smoothing, ignore_index)
    return losses, dlogits @ weight, dlogits.T @ x, None if bias is None else dlogits.sum(axis=0)


def check(name, logits, targets, smoothing, ignore_index):
    """Raise ValueError or TypeError with what is wrong, what was expected and the likely fix."""
    check_logits(name, logits)
    check_targets(name, targets, logits.shape[0], logits.shape[1], smoothing, ignore_index)


def check_logits(name, logits):
    """As `check`, for the logits."""
    if len(logits.shape) != 2 or logits.shape[1] == 0:
        raise ValueError(f"{name}: logits have shape {logits.shape}, expected (rows, classes) with at least one class; "
                         "flatten the leading axes")
    if logits.dtype.char not in "fd":
        raise TypeError(f"{name}: logits are {logits.dtype}, expected float32 or float64; use .astype(np.float32)")


def check_targets(name, targets, rows, classes, smoothing, ignore_index):
    """As `check`, for the targets of `rows` rows."""
    check_rows(name, targets, rows, smoothing)
    wrong = targets[(targets != ignore_index) & ((targets < 0) | (targets >= classes))]
    if wrong.size:
        raise ValueError(f"{name}: target {wrong[0]} is no class: there are {classes}, from 0, and ignore_index is "
                         f"{ignore_index}; does the vocabulary fit the data?")


def check_rows(name, targets, rows, smoothing):
    """As `check_targets`, without a look at the values."""
    if targets.shape != (rows,) or targets.dtype.kind not in "iu":
        raise ValueError(f"{name}: targets have shape {targets.shape} and dtype {targets.dtype}, expected ({rows},) "
                         "integers, one class per row")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"{name}: smoothing is {smoothing}, expected a share from 0 to 1")


def check_linear(name, x, weight, bias):
    """As `check`, for the product."""
    if len(x.shape) != 2 or len(weight.shape) != 2 or x.shape[1] != weight.shape[1]:
        raise ValueError(f"{name}: x has shape {x.shape} and weight {weight.shape}, expected (rows, d) and "
                         "(classes, d)")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"{name}: bias has shape {bias.shape}, expected ({weight.shape[0]},), one per class")
    if not x.dtype == weight.dtype == (x if bias is None else bias).dtype:
        others = f"weight {weight.dtype}" + ("" if bias is None else f" and bias {bias.dtype}")
        raise TypeError(f"{name}: x is {x.dtype} but {others}; make them the same with .astype")
