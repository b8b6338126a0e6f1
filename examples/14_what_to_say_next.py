r"""
14. What to say next
====================

    *"Greedy decoding takes the likeliest word and repeats itself; sampling is varied but makes mistakes, more of them the
    higher the temperature; top-k and top-p cut off the improbable tail; beam search finds the likeliest sentence."*

A model gives a probability to every next word. What is said is another matter. A small language model learns to write
sentences whose grammar we know, so that each sentence it says can be judged; a small translator shows what a beam is for.
"""

# %%
# A writer whose sentences can be judged
# --------------------------------------
# The language is tiny: subject, verb, object, each noun with an article that fits its number, the verb too, and "and" to
# go on. A sentence is right if it follows the rules. One sentence in eight of the training text has a random word in it,
# as real text has its errors: the tail that sampling will meet.
from itertools import product

import numpy as np

import minitx as mx
from lesson import BLUE, GREEN, GREY, MARKERS, ORANGE, PURPLE, QUICK, claim, myth, panels, picture, table
from minitx import nn, optim
from minitx.decoding.beam import beam_search
from minitx.decoding.greedy import greedy
from minitx.decoding.sampling import Dice, Sampling, heat, probabilities, top_k, top_p
from minitx.models import DecoderOnly

SINGULAR, PLURAL = "cat dog bird fox".split(), "cats dogs birds foxes".split()
VERBS = "sees hears likes chases".split(), "see hear like chase".split()
WORDS = [".", "a", "some", "the", "and", *SINGULAR, *PLURAL, *VERBS[0], *VERBS[1]]
ID = {word: number for number, word in enumerate(WORDS)}
LONGEST = 16


def noun(generator, nouns=(SINGULAR, PLURAL)):
    plural = int(generator.random() < 0.3)
    article = "the" if generator.random() < 0.5 else ("a", "some")[plural]
    return [article, generator.choice(nouns[plural], p=(0.55, 0.25, 0.15, 0.05))], plural


def sentence(generator, clauses=2):
    subject, plural = noun(generator)
    words = subject + [generator.choice(VERBS[plural], p=(0.5, 0.25, 0.15, 0.1))] + noun(generator)[0]
    return words + ["and"] + sentence(generator, clauses - 1) if clauses > 1 and generator.random() < 0.3 else words + ["."]


def is_right(words):
    """Whether the words, of which the last is a full stop, follow the rules."""
    def noun_phrase(article, noun):
        return article in {"a", "the"} and noun in SINGULAR or article in {"some", "the"} and noun in PLURAL

    def clause(words):
        return len(words) == 5 and noun_phrase(*words[:2]) and words[2] in VERBS[words[1] in PLURAL] and noun_phrase(*words[3:])

    clauses = " ".join(words[:-1]).split(" and ")
    return words[-1] == "." and all(clause(part.split()) for part in clauses)


def text(generator, sentences):
    """ids of (sentences, LONGEST): a full stop to begin with, then sentences, one behind the other, cut off at the end."""
    rows = []
    while len(rows) < sentences:
        row = ["."]
        while len(row) <= LONGEST:
            words = sentence(generator)
            if generator.random() < 1 / 8:
                words[generator.integers(len(words) - 1)] = WORDS[generator.integers(1, len(WORDS))]
            row += words
        rows.append([ID[word] for word in row[:LONGEST + 1]])
    return np.array(rows, np.int32)


