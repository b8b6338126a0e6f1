"""Scores of a saved run, on its own held-out sentences or on the user's."""
import time
import warnings

from ..data import files, toy
from ..data.punctuation import Punctuation
from ..decoding import load
from ..errors import UserError
from ..models import is_pretrained
from ..run_folder import RunFolder
from . import metrics, scoring

_FIRST = 10  # sentences whose translation loads, or compiles, what the others need


def evaluate(run, source=None, reference=None, text=None, beam=1, alpha=1.0, beta=0.0, ensemble=(), copy_unknown=False, device="cpu"):
    """{"splits": {name: {"exact_match", "bleu", "loss"}}, "rules": {rule: {"accuracy", "count"}}, "signature": sacrebleu's}.

    Without `source` and `reference` (paths of line-aligned files): the three splits of the toy languages, made again from the seed, or the pairs
    of the user's text that were held out. `beam`, `alpha`, `beta`: of the search that translates; `ensemble`: more runs that translate together with
    this one (the loss is that of this one). `copy_unknown`: as of `Translator.translate`. `device`: where to compute.

    Of text that minitx did not make itself also "scores", as papers report them, and "lengths", see `scoring`; and "speed", how long the translation
    of its "sentences" took in "seconds", when everything was loaded and compiled.

    For a language model {name: {"loss", "perplexity"}}: of the end of its text that was held out, "validation", or of the file `text`. The folder of a
    pretrained one (see `models.from_pretrained`) holds no text.
    """
    folder, pretrained = RunFolder(run), is_pretrained(run)
    if pretrained or folder.settings().text is not None:
        for name, value, plain in (("beam", beam, 1), ("alpha", alpha, 1.0), ("beta", beta, 0.0), ("ensemble", tuple(ensemble), ()), ("copy_unknown", copy_unknown, False)):
            if value != plain:
                raise UserError(f"{run} is a language model, and {name} is for translations; drop --{name.replace('_', '-')}")
        if source is not None:
            raise UserError(f"{run} is a language model and does not translate; score it with --text FILE")
        if pretrained and text is None:
            raise UserError(f"{run} is a pretrained model, which holds no text of its own; name one with --text FILE")
        return _language_model(run, device, *(("validation", folder.validation_text) if text is None else (str(text), text)))
    if text is not None:
        raise UserError(f"{run} is a translator; score it with --src and --ref")
    translator = load(run, device, ensemble)
    search = {"beam": beam, "alpha": alpha, "beta": beta, "copy_unknown": copy_unknown}
    if source is None and not folder.settings().own_text:
        return score_splits(translator, held_out(run), **search)
    [(name, pairs)] = held_out(run).items() if source is None else [(str(source), files.read_parallel(source, reference))]
    pairs = as_trained(pairs, translator.tokenizers)
    sources, references = map(list, zip(*pairs))
    translator.translate(sources[:_FIRST], tokenised=True, **search)
    started = time.perf_counter()
    hypotheses = translator.translate(sources, tokenised=True, **search)
    seconds = time.perf_counter() - started
    form = translator.tokenizers.punctuation[1]
    return {**score_splits(translator, {name: pairs}, {name: hypotheses}), "scores": scoring.paper_scores(hypotheses, references, form),
            "lengths": scoring.bleu_by_length(sources, hypotheses, references, form),
            "speed": {"sentences": len(pairs), "seconds": seconds, "sentences_per_second": len(pairs) / seconds}}


def held_out(run):
    """{split: pairs} that a run was not trained on: the splits of the toy languages, or what was held out of the user's text."""
    folder = RunFolder(run)
    settings = folder.settings()
    if not settings.own_text:
        return toy.corpus(settings.pair, seed=settings.seed).splits
    if not folder.validation.exists():
        raise UserError(f"{folder.validation} does not exist, so the run has no held-out text; name your own with --src and --ref")
    return {"validation": files.read_tsv(folder.validation)}


def as_trained(pairs, tokenizers):
    """Pairs in the form of the text that the tokenizers were learnt from: its punctuation apart, if that was so and theirs is not."""
    sides = []
    for side, form in zip(zip(*pairs), tokenizers.punctuation):
        sides.append(side if form is None or Punctuation.of(side) else [form.split(text) for text in side])
    return [files.Pair(*pair) for pair in zip(*sides)]


def _language_model(run, device, name, path):
    generator, passage = load(run, device), files.read_text(path).replace("\r\n", "\n")
    ids = generator.ids_of(passage)
    if unknown := generator.unknown(passage):
        warnings.warn(f"{path}: {len(unknown):,} never seen in training and scored as <unk>: {', '.join(map(repr, unknown[:5]))}")
    if len(ids) < 2:
        raise UserError(f"{path} has {len(ids)} tokens; a score needs one to predict and one before it")
    scores = metrics.score_text(generator.model, ids)
    return {name: {measure: scores[measure] for measure in ("loss", "perplexity")}}


def score_splits(translator, splits, translations=None, **search):
    """Translate and score each split; rules are counted over the toy examples of ordinary length. `translations` by split, if there are some already."""
    results, examples, hypotheses, signature = {}, [], [], None
    for name, pairs in splits.items():
        sources, references = [pair.source for pair in pairs], [translator.tokenizers.target.normalize(pair.target) for pair in pairs]
        found = translations[name] if translations else translator.translate(sources, tokenised=True, **search)
        scores, signature = metrics.text_scores(found, references)
        ids = encode_pairs(translator.tokenizers, pairs, translator.model.max_length)[0]
        results[name] = {**scores, "loss": metrics.teacher_forced(translator.model, ids)["loss"] if ids else None}
        if pairs and hasattr(pairs[0], "rules") and name != "longer":  # where length is what breaks, no rule is to blame
            examples += pairs
            hypotheses += found
    return {"splits": results, "rules": metrics.rule_scores(examples, hypotheses), "signature": signature}


def encode_pairs(tokenizers, pairs, max_length):
    """Pairs of id lists, without those that are longer than the model takes, and how many those are."""
    sources = tokenizers.source.encode_batch([pair.source for pair in pairs])
    targets = tokenizers.target.encode_batch([pair.target for pair in pairs])
    kept = [(source, target) for source, target in zip(sources, targets) if max(len(source), len(target)) < max_length]
    return kept, len(pairs) - len(kept)
