"""BLEU and chrF as papers report them, by sacrebleu, each with its signature; and BLEU by the length of the sentences."""
import re

from ..data.files import count_words
from ..data.punctuation import Punctuation

_BOUNDS = (5, 10, 15, 20, 25, 30, 40, 60)  # most words of a sentence in a group
_WITHOUT_SPACES = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # kana, Chinese characters, Thai, Lao, Burmese, Khmer


def paper_scores(hypotheses, references, form=None):
    """[{"measure", "form", "score", "signature"}]: BLEU of the tokenised, lowercased text and of the raw text, chrF of the raw text.

    Each side may be raw or have its punctuation apart already; it is split, or joined, where the other form is scored. `form`: the `Punctuation`
    that both sides are known to have apart; otherwise each is looked at.
    """
    import sacrebleu

    split, raw = ([hypotheses, references] if form else _split(hypotheses, references)), _joined(form, hypotheses, references)
    tokenised = _tokenizer(references)
    metrics = {
        ("BLEU", "tokenised, lowercased"): (sacrebleu.BLEU(tokenize="none" if tokenised == "13a" else tokenised, lowercase=True, force=True), split),
        ("BLEU", "raw text"): (sacrebleu.BLEU(tokenize=tokenised), raw),
        ("chrF", "raw text"): (sacrebleu.CHRF(), raw),
    }
    scores = {names: metric.corpus_score(list(found), [list(wanted)]).score for names, (metric, (found, wanted)) in metrics.items()}
    return [{"measure": names[0], "form": names[1], "score": scores[names], "signature": str(metric.get_signature())}
            for names, (metric, _) in metrics.items()]


def bleu_by_length(sources, hypotheses, references, form=None):
    """[{"words", "sentences", "bleu"}] for groups of sources of like length; BLEU as of the tokenised, lowercased text. `form`: see `paper_scores`."""
    import sacrebleu

    tokenised = _tokenizer(references)
    metric = sacrebleu.BLEU(tokenize="none" if tokenised == "13a" else tokenised, lowercase=True, force=True)
    hypotheses, references = (hypotheses, references) if form else _split(hypotheses, references)
    groups = {}
    for source, hypothesis, reference in zip(sources, hypotheses, references):
        words = count_words(source)
        group = next((place for place, most in enumerate(_BOUNDS) if words <= most), len(_BOUNDS))
        groups.setdefault(group, []).append((hypothesis, reference))
    result = []
    for group, pairs in sorted(groups.items()):
        found, wanted = zip(*pairs)
        name = f"over {_BOUNDS[-1]}" if group == len(_BOUNDS) else f"{_BOUNDS[group - 1] + 1 if group else 1}–{_BOUNDS[group]}"
        result.append({"words": name, "sentences": len(pairs), "bleu": metric.corpus_score(list(found), [list(wanted)]).score})
    return result


def _split(*sides):
    """Each side with its punctuation apart: as it is, if it is so already, else as the other side has it."""
    forms = [Punctuation.of(side) for side in sides]
    form = next(filter(None, reversed(forms)), Punctuation())
    return [side if own else [form.split(text) for text in side] for own, side in zip(forms, sides)]


def _joined(form, *sides):
    """Each side as people write it."""
    forms = [form or Punctuation.of(side) for side in sides]
    return [[own.join(text) for text in side] if own else side for own, side in zip(forms, sides)]


def as_it_is(references):
    """sacrebleu's tokenizer for text that is taken as it is: "none", or where no spaces part the words, one that finds what stands for them."""
    words = " ".join(references).split()
    spaced = sum(map(len, words)) <= 4 * len(words)  # Chinese that has been cut into words
    return "none" if spaced or (found := _tokenizer(references)) == "13a" else found


def _tokenizer(references):
    """sacrebleu's tokenizer: its default, or one that knows Chinese, or single characters where other scripts have no spaces either."""
    letters = re.findall(r"\w", " ".join(references))
    unspaced = [letter for letter in letters if re.match(f"[{_WITHOUT_SPACES}]", letter)]
    if len(unspaced) <= 0.3 * len(letters):
        return "13a"
    chinese = sum("\u3400" <= letter <= "\u9fff" for letter in unspaced)
    return "zh" if chinese == len(unspaced) else "char"
