"""A translator as a task of `run.train`: sentence pairs, what is shown of them, and the scores and pictures at the end."""
from .. import plots
from ..data import files
from ..data.batches import Batches
from ..data.tokenizers import TokenizerPair
from ..decoding.translator import Translator
from ..errors import UserError
from . import corpus as corpora
from . import memory
from .evaluate import encode_pairs, score_splits
from .trainer import Trainer


class Translation:
    """The corpus that the settings name. Attributes: `hashes` of the user's files; `tokenizers`, once there are some."""

    def __init__(self, settings):
        self.settings, self.tokenizers = settings, None
        self.corpus = corpora.load(settings)
        self.hashes = self.corpus.hashes
        self._memory_note = None

    def tokenise(self, tokenizers=None):
        """Turn the corpus into ids, by the tokenizers of a saved run or by new ones."""
        s = self.settings
        self.tokenizers = tokenizers or TokenizerPair.train(
            s.tokenizer, self.corpus.train, s.vocab_size, s.joint_vocabulary, s.lowercase, s.min_frequency, s.unicode)
        self._train_ids, self._too_long = encode_pairs(self.tokenizers, self.corpus.train, s.max_length)
        self._valid_ids, self._valid_too_long = encode_pairs(self.tokenizers, self.corpus.validation, s.max_length)
        if not self._train_ids or not self._valid_ids:
            raise UserError(f"max_length is {s.max_length}, and every {'validation' if self._train_ids else 'training'} pair is longer; raise --max-length")

    def fit_memory(self, model):
        """Divide the batches if they would not fit into memory; returns the settings that then hold."""
        s = self.settings
        batches = Batches(self._train_ids, s.batch_tokens, seed=s.seed, max_length=s.max_length)
        self.settings, self._memory_note = memory.fitted(s, model, batches, self._train_ids)
        return self.settings

    def save_validation(self, folder):
        """Keep the held-out pairs with the run."""
        files.write_atomically(folder.validation, "".join(f"{_no_tab(pair.source)}\t{_no_tab(pair.target)}\n" for pair in self.corpus.validation))

    def introduce(self, console):
        """What will be learnt, from what: shown before the first step."""
        corpus, tokenizers = self.corpus, self.tokenizers
        sizes = {"training pairs": len(self._train_ids), "validation": len(corpus.validation), **{name: len(pairs) for name, pairs in corpus.splits.items()}}
        console.data(corpus.source, corpus.target, sizes, self.settings.tokenizer, (len(tokenizers.source), len(tokenizers.target)))
        for line in corpus.report.splitlines():
            console.note(line)
        for name, count in (("training", self._too_long), ("validation", self._valid_too_long)):
            if count:
                console.note(f"{count:,} {name} pairs are longer than max_length and left out{'' if name == 'training' else ' of the loss'}")
        if self._memory_note:
            console.note(self._memory_note)
        if any(tokenizers.punctuation):
            console.note("punctuation stands apart from words in this text, and is joined again in what minitx translate shows")
        shown = sorted(corpus.train[:200], key=lambda pair: abs(len(pair.target.split()) - 7))[:3]
        console.examples([(pair.source, pair.target) for pair in shown])
        source, target = (side.tokens(side.encode(text)) for side, text in zip((tokenizers.source, tokenizers.target), shown[0]))
        if self.settings.model == "decoder-only":
            console.prefix(source, target)
        else:
            console.teacher_forcing(source, target)

    def trainer(self, model, folder, console):
        """What trains the model on the pairs."""
        trainer = Trainer(self.settings, model, self.tokenizers, self.corpus, self._train_ids, self._valid_ids, folder, console, self._redraw())
        padding = trainer.batches.padding()
        console.note(f"{len(trainer.batches):,} batches an epoch, padded by {padding.source:.1%} of the source and {padding.target:.1%} of the target")
        return trainer

    def _redraw(self):
        """What gives the ids of an epoch, if BPE leaves out merges."""
        s = self.settings
        if not s.bpe_dropout:
            return None
        from ..data.bpe_dropout import BpeDropout

        return BpeDropout(self.tokenizers, self.corpus.train, s.bpe_dropout, s.max_length, s.seed).pairs

    def example(self):
        """A sentence to try the translator with."""
        return min((pair.source for pair in self.corpus.validation[:100]), key=lambda text: abs(len(text.split()) - 8))

    def conclude(self, console, model, trainer, folder, command):
        """Scores of the best weights on every split, and pictures."""
        translator = Translator(model, self.tokenizers, self.settings)
        result, pictures = score_splits(translator, self.corpus.splits), [folder.path / "loss.png"]
        plots.loss_curve(trainer.lines, pictures[0], score="bleu" if self.settings.own_text else "exact_match")
        if self.settings.score != "none":
            attention = translator.attention(self.example())
            pictures.append(folder.path / "attention.png")
            missing_font = plots.attention_map(*attention, pictures[1])
            console.attention(*attention)
            if missing_font:
                console.note(missing_font)
        console.finished(folder.path, result["splits"], result["rules"], pictures, command, result["signature"])


def _no_tab(text):
    return text.replace("\t", " ")
