"""Keys for random masks. A mask is a pure function of its key (see kernels/dropout), and keys are counted, so a run can be resumed at any step.

    random.seed(0)          # the same keys from here on
    key = random.next_key()
"""
import threading

_64 = (1 << 64) - 1


class _State(threading.local):
    seed, count = 0, 0


_state = _State()


def seed(*numbers):
    """Start this thread's keys anew from one integer, or from several (a seed and a step, say)."""
    mixed = 0
    for number in numbers:
        mixed = _mix(mixed ^ _mix(int(number) & _64))
    _state.seed, _state.count = mixed, 0


def next_key():
    """The next key: an integer under 2⁶⁴, different at every call."""
    _state.count += 1
    return _mix(_state.seed + _state.count)


def state():
    """Where this thread's keys stand; `restore` goes back there."""
    return _state.seed, _state.count


def restore(state):
    """Continue from a `state()`, so that the same keys follow."""
    _state.seed, _state.count = state


def _mix(number):
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014): every bit of the input moves half of the bits of the output."""
    number = (number + 0x9E3779B97F4A7C15) & _64
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _64
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _64
    return number ^ (number >> 31)
