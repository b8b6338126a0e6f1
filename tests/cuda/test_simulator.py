"""The simulator itself: it shuffles and waits as a GPU does, and does not let pass what a GPU only punishes now and then."""
import numpy as np
import pytest
from numba import cuda

from minitx.kernels.runtime.intrinsics import ALL, load4, row_max, row_sum, store4, warp_sum

from . import simulator


def run(function, *arrays, grid=1, block=32):
    simulator.launch(function, grid, block, arrays)


def test_a_warp_sums_by_shuffles():
    def kernel(x, out):
        out[cuda.threadIdx.x] = warp_sum(x[cuda.threadIdx.x])

    x, out = np.arange(32.0), np.zeros(32)
    run(kernel, x, out)
    assert (out == x.sum()).all()


@pytest.mark.parametrize("block", [(32, 3), (96, 1), (1024, 1)])
def test_rows_are_summed_by_one_warp_or_many(block):
    def kernel(x, sums, maxima):
        scratch = cuda.shared.array(32, x.dtype)
        value = x[cuda.threadIdx.y, cuda.threadIdx.x]
        sums[cuda.threadIdx.y, cuda.threadIdx.x] = row_sum(value, scratch)
        maxima[cuda.threadIdx.y, cuda.threadIdx.x] = row_max(value, scratch)

    x = np.random.default_rng(0).integers(-99, 99, block[::-1]).astype(float)
    sums, maxima = np.zeros_like(x), np.zeros_like(x)
    run(kernel, x, sums, maxima, block=block)
    assert (sums == x.sum(1, keepdims=True)).all() and (maxima == x.max(1, keepdims=True)).all()


def test_shuffles_up_and_down_stop_at_the_ends():
    def kernel(up, down, first):
        lane = cuda.threadIdx.x
        up[lane] = cuda.shfl_up_sync(ALL, lane, 3)
        down[lane] = cuda.shfl_down_sync(ALL, lane, 3)
        first[lane] = cuda.shfl_sync(ALL, lane, 0)

    up, down, first = np.zeros((3, 32))
    run(kernel, up, down, first)
    assert up.tolist() == [0, 1, 2, *range(29)] and down.tolist() == [*range(3, 32), 29, 30, 31] and (first == 0).all()


def test_four_elements_at_a_time():
    def kernel(x, out):
        store4(out, 4 * cuda.threadIdx.x, *load4(x, 4 * cuda.threadIdx.x))

    x, out = np.arange(16.0).reshape(2, 8), np.zeros((2, 8))
    run(kernel, x, out, block=4)
    assert (out == x).all()


def test_four_elements_that_do_not_begin_at_16_bytes_are_found():
    def kernel(x):
        load4(x, 2)

    with pytest.raises(ValueError, match="index 2 of an array of shape .16,. is not at a multiple of 16 bytes"):
        run(kernel, np.zeros(16, np.float32), block=1)


def reversed_through_shared_memory(barrier):
    def kernel(x, out):
        shared = cuda.shared.array(64, x.dtype)
        i = cuda.threadIdx.x
        shared[i] = x[i]
        barrier(i)
        out[i] = shared[63 - i]

    x, out = np.arange(64.0), np.zeros(64)
    run(kernel, x, out, block=64)
    assert (out == x[::-1]).all()


def test_a_barrier_orders_a_block():
    reversed_through_shared_memory(lambda i: cuda.syncthreads())


def test_a_dropped_barrier_is_found():
    with pytest.raises(simulator.Race, match="thread 0 of block 0: reads element 63 of shared memory, which nobody has written"):
        reversed_through_shared_memory(lambda i: None)


def test_syncwarp_orders_a_warp_alone():
    with pytest.raises(simulator.Race):
        reversed_through_shared_memory(lambda i: cuda.syncwarp())


def test_a_write_over_what_others_still_read_is_found():
    def kernel(x, out):
        shared = cuda.shared.array(1, x.dtype)
        for k in range(2):
            if cuda.threadIdx.x == 31:
                shared[0] = x[k]
            cuda.syncthreads()
            out[k, cuda.threadIdx.x] = shared[0]

    with pytest.raises(simulator.Race, match="writes element 0 of shared memory, which thread 0 of block 0 has read"):
        run(kernel, np.arange(2.0), np.zeros((2, 32)))


def test_blocks_that_write_the_same_element_are_found():
    def kernel(out):
        if cuda.threadIdx.x == 0:
            out[0] = cuda.blockIdx.x

    with pytest.raises(simulator.Race, match="thread 0 of block 1: writes element 0 of global memory"):
        run(kernel, np.zeros(1), grid=2)


def test_atomic_additions_may_meet():
    def kernel(out):
        cuda.atomic.add(out, 0, 1)

    out = np.zeros(1)
    run(kernel, out, grid=3)
    assert out[0] == 96


def test_a_barrier_in_a_branch_is_found():
    def kernel(x):
        if cuda.threadIdx.x < 40:
            cuda.syncthreads()

    with pytest.raises(simulator.Divergence, match="40 threads at a barrier, 24 threads ended"):
        run(kernel, np.zeros(1), block=64)


def test_a_shuffle_without_all_lanes_is_found():
    def kernel(x):
        if cuda.threadIdx.x < 31:
            cuda.shfl_xor_sync(ALL, 1, 1)

    with pytest.raises(simulator.Divergence, match="31 threads at a shuffle, 1 threads ended"):
        run(kernel, np.zeros(1))


@pytest.mark.parametrize("index", [-1, 32])
def test_an_index_outside_is_found(index):
    def kernel(x):
        x[index] = 0

    with pytest.raises(IndexError, match=rf"index {index} is outside global memory of shape \(32,\)"):
        run(kernel, np.zeros(32), block=1)
