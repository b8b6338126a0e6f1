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
from ..kernels.runtime import devices
from ..run_folder import read_safetensors, save_safetensors
from . import metrics
from .average import EpochAverage

RECORD_EVERY = 25  # updates between lines of metrics.jsonl
SAVE_EVERY = 60.0  # seconds between saves, or so many for each half second that one takes: under 1 % of the time; a validation saves too
SAMPLES = 3  # sentences shown at each validation
DECODED = 300  # validation sentences that are translated during training
READ_EVERY = 1.0  # seconds between readings of losses from a GPU, at least: between them nobody waits for it


class Trainer:
    """Trains `model` on pairs of ids, as `settings` say, and keeps its state in `folder`.

    `redraw`, where the ids of a pair differ between epochs, gives those of all pairs by the epoch's number.

    Attributes: `step`, the number of updates done; `steps`, of updates in all; `best`, the best validation so far: its loss, or minus its BLEU.
    """

    def __init__(self, settings, model, tokenizers, corpus, train_ids, valid_ids, folder, console, redraw=None):
        self.settings, self.model, self.tokenizers, self.corpus, self.redraw = settings, model, tokenizers, corpus, redraw
        self.valid_ids, self.folder, self.console = valid_ids, folder, console
        self.batches = self._batches(train_ids)
        kind = optim.AdamW if settings.optimizer == "adamw" else optim.Adam
        options = {"weight_decay": settings.weight_decay} if settings.optimizer == "adamw" else {}
        self.optimizer = kind(model.parameters(), settings.learning_rate, (settings.beta1, settings.beta2), **options)
        self.average = EpochAverage(folder.last.parent, settings.average)
        self.steps = settings.steps or math.ceil(settings.epochs * len(self.batches) / settings.accumulate)
        self.step, self.best, self.worse, self.finished = 0, math.inf, 0, False
        self.interrupted = False
        self._lines = []  # of metrics.jsonl
        self._window, self._window_start, self._rate = Counter(), time.monotonic(), 0.0
        self._unread, self._read_at, self._loss = [], time.monotonic(), math.nan  # losses that are still where they were computed; the last one that was read
        self._spent = {"validations": 0.0, "saving": 0.0}  # seconds that no update had

    def _batches(self, train_ids):
        s = self.settings
        return Batches(train_ids, s.batch_tokens, seed=s.seed, max_length=s.max_length, redraw=self.redraw)

    # The loop

    def fit(self):
        """Train until the last step, an early stop, or an interruption, after which the state is saved."""
        started, first, saved, took = time.monotonic(), self.step, time.monotonic(), 0.0
        self._window_start = started
        while self.step < self.steps and not self._patience_is_over() and not self.interrupted:
            epoch = self.batches.epoch
            self._record(*self.update())
            ended = self.batches.epoch > epoch
            if ended and self.settings.average:
                self._read_losses()
                self._timed("saving", self.average.add, self.batches.epoch, self.model.state_dict())
            per_step = (time.monotonic() - started) / (self.step - first)
            self.console.step(self.step, self._loss, self._rate, self.learning_rate(), (self.steps - self.step) * per_step)
            validating = self._is_time_to_validate(ended)
            if validating:
                self._timed("validations", self.validate)
            if validating or time.monotonic() - saved > SAVE_EVERY * max(1.0, 2 * took):
                took = self._timed("saving", self.save)
                saved = time.monotonic()
        if not self.interrupted:
            self._timed("validations", self._keep_average)
        self.finished = not self.interrupted
        self._timed("saving", self.save)
        if self.finished:
            self.average.clear()
            self.console.trained(self.step - first, time.monotonic() - started, self._spent)

    def _timed(self, what, action, *arguments):
        before = time.monotonic()
        action(*arguments)
        took = time.monotonic() - before
        self._spent[what] += took
        return took

    def _is_time_to_validate(self, epoch_ended):
        every = self.settings.validate_every
        return self.step == self.steps or (self.step % every == 0 if every else epoch_ended)

    def update(self):
        """One update of the weights, from `accumulate` batches; returns the loss per token, a number or on the GPU an array, and the number of target tokens."""
        self.step += 1
        self.model.train()
        random.seed(self.settings.seed, self.step)
        batches = [self.batches.next() for _ in range(self.settings.accumulate)]
        tokens = sum(batch.n_tokens for batch in batches)
        loss = self._gradients(batches, tokens)
        self.optimizer.learning_rate = self.learning_rate()
        self.optimizer.step(clip=self.settings.clip)
        self.optimizer.zero_grad()
        return loss, tokens

    def _gradients(self, batches, tokens):
        """Forward and backward: the gradient of the mean loss over all real target tokens of the batches. Returns that loss."""
        total = 0.0
        for batch in batches:
            loss = self.model.loss(batch, self.settings.label_smoothing, reduction="sum") * (1.0 / tokens)
            loss.backward()
            total = total + (loss.item() if loss.device == "cpu" else loss.data)
        return total

    def learning_rate(self):
        """The learning rate of the current update."""
        s = self.settings
        return optim.learning_rate(max(1, self.step), peak=s.learning_rate, warmup=s.warmup, schedule=s.schedule, steps=self.steps,
                                   final=s.final_learning_rate)

    def seconds_per_update(self, tries=3):
        """How long an update takes here, measured on the first batches, which are then forgotten: nothing is changed."""
        position, times = self.batches.state(), []
        with self.model.trial():
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
            measure = "BLEU" if self.settings.best_by == "bleu" else "validation loss"
            self.console.note(f"stopped early: no better {measure} in {self.worse} validations")
        return over

    # Validation and the record

    def validate(self):
        """Score the model, and keep its weights when they are the best so far."""
        self._read_losses()
        scores, samples = self._scores()
        value = -scores["bleu"] if self.settings.best_by == "bleu" else scores["loss"]
        better = value < self.best
        if better:
            self.best, self.worse = value, 0
            save_safetensors(self.folder.model, self.model.state_dict(), {"step": str(self.step)})
        else:
            self.worse += 1
        self._tell(scores, samples, best=better)
        self._window_start, self._window = time.monotonic(), Counter()

    def _scores(self):
        """Scores on the validation sentences, and what the model says to the first of them: (source, reference, hypothesis). References are as the
        model could say them: its letters, its spaces."""
        scores = metrics.teacher_forced(self.model, self.valid_ids, self.settings.batch_tokens)
        pairs = self.corpus.validation[:None if self.settings.best_by == "bleu" else DECODED]
        sources, references = [pair.source for pair in pairs], [self.tokenizers.target.normalize(pair.target) for pair in pairs]
        hypotheses = metrics.translate(self.model, self.tokenizers, sources)
        scores |= metrics.text_scores(hypotheses, references)[0]
        return scores, list(zip(sources, references, hypotheses))[:SAMPLES]

    def _tell(self, scores, samples, **facts):
        """Write and show a validation."""
        line = {"valid_loss" if name == "loss" else name: value for name, value in scores.items()}
        self._write({"step": self.step, **line, **facts, "tokens_per_second": round(self._rate, 1)})
        self.console.validation(self.step, scores, samples, facts["best"])

    def _keep_average(self):
        """At the end: the mean over the last epochs, if the settings ask for it, takes the place of the best weights."""
        weights, epochs = self.average.mean(self.batches.epoch) if self.settings.average else ({}, 0)
        if not epochs:
            if self.settings.average:
                self.console.note("no epoch ended, so there is no mean over the last ones; the best weights are kept")
            return
        own = {name: array.copy() for name, array in self.model.state_dict().items()}
        self.model.load_state_dict(weights)
        self.console.note(f"mean of the weights at the ends of the last {epochs} epochs:" if epochs > 1 else "the weights at the end of the only epoch:")
        scores, samples = self._scores()
        save_safetensors(self.folder.model, weights, {"step": str(self.step)})
        self._tell(scores, samples, best=False, averaged=epochs)
        self.model.load_state_dict(own)

    def _record(self, loss, tokens):
        """Note the update for metrics.jsonl: the first, every 25th and the last, with means over those between."""
        due = self.step == 1 or self.step % RECORD_EVERY == 0 or self.step == self.steps
        self._unread.append(loss)
        self._window.update(tokens=tokens)
        if due or devices.of(loss) == "cpu" or time.monotonic() - self._read_at > READ_EVERY:
            self._read_losses()
        if due:
            self._write({"step": self.step, "loss": self._window["loss"] / self._window["updates"], "tokens_per_second": round(self._rate, 1),
                         "learning_rate": self.learning_rate()})
            self._window_start, self._window = time.monotonic(), Counter()

    def _read_losses(self):
        """Take the losses of the last updates from the GPU, for which the CPU waits; one that is not a number ends the run."""
        if not self._unread:
            return
        first = self.step - len(self._unread) + 1
        for step, loss in enumerate(self._unread, first):
            self._loss = float(loss)
            if not math.isfinite(self._loss):
                raise FloatingPointError(f"the loss became {self._loss} at step {step}; try a lower --learning-rate, or --clip 1")
            self._window.update(loss=self._loss, updates=1)
        self._unread, self._read_at = [], time.monotonic()
        self._rate = self._window["tokens"] / max(1e-9, self._read_at - self._window_start)

    def _write(self, line):
        self._lines.append(line)
        with open(self.folder.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    # The state

    def save(self):
        """Write everything that `load` needs to go on from here, in one file."""
        self._read_losses()
        state = {"model." + name: array for name, array in self.model.state_dict().items()}
        state |= {"optimizer." + name: array for name, array in self.optimizer.state_dict().items()}
        facts = {"step": self.step, "optimizer_steps": self.optimizer.steps, "batches": self.batches.state(), "worse": self.worse,
                 "best": None if math.isinf(self.best) else self.best, "finished": self.finished,
                 "window": {name: self._window[name] for name in ("loss", "updates")}}
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
            self._window.update(facts.get("window", {}))  # its tokens belong to the time before: the speed is of this session
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
                if record["step"] <= self.step and "averaged" not in record:  # the average is made again
                    self._lines.append(record)
        write_atomically(self.folder.metrics, "".join(json.dumps(record) + "\n" for record in self._lines))

    @property
    def lines(self):
        """The records of metrics.jsonl so far."""
        return list(self._lines)
