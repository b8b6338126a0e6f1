"""Scores: what counts as a token, a hit, a rule; and that scoring changes nothing."""
from types import SimpleNamespace

import numpy as np
import pytest

from minitx.data.batches import make_batch
from minitx.data.files import Pair
from minitx.data.tokenizers import TokenizerPair
from minitx.decoding.translator import Translator
from minitx.models import EncoderDecoder
from minitx.training import metrics
from minitx.training.evaluate import encode_pairs, score_splits

PAIRS = [Pair("ant bee", "A B"), Pair("cat", "C"), Pair("dog eel fox ant", "D E F A"), Pair("bee bee", "B B")]
TOKENIZERS = TokenizerPair.train("words", PAIRS)
IDS = encode_pairs(TOKENIZERS, PAIRS, 100)[0]


def small_model(**options):
    options = dict(d_model=8, n_heads=2, n_layers=1, d_ff=8, dropout=0.3, **options)
    return EncoderDecoder(len(TOKENIZERS.source), len(TOKENIZERS.target), **options)


def test_the_teacher_forced_loss_is_that_of_training_without_smoothing_and_dropout():
    model = small_model().to("float64")
    scores = metrics.teacher_forced(model, IDS)
    expected = model.eval().loss(make_batch(IDS)).item()
    assert scores["loss"] == pytest.approx(expected, rel=1e-10)
    assert scores["perplexity"] == pytest.approx(np.exp(expected), rel=1e-10)


@pytest.mark.parametrize("batch_tokens", [1, 7, 1000])
def test_scores_do_not_depend_on_the_batches(batch_tokens):
    model = small_model().to("float64")
    assert metrics.teacher_forced(model, IDS, batch_tokens) == pytest.approx(metrics.teacher_forced(model, IDS), rel=1e-12)
    sources = [source for source, _ in PAIRS]
    assert metrics.translate(model, TOKENIZERS, sources) == [
        metrics.translate(model, TOKENIZERS, [source])[0] for source in sources]


def test_token_accuracy_counts_real_words_only():
    model = small_model()
    model.output_weight.data[...] = 0
    model.decoder_norm.bias.data[...] = 1
    model.output_weight.data[2] = 1  # whatever it reads, it says <eos>
    scores = metrics.teacher_forced(model, IDS)
    assert scores["token_accuracy"] == pytest.approx(4 / (9 + 4))


def test_the_share_of_the_work_that_each_expert_does_is_counted_over_all_batches():
    model = small_model(experts=3, experts_per_token=1)
    model.encoder[0].experts.router.weight.data[...] = 0  # all alike: the first
    shares = metrics.teacher_forced(model, IDS, 7)["experts"]
    assert shares["encoder.0.experts"] == [1, 0, 0] and shares.keys() == {"encoder.0.experts", "decoder.0.experts"}
    assert sum(shares["decoder.0.experts"]) == pytest.approx(1, abs=1e-3) and shares == metrics.teacher_forced(model, IDS)["experts"]


@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_the_model_in_its_mode_and_its_weights_alone(training):
    model = small_model().train(training)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    metrics.teacher_forced(model, IDS)
    metrics.translate(model, TOKENIZERS, ["ant"])
    assert all(module.training == training for _, module in model.named_modules())
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_absurd_loss_has_a_finite_perplexity():
    model = small_model()
    model.output_weight.data[...] *= 1e5
    assert np.isfinite(metrics.teacher_forced(model, IDS)["perplexity"])


def test_exact_match_and_bleu_are_of_the_texts_as_they_are():
    scores, signature = metrics.text_scores(["A B C D", "x"], ["A B C D", "y"])
    assert scores["exact_match"] == 0.5
    assert "tok:none" in signature and "version:" in signature
    perfect, _ = metrics.text_scores(["A B C D E"] * 2, ["A B C D E"] * 2)
    assert perfect["exact_match"] == 1 and perfect["bleu"] == pytest.approx(100)


def test_bleu_is_of_the_corpus_not_a_mean_over_sentences():
    import sacrebleu

    hypotheses, references = ["a b c d e f", "a b x d"], ["a b c d e f", "a b c d"]
    of_corpus = sacrebleu.corpus_bleu(hypotheses, [references], tokenize="none").score
    assert metrics.text_scores(hypotheses, references)[0]["bleu"] == pytest.approx(of_corpus)


def example(target, *rules):
    return SimpleNamespace(source="s", target=target, rules=rules)


def test_a_rule_is_right_where_its_words_stand_in_their_place():
    examples = [example("el gato rojo", {"gender"}, {"noun"}, {"gender", "order"}), example("no veo", {"negation"}, {"verb"})]
    scores = metrics.rule_scores(examples, ["el rojo gato", "veo"])
    assert {rule: (score["accuracy"], score["count"]) for rule, score in scores.items()} == {
        "gender": (0.5, 2), "noun": (1.0, 1), "order": (0.0, 1), "negation": (0.0, 1), "verb": (1.0, 1)}


@pytest.mark.filterwarnings("ignore:a sentence of")
def test_splits_are_scored_each_and_rules_over_all_of_them():
    model = small_model(max_length=4)
    splits = {"plain": PAIRS, "ruled": [example("A B", {"r"}, {"r", "q"})], "too long": PAIRS[2:3]}
    result = score_splits(Translator(model, TOKENIZERS), splits)
    assert set(result) == {"splits", "rules", "signature"}
    assert {name: set(scores) for name, scores in result["splits"].items()} == dict.fromkeys(splits, {"exact_match", "bleu", "loss"})
    assert result["splits"]["plain"]["loss"] > 0 and result["splits"]["too long"]["loss"] is None
    assert {rule: score["count"] for rule, score in result["rules"].items()} == {"q": 1, "r": 2}


def test_pairs_that_the_model_cannot_take_are_counted():
    ids, too_long = encode_pairs(TOKENIZERS, PAIRS, 4)
    assert too_long == 1 and len(ids) == 3
    assert max(len(source) for source, _ in ids) == 2  # a sentence of 4 words is 5 with its <eos>
    assert encode_pairs(TOKENIZERS, [Pair("ant bee cat", "A B C")], 4)[1] == 0
