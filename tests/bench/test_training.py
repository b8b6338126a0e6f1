"""Whole steps: the work that is measured, its products alone, its losses, and how its cost grows."""
import json

import numpy as np
import pytest

from minitx.bench import products, scaling, training, workloads
from minitx.bench.products import Heads, Product, linear, of_step
from minitx.bench.workloads import QUICK, WORKLOADS, made_up_pairs, make_batches, workload


def test_the_products_of_a_language_model_step_are_those_of_the_formula():
    work = WORKLOADS["W1"]
    tokens, d, time = 12 * 64, 128, 64
    operations = sum(product.operations for product in of_step(work, make_batches(work)[0]))
    assert operations == 6 * tokens * (4 * 12 * d * d + 65 * d) + 4 * 12 * tokens * time * d


def test_the_products_of_a_translator_step_are_those_of_the_formula():
    work, d, d_ff, layers = workload("W3", QUICK["W3"]), 16, 24, 1
    batch = {"source": np.zeros((5, 7)), "target_in": np.zeros((5, 9))}
    source, target = 35, 45
    weights = source * (4 * d * d + 2 * d * d_ff) + target * (6 * d * d + 2 * d * d_ff) + source * 2 * d * d
    attention = 5 * d * (7 * 7 + 9 * 9 + 9 * 7)
    assert sum(product.operations for product in of_step(work, batch)) == 6 * layers * weights + 12 * layers * attention + 6 * target * d * 100


def test_the_output_layer_s_products_come_in_chunks_that_miss_no_row():
    assert sum(product.rows for product in products.output_layer(1300, 4, 7) if product == Product(product.rows, 7, 4, transpose_b=True)) == 1300


@pytest.mark.parametrize("transpose_a, transpose_b", [(False, False), (False, True), (True, False)])
@pytest.mark.parametrize("rows, columns", products._CUTS)
def test_a_product_is_right_however_it_is_cut(rows, columns, transpose_a, transpose_b):
    generator = np.random.default_rng(0)
    a = generator.normal(size=(13, 17) if transpose_a else (17, 13)).astype(np.float32)
    b = generator.normal(size=(19, 13) if transpose_b else (13, 19)).astype(np.float32)
    c = np.full((17, 19), np.nan, np.float32)
    products._multiply(a, b, c, transpose_a, transpose_b, 13, rows, columns)
    np.testing.assert_allclose(c, (a.T if transpose_a else a) @ (b.T if transpose_b else b), atol=1e-5)


def test_a_linear_layer_has_three_products_and_attention_six():
    assert [product.operations for product in linear(5, 4, 7)] == [280, 280, 280]
    assert Heads(2, 3, 4, 5, 6).operations == 6 * 2 * 2 * 3 * 4 * 5 * 6


def test_made_up_sentences_are_as_long_as_multi30k_s():
    sources, targets = (np.array([len(ids) + 1 for ids in side]) for side in zip(*made_up_pairs(np.random.default_rng(0), 29_000, 10_000)))
    assert targets.mean() == pytest.approx(14.3, abs=0.2) and sources.mean() == pytest.approx(14.6, abs=0.3)
    assert np.quantile(targets, (0.25, 0.5, 0.75, 0.99)).tolist() == pytest.approx([11, 14, 17, 28], abs=1)
    assert np.corrcoef(sources, targets)[0, 1] == pytest.approx(0.87, abs=0.03)


def test_the_translator_s_batches_hold_about_4096_target_tokens_from_short_to_long():
    batches = make_batches(WORKLOADS["W3"])
    sizes, lengths = [batch["target_out"].size for batch in batches], [batch["target_out"].shape[1] for batch in batches]
    assert len(batches) == 4 and all(3900 < size <= 4096 for size in sizes) and lengths == sorted(set(lengths))


def test_both_sides_read_the_same_weights_and_batches(tmp_path):
    work = workload("W3", QUICK["W3"])
    workloads.prepare(work, tmp_path)
    [first, second] = workloads.read_batches(tmp_path)
    assert first["target_out"].shape == make_batches(work)[0]["target_out"].shape and set(first) == set(second)
    weights = workloads.read_weights(tmp_path)
    assert all((array == weights[name]).all() for name, array in workloads.build_model(work).state_dict().items())
    batch = workloads.as_batch(first)
    assert batch.n_tokens == np.count_nonzero(first["target_out"])


