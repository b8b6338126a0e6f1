"""Scores of a saved run, on its own held-out sentences or on the user's."""
from ..data import files, toy
from ..errors import UserError
from ..run_folder import RunFolder
from . import metrics


def evaluate(run, source=None, reference=None, text=None, beam=1):
    """{"splits": {name: {"exact_match", "bleu", "loss"}}, "rules": {rule: {"accuracy", "count"}}, "signature": sacrebleu's}.

    Without `source` and `reference` (paths of line-aligned files): the three splits of the toy languages, made again from the seed, or the pairs
    of the user's text that were held out. `beam`: of the search that translates.

    For a language model {name: {"loss", "perplexity"}}: of the end of its text that was held out, "validation", or of the file `text`.
    """
    folder = RunFolder(run)
    if folder.settings().text is not None:
        if source is not None:
            raise UserError(f"{run} is a language model and does not translate; score it with --text FILE")
        return _language_model(folder, text)
    if text is not None:
        raise UserError(f"{run} is a translator; score it with --src and --ref")
    model, tokenizers = folder.load_model(), folder.tokenizers()
    if source is not None:
        pairs = files.read_parallel(source, reference)
        return score_splits(model, tokenizers, {str(source): pairs}, beam)
    settings = folder.settings()
    if not settings.own_text:
        return score_splits(model, tokenizers, toy.corpus(settings.pair, seed=settings.seed).splits, beam)
    if not folder.validation.exists():
        raise UserError(f"{folder.validation} does not exist, so the run has no held-out text; name your own with --src and --ref")
    return score_splits(model, tokenizers, {"validation": files.read_tsv(folder.validation)}, beam)


def _language_model(folder, path):
    name, path = ("validation", folder.validation_text) if path is None else (str(path), path)
    model, passage = folder.load_model(), files.read_text(path).replace("\r\n", "\n")
    ids = folder.tokenizers().target.encode_text(passage)
    if len(ids) < 2:
        raise UserError(f"{path} has {len(ids)} tokens; a score needs one to predict and one before it")
    scores = metrics.score_text(model, ids)
    return {name: {measure: scores[measure] for measure in ("loss", "perplexity")}}


def score_splits(model, tokenizers, splits, beam=1):
    """Translate and score each split; rules are counted over the toy examples of ordinary length."""
    results, examples, hypotheses, signature = {}, [], [], None
    for name, pairs in splits.items():
        sources, references = [pair.source for pair in pairs], [pair.target for pair in pairs]
        found = metrics.translate(model, tokenizers, sources, beam)
        scores, signature = metrics.text_scores(found, references)
        ids = encode_pairs(tokenizers, pairs, model.max_length)[0]
        results[name] = {**scores, "loss": metrics.teacher_forced(model, ids)["loss"] if ids else None}
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
