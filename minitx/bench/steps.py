"""minitx's side of the workloads: a training step and greedy decoding, as the trainer and the translator do them."""
import numpy as np

from .. import optim
from ..autograd import random
from ..kernels.runtime import devices
from .measure import Subject
from .workloads import as_batch, build_model, first_ids, forced_ids, read_batches, read_weights, workload


class TrainingSubject(Subject):
    """A step of a workload: loss, gradients, clipping, and AdamW (without weight decay that is Adam); a cycle goes through all batches."""

    device = "cpu"

    def __init__(self, spec):
        self.work = workload(spec["name"], spec.get("changes"))
        self.model = build_model(self.work)
        self.model.load_state_dict(read_weights(spec["folder"]))
        self.model.to(self.work.dtype).to(self.device)
        self.batches = [as_batch(batch) for batch in read_batches(spec["folder"])]
        self.optimizer = optim.AdamW(self.model.parameters(), **self.work.optimizer)
        self.cycle, self.place = len(self.batches), 0

    def rewind(self):
        self.place = 0

    def step(self):
        random.seed(0, self.place)
        loss = self._gradients(self.batches[self.place % self.cycle])
        self.optimizer.step(clip=self.work.clip)
        self.optimizer.zero_grad()
        self.place += 1
        return loss

    def _gradients(self, batch):
        loss = self.model.loss(batch, self.work.label_smoothing)
        loss.backward()
        return loss

    def outputs(self):
        """The loss and the gradients of the first batch, before any step and without dropout."""
        self.model.eval()
        loss = self._gradients(self.batches[0])
        gradients = {name: parameter.grad.numpy().copy() for name, parameter in self.model.named_parameters()}
        self.optimizer.zero_grad()
        self.model.train()
        return {"loss": np.array(loss.item()), **gradients}

    def losses(self, count):
        """The losses of the next `count` steps."""
        self.rewind()
        return [self.step().item() for _ in range(count)]

    def facts(self):
        return {"parameters": self.model.n_parameters()}


class DecodingSubject(Subject):
    """Greedy decoding of a batch of sentences, so many words each, with a cache of keys and values."""

    device = "cpu"

    def __init__(self, spec):
        self.work = workload(spec["name"], spec.get("changes"))
        self.model = build_model(self.work).eval()
        self.model.load_state_dict(read_weights(spec["folder"]))
        self.model.to(self.device)
        [self.batch] = read_batches(spec["folder"])

    def step(self):
        return self._decode()[0]

    def _decode(self, forced=None):
        """What is said and the scores of the last word; with `forced` (rows, words), the model is fed these instead of what it says."""
        words = self.work.batch[1]
        cache = self.model.start(self.batch["source"], self.batch["source_lengths"], words)
        ids, said = first_ids(len(self.batch["source"])), []
        for place in range(words):
            logits = self.model.step(ids, cache)  # (rows, vocabulary)
            ids = devices.host(logits.argmax(axis=1)).astype(np.int32) if forced is None else forced[:, place]
            said.append(ids)
        return np.stack(said, axis=1), logits

    def outputs(self):
        """The scores of the last word when all those before it are given."""
        return {"logits": devices.host(self._decode(forced_ids(self.work))[1])}