STEPS = 120 if QUICK else 400
model, generator = DecoderOnly(len(WORDS), d_model=48, n_heads=4, n_layers=2, max_length=64), np.random.default_rng(0)
optimizer = optim.Adam(model.parameters(), 5e-3)
training = text(generator, 2000 if QUICK else 6000)
for step in range(STEPS):
    optimizer.learning_rate = optim.learning_rate(step + 1, peak=5e-3, warmup=STEPS // 10, schedule="cosine", steps=STEPS, final=0.02)
    ids = training[generator.integers(0, len(training), 32)]
    loss = mx.cross_entropy(model(ids[:, :-1]), ids[:, 1:])
    loss.backward()
    optimizer.step(clip=1.0)
    optimizer.zero_grad()
print(f"{len(WORDS)} words, {STEPS} steps: a loss of {loss.item():.2f} nats per word, where log({len(WORDS)}) = {np.log(len(WORDS)):.2f} is guessing\n")

# %%
# One distribution, and what is made of it
# ----------------------------------------
# What may come after "the dog". Temperature divides the logits: it makes the mountain steeper or flatter, but leaves the
# order. Top-k keeps the k likeliest; top-p keeps as many as it takes to have the probability p.
prompt = [ID[word] for word in ". the dog".split()]
logits = model.read(np.array([prompt], np.int32))[0]
FILTERS = {"as it is": logits, "temperature 0.5": heat(logits, 0.5), "temperature 2": heat(logits, 2.0), "top-k 3": top_k(logits, 3), "top-p 0.9": top_p(logits, 0.9)}
shares = {name: probabilities(filtered)[0] for name, filtered in FILTERS.items()}
order = np.argsort(-shares["as it is"])
table(["after “the dog”", *(WORDS[i] for i in order[:7]), "all others"],
      [(name, *(f"{share[i]:.1%}" for i in order[:7]), f"{share[order[7:]].sum():.1%}") for name, share in shares.items()], align="<" + ">" * 8)
claim("no temperature changes the order of the words", "sorted at 0.5 and at 2 they stand as they stood",
      all(np.all(np.diff(shares[name][order]) <= 0) for name in ("temperature 0.5", "temperature 2")))
kept = np.count_nonzero(shares["top-p 0.9"])
claim("top-p keeps the fewest words that together have its share",
      f"{kept} words have {shares['as it is'][order[:kept]].sum():.1%}, one less has {shares['as it is'][order[:kept - 1]].sum():.1%}",
      shares["as it is"][order[:kept]].sum() >= 0.9 > shares["as it is"][order[:kept - 1]].sum())

# %%
# Varied or right
# ---------------
# Each way now writes sentences, and each is judged: does it follow the rules, and how many different ones are there?
N = 150 if QUICK else 400


def write(sampling, seed=0):
    """N sentences, each until its full stop, or cut off where it has none for long."""
    cache, dice, rows = model.start(np.zeros((N, 0), np.int32), capacity=40), Dice(seed, range(N)), np.arange(N)
    said = [[ID["."]] for _ in range(N)]
    for _ in range(30):
        ids = sampling.choose(model.step(np.array([row[-1] for row in said], np.int32), cache), said, dice, rows)
        for row, word in zip(said, ids.tolist()):
            row.append(word)
    texts = [[WORDS[i] for i in row[1:]] for row in said]
    return [tuple(row[:row.index(".") + 1] if "." in row else row) for row in texts]


def judged(sampling):
    sentences = write(sampling)
    return np.mean([is_right(words) for words in sentences]), len(set(sentences)) / N


WAYS = {"greedy": Sampling(temperature=0)} | {f"temperature {t:g}": Sampling(temperature=t) for t in (0.25, 0.5, 0.7, 1.0, 1.3, 2.0)} \
    | {f"top-k {k}": Sampling(top_k=k) for k in (2, 4, 8)} | {f"top-p {p:g}": Sampling(top_p=p) for p in (0.5, 0.8, 0.9, 0.95)}
results = {name: judged(way) for name, way in WAYS.items()}
table([f"{N} sentences", "right", "different"], [(name, f"{right:.0%}", f"{different:.0%}") for name, (right, different) in results.items()], align="<>>")
print("greedy:          " + " ".join(write(WAYS["greedy"])[0]))
for name in ("temperature 1", "temperature 2", "top-p 0.9"):
    print(f"{name:17}" + "   ".join(" ".join(words) for words in write(WAYS[name])[:2]))
print()
claim("greedy says one sentence, always, and it is right", f"different sentences: {round(results['greedy'][1] * N)}; right: {results['greedy'][0]:.0%}",
      results["greedy"] == (1.0, 1 / N))
temperatures = [results[f"temperature {t:g}"] for t in (0.25, 0.5, 1.0, 2.0)]
claim("the higher the temperature, the more varied and the more often wrong",
      "at 0.25, 0.5, 1 and 2, different: " + ", ".join(f"{different:.0%}" for _, different in temperatures)
      + "; right: " + ", ".join(f"{right:.0%}" for right, _ in temperatures),
      all(a[1] <= b[1] and a[0] >= b[0] for a, b in zip(temperatures, temperatures[1:])))
cut, free = results["top-p 0.9"], results["temperature 1"]
claim("to cut off the tail, top-p 0.9, makes fewer mistakes than to draw from everything, and stays varied",
      f"right: {cut[0]:.0%} instead of {free[0]:.0%}; different: {cut[1]:.0%} instead of {free[1]:.0%}", cut[0] > free[0] + 0.05 and cut[1] > 0.5 * free[1])

# %%
# Why does a fixed k not do the same? Because how many words are possible changes from place to place: after "the" any of
# eight nouns, after a noun that is a subject four verbs, after an object two words.
history = text(np.random.default_rng(5), 200)
with mx.no_grad():
    everywhere = model(history[:, :-1]).data.reshape(-1, len(WORDS))
needed = np.count_nonzero(probabilities(top_p(everywhere, 0.9)), axis=1)
claim("how many words have 90% of the probability depends on the place",
      f"from {needed.min()} to {needed.max()}; in a tenth of the places at most {int(np.quantile(needed, 0.1))}, in another tenth at least "
      f"{int(np.quantile(needed, 0.9))}", np.quantile(needed, 0.9) >= 3 * np.quantile(needed, 0.1))

# %%
# A beam
# ------
# Where one answer is wanted, as in translation, nothing is drawn. Greedy search follows the likeliest word; a *beam*
# follows several beginnings at once, because the likeliest sentence need not begin with the likeliest word. On a model
# as small as this one the search can even be done completely: a language of 4 words, sentences of at most 5, random
# weights. All of its sentences can be scored.
SENTENCES = 40 if QUICK else 150


class Tiny(nn.Module):
    """A bigram model with random logits: what may follow a word depends on it and on the source, which is a number."""

    max_length = 6

    def __init__(self, sources, seed=0):
        self.logits = np.random.default_rng(seed).normal(size=(sources, 8, 8)) * 1.5  # (source, word before, next word)
        self.logits[:, :, [0, 1, 3]] = -np.inf  # <pad>, <bos> and <unk> are never said

    def start(self, source, lengths, capacity=None):
        return Rows(source[:, 0] - 4)

    def step(self, ids, cache):
        return self.logits[cache.rows, ids].astype(np.float32)


class Rows:
    def __init__(self, rows):
        self.rows = rows

    def select(self, rows, hypotheses=1):
        self.rows = self.rows[rows]


tiny = Tiny(SENTENCES)
sources, ones = np.arange(4, 4 + SENTENCES)[:, None], np.ones(SENTENCES, np.int32)
log_p = tiny.logits - np.log(np.exp(tiny.logits).sum(axis=-1, keepdims=True))


def score(row, ids):
    """log P of a whole sentence, its end included."""
    return sum(log_p[row, before, word] for before, word in zip([1, *ids], [*ids, 2]))


BEAMS = (1, 2, 4, 8, 4 ** 5)
found = {beam: [best[0] for best in beam_search(tiny, sources, ones, beam=beam, alpha=0.0, max_length=5)] for beam in BEAMS}
best = found[BEAMS[-1]]  # as wide as there are beginnings: exhaustive
hits = {beam: np.mean([one.ids == other.ids for one, other in zip(hypotheses, best)]) for beam, hypotheses in found.items()}
table(["beam", "finds the likeliest of all sentences", "mean log P"],
      [(beam if beam < 4 ** 5 else "all", f"{hits[beam]:.0%}", f"{np.mean([score(row, one.ids) for row, one in enumerate(found[beam])]):.2f}") for beam in BEAMS], align=">>>")
every = [ids for words in range(6) for ids in product(range(4, 8), repeat=words)]
claim(f"a beam of {BEAMS[-1]}, as many as there are beginnings, finds the likeliest of all {len(every):,} sentences",
      f"in {sum(abs(score(row, best[row].ids) - max(score(row, ids) for ids in every)) < 1e-5 for row in range(5))} of 5 cases that we go through "
      "one by one", all(abs(score(row, best[row].ids) - max(score(row, ids) for ids in every)) < 1e-5 for row in range(5)))
plain = greedy(tiny, sources, ones, max_length=5)
claim("a beam of 1 is greedy decoding", f"{sum(one.ids == ids for one, ids in zip(found[1], plain))} of {SENTENCES} sentences are the same",
      all(one.ids == ids for one, ids in zip(found[1], plain)))
claim("to follow the likeliest word often misses the likeliest sentence: a beam of 4 finds it where greedy does not",
      f"greedy finds it in {hits[1]:.0%} of the cases, a beam of 2 in {hits[2]:.0%}, of 4 in {hits[4]:.0%}", hits[1] < 0.7 and hits[4] > hits[1] + 0.2)

# %%
# So is the likeliest sentence the one to say? Each word costs probability, so what is likeliest is short. A score that
# divides by the length puts that right.
lengths = {alpha: np.mean([len(best[0].ids) for best in beam_search(tiny, sources, ones, beam=64, alpha=alpha, max_length=5)]) for alpha in (0.0, 1.0)}
myth("beam search finds better sentences, because it finds likelier ones",
     f"with a beam of 64 the likeliest have {lengths[0.0]:.1f} words on average, and {sum(not one.ids for one in best)} of {SENTENCES} are empty; "
     f"divided by the length they have {lengths[1.0]:.1f}", lengths[0.0] < lengths[1.0] and any(not one.ids for one in best))

figure, (left, right) = panels(1, 2, size=(12, 4.4))
GROUPS = {"temperature": (ORANGE, MARKERS[0]), "top-k": (GREEN, MARKERS[1]), "top-p": (BLUE, MARKERS[2]), "greedy": (GREY, MARKERS[3])}
for group, (colour, marker) in GROUPS.items():
    points = [(100 * different, 100 * right_, name.split()[-1]) for name, (right_, different) in results.items() if name.startswith(group)]
    left.plot(*zip(*(point[:2] for point in points)), color=colour, marker=marker, markersize=6, linewidth=1, label=group)
    for x, y, name in points:
        if group != "greedy":
            left.annotate(name, (x, y), xytext=(5, -11 if group == "top-k" else 4), textcoords="offset points", fontsize=8, color=colour)
left.set(title=f"{N} sentences of each kind", xlabel="different ones (%)", ylabel="that follow the rules (%)", ylim=(0, 104), xlim=(-3, 105))
left.legend(frameon=False, loc="lower left")
right.plot(range(len(BEAMS)), [100 * hits[beam] for beam in BEAMS], color=PURPLE, marker="o")
right.set_xticks(range(len(BEAMS)), [*map(str, BEAMS[:-1]), "all"])
right.set(title="How often a beam finds the likeliest of all sentences", xlabel="beam", ylabel="%", ylim=(0, 104))
picture(figure, "14_what_to_say_next",
        "Left: variety against correctness for each way to draw; up and to the right is better. Right: a search through all "
        "sentences of a tiny language, and how many beginnings have to be followed to find the best.")

# %%
# What to remember
# ----------------
# A model is a distribution; how to speak is decided afterwards. Where there is one answer, search, and mind the length.
# Where there are many, draw, and cut off the tail: there the model is at its worst, and though each word in it is
# improbable, together they are not.
