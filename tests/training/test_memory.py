"""A batch that would not fit into the memory there is: divided, and the update sees the same sentences."""
import numpy as np
import pytest

from minitx.data.batches import Batches, make_batch
from minitx.models import EncoderDecoder
from minitx.settings import Settings
from minitx.training import memory

PAIRS = [([4 + i % 7] * (3 + i % 5), [5 + i % 6] * (4 + i % 4)) for i in range(400)]


@pytest.fixture
def model():
    return EncoderDecoder(12, 12, d_model=16, n_heads=2, n_layers=1, d_ff=32, dropout=0.1).eval()


def fitted(model, monkeypatch, free, **changes):
    monkeypatch.setattr(memory, "available", lambda: free)
    settings = Settings(batch_tokens=1024, max_length=64, **changes)
    return memory.fitted(settings, model, Batches(PAIRS, settings.batch_tokens), PAIRS)


def test_a_batch_that_fits_is_left_alone(model, monkeypatch):
    settings, note = fitted(model, monkeypatch, 10**9)
    assert settings == Settings(batch_tokens=1024, max_length=64) and note is None and not model.training


@pytest.mark.parametrize("free, device", [(None, "cpu"), (10, "cuda")])
def test_where_nothing_is_known_nothing_changes(model, monkeypatch, free, device):
    settings, note = fitted(model, monkeypatch, free, device=device)
    assert settings.batch_tokens == 1024 and note is None


def test_a_batch_too_large_is_divided_until_it_fits(model, monkeypatch):
    positions = Batches(PAIRS, 1024).most_positions()
    batch = make_batch(PAIRS[:64])
    fixed, per_position = memory._needs(model, PAIRS)
    assert fixed == 3 * sum(parameter.data.nbytes for parameter in model.parameters())
    assert 300 < per_position < 10_000 and batch.source.size + batch.target_in.size > 600
    whole = fixed + per_position * positions
    for share, parts in ((1.1, 1), (0.9, 2), (0.4, 4)):
        settings, note = fitted(model, monkeypatch, (fixed + (whole - fixed) * share) / 0.7, accumulate=3)
        assert (settings.batch_tokens, settings.accumulate) == (1024 // parts, 3 * parts)
        assert (note is None) == (parts == 1)
    assert "4 batches of 256 take the place of each" in note


def test_batches_are_not_divided_below_the_longest_sentence(model, monkeypatch):
    settings, _ = fitted(model, monkeypatch, 1)
    assert (settings.batch_tokens, settings.accumulate) == (64, 16)


def test_the_estimate_grows_with_the_model_and_is_near_what_is_kept():
    """Twice the layers keep about twice as much; and no position of a layer keeps less than its input, attention and feed-forward hidden vectors."""
    small, large = (memory._needs(EncoderDecoder(12, 12, d_model=64, n_heads=2, n_layers=layers, d_ff=128), PAIRS)[1] for layers in (2, 4))
    assert 1.7 < large / small < 2.1 and small > 2 * 4 * (64 * 5 + 128)


def test_the_system_says_what_is_free():
    free = memory.available()
    assert free is None or 10**7 < free < 10**14


def test_a_control_group_bounds_what_is_free(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    assert memory.available() == 4000
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 600\n")
    assert memory.available() == 4600  # files that were read are let go when memory is asked for
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available() != 4600
    (tmp_path / "memory.max").write_text("5\n")
    assert memory.available() == 0
