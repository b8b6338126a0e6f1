"""One long text: what is held out, how it is cut into blocks, and an order that a position restores."""

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minitx.data.text import Blocks, disjoint_blocks, pieces, read_and_split
from minitx.errors import UserError


def numbered(n):
    """A text whose token i is i, so that a block tells where it was cut."""
    return np.arange(n, dtype=np.int32)


def epoch_of(blocks):
    return [blocks.next() for _ in range(len(blocks))]


def test_the_model_reads_a_stretch_of_text_and_predicts_the_same_one_token_on():
    blocks = Blocks(numbered(100), batch_sequences=3, block=7)
    for batch in epoch_of(blocks):
        assert batch.target_in.shape == batch.target_out.shape == (3, 7) and batch.n_tokens == 21
        assert batch.target_in.dtype == batch.target_out.dtype == np.int32
        assert (batch.target_out == batch.target_in + 1).all() and (np.diff(batch.target_in, axis=1) == 1).all()


@given(st.integers(9, 200), st.integers(1, 5), st.integers(1, 8), st.integers(0, 3))
def test_an_epoch_gives_no_token_twice_and_leaves_out_less_than_a_batch_and_a_block(n, rows, block, epoch):
    blocks = Blocks(numbered(n), rows, block, seed=1)
    blocks.restore({"epoch": epoch, "index": 0})
    seen = np.concatenate([batch.target_in.ravel() for batch in epoch_of(blocks)])
    assert len(set(seen)) == len(seen) and blocks.epoch == epoch + 1
    rows = min(rows, (n - 1) // block)
    assert len(seen) > n - 1 - rows * block - block - block  # what the cut leaves at either end, and no whole batch


def test_epochs_cut_at_other_places_and_in_another_order():
    blocks = Blocks(numbered(1000), 4, 16)
    phases, orders = set(), set()
    for _ in range(40):
        batches = epoch_of(blocks)
        phases |= {int(batch.target_in[0, 0]) % 16 for batch in batches}
        orders.add(tuple(batches[0].target_in[:, 0] // 16))
    assert len(phases) > 12 and len(orders) > 35


@given(st.integers(0, 3), st.integers(0, 30))
def test_a_position_is_enough_to_go_on(epoch, index):
    straight, resumed = Blocks(numbered(500), 3, 5, seed=2), Blocks(numbered(500), 3, 5, seed=2)
    while (straight.epoch, straight.index) != (epoch, index):
        straight.next()
    resumed.restore(json.loads(json.dumps(straight.state())))
    for _ in range(3):
        assert np.array_equal(straight.next().target_in, resumed.next().target_in)


def test_another_seed_is_another_order():
    one, other = (Blocks(numbered(500), 3, 5, seed=seed).next().target_in for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_a_text_of_fewer_blocks_than_a_batch_gives_what_there_is():
    blocks = Blocks(numbered(12), batch_sequences=8, block=5)
    assert {batch.target_in.shape[0] for _ in range(20) for batch in epoch_of(blocks)} <= {1, 2}
    assert Blocks(numbered(6), 8, 5).next().target_in.tolist() == [[0, 1, 2, 3, 4]]


def test_a_text_shorter_than_a_block_is_refused():
    with pytest.raises(UserError, match="block is 6, but the training text has 6 tokens and a block needs 7; try --block 5"):
        Blocks(numbered(6), 1, 6)


def test_a_position_of_another_text_is_refused():
    with pytest.raises(UserError, match="the text, batch_sequences or block differ"):
        Blocks(numbered(50), 3, 5).restore({"epoch": 0, "index": 9})


@given(st.integers(2, 200), st.integers(1, 30), st.integers(1, 7))
def test_disjoint_blocks_predict_every_token_but_the_first_once_and_in_order(n, block, rows):
    batches = list(disjoint_blocks(numbered(n), block, rows))
    assert np.concatenate([batch.target_out.ravel() for batch in batches]).tolist() == list(range(1, n))
    assert all((batch.target_out == batch.target_in + 1).all() for batch in batches)
    assert sum(batch.n_tokens for batch in batches) == n - 1
    assert all(batch.target_in.shape[1] <= block and batch.target_in.shape[0] <= rows for batch in batches)


def test_the_last_tenth_of_the_characters_is_held_out(tmp_path):
    (tmp_path / "text").write_bytes("0123456789abcdefgh猫é\r\n".encode())  # 21 characters: \r\n is one line end
    assert read_and_split(tmp_path / "text", 0.1) == ("0123456789abcdefgh", "猫é\n")
    assert read_and_split(tmp_path / "text", 0.5)[0] == "0123456789"


@pytest.mark.parametrize("content, said", [(b"abc", "text has 3 characters, of which validation_tail, 0.1, leaves 2 to train on and 1"),
                                           (b"", "is empty; it must hold text"), (b"ab\ncd\xff", "is not UTF-8: line 2 holds byte 0xff")])
def test_a_text_that_cannot_be_learnt_from_is_named(tmp_path, content, said):
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_and_split(tmp_path / "text", 0.1)


@given(st.text(alphabet="ab \n\t\u2028", max_size=40))
def test_pieces_are_the_text_cut_before_line_ends(text):
    cut = pieces(text)
    assert "".join(cut) == text
    assert all(piece.startswith("\n") and not before[-1].isspace() for before, piece in zip(cut, cut[1:]))
