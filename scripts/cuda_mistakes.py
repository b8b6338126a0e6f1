"""The mistakes that `mutate_cuda.py` puts into kernels, beside those that it makes wherever it can: what they are, the text that is there once, what
stands there instead, and the tests where they are not those of the file. An end of line in a text stands for one with the spaces of the next line."""
COMPILED = "tests/cuda_compile -k "

MISTAKES = {
    "adam/cuda.py": [
        ("sum", "rest2 * slope[k] * slope[k]", "rest2 * slope[k]"),
        ("sum", "norm = sqrt(row_sum(total, scratch))", "norm = sqrt(total)"),
        ("bound", "4 * cuda.grid(1), x.size, 4 * cuda.gridsize(1)", "4 * cuda.grid(1), x.size, cuda.gridsize(1)"),
        ("float64", "rate * first[k]", "2.0 * rate * first[k]", COMPILED + "adam.cuda.adam")],
    "attention/naive.py": [
        ("mask", "if low <= j and j < high and (not", "if j < high and (not"),
        ("sum", "_add(dk, dk_at, work.scale * weight", "_add(dk, dk_at, weight"),
        ("mask", "mask, work):\nk_at = at(", "mask, work) or True:\nk_at = at("),
        ("sum", "total += a[a_at + c] * b[b_at + c]", "total = a[a_at + c] * b[b_at + c]")],
    "attention/tensor_cores.py": [
        ("mask", "8 * i - distance + 1) if work.causal", "8 * i - distance) if work.causal"),
        ("mask", "8 * i - distance - work.window + 1", "8 * i - distance - work.window"),
        ("mask", "seen &= shown", "pass"),
        ("mask", "if work.masked or not all_seen(first, left, length, work)", "if work.masked"),
        ("bound", "(r < np.int32(rows)) & (np", "(np"),
        ("bound", "(r < np.int32(rows)) & (np.int32(8 * chunk) < np.int32(features))", "r < np.int32(rows)"),
        ("sum", "mean[4 * j + 2 * i + 1] *= shrink", "pass"),
        ("sum", "accumulate(scores, 8 * j + 4, a, 4 * c, b_2, b_3)", "accumulate(scores, 8 * j + 4, a, 4 * c, b_2, b_2)"),
        ("dropout", "one, two = (mine, other) if lane % 2 == 0", "one, two = (mine, other) if lane % 2 == 1")],
    "attention/tiled.py": [
        ("sum", "total[i] *= shrink", "pass"),
        ("sum", "mean[16 * c + 4 * i + e] *= shrink", "pass"),
        ("bound", "(stop - left + 3) // 4)", "(stop - left) // 4)"),
        ("mask", "if work.masked or not all_seen(first, left, length, work)", "if work.masked"),
        ("mask", "ZERO if new == LOWEST else new * factor", "new * factor")],
    "attention/tiled_backward.py": [
        ("sum", "slopes[e] -= deltas[e // 8]", "pass"),
        ("dropout", "sign(scores, kept)", "pass"),
        ("bound", "delta[place + np.uint64(offset(j))] if offset(j) < room else ZERO", "delta[place + np.uint64(offset(j))]"),
        ("mask", "shift = HIGHEST if shift == LOWEST else shift", "pass"),
        ("sum", "slices, work.kept, dv", "slices, work.scale, dv")],
    "attention/tiles_cuda.py": [
        ("mask", "distance + TILE > 1", "distance + TILE > 2"),
        ("mask", "distance - TILE + 1 <= -work.window", "distance - TILE + 2 <= -work.window"),
        ("mask", "left + TILE <= length and", "left < length and"),
        ("mask", "first + TILE + diagonal)", "first + diagonal)"),
        ("mask", "first + diagonal + 1 - work.window", "first + diagonal + 2 - work.window"),
        ("mask", "max(0, left - diagonal) // TILE", "left // TILE"),
        ("mask", "left + TILE - 1 - diagonal + work.window", "left + TILE - 2 - diagonal + work.window"),
        ("mask", "behind + i + 1, min(end, ahead + i + 1)", "behind + i + 1, min(end, ahead + i)"),
        ("mask", "i - behind if i < end else i - ahead", "i - behind"),
        ("bound", "inside & (np.int32(row + i) < rows)", "inside"),
        ("bound", "inside = np.int32(rows), np.int32(4 * lane) < np.int32(features)", "inside = np.int32(rows), True"),
        ("bound", "if 32 * c + 4 * lane < work.d:\ne = 16", "if True:\ne = 16"),
        ("dropout", "w[e] = ZERO if w[e] < ZERO else w[e]", "pass"),
        ("dropout", "tile[e] * work.kept if", "tile[e] if"),
        ("sum", "product[8 * i + j] += a[4 * i + 3] * b_3", "pass"),
        ("sum", "product[e + 3] += w[4 * i + k] * b_3", "pass")],
    "attention/work_cuda.py": [
        ("mask", "last = query + work.tk - work.tq", "last = query"),
        ("mask", "high = min(length, last + 1)", "high = min(length, last)"),
        ("mask", "low = max(0, last + 1 - work.window)", "low = max(0, last - work.window)"),
        ("mask", "head * work.mask_head", "0"),
        ("dropout", "if offset > 0", "if offset > 1")],
    "cross_entropy/cuda.py": [
        ("sum", "sum_ += z[k]\nsum_ = row_sum(sum_, scratch)", "sum_ += z[k]"),
        ("sum", "losses[piece], log_sum_exp[piece]", "losses, log_sum_exp"),
        ("bound", "for k in range(size):\nif column(k // 4) < columns:", "for k in range(size):\nif True:"),
        ("bound", "if differentiates or j <= target < j + width", "if differentiates"),
        ("bound", "else ONE if 0 <= target < columns else _NAN", "else ONE if 0 <= target <= columns else _NAN"),
        ("bound", "row < n_rows and j < columns", "row < n_rows"),
        ("mask", "return ZERO if weight == ZERO else weight * (exp", "return weight * (exp"),
        ("sum", "smoothing / n + (ONE - smoothing if", "smoothing / n + (ONE if"),
        ("sum", "dweight += logits.T @ x[piece]", "dweight = logits.T @ x[piece]")],
    "cross_entropy/naive.py": [
        ("sum", "smoothing * (log_sum_exp[i] - sum_ / n)", "smoothing * (log_sum_exp[i] - sum_)"),
        ("mask", "if j == target else ZERO", "")],
    "dropout/cuda.py": [
        ("dropout", "values[k] *= keep[k]", "values[k] *= keep[3 - k]")],
    "dropout/naive.py": [
        ("bound", "if i < x.size", "if i <= x.size")],
    "dropout/philox_cuda.py": [
        ("dropout", "b if rest == 1 else c if rest == 2", "c if rest == 1 else b if rest == 2"),
        ("dropout", "(group & _LOW, group >> _32", "(group & _LOW, _NONE")],
    "embedding/cuda.py": [
        ("bound", "if other < cuda.threadIdx.x:", "if other <= cuda.threadIdx.x:"),
        ("sum", "total += count\ntotals", "total = count\ntotals"),
        ("bound", "if part == 0 and j < d", "if j < d"),
        ("sum", "for other in range(1, ROWS)", "for other in range(ROWS)"),
        ("bound", "if 0 <= id_ < vocabulary", "if 0 <= id_ <= vocabulary"),
        ("bound", "if 0 <= v < totals.size", "if v < totals.size"),
        ("bound", "0 <= own < counts.shape[1]", "own < counts.shape[1]")],
    "embedding/naive.py": [
        ("sum", "total += g[i, j]", "total = g[i, j]"),
        ("bound", "if 0 <= ids[i] < weight.shape[0]", "if 0 <= ids[i] <= weight.shape[0]")],
    "gelu/cuda.py": [
        ("sum", "normal_cdf(values[k], root_half) + values[k] * n", "normal_cdf(values[k], root_half) + n"),
        ("sum", "peak * exp(-HALF * x * x)", "peak * exp(-x * x)"),
        ("float64", "HALF * (ONE + erf", "0.5 * (ONE + erf", COMPILED + "gelu.cuda.gelu")],
    "layer_norm/cuda.py": [
        ("sum", "a[k] = r * (a[k] - mean_a - normalised[k] * slope)", "a[k] = r * (a[k] - mean_a)"),
        ("bound", "if column(k) < columns:", "if True:"),
        ("dropout", "b + keep_b * values[4 * k + 1]", "b + keep_a * values[4 * k + 1]"),
        ("sum", "if warp > 0 else ZERO)\nparts", "if warp > 1 else ZERO)\nparts"),
        ("bound", "if cuda.threadIdx.y == warp", "if True"),
        ("sum", "value += g_total[row, j]", "value = g_total[row, j]"),
        ("bound", "my_columns(2 * columns)", "my_columns(columns)")],
    "layer_norm/naive.py": [
        ("sum", "(x[i, j] - centre) * (x[i, j] - centre)", "(x[i, j] - centre)"),
        ("sum", "sum_bias += g[i, j]", "sum_bias = g[i, j]")],
    "linear/cuda.py": [
        ("bound", "if row < rows and j < columns:", "if row <= rows and j < columns:"),
        ("sum", "cdf + values[k] * density", "cdf + density"),
        ("dropout", "slopes[k] *= keep[k]", "pass"),
        ("bound", "if part == 0 and j < columns", "if j < columns"),
        ("sum", "for other in range(1, ROWS)", "for other in range(1, ROWS - 1)"),
        ("mask", "if kept[k] > ZERO else", "if kept[k] >= ZERO else"),
        ("sum", "for row in range(this_row(), rows, ROWS * cuda.gridDim.x)", "for row in range(this_row(), rows, ROWS)"),
        ("float64", "values[k] *= cdf", "values[k] *= 1.0 * cdf", COMPILED + "linear.cuda.finish")],
    "linear/naive.py": [
        ("sum", "total += dpre[i, j] * weight[j, k]", "total = dpre[i, j] * weight[j, k]"),
        ("bound", "i < out.shape[0] and j", "j")],
    "rms_norm/cuda.py": [
        ("sum", "a[k] = r * (a[k] - normalised[k] * slope)", "a[k] = r * a[k]"),
        ("bound", "if cuda.threadIdx.y == warp", "if True"),
        ("sum", "squares = ZERO\nfor k", "squares = ONE\nfor k"),
        ("sum", "x.dtype.type(columns) + eps)\nfor k", "x.dtype.type(columns))\nfor k"),
        ("sum", "cuda.gridDim.x * cuda.blockDim.y):\nr, slope", "cuda.gridDim.x):\nr, slope")],
    "rms_norm/naive.py": [
        ("sum", "total += g[i, j] * x[i, j] * rstd[i]", "total += g[i, j] * x[i, j]"),
        ("sum", "squares += x[i, j] * x[i, j]", "squares = x[i, j] * x[i, j]")],
    "rotary/cuda.py": [
        ("sum", "first[k] * s[k] + second[k] * c[k]", "second[k] * c[k] - first[k] * s[k]"),
        ("bound", "if 0 <= place < cos.size", "if place < cos.size"),
        ("bound", "if row < rows and j < planes", "if row < rows and j <= planes"),
        ("bound", "elif row < rows and j < width - planes", "elif row < rows")],
    "runtime/columns.py": [
        ("bound", "if part == 0 and j < out.size", "if j < out.size"),
        ("sum", "for other in range(1, _SLICES)", "for other in range(_SLICES)")],
    "runtime/elements.py": [
        ("wide", "= load4(x, index)", "= x[index], x[index + 1], x[index + 2], x[index + 3]", COMPILED + "gelu.cuda.gelu"),
        ("bound", "index + 4 <= x.size:\nvalues[0]", "index + 3 <= x.size:\nvalues[0]"),
        ("bound", "if index + k < x.size:\nx[index + k]", "if index + k <= x.size:\nx[index + k]")],
    "runtime/intrinsics.py": [
        ("sum", "(16, 8, 4, 2, 1):\nvalue += ", "(16, 8, 4, 2):\nvalue += "),
        ("sum", "(16, 8, 4, 2, 1):\nvalue = max", "(8, 4, 2, 1):\nvalue = max"),
        ("bound", "scratch[lane] if lane < cuda.blockDim.x // WARP else ZERO", "scratch[lane] if lane <= cuda.blockDim.x // WARP else ZERO"),
        ("wide", "align=16)\nparts", "align=4)\nparts", COMPILED + "softmax.cuda.softmax[4]")],
    "runtime/ptx.py": [
        ("instruction", "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"),
        ("instruction", "cp.async.cg.shared.global [$0], [$1], 16, $2;", "cp.async.ca.shared.global [$0], [$1], 8, $2;")],
    "runtime/rows.py": [
        ("bound", "if j < columns:\nvalues[4 * k], v", "if j <= columns:\nvalues[4 * k], v"),
        ("bound", "if j < columns:\nstore4", "if j <= columns:\nstore4"),
        ("sum", "total * exp(largest - value) + ONE", "total + ONE"),
        ("mask", "row_sum(ZERO if largest == LOWEST else total", "row_sum(total")],
    "softmax/cuda.py": [
        ("sum", "dot += p[k] * slopes[k]", "dot += p[k]"),
        ("mask", "read_row(p, out, row, ZERO)", "read_row(p, out, row, ONE)"),
        ("mask", "exp(y[k]) * total if visible else ZERO", "exp(y[k]) * total"),
        ("mask", "ZERO if total == ZERO else ONE / total  #", "ONE / total  #"),
        ("mask", "read_row(y, out, row, LOWEST)", "read_row(y, out, row, ZERO)"),
        ("bound", "if row < out.shape[0]:\nread_row(p", "if row <= out.shape[0]:\nread_row(p"),
        ("float64", "ZERO if total == ZERO else ONE / total  #", "ZERO if total == ZERO else 1.0 / total  #", COMPILED + "softmax.cuda.softmax[16]")],
    "softmax/naive.py": [
        ("sum", "dot += g[i, j] * out[i, j]", "dot = g[i, j] * out[i, j]"),
        ("mask", "ZERO if probability == ZERO else g", "g"),
        ("bound", "if i < out.shape[0]:\ndot", "if i <= out.shape[0]:\ndot")],
    "swiglu/cuda.py": [
        ("sum", "share * (ONE + gate[k] * (ONE - share))", "share * (ONE + gate[k])"),
        ("bound", "out.reshape(-1)), out.size // n, n)", "out.reshape(-1)), out.size // n + 1, n)"),
        ("sum", "slope[k] *= gate[k] * share", "slope[k] *= share")],
}
