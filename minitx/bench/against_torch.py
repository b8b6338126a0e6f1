"""PyTorch's side of every comparison, written as an expert would: fused attention, fused AdamW, no needless copies. Beside `torch_on_cuda.py` the only
file that imports torch.
"""
import contextlib

import numpy as np
import torch
from torch.nn import functional as F

from ..nn import sinusoidal_positions
from .cases import KERNELS, arriving_gradient, inputs_of
from .measure import Subject
from .workloads import first_ids, forced_ids, read_batches, read_weights, workload


def open_subject(spec):
    """The `Subject` that a request's "spec" describes."""
    return KINDS[spec["kind"]](spec)


def serving(side):
    """Nothing has to be set up."""
    return contextlib.nullcontext()


def set_threads(count):
    """Compute with `count` threads from now on."""
    torch.set_num_threads(count)


class KernelSubject(Subject):
    """PyTorch's version of an operation of `cases.KERNELS`, forward or forward and backward."""

    device = "cpu"

    def __init__(self, spec):
        self.backward = spec["backward"]
        self.prepare, self.run, self.finish = OPERATIONS[spec["name"]]
        arrays = inputs_of(spec["name"], spec["shape"])
        self.names = KERNELS[spec["name"]].trained
        self.inputs = self.prepare({name: torch.from_numpy(value).to(self.device) if isinstance(value, np.ndarray) else value for name, value in arrays.items()})
        self.trained = [value.requires_grad_(self.backward) for value in self.inputs.values() if torch.is_tensor(value) and value.is_floating_point()]
        with torch.no_grad():
            out = self.run(**self.inputs)
        g = arriving_gradient(tuple(self.finish(out).shape))
        self.g = None if g is None else _as_given(torch.from_numpy(g).to(self.device), out)

    def step(self):
        if not self.backward:
            with torch.no_grad():
                return self.run(**self.inputs)
        for tensor in self.trained:
            tensor.grad = None
        out = self.run(**self.inputs)
        out.backward(self.g)
        return out

    def outputs(self):
        found = {"out": self.finish(self.step().detach()).cpu().numpy()}
        if self.backward:
            gradients = {name: value.grad for name, value in self.inputs.items() if torch.is_tensor(value) and value.grad is not None}
            found |= {name: gradient.cpu().numpy() for name, gradient in _joined(gradients).items()}
        return found


def _as_given(g, out):
    """The gradient (batch, time, heads · size) in the layout of attention's output, (batch, heads, time, size); others as they are."""
    return _heads(g, out.shape[1]) if out.ndim == 4 else g


