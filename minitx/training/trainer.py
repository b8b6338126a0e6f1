"""The training loop: one update after the other, validations in between, and a state that can be saved at any of them.

Everything that an update depends on follows from the settings and its number: the batch from the position in the shuffled data, the dropout masks from
(seed, step). So a run that is stopped and resumed goes through exactly the same numbers as one that is not.
"""
import json
import math
import time
from collections import Counter


from .. import optim
from ..autograd import random
from ..data.batches import Batches
from ..errors import UserError
from ..run_folder import read_safetensors, save_safetensors
from . import metrics

RECORD_EVERY = 25  # updates between lines of metrics.jsonl
SAVE_EVERY = 60.0  # seconds between saves, at most; a validation saves too
SAMPLES = 3  # sentences shown at each validation
DECODED = 300  # validation sentences that are translated during training


class Trainer:
    """Trains `model` on pairs of ids, as `settings` say, and keeps its state in `folder`.

    Attributes: `step`, the number of updates done; `steps`, of updates in all; `best`, the lowest validation loss so far.
    """

    def __init__(self, settings, model, tokenizers, corpus, train_ids, valid_ids, folder, console):
        self.settings, self.model, self.tokenizers, self.corpus = settings, model, tokenizers, corpus
        self.valid_ids, self.folder, self.console = valid_ids, folder, console
        self.batches = Batches(train_ids, settings.batch_tokens, seed=settings.seed, max_length=settings.max_length)
        kind = optim.AdamW if settings.optimizer == "adamw" else optim.Adam
        options = {"weight_decay": settings.weight_decay} if settings.optimizer == "adamw" else {}
        self.optimizer = kind(model.parameters(), settings.learning_rate, (settings.beta1, settings.beta2), **options)
        self.steps = settings.steps or math.ceil(settings.epochs * len(self.batches) / settings.accumulate)
        self.step, self.best, self.worse, self.finished = 0, math.inf, 0, False
        self.interrupted = False
        self._lines = []  # of metrics.jsonl
        self._window, self._window_start, self._rate = Counter(), time.monotonic(), 0.0

    # The loop

    def fit(self):
        """Train until the last step, an early stop, or an interruption, after which the state is saved."""
        started, first, saved = time.monotonic(), self.step, time.monotonic()
        self._window_start = started
        while self.step < self.steps and not self._patience_is_over() and not self.interrupted:
            loss, tokens = self.update()
            self._record(loss, tokens)
            per_step = (time.monotonic() - started) / (self.step - first)
            self.console.step(self.step, loss, self._rate, self.learning_rate(), (self.steps - self.step) * per_step)
            if self.step % self.settings.validate_every == 0 or self.step == self.steps:
                self.validate()
                self.save()
                saved = time.monotonic()
            elif time.monotonic() - saved > SAVE_EVERY:
                self.save()
                saved = time.monotonic()
        self.finished = not self.interrupted
        self.save()

    def update(self):
        """One update of the weights, from `accumulate` batches; returns the loss per token and the number of target tokens."""
        self.step += 1
        self.model.train()
        random.seed(self.settings.seed, self.step)
        batches = [self.batches.next() for _ in range(self.settings.accumulate)]
        tokens = sum(batch.n_tokens for batch in batches)
        loss = self._gradients(batches, tokens)
        self.optimizer.learning_rate = self.learning_rate()
        self.optimizer.step(clip=self.settings.clip)
        self.optimizer.zero_grad()
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss became {loss} at step {self.step}; try a lower --learning-rate, or --clip 1")
        return loss, tokens

    def _gradients(self, batches, tokens):
        """Forward and backward: the gradient of the mean loss over all real target tokens of the batches."""
        total = 0.0
        for batch in batches:
            loss = self.model.loss(batch, self.settings.label_smoothing, reduction="sum") * (1.0 / tokens)
            loss.backward()
            total += loss.item()
        return total

    def learning_rate(self):
        """The learning rate of the current update."""
        s = self.settings
        return optim.learning_rate(max(1, self.step), peak=s.learning_rate, warmup=s.warmup, schedule=s.schedule, steps=self.steps,
                                   final=s.final_learning_rate)

    def seconds_per_update(self, tries=3):
        """How long an update takes here, measured on the first batches, which are then forgotten: nothing is changed."""
        position, times = self.batches.state(), []
        self.model.train()
        for _ in range(tries):
            start = time.perf_counter()
            batches = [self.batches.next() for _ in range(self.settings.accumulate)]
            self._gradients(batches, 1)
            self.optimizer.gradient_norm()
            times.append(time.perf_counter() - start)
        self.optimizer.zero_grad()
        self.batches.restore(position)
        return sorted(times)[len(times) // 2]

    def _patience_is_over(self):
        over = self.settings.patience and self.worse >= self.settings.patience
        if over:
            self.console.note(f"stopped early: no better validation loss in {self.worse} validations")
        return over

    # Validation and the record

    def validate(self):
        """Score the validation sentences, keep the weights when they are the best so far, and show what the model says."""
        scores = metrics.teacher_forced(self.model, self.valid_ids, self.settings.batch_tokens)
        pairs = self.corpus.validation[:DECODED]
        hypotheses = metrics.translate_greedily(self.model, self.tokenizers, [pair.source for pair in pairs])
        scores |= metrics.text_scores(hypotheses, [pair.target for pair in pairs])[0]
        better = scores["loss"] < self.best
        if better:
            self.best, self.worse = scores["loss"], 0
            save_safetensors(self.folder.model, self.model.state_dict(), {"step": str(self.step)})
        else:
            self.worse += 1
        self._write({"step": self.step, "valid_loss": scores.pop("loss"), **scores, "best": better, "tokens_per_second": round(self._rate, 1)})
        samples = [(pair.source, pair.target, hypothesis) for pair, hypothesis in zip(pairs[:SAMPLES], hypotheses)]
        self.console.validation(self.step, {"loss": self._lines[-1]["valid_loss"], **scores}, samples, better)
        self._window_start, self._window = time.monotonic(), Counter()

    def _record(self, loss, tokens):
        """Note the update for metrics.jsonl: the first, every 25th and the last, with means over those between."""
        self._window.update(loss=loss, updates=1, tokens=tokens)
        self._rate = self._window["tokens"] / max(1e-9, time.monotonic() - self._window_start)
        if self.step == 1 or self.step % RECORD_EVERY == 0 or self.step == self.steps:
            self._write({"step": self.step, "loss": self._window["loss"] / self._window["updates"], "tokens_per_second": round(self._rate, 1),
                         "learning_rate": self.learning_rate()})
            self._window_start, self._window = time.monotonic(), Counter()

    def _write(self, line):
        self._lines.append(line)
        with open(self.folder.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    # The state

    def save(self):
        """Write everything that `load` needs to go on from here, in one file."""
        state = {"model." + name: array for name, array in self.model.state_dict().items()}
        state |= {"optimizer." + name: array for name, array in self.optimizer.state_dict().items()}
        facts = {"step": self.step, "optimizer_steps": self.optimizer.steps, "batches": self.batches.state(), "worse": self.worse,
                 "best": None if math.isinf(self.best) else self.best, "finished": self.finished}
        self.folder.last.parent.mkdir(exist_ok=True)
        save_safetensors(self.folder.last, state, {"trainer": json.dumps(facts)})

    def load(self):
        """Go back to the last save; metrics.jsonl is cut to what belongs to it."""
        arrays, metadata = read_safetensors(self.folder.last)
        try:
            facts = json.loads(metadata["trainer"])
            self.model.load_state_dict({name[6:]: array for name, array in arrays.items() if name.startswith("model.")})
            self.optimizer.load_state_dict({name[10:]: array for name, array in arrays.items() if name.startswith("optimizer.")}, facts["optimizer_steps"])
            self.batches.restore(facts["batches"])
            self.step, self.worse, self.finished = facts["step"], facts["worse"], facts["finished"]
            self.best = math.inf if facts["best"] is None else facts["best"]
        except (KeyError, ValueError) as error:
            raise UserError(f"{self.folder.last} does not fit this run: {error}") from None
        self._cut_metrics()

    def _cut_metrics(self):
        from ..data.files import write_atomically

        if self.folder.metrics.exists():
            for line in self.folder.metrics.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                except ValueError:  # a line that a kill cut in two
                    break
                if record["step"] <= self.step:
                    self._lines.append(record)
        write_atomically(self.folder.metrics, "".join(json.dumps(record) + "\n" for record in self._lines))

    @property
    def lines(self):
        """The records of metrics.jsonl so far."""
        return list(self._lines)