def test_a_run_measures_checks_and_counts(inside):
    result = training.run(threads=1, seconds=0.001, rounds=1, quick=True)
    assert [row["name"] for row in result["rows"]] == ["W1", "W2", "W3", "W4"]
    for row in result["rows"]:
        assert set(row["seconds"]) == {"minitx", "products"} and row["correct"] and row["error"]["minitx"] < 1e-5
        assert row["operations"] > 0 and set(row["peak"]) == {"minitx"}
    assert json.loads(json.dumps(result)) == result


def test_a_wrong_gradient_of_a_step_is_found_out(inside, monkeypatch):
    from minitx.autograd import fused
    from minitx.kernels.runtime import registry

    served = fused._linear_backward

    def broken(*args, **options):
        dx, dweight, dbias = served(*args, **options)
        return dx, dweight if registry._forced == "reference" else dweight * np.float32(1.01), dbias

    monkeypatch.setattr(fused, "_linear_backward", broken)
    [row] = training.run(only=("W1",), threads=1, seconds=0.001, rounds=1, quick=True)["rows"]
    assert not row["correct"]


def test_losses_are_those_of_training_without_dropout(inside):
    [row] = training.run(only=("W3",), threads=1, seconds=0.001, rounds=1, quick=True, losses=6)["rows"]
    losses, double = row["losses"]["minitx float32"], row["losses"]["minitx float64"]
    assert len(losses) == 6 and losses[4] < losses[0]  # two batches take turns
    assert set(row["differences"]) == {"minitx"} and 0 < row["differences"]["minitx"] < 1e-4 and double == pytest.approx(losses, rel=1e-4)
    [again] = training.run(only=("W3",), threads=1, seconds=0.001, rounds=1, quick=True, losses=6)["rows"]
    assert again["losses"] == row["losses"]


def test_own_text_makes_the_batches(tmp_path, inside):
    for name, words in (("source", "eins zwei drei vier"), ("target", "one two three four")):
        (tmp_path / name).write_text("".join(f"{' '.join(words.split()[:1 + i % 4])} {i}\n" for i in range(200)), "utf-8")
    pairs = workloads.pairs_of_text(tmp_path / "source", tmp_path / "target", 100)
    assert len(pairs) == 200 and max(max(map(max, pair)) for pair in pairs) < 100
    batches = make_batches(workload("W3", QUICK["W3"]), pairs)
    assert batches[0]["source"].max() < 100


@pytest.mark.parametrize("name, size, shape", [("batch", 8, (8, 128)), ("length", 64, (1, 64)), ("width", 32, (4, 64)), ("layers", 16, (4, 128))])
def test_a_sweep_changes_one_thing(name, size, shape):
    work = workload("W1", scaling.changes(name, size))
    assert work.batch == shape and work.model["max_length"] == shape[1]
    assert (work.model["d_model"], work.model["n_layers"]) == (32 if name == "width" else 128, 16 if name == "layers" else 2)


def test_the_exponent_is_that_of_the_largest_sizes():
    points = [{"size": size, "seconds": 1.0 + size**2, "memory": 0, "operations": 7 * size} for size in (1, 100, 200, 400)]
    assert scaling.exponent(points, "seconds") == pytest.approx(2, abs=1e-3) and scaling.exponent(points, "operations") == pytest.approx(1)
    noisy = [{"size": 1, "seconds": 1.0}, {"size": 2, "seconds": 3.0}, {"size": 4, "seconds": 4.0}]  # 2 ± a disturbed one in the middle
    assert scaling.exponent(noisy, "seconds") == pytest.approx(1)
    assert scaling.exponent(points, "memory") is None and scaling.exponent(points[:1], "seconds") is None


def test_scaling_measures_each_size(inside, monkeypatch):
    monkeypatch.setitem(scaling.SWEEPS, "layers", ("layers", "layers", (1, 2)))
    result = scaling.run(only=("layers",), threads=1, seconds=0.001, quick=True)
    [sweep] = result["sweeps"]
    assert [point["size"] for point in sweep["points"]] == [1, 2] and sweep["exponents"]["operations"] == pytest.approx(0.9, abs=0.1)
    assert json.loads(json.dumps(result)) == result