def _heads(x, heads):
    """(batch, time, heads · size) as contiguous (batch, heads, time, size): the layout that PyTorch's attention likes best."""
    batch, time, width = x.shape
    return x.view(batch, time, heads, width // heads).transpose(1, 2).contiguous()


def _merged(x):
    """(batch, heads, time, size) as (batch, time, heads · size)."""
    return x.transpose(1, 2).flatten(2) if x.ndim == 4 else x


def _joined(gradients):
    """Gradients under minitx's names: queries, keys and values lie side by side there."""
    if "q" not in gradients:
        return {"d" + name: gradient for name, gradient in gradients.items()}
    q, k, v = (_merged(gradients[name]) for name in "qkv")
    return {"dqkv": torch.cat((q, k, v), -1), "dq": q, "dkv": torch.cat((k, v), -1)}


def _split_self(inputs):
    return dict(zip("qkv", (_heads(part, inputs["heads"]) for part in inputs["qkv"].chunk(3, -1))))


def _split_cross(inputs):
    heads, kv = inputs["heads"], inputs["kv"]
    seen = torch.arange(kv.shape[1], device=kv.device) < inputs["lengths"][:, None]
    return {"q": _heads(inputs["q"], heads), **dict(zip("kv", (_heads(part, heads) for part in kv.chunk(2, -1)))), "mask": seen[:, None, None]}


def _with_long(name):
    """PyTorch's losses take targets of 64 bits: converted once, before the clock runs."""
    return lambda inputs: inputs | {name: inputs[name].long()}


def _with_states(of_lstm):
    """A recurrent layer begins at zero; PyTorch's has a second bias."""

    def prepare(inputs):
        zero = torch.zeros(1, len(inputs["x"]), inputs["weight"].shape[1], device=inputs["x"].device)
        return inputs | {"start": (zero, zero) if of_lstm else zero, "other": torch.zeros_like(inputs["bias"])}

    return prepare


def _recurrent(layer):
    return lambda x, projection, weight, bias, start, other: layer(x, start, [projection, weight, other, bias], True, 1, 0.0, False, False, True)[0]


def _as_they_are(value):
    return value


OPERATIONS = {
    "softmax": (_as_they_are, lambda x: F.softmax(x, -1), _as_they_are),
    "layer-norm": (_as_they_are, lambda x, weight, bias: F.layer_norm(x, x.shape[-1:], weight, bias), _as_they_are),
    "add-layer-norm": (_as_they_are, lambda x, residual, weight, bias: F.layer_norm(residual + x, x.shape[-1:], weight, bias), _as_they_are),
    "cross-entropy": (_with_long("targets"), lambda logits, targets: F.cross_entropy(logits, targets), _as_they_are),
    "linear-cross-entropy": (_with_long("targets"), lambda x, weight, targets: F.cross_entropy(F.linear(x, weight), targets), _as_they_are),
    "linear": (_as_they_are, lambda x, weight, bias: F.linear(x, weight, bias), _as_they_are),
    "linear-gelu": (_as_they_are, lambda x, weight, bias: F.gelu(F.linear(x, weight, bias)), _as_they_are),
    "gelu": (_as_they_are, lambda x: F.gelu(x), _as_they_are),
    "dropout": (_as_they_are, lambda x: F.dropout(x, 0.1), _as_they_are),
    "causal-attention": (_split_self, lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), _merged),
    "cross-attention": (_split_cross, lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, attn_mask=mask), _merged),
    "embedding": (_as_they_are, lambda weight, ids: F.embedding(ids, weight), _as_they_are),
    "gru": (_with_states(False), _recurrent(torch.gru), _as_they_are),
    "lstm": (_with_states(True), _recurrent(torch.lstm), _as_they_are),
}
"""{kernel: (what is done to the inputs before the clock runs, the operation, its output in minitx's layout)}."""


class OptimizerSubject(Subject):
    """A step of fused AdamW over many parameters, gradients given."""

    device = "cpu"

    def __init__(self, spec):
        arrays = inputs_of(spec["name"], spec["shape"])
        self.parameters = [torch.nn.Parameter(torch.from_numpy(array).to(self.device)) for name, array in arrays.items() if name.startswith("parameter")]
        for parameter, gradient in zip(self.parameters, [array for name, array in arrays.items() if name.startswith("gradient")]):
            parameter.grad = torch.from_numpy(gradient).to(self.device)
        self.optimizer = torch.optim.AdamW(self.parameters, 1e-3, weight_decay=0.0, fused=True)

    def step(self):
        self.optimizer.step()

    def outputs(self):
        self.step()
        return {"parameters": torch.cat([parameter.detach() for parameter in self.parameters]).cpu().numpy()}


