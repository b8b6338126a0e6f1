r"""
11. The bottleneck
==================

    *"A recurrent encoder has to squeeze the whole sentence into its last state, a vector that is no longer for a long
    sentence than for a short one. Attention looks at all states instead, so that length does not matter."* (after Cho
    et al. 2014, "On the properties of neural machine translation", and Bahdanau et al. 2015)

Four translators of the same size learn the same task with the same steps: one that has only the last state, two that
look at all of them, with the additive score and with the dot product, and the Transformer. Then we ask each for
sentences of every length. Where does it break?
"""

# %%
# A task that is as hard at every word
# ------------------------------------
# In real sentences much can be guessed, and who has forgotten half may still say something likely. Here nothing can:
# a sentence is a row of animals, drawn at random, with or without an adjective, which Spanish puts behind. Every word
# has to get through, and the last is no harder than the first.
import numpy as np

from lesson import BLUE, GREEN, ORANGE, PURPLE, QUICK, claim, myth, panels, picture, table
from minitx import optim
from minitx.data.batches import make_batch
from minitx.decoding.greedy import greedy
from minitx.models import EncoderDecoder, RecurrentTranslator
from minitx.training.metrics import text_scores

NOUNS = {"cat": "gato", "dog": "perro", "horse": "caballo", "bear": "oso", "fox": "zorro", "wolf": "lobo", "duck": "pato", "mouse": "ratón"}
ADJECTIVES = {"red": "rojo", "black": "negro", "white": "blanco", "small": "pequeño", "pretty": "bonito", "new": "nuevo", "dirty": "sucio", "tired": "cansado"}
SPECIAL = 4  # <pad>, <bos>, <eos>, <unk>
ENGLISH, SPANISH = [*NOUNS, *ADJECTIVES], [*NOUNS.values(), *ADJECTIVES.values()]
VOCABULARY = SPECIAL + len(ENGLISH)
LONGEST, EARLY, STEPS, N_TEST = (6, 6, 300, 50) if QUICK else (24, 8, 1000, 100)
LENGTHS = range(2, LONGEST + 1, 1 if QUICK else 2)


def sentence(length, generator):
    """ids of an English sentence of so many words, and of the Spanish one."""
    source, target = [], []
    while len(source) < length:
        noun = [SPECIAL + int(generator.integers(len(NOUNS)))]
        adjective = [SPECIAL + len(NOUNS) + int(generator.integers(len(ADJECTIVES)))] if len(source) + 2 <= length and generator.random() < 0.5 else []
        source += adjective + noun
        target += noun + adjective
    return source, target


def spell(ids, words):
    return " ".join(words[i - SPECIAL] for i in ids if i >= SPECIAL)


english, spanish = sentence(7, np.random.default_rng(1))
print(f"{spell(english, ENGLISH)}\n{spell(spanish, SPANISH)}\n")

# %%
# Four of a size
# --------------
# Embeddings included. The recurrent ones are GRUs of one layer, the Transformer has one layer of each kind; the width of
# each is chosen so that all have as many parameters as one another. One more is there to ask whether it is size that is
# missing: no attention, but twice as wide.
NONE, ADDITIVE, DOT, TRANSFORMER, WIDE = "no attention", "additive", "dot", "Transformer", "no attention, wider"
recurrent = {"dropout": 0.0, "max_length": 64}
MODELS = {NONE: RecurrentTranslator(VOCABULARY, VOCABULARY, score="none", d_model=74, **recurrent),
          ADDITIVE: RecurrentTranslator(VOCABULARY, VOCABULARY, score="additive", d_model=64, **recurrent),
          DOT: RecurrentTranslator(VOCABULARY, VOCABULARY, score="dot", d_model=68, **recurrent),
          TRANSFORMER: EncoderDecoder(VOCABULARY, VOCABULARY, d_model=64, n_heads=2, n_layers=1, d_ff=64, dropout=0.0, max_length=64),
          WIDE: RecurrentTranslator(VOCABULARY, VOCABULARY, score="none", d_model=148, **recurrent)}
FOUR = (NONE, ADDITIVE, DOT, TRANSFORMER)
sizes = {name: model.n_parameters() for name, model in MODELS.items()}
table(["", "features", "parameters"], [(name, model.d_model, f"{sizes[name]:,}") for name, model in MODELS.items()], align="<>>")
apart = max(sizes[name] for name in FOUR) / min(sizes[name] for name in FOUR) - 1
claim("the four are of a size, to within 3%", f"the largest has {apart:.1%} more parameters than the smallest", apart < 0.03)

# %%
# The same steps
# --------------
# Batches mix all lengths, so nobody meets a length in the test that was not in training.


