"""The filters of sampling beside those of transformers, one by one and all together."""
import numpy as np
import pytest
import torch
import transformers

from minitx.decoding.sampling import Sampling

theirs = transformers.generation.logits_process
SAID = np.random.default_rng(1).integers(0, 1000, (4, 30))
PROCESSORS = {
    "temperature": theirs.TemperatureLogitsWarper, "top_k": theirs.TopKLogitsWarper, "top_p": theirs.TopPLogitsWarper, "min_p": theirs.MinPLogitsWarper,
    "repetition_penalty": theirs.RepetitionPenaltyLogitsProcessor}


@pytest.mark.parametrize("options", [
    {"temperature": 0.6}, {"temperature": 1.8}, {"top_k": 1}, {"top_k": 40}, {"top_p": 0.3}, {"top_p": 0.95}, {"min_p": 0.02}, {"min_p": 0.5},
    {"repetition_penalty": 1.3}, {"repetition_penalty": 0.7},
    {"repetition_penalty": 1.2, "temperature": 0.8, "top_k": 100, "top_p": 0.9, "min_p": 0.05}], ids=str)
def test_what_may_be_said_and_how_likely_it_is(options):
    logits = np.random.default_rng(0).normal(0, 3, (4, 1000))
    found, expected = Sampling(**options).filtered(logits, SAID), torch.from_numpy(logits)
    for name in ("repetition_penalty", "temperature", "top_k", "top_p", "min_p"):  # the order in which transformers applies them
        if name in options:
            expected = PROCESSORS[name](options[name])(torch.from_numpy(SAID), expected)
    assert np.array_equal(np.isinf(found), np.isinf(expected.numpy()))
    np.testing.assert_allclose(torch.from_numpy(found).softmax(-1), expected.softmax(-1), rtol=1e-12)


def test_transformers_applies_them_in_this_order(tmp_path):
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=7, n_embd=4, n_layer=1, n_head=1, bos_token_id=None, eos_token_id=None))
    config = transformers.GenerationConfig(do_sample=True, temperature=0.5, top_k=2, top_p=0.5, min_p=0.5, repetition_penalty=2.0)
    found = model._get_logits_processor(config, input_ids_seq_length=1, encoder_input_ids=torch.zeros(1, 1, dtype=torch.int64), device="cpu")
    assert [type(one) for one in found] == [PROCESSORS[name] for name in ("repetition_penalty", "temperature", "top_k", "top_p", "min_p")]