class TrainingSubject(Subject):
    """A step of a workload, from the same weights on the same batches as minitx's, with the same dropout (its masks are PyTorch's own)."""

    device = "cpu"

    def __init__(self, spec):
        self.work = workload(spec["name"], spec.get("changes"))
        self.model = (LanguageModel if self.work.kind == "language model" else Translator)(self.work, read_weights(spec["folder"]), self.device)
        self.batches = [self.model.placed(batch) for batch in read_batches(spec["folder"])]
        weights = self.model.weights.values()
        options = self.work.optimizer
        groups = [{"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": options["weight_decay"]},
                  {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, options["learning_rate"], options["betas"], fused=True)
        self.cycle, self.place = len(self.batches), 0

    def rewind(self):
        self.place = 0

    def step(self):
        loss = self._gradients(self.batches[self.place % self.cycle])
        if self.work.clip:
            torch.nn.utils.clip_grad_norm_(self.model.weights.values(), self.work.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.place += 1
        return loss

    def _gradients(self, batch):
        loss = self.model.loss(batch)
        loss.backward()
        return loss.detach()

    def outputs(self):
        self.model.p, p = 0.0, self.model.p
        loss = self._gradients(self.batches[0])
        gradients = {name: weight.grad.cpu().numpy().copy() for name, weight in self.model.weights.items()}
        self.optimizer.zero_grad()
        self.model.p = p
        return {"loss": np.array(loss.item()), **gradients}

    def losses(self, count):
        self.rewind()
        return [self.step().item() for _ in range(count)]


class Model:
    """What both models share: the weights by minitx's names, and the sublayers of a Transformer."""

    def __init__(self, work, weights, device):
        self.work, self.p, self.heads, self.device = work, work.model.get("dropout", 0.0), work.model["n_heads"], device
        self.weights = {name: torch.nn.Parameter(torch.from_numpy(array.astype(work.dtype)).to(device)) for name, array in weights.items()}
        self.d = work.model["d_model"]

    def placed(self, batch):
        """Tensors for the arrays of a batch. Lengths stay in main memory: a mask is chosen by them without waiting for a GPU."""
        return {name: torch.from_numpy(array).long().to("cpu" if name == "source_lengths" else self.device) for name, array in batch.items()}

    def linear(self, x, name, rows=slice(None)):
        separate = f"{name}.weight" in self.weights
        weight, bias = (f"{name}.weight", f"{name}.bias") if separate else (f"{name}_weight", f"{name}_bias")
        bias = self.weights.get(bias)
        return F.linear(x, self.weights[weight][rows], None if bias is None else bias[rows])

    def norm(self, x, name):
        return F.layer_norm(x, (self.d,), self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def dropout(self, x):
        return F.dropout(x, self.p) if self.p else x

    def split(self, x):
        """(batch, time, d) as (batch, heads, time, d / heads), in place."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def attend(self, q, k, v, name, **options):
        out = F.scaled_dot_product_attention(self.split(q), self.split(k), self.split(v), **options)
        return self.linear(out.transpose(1, 2).flatten(2), f"{name}.out_proj")

    def self_attention(self, x, name, **options):
        return self.attend(*self.linear(x, f"{name}.in_proj").chunk(3, -1), name, **options)

    def feed_forward(self, x, name, activation):
        return self.linear(activation(self.linear(x, f"{name}.linear1")), f"{name}.linear2")


class LanguageModel(Model):
    """GPT as nanoGPT writes it: pre-norm, learnt positions, GELU, one matrix for embedding and output."""

    def loss(self, batch):
        ids, weights = batch["target_in"], self.weights
        x = F.embedding(ids, weights["embedding.weight"]) + weights["positions.weight"][:ids.shape[1]]
        for number in range(self.work.model["n_layers"]):
            layer = f"layers.{number}"
            x = x + self.self_attention(self.norm(x, f"{layer}.norm1"), f"{layer}.self_attn", is_causal=True)
            x = x + self.feed_forward(self.norm(x, f"{layer}.norm2"), layer, F.gelu)
        logits = F.linear(self.norm(x, "norm"), weights["embedding.weight"])
        return F.cross_entropy(logits.flatten(0, 1), batch["target_out"].flatten())


class Translator(Model):
    """The Transformer of 2017: post-norm, sinusoidal positions, ReLU, one matrix for both embeddings and the output."""

    def __init__(self, work, weights, device):
        super().__init__(work, weights, device)
        self.table = torch.from_numpy(sinusoidal_positions(work.model["max_length"], self.d).astype(work.dtype)).to(device)

    def loss(self, batch):
        seen = self.mask(batch["source_lengths"], batch["source"].shape[1])
        hidden = self.decode(batch["target_in"], self.encode(batch["source"], seen), seen)
        logits = F.linear(hidden, self.weights["source_embedding.weight"])
        return F.cross_entropy(logits.flatten(0, 1), batch["target_out"].flatten(), ignore_index=0, label_smoothing=self.work.label_smoothing)

    def mask(self, lengths, time):
        """True where a key is real, or None where all are: the quicker way."""
        seen = torch.arange(time) < lengths[:, None]
        return None if seen.all() else seen[:, None, None].to(self.device)

    def embed(self, ids, start=0):
        x = F.embedding(ids, self.weights["source_embedding.weight"]) * self.d ** 0.5
        return self.dropout(x + self.table[start:start + ids.shape[1]])

    def encode(self, source, seen):
        x = self.embed(source)
        for number in range(self.work.model["n_layers"]):
            layer = f"encoder.{number}"
            x = self.norm(x + self.dropout(self.self_attention(x, f"{layer}.self_attn", attn_mask=seen)), f"{layer}.norm1")
            x = self.norm(x + self.dropout(self.feed_forward(x, layer, F.relu)), f"{layer}.norm2")
        return x

    def decode(self, target, memory, seen):
        x = self.embed(target)
        for number in range(self.work.model["n_layers"]):
            layer = f"decoder.{number}"
            x = self.norm(x + self.dropout(self.self_attention(x, f"{layer}.self_attn", is_causal=True)), f"{layer}.norm1")
            name = f"{layer}.multihead_attn"
            q, kv = self.linear(x, f"{name}.in_proj", slice(self.d)), self.linear(memory, f"{name}.in_proj", slice(self.d, None))
            x = self.norm(x + self.dropout(self.attend(q, *kv.chunk(2, -1), name, attn_mask=seen)), f"{layer}.norm2")
            x = self.norm(x + self.dropout(self.feed_forward(x, layer, F.relu)), f"{layer}.norm3")
        return x


class DecodingSubject(Subject):
    """Greedy decoding with a cache of keys and values in memory that is reserved beforehand."""

    device = "cpu"

    def __init__(self, spec):
        self.work = workload(spec["name"], spec.get("changes"))
        self.model = Translator(self.work, read_weights(spec["folder"]), self.device)
        [batch] = read_batches(spec["folder"])
        self.source, self.lengths = (self.model.placed(batch)[name] for name in ("source", "source_lengths"))

    def step(self):
        return self._decode()

    def outputs(self):
        return {"logits": self._decode(torch.from_numpy(forced_ids(self.work)).long().to(self.device)).cpu().numpy()}

    @torch.inference_mode()
    def _decode(self, forced=None):
        """The scores of the last word; `forced` as in steps.py."""
        (rows, words), model, layers = self.work.batch, self.model, range(self.work.model["n_layers"])
        seen = model.mask(self.lengths, self.source.shape[1])
        memory = model.encode(self.source, seen)
        names = [f"decoder.{number}" for number in layers]
        cross = [[model.split(part).contiguous() for part in model.linear(memory, f"{name}.multihead_attn.in_proj", slice(model.d, None)).chunk(2, -1)]
                 for name in names]
        caches = [[torch.empty(rows, model.heads, words, model.d // model.heads, device=self.device) for _ in "kv"] for _ in layers]
        ids = torch.from_numpy(first_ids(rows)).long().to(self.device)
        for place in range(words):
            x = model.embed(ids[:, None], place)
            for name, (keys, values), (memory_keys, memory_values) in zip(names, caches, cross):
                q, keys[:, :, place:place + 1], values[:, :, place:place + 1] = (
                    model.split(part) for part in model.linear(x, f"{name}.self_attn.in_proj").chunk(3, -1))
                out = F.scaled_dot_product_attention(q, keys[:, :, :place + 1], values[:, :, :place + 1])
                x = model.norm(x + model.linear(out.transpose(1, 2).flatten(2), f"{name}.self_attn.out_proj"), f"{name}.norm1")
                q = model.split(model.linear(x, f"{name}.multihead_attn.in_proj", slice(model.d)))
                out = F.scaled_dot_product_attention(q, memory_keys, memory_values, attn_mask=seen)
                x = model.norm(x + model.linear(out.transpose(1, 2).flatten(2), f"{name}.multihead_attn.out_proj"), f"{name}.norm2")
                x = model.norm(x + model.feed_forward(x, name, F.relu), f"{name}.norm3")
            logits = F.linear(x[:, 0], model.weights["source_embedding.weight"])
            ids = logits.argmax(-1) if forced is None else forced[:, place]
        return logits


KINDS = {
    "kernel": lambda spec: (OptimizerSubject if KERNELS[spec["name"]].updates else KernelSubject)(spec),
    "training": TrainingSubject,
    "decoding": DecodingSubject,
}