def train(model):
    optimizer, generator = optim.Adam(model.parameters(), betas=(0.9, 0.98)), np.random.default_rng(0)
    for step in range(1, STEPS + 1):
        optimizer.learning_rate = optim.learning_rate(step, peak=5e-3, warmup=STEPS // 10, schedule="cosine", steps=STEPS, final=0.02)
        loss = model.loss(make_batch([sentence(generator.integers(1, LONGEST + 1), generator) for _ in range(32)]))
        loss.backward()
        optimizer.step(clip=1.0)
        optimizer.zero_grad()
    return loss.item()


def test(model):
    """Exact match and BLEU for each length, in %: (lengths, 2); and the share of right words at each place of the longest sentences."""
    found, generator = [], np.random.default_rng(99)
    for length in LENGTHS:
        pairs = [sentence(length, generator) for _ in range(N_TEST)]
        batch = make_batch(pairs)
        said = greedy(model.eval(), batch.source, batch.source_lengths)
        scores, _ = text_scores([spell(ids, SPANISH) for ids in said], [spell(target, SPANISH) for _, target in pairs])
        found.append((100 * scores["exact_match"], scores["bleu"] if length >= 4 else np.nan))  # BLEU counts runs of up to four words
    return np.array(found), np.mean([[place < len(ids) and ids[place] == word for place, word in enumerate(target)] for ids, (_, target) in zip(said, pairs)], axis=0)


TRAINED = (NONE, ADDITIVE, TRANSFORMER) if QUICK else tuple(MODELS)
losses = {name: train(MODELS[name]) for name in TRAINED}
tests = {name: test(MODELS[name]) for name in TRAINED}
found, places = {name: scores for name, (scores, _) in tests.items()}, {name: right for name, (_, right) in tests.items()}
for column, what in enumerate(("exact match, %, at words", "BLEU, at words")):
    table([what, *(str(length) for length in LENGTHS)], [(name, *("–" if np.isnan(value) else f"{value:.0f}" for value in values[:, column]))
                                                         for name, values in found.items()], align="<" + ">" * len(LENGTHS))


def breaks(name):
    """The first length at which fewer than half of the sentences are right; None where there is none."""
    return next((length for length, (exact, _) in zip(LENGTHS, found[name]) if exact < 50), None)


attending = [name for name in TRAINED if name not in (NONE, WIDE)]
claim(f"without attention the translator breaks early, with attention nowhere up to {LONGEST} words",
      f"fewer than half are right from {breaks(NONE)} words on without; with it {min(found[name][:, 0].min() for name in attending):.0f}% at the worst length of the worst",
      breaks(NONE) is not None and breaks(NONE) <= EARLY and all(breaks(name) is None for name in attending))
bleu = {name: values[-1, 1] for name, values in found.items()}
claim("BLEU falls as well, but slower: it counts what came through",
      f"at {LONGEST} words {found[NONE][-1, 0]:.0f}% are right without attention, with a BLEU of {bleu[NONE]:.0f}; with it BLEU is "
      f"{min(bleu[name] for name in attending):.0f} or more", bleu[NONE] > found[NONE][-1, 0] and bleu[NONE] < min(bleu[name] for name in attending) - 20)
first, rest = places[NONE][:3].mean(), places[NONE][len(places[NONE]) // 2:].mean()
claim("what is lost is the end: the decoder's first words are still right",
      f"in sentences of {LONGEST} words {first:.0%} of the first three words are right, of the second half {rest:.0%}, where guessing has at most "
      f"{1 / len(NOUNS):.0%}", first > rest + (0.15 if QUICK else 0.3))

# %%
# Is it a matter of room?
# -----------------------
# A vector of fixed length holds a fixed number of bits, and so the notes speak of a bottle's neck. How many would be
# needed? There are :math:`S_n = 8\,S_{n-1} + 64\,S_{n-2}` sentences of *n* words: one that ends with a noun alone, or with an
# adjective and a noun.
sentences = [1, len(NOUNS)]
while len(sentences) <= LONGEST:
    sentences.append(len(NOUNS) * sentences[-1] + len(NOUNS) * len(ADJECTIVES) * sentences[-2])
needed, room = np.log2(float(sentences[LONGEST])), 32 * MODELS[NONE].d_model
wider = "" if QUICK else (f". With {MODELS[WIDE].d_model} features and {sizes[WIDE] / sizes[NONE]:.1f} times the parameters it breaks at {breaks(WIDE)} words instead of {breaks(NONE)}")
myth("the last state is too small for a long sentence",
     f"{LONGEST} words are {needed:.0f} bits, and the state has {MODELS[NONE].d_model} numbers of 32 bits, {room:,}{wider}. There is room; what is hard is to learn to pack "
     "a sentence into it, word over word, and to unpack it", needed < room / 10 and (QUICK or breaks(WIDE) is not None))

# %%
figure, axes = panels(1, 3, size=(14, 4.2))
LOOKS = {NONE: (ORANGE, "o-"), ADDITIVE: (GREEN, "s-"), DOT: (PURPLE, "^-"), TRANSFORMER: (BLUE, "D-"), WIDE: (ORANGE, "v:")}


def draw(one, name, x, y, **options):
    colour, look = LOOKS[name]
    one.plot(x, y, look, color=colour, markersize=5, label=name, **options)


for column, (one, title) in enumerate(zip(axes, ("Whole sentences right (%)", "BLEU"))):
    for name, values in found.items():
        draw(one, name, LENGTHS, values[:, column])
    one.set(title=title, xlabel="words of the sentence", ylim=(-3, 103), xticks=LENGTHS[::2])
for name, right in places.items():
    draw(axes[2], name, range(1, LONGEST + 1), 100 * right, markevery=max(1, LONGEST // 8))
axes[2].set(title=f"Right words in sentences of {LONGEST} (%)", xlabel="place in the sentence", ylim=(-3, 103), xticks=LENGTHS[::2])
axes[0].legend(frameon=False, loc="center right")
picture(figure, "11_the_bottleneck",
        "Left and middle: translations of sentences of each length. Right: in the longest ones, how often the word at each place is right. "
        "All took the same steps" + ("." if QUICK else ", and all but the dotted one have as many parameters."))

# %%
# What to remember
# ----------------
# The bottleneck is real, and it is on the axis of length: a few words get through, and what lies behind them is lost,
# from the end of the translation backwards. Attention does away with it, by any score, in a recurrent model as in the Transformer.
# But it is not that a vector could not hold a sentence. What attention gives is a short way from each word that is said
# to the word that is meant, and it is on short ways that gradients learn.
