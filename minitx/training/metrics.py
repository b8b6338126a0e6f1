"""Scores of a model: the loss it is trained on, and how good what it says by itself is."""
import difflib
import warnings
from collections import Counter

import numpy as np

from ..autograd import no_grad
from ..data.batches import PAD, Batches
from ..data.text import disjoint_blocks
from ..decoding.translator import Translator
from ..kernels.cross_entropy import cross_entropy
from ..kernels.linear import linear
from ..kernels.runtime import devices
from ..nn import Experts
from . import scoring

_CHUNK = 1024  # rows of logits at a time


def teacher_forced(model, id_pairs, batch_tokens=4096):
    """The `score` of pairs of ids, without <bos> and <eos>."""
    return score(model, Batches(id_pairs, batch_tokens, shuffle=False))


def score_text(model, ids, tokens=8192):
    """The `score` of a text, ids (tokens,), in disjoint blocks as long as the model sees, from its first token to its last; at most `tokens` at a time."""
    block = min(model.max_length, tokens)
    return score(model, disjoint_blocks(ids, block, tokens // block))


def score(model, batches):
    """{"loss", "perplexity", "token_accuracy"} per real target token, the truth so far being given; without label smoothing.

    Of a model with `Experts` also "experts": {layer: each expert's share of the work}.
    """
    total, right, count = 0.0, 0, 0  # on the GPU they stay there until the end
    layers, served = {name: module for name, module in model.named_modules() if isinstance(module, Experts)}, Counter()
    training = model.training
    model.eval()
    with no_grad():
        for batch in batches:
            hidden = model.hidden(batch).data
            for name, layer in layers.items():
                served[name] += layer.last.counts
            real = np.flatnonzero(batch.target_out != getattr(batch, "ignore", PAD))
            rows = hidden.reshape(-1, hidden.shape[-1])[devices.place(real, hidden)]
            targets = devices.place(batch.target_out.reshape(-1)[real], hidden)
            for start in range(0, len(rows), _CHUNK):
                logits = linear(rows[start:start + _CHUNK], model.output_weight.data, None, "none", 0.0, 0)[0]
                wanted = targets[start:start + _CHUNK]
                total = total + cross_entropy(logits, wanted)[0].sum(dtype=np.float64)
                right = right + np.count_nonzero(logits.argmax(axis=-1) == wanted)
            count += len(rows)
    model.train(training)
    total, right = float(total), int(right)
    scores = {"loss": total / count, "perplexity": float(np.exp(min(total / count, 700.0))), "token_accuracy": right / count}
    return scores | ({"experts": {name: (counts / counts.sum()).round(4).tolist() for name, counts in served.items()}} if layers else {})


def translate(model, tokenizers, sources, beam=1):
    """The model's translations of source texts, in their order; both in the form of the text that it was trained on."""
    training = model.training
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "a sentence of .* is cut")  # which the start of the run has told
        results = Translator(model, tokenizers).translate(sources, beam, tokenised=True)
    model.train(training)
    return results


def text_scores(hypotheses, references):
    """{"exact_match", "bleu"} and sacrebleu's signature; BLEU is of the corpus, the texts taken as they are where spaces part their words."""
    import sacrebleu

    metric = sacrebleu.BLEU(tokenize=scoring.as_it_is(references), force=True)
    bleu = metric.corpus_score(hypotheses, [references]).score
    exact = sum(h == r for h, r in zip(hypotheses, references)) / max(1, len(references))
    return {"exact_match": exact, "bleu": bleu}, str(metric.get_signature())


def rule_scores(examples, hypotheses):
    """{rule: {"accuracy", "count"}}: of the words that each grammar rule made, how many the translations have in their place."""
    right, count = Counter(), Counter()
    for example, hypothesis in zip(examples, hypotheses):
        words = example.target.split()
        matches = difflib.SequenceMatcher(None, words, hypothesis.split(), autojunk=False).get_matching_blocks()
        found = {block.a + offset for block in matches for offset in range(block.size)}
        for position, rules in enumerate(example.rules):
            for rule in rules:
                count[rule] += 1
                right[rule] += position in found
    return {rule: {"accuracy": right[rule] / n, "count": n} for rule, n in sorted(count.items())}
