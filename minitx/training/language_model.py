"""A language model as a task of `run.train`: one text, of which the end is held out, and what the model makes of it."""
import re

import numpy as np

from .. import plots
from ..data import files, text
from ..data.tokenizers import Tokenizer, TokenizerPair
from ..decoding.generator import Generator
from ..errors import UserError
from . import metrics
from .trainer import Trainer

SAMPLE = 200  # tokens shown at each validation
LAST_SAMPLE = 500  # and at the end
TEMPERATURE = 0.8
_SHOWN = 24  # tokens in the picture of attention


class LanguageModel:
    """The text that the settings name. Attributes: `hashes` of the user's file; `tokenizers`, once there are some: one, in both places."""

    def __init__(self, settings):
        self.settings, self.tokenizers = settings, None
        self._train, self._valid = text.read_and_split(settings.text, settings.validation_tail)
        self.hashes = {"text": files.sha256(settings.text)}

    def tokenise(self, tokenizers=None):
        """Turn the text into ids, by the tokenizer of a saved run or by a new one, which sees the training part only."""
        s = self.settings
        if tokenizers is None:
            kind = "byte-bpe" if s.tokenizer == "bpe" else s.tokenizer
            learnt = Tokenizer.train(kind, text.pieces(self._train), s.vocab_size, s.lowercase, s.min_frequency, s.unicode)
            tokenizers = TokenizerPair(learnt, learnt, joint=True)
        self.tokenizers, self._tokenizer = tokenizers, tokenizers.target
        self._train_ids, self._valid_ids = (self._tokenizer.encode_text(part) for part in (self._train, self._valid))
        if len(self._train_ids) <= s.block:
            raise UserError(f"block is {s.block}, but {s.text} gives {len(self._train_ids)} tokens to train on and a block needs one more than it has; "
                            f"take a smaller --block, or a longer text")
        if len(self._valid_ids) < 2:
            raise UserError(f"validation_tail is {s.validation_tail:g}, which leaves {len(self._valid_ids)} tokens to validate with; take a larger one")

    def fit_memory(self, model):
        """The settings: batches are as large as they say."""
        return self.settings

    def save_validation(self, folder):
        """Keep the held-out text with the run."""
        files.write_atomically(folder.validation_text, self._valid)

    def introduce(self, console):
        """What will be learnt, from what: shown before the first step."""
        sizes = {"to train on": len(self._train_ids), "to validate with": len(self._valid_ids)}
        console.text(self.settings.text, sizes, self.settings.tokenizer, len(self._tokenizer))
        console.excerpt(_lines(self._train, 240))
        ids = self._tokenizer.encode(_lines(self._train, 40))[:20]
        console.next_token(self._tokenizer.tokens(ids))

    def trainer(self, model, folder, console):
        """What trains the model on the text."""
        return TextTrainer(self.settings, model, self.tokenizers, self.example(), self._train_ids, self._valid_ids, folder, console)

    def example(self):
        """A prompt to try the model with: the first whole line of the held-out text, as much of it as, with its end, a block holds."""
        lines = [line.strip() for line in self._valid.split("\n")[1:-1] if line.strip()]
        line = (lines or [self._valid.strip()])[0][:40].replace('"', "'")
        while line and len(self._tokenizer.encode(line + "\n")) > self.settings.block:
            line = line[1:]
        return line

    def conclude(self, console, model, trainer, folder, command):
        """A text by the best weights, their score, and pictures."""
        generator = Generator(model, self._tokenizer, self.settings)
        prompt = self.example() + "\n"
        console.sample(prompt, generator.generate(prompt, max_tokens=LAST_SAMPLE, temperature=TEMPERATURE, seed=self.settings.seed))
        start = max(0, self._valid.find(self.example()))
        shown = np.array([self._tokenizer.encode(self._valid[start:start + 500])[:min(_SHOWN, self.settings.block)]], np.int32)
        tokens, maps = self._tokenizer.tokens(shown[0]), model.attention_maps(shown)[:, 0]  # (layers, heads, time, time)
        pictures = [folder.path / "loss.png", folder.path / "attention.png"]
        plots.loss_curve(trainer.lines, pictures[0])
        missing_font = plots.attention_sheet(tokens, tokens, maps, pictures[1])
        if missing_font:
            console.note(missing_font)
        console.finished(folder.path, {"validation": metrics.score_text(model, self._valid_ids)}, {}, pictures, command)


class TextTrainer(Trainer):
    """Trains on blocks of a text; `prompt` is what the model goes on with at each validation."""

    def __init__(self, settings, model, tokenizers, prompt, train_ids, valid_ids, folder, console):
        super().__init__(settings, model, tokenizers, None, train_ids, valid_ids, folder, console)
        self._prompt, self._generator = prompt + "\n", Generator(model, tokenizers.target, settings)

    def _batches(self, train_ids):
        s = self.settings
        return text.Blocks(train_ids, s.batch_sequences, s.block, seed=s.seed)

    def _scores(self):
        """Scores on the whole of the held-out text, and how the model goes on with the prompt: (prompt, None, continuation), for nothing is right."""
        scores = metrics.score_text(self.model, self.valid_ids)
        self.model.eval()
        found = self._generator.generate(self._prompt, max_tokens=SAMPLE, temperature=TEMPERATURE, seed=self.settings.seed)
        return scores, [(self._prompt, None, found)]


def _lines(passage, most):
    """The first whole lines of a passage, of at most so many characters together; cut where one line is longer."""
    start = passage[:most + 1].lstrip("\n")
    return re.match(r"(?s).*\n", start).group().rstrip("\n") if "\n" in start and len(passage) > most else start[:most]
