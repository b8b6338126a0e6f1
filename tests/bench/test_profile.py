"""`minitx train --profile`: every part of an update is told, its products are counted, and nothing is saved."""
import numpy as np
import pytest

from minitx import cli
from minitx.bench import report, step_profile
from minitx.training.run import train

from ..training.small import small_settings, small_text_settings

RESULT = {"bench": "profile", "threads": 2, "updates": 12, "tokens": 1021.4, "seconds": 0.0101, "watched": 0.0102, "rows": [
    {"operation": "linear", "calls": 33.0, "forward": 0.002, "backward": 0.004, "products": 0.005, "operations": 1e9},
    {"operation": "layer_norm", "calls": 17.0, "forward": 0.001, "backward": 0.001, "products": 0.0, "operations": 0}],
    "parts": {"data": 0.0002, "clipping": 0.0003, "optimizer": 0.0005, "Python and the rest": 0.0012}}


def profiled(settings, folder, updates=4):
    """The result, and the trainer."""
    seen = []

    def look(trainer):
        seen.append(trainer)
        return step_profile.measure(trainer, updates)

    return train(settings, out=folder / "run", instead=look), seen[0]


def test_the_parts_of_an_update_add_up_to_it(tmp_path):
    result, trainer = profiled(small_settings(tmp_path), tmp_path)
    assert set(result["parts"]) == {"data", "clipping", "optimizer", "Python and the rest"} and min(result["parts"].values()) > 0
    operations = {row["operation"]: row for row in result["rows"]}
    assert sum(result["parts"].values()) + sum(row["forward"] + row["backward"] for row in result["rows"]) == pytest.approx(result["watched"])
    assert operations["linear"]["calls"] == 2 * 11 and operations["linear"]["backward"] > 0  # two batches; 4 layers of the encoder and 7 of the decoder
    assert 0 < operations["linear"]["products"] < result["watched"] * 10 and operations["add"]["products"] == 0
    assert "next" not in vars(trainer.batches) and "update" not in vars(trainer.optimizer)  # nothing is timed any longer


def test_the_products_are_those_of_the_formula(tmp_path):
    _, trainer = profiled(small_settings(tmp_path, accumulate=1), tmp_path)
    position = trainer.batches.state()
    watch = step_profile._update(trainer, watched_first=True)
    trainer.batches.restore(position)
    batch, model, d, d_ff = trainer.batches.next(), trainer.model, 16, 32
    (sentences, source), target = batch.source.shape, batch.target_in.shape[1]
    weights = sentences * source * (6 * d * d + 2 * d * d_ff) + sentences * target * (6 * d * d + 2 * d * d_ff)
    attention = sentences * d * (source * source + target * target + target * source)
    vocabulary = len(model.target_embedding.weight)
    assert watch.operations() == 6 * weights + 12 * attention + 6 * sentences * target * d * vocabulary


def test_a_language_model_is_profiled_with_shared_keys(tmp_path):
    result, trainer = profiled(small_text_settings(tmp_path, accumulate=1, n_heads=4, n_kv_heads=2), tmp_path)
    operations = {row["operation"]: row["operations"] for row in result["rows"]}
    assert operations["self_attention"] == 12 * 4 * 24 * 24 * 16


@pytest.mark.parametrize("a, b", [((5, 4), (4, 7)), ((2, 3, 5, 4), (4, 7)), ((2, 3, 5, 4), (2, 3, 4, 7)), ((5, 4), (6, 4, 7)), ((4,), (4, 7))], ids=str)
def test_every_product_of_a_matmul_is_counted(a, b):
    a, b = np.ones(a), np.ones(b)
    assert sum(product.operations for product in step_profile.PRODUCTS["matmul"](a, b)) == 3 * 2 * (a @ b).size * 4


def test_a_disturbed_update_is_left_out(tmp_path, monkeypatch):
    true, calls = step_profile._update, []

    def disturbed(trainer, watched_first):
        watch = true(trainer, watched_first)
        calls.append(watch)
        watch.plain += 1000.0 if len(calls) % 2 else 0.0
        return watch

    monkeypatch.setattr(step_profile, "_update", disturbed)
    result, _ = profiled(small_settings(tmp_path), tmp_path, updates=6)
    assert result["seconds"] < 100 and result["updates"] == 3


def test_the_table_says_what_each_takes_and_where_the_rest_is(capsys):
    report.show(RESULT)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "linear 33 2.000 4.000 58.8% 5.000 49.0%" in lines and "layer_norm 17 1.000 1.000 19.6%" in lines and "optimizer 0.500 4.9%" in lines
    assert "an update 50 3.000 5.000 100.0% 5.000 49.0%" in lines
    assert any(line.startswith("An update of 1,021 target tokens takes 10.1 ms (10.2 ms when it is watched)") and "2.02 times" in line for line in lines)
    assert "Beside the products: layer_norm 2.00 ms, Python and the rest 1.20 ms, linear 1.00 ms, optimizer 500 µs, clipping 300 µs." in lines


def test_the_command_prints_the_table_and_saves_nothing(tmp_path, monkeypatch, capfd):
    settings = small_settings(tmp_path)
    monkeypatch.chdir(tmp_path)
    files = sorted(tmp_path.rglob("*"))
    flags = ["--src", settings.src, "--tgt", settings.tgt, "--tokenizer", "words", "--d-model", "16", "--n-heads", "2", "--n-layers", "1", "--d-ff", "32",
             "--batch-tokens", "120"]
    assert cli.main(["train", *flags, "--profile"]) == 0
    out = capfd.readouterr().out
    assert "linear_cross_entropy_loss" in out and "Beside the products: " in out and sorted(tmp_path.rglob("*")) == files
    assert cli.main(["train", *flags, "--profile", "--out", "run"]) == 2
    assert "profile saves nothing" in capfd.readouterr().err
