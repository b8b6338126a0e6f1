"""The moments of a run at which there is something to see, each a method of `Silent`, which shows nothing; see `console`.

A trainer calls nothing here before its data and its run folder are known to be good, so that a refused run prints its error alone.
"""


class Silent:
    """Says nothing: for use from Python and for tests."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Leaves the terminal as it was found, whatever happened."""

    def note(self, text):
        """One sentence that fits nowhere else: a resumed run, an early stop, a missing font."""

    def machine(self, info):
        """What the run computes on: `threads.describe()`, and under "cuda" the GPU that the run is on, or why it is not on one."""

    def compiling(self, titles, count):
        """Go through `titles`, which names each of `count` kernels before it is compiled."""
        for _ in titles:
            pass

    def data(self, source, target, sizes, tokenizer, vocabularies):
        """The corpus: both languages, {split: number of pairs}, the tokenizer and the two vocabularies' sizes."""

    def text(self, name, sizes, tokenizer, vocabulary):
        """The text of a language model: its name, {part: number of tokens}, the tokenizer and the vocabulary's size."""

    def excerpt(self, text):
        """Some lines of it."""

    def next_token(self, tokens):
        """What a language model reads and what it shall predict, for the first tokens of a text."""

    def examples(self, pairs):
        """A few (source, target) sentences of the training data."""

    def teacher_forcing(self, source_tokens, target_tokens):
        """What encoder and decoder read and what the decoder shall predict, for one pair; without special tokens."""

    def prefix(self, source_tokens, target_tokens):
        """What a language model that translates reads and predicts, for one pair; without special tokens."""

    def model(self, parameters, settings):
        """The number of parameters and the settings that they follow from."""

    def plan(self, steps, seconds, first=0):
        """The number of updates in all, of which `first` are done, and an estimate of the time that the others take."""

    def step(self, step, loss, tokens_per_second, learning_rate, eta):
        """Update number `step` is done; `eta` is the time left in seconds. Cheap enough to call each time."""

    def validation(self, step, metrics, samples, best):
        """{"loss", "perplexity", "token_accuracy", "exact_match", "bleu"} (those there are), (source, reference,
        hypothesis) samples, where a language model's have no reference, and whether it is the best so far."""

    def trained(self, steps, seconds, spent):
        """The run is done: its updates and seconds since it was started or resumed, and {what: seconds} that were not spent on updates."""

    def sample(self, prompt, continuation):
        """What a language model makes of a prompt."""

    def distribution(self, prompt, tokens):
        """What may come after a prompt: `NextToken`s, the most probable first."""

    def scores(self, splits, rules=None, signature=None):
        """{split: {"exact_match", "bleu", "loss"}}, {rule: {"accuracy", "count"}} and sacrebleu's signature."""

    def speed(self, sentences, seconds, beam):
        """How long it took to translate so many sentences."""

    def text_scores(self, scores, lengths):
        """[{"measure", "form", "score", "signature"}], and [{"words", "sentences", "bleu"}] by the length of the source."""

    def picture(self, path):
        """Where a picture of what was told last is."""

    def attention(self, source_tokens, target_tokens, matrix):
        """How much each target token looked at each source token: a matrix of (target time, source time)."""

    def finished(self, run, splits, rules, pictures, command, signature=None):
        """The scores, the pictures that were saved and the next command to type."""

    def interrupted(self, run):
        """The run in folder `run` was stopped, and saved."""
