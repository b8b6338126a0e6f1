"""What a user sees while a run is made: each moment of it that `Silent` names, with a progress bar and colours on a terminal, as plain lines elsewhere."""
import difflib
import shlex
import time

from rich.cells import cell_len, set_cell_size
from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from .silent import Silent

SHADES = " ░▒▓█"
_PLAIN_SECONDS = 10  # between two lines of progress where there is no terminal


class Console(Silent):
    """Shows a run on `file` (standard output when None) for a person; `preset` is named with the data."""

    def __init__(self, file=None, preset=None, width=None):
        self._rich = RichConsole(file=file, width=width, highlight=False, markup=False, emoji=False)
        self._live = self._rich.is_terminal
        self._preset = preset
        self._progress = self._task = None
        self._steps = 0
        self._shown = -_PLAIN_SECONDS

    def __exit__(self, *error):
        self._stop()

    def note(self, text):
        self._line(text)

    def machine(self, info):
        threads = f"{_count(info['threads'], 'thread')} ({info['threading_layer']})"
        parts = [_count(info["cores"], "core"), threads, f"BLAS: {info['blas']}"]
        parts += [f"CUDA: {info['cuda']}"] if "cuda" in info else []
        self._line(" · ".join(parts), style="dim")

    def compiling(self, titles, count):
        if not count:
            return
        if not self._live:
            self._line(f"compiling {_count(count, 'kernel')}, once")
            super().compiling(titles, count)
            return
        columns = TextColumn("compiling kernels, once"), BarColumn(bar_width=24), TextColumn("{task.description}")
        with Progress(*columns, console=self._rich, auto_refresh=False, transient=True) as progress:
            task = progress.add_task("", total=count)
            for done, title in enumerate(titles):
                progress.update(task, completed=done, description=title, refresh=True)
        self._line(f"compiled {_count(count, 'kernel')}, kept for the next time", style="dim")

    def data(self, source, target, sizes, tokenizer, vocabularies):
        self._heading(f"{source} → {target}")
        self._line(", ".join(f"{size:,} {name.replace('_', ' ')}" for name, size in sizes.items()), indent=2)
        self._line(f"tokens are {tokenizer}: a vocabulary of {vocabularies[0]:,} and of {vocabularies[1]:,}", indent=2)
        self._about_preset()

    def text(self, name, sizes, tokenizer, vocabulary):
        self._heading(f"Learning to go on with {name}")
        self._line(", ".join(f"{size:,} tokens {part}" for part, size in sizes.items()), indent=2)
        self._line(f"tokens are {tokenizer}: a vocabulary of {vocabulary:,}", indent=2)
        self._about_preset()

    def excerpt(self, text):
        self._heading("It begins")
        for line in text.split("\n"):
            self._line(line, indent=2, style="green")

    def next_token(self, tokens):
        self._heading("Behind every token the model shall predict the next one")
        self._table({"it reads": tokens[:-1], "and predicts": tokens[1:]})

    def examples(self, pairs):
        self._heading("For example")
        for source, target in pairs:
            self._line(source, indent=2)
            self._line(target, indent=4, style="green")

    def teacher_forcing(self, source_tokens, target_tokens):
        self._heading("Teacher forcing: behind every word the decoder shall predict the next one")
        self._table({"encoder reads": [*source_tokens, "<eos>"]})
        self._table({"decoder reads": ["<bos>", *target_tokens], "and predicts": [*target_tokens, "<eos>"]})

    def prefix(self, source_tokens, target_tokens):
        self._heading("One sequence: behind every word of the target the model shall predict the next one")
        reads = [*source_tokens, "<eos>", "<bos>", *target_tokens]
        self._table({"it reads": reads, "and predicts": [""] * (len(source_tokens) + 1) + [*target_tokens, "<eos>"]})

    def model(self, parameters, settings):
        self._heading(f"Model: {parameters:,} parameters")
        both = "" if settings.model == "decoder-only" else f"{settings.n_layers} + "
        layers, of = f"{both}{_count(settings.n_layers, 'layer')}", f"d_model {settings.d_model}"
        kind = [_count(settings.n_heads, 'head'), of, f"d_ff {settings.d_ff}", f"{settings.norm}-norm"]
        if settings.normalization != "layer":
            kind.append(f"{settings.normalization} norm")
        if settings.experts > 1:
            kind.append(f"{settings.experts} experts, {settings.experts_per_token} for each token")
        if settings.model == "recurrent":
            kind = [settings.cell.upper(), of, f"{'no' if settings.score == 'none' else settings.score} attention"]
        self._line(", ".join([settings.model, layers, *kind]), indent=2)

    def plan(self, steps, seconds, first=0):
        self._steps = steps
        self._heading(f"Training: {_count(steps - first, 'step')}, about {_duration(seconds)}")

    def step(self, step, loss, tokens_per_second, learning_rate, eta):
        now = time.monotonic()
        if now - self._shown < (0.2 if self._live else _PLAIN_SECONDS) and step != self._steps:
            return
        self._shown = now
        if self._live:
            self._advance(step, loss, tokens_per_second, eta)
        else:
            self._line(f"step {step}/{self._steps}  loss {loss:.3f}  {tokens_per_second:,.0f} tokens/s  "
                       f"learning rate {learning_rate:.2g}  {_duration(eta)} left")

    def validation(self, step, metrics, samples, best):
        head = Text(f"step {step}  ", style="bold")
        head.append(_metrics(metrics))
        if best:
            head.append("  ★ best so far", style="bold yellow")
        self._line()
        self._line(head)
        for source, reference, hypothesis in samples:
            if reference is None:
                self._passage(source, hypothesis)
                continue
            self._line(source, indent=2, style="dim")
            self._line(marked(reference, hypothesis), indent=4)
            if hypothesis != reference:
                self._line(Text("should be ", style="dim").append(reference, style="green"), indent=4)

    def trained(self, steps, seconds, spent):
        self._stop()
        self._line()
        shares = ", ".join(f"{one / max(seconds, 1e-9):.1%} on {what}" for what, one in spent.items())
        self._line(f"{_count(steps, 'step')} in {_duration(seconds)}, of which {shares}")

    def sample(self, prompt, continuation):
        self._stop()
        self._heading("What it writes now")
        self._passage(prompt, continuation)

    def distribution(self, prompt, tokens):
        changed = any(abs(one.chance - one.probability) > 5e-5 for one in tokens)
        head = f"{'probability':>11}" + (f"{'drawn with':>12}" if changed else "")
        width = max(cell_len(repr(one.token)) for one in tokens)
        bar = max(0, min(40, self._rich.width - width - len(head) - 4))
        self._line(" " * width + head, style="dim")
        for one in tokens:
            line = Text(set_cell_size(repr(one.token), width))
            line.append(f"{one.probability:11.2%}")
            if changed:
                line.append(f"{one.chance:12.2%}" if one.chance else f"{'–':>12}", style="" if one.chance else "dim")
            line.append("  " + "━" * round(one.chance * bar), style="cyan")
            line.rstrip()
            self._line(line)

    def scores(self, splits, rules=None, signature=None):
        if splits:
            names = {name: name.replace("_", " ") for name in splits}
            width = max(map(cell_len, names.values()))
            self._heading("Scores")
            for name, metrics in splits.items():
                self._line(f"{set_cell_size(names[name], width)}  {_metrics(metrics)}", indent=2)
            if signature:
                self._line(f"BLEU by sacrebleu, {signature}", indent=2, style="dim")
        if rules:
            self._rules(rules)

    def speed(self, sentences, seconds, beam):
        search = f"beam {beam}" if beam > 1 else "greedy"
        self._line(f"{_count(sentences, 'sentence')} in {seconds:.1f} s, {sentences / seconds:,.0f} a second: {search}; loading and compiling not counted", indent=2)

    def text_scores(self, scores, lengths):
        self._heading("As papers report it, by sacrebleu")
        for one in scores:
            line = Text(f"{one['measure']} {one['score']:5.1f}  {one['form']:<21}  ")
            self._line(line.append(one["signature"], style="dim"), indent=2)
        self._heading("BLEU by the words of the source")
        width, most = max(len(group["words"]) for group in lengths), max(group["bleu"] for group in lengths) or 1
        for group in lengths:
            line = Text(f"{group['words']:>{width}}  {group['bleu']:5.1f}  ")
            line.append(("━" * round(20 * group["bleu"] / most)).ljust(20), style="cyan").append(f"  {_count(group['sentences'], 'sentence')}", style="dim")
            self._line(line, indent=2)

    def picture(self, path):
        self._line(str(path), indent=2)

    def attention(self, source_tokens, target_tokens, matrix):
        self._stop()
        self._heading("Attention: where the decoder looked (→) when it wrote each word (↓)")
        for line in attention_lines(source_tokens, target_tokens, matrix, self._rich.width - 2):
            self._rich.print(Text("  ").append_text(line), soft_wrap=True)

    def finished(self, run, splits, rules, pictures, command, signature=None):
        self._stop()
        self.scores(splits, rules, signature)
        self._heading(f"Saved in {run}")
        for picture in pictures:
            self.picture(picture)
        self._line()
        self._line(Text("Next: ", style="bold").append(command, style="bold cyan"))

    def interrupted(self, run):
        self._stop()
        self._line(f"saved; go on with: minitx train --resume {shlex.quote(str(run))}")

    def _passage(self, prompt, continuation):
        for line in Text(prompt, style="dim").append(continuation, style="not dim").split("\n", allow_blank=True):
            self._line(line, indent=4)

    def _about_preset(self):
        if self._preset:
            about = f"preset {self._preset}; every setting is a flag, see minitx train --help"
            self._line(about, indent=2, style="dim")

    def _rules(self, rules):
        self._heading("Words right, by grammar rule, in sentences of ordinary length")
        broken = {name: rule for name, rule in rules.items() if rule["accuracy"] < 1}
        width = max(map(cell_len, broken), default=0)
        bar = 20 if self._rich.width >= width + 44 else 0
        for name, rule in sorted(broken.items(), key=lambda item: item[1]["accuracy"]):
            share = rule["accuracy"]
            line = Text(f"{set_cell_size(name, width)}  {share:6.1%}  ")
            line.append(("━" * round(share * bar)).ljust(bar), style="green" if share > 0.98 else "yellow")
            line.append(f" of {rule['count']:,}", style="dim")
            self._line(line, indent=2)
        if len(broken) < len(rules):
            self._line(f"all right: {', '.join(name for name in rules if name not in broken)}", indent=2, style="green")

    def _table(self, rows):
        """Rows of tokens, token over token, broken into blocks where the terminal is too narrow."""
        label = max(map(cell_len, rows)) + 2
        widths = [max(map(cell_len, tokens)) + 2 for tokens in zip(*rows.values())]
        for first, last in _blocks(widths, self._rich.width - 2 - label):
            for name, tokens in rows.items():
                line = Text("  ").append(set_cell_size(name, label), style="dim")
                for token, width in zip(tokens[first:last], widths[first:last]):
                    line.append(set_cell_size(token, width), style="cyan" if token.startswith("<") else "")
                line.rstrip()
                self._rich.print(line, soft_wrap=True)

    def _advance(self, step, loss, tokens_per_second, eta):
        if self._progress is None:
            done, state = TextColumn("{task.completed}/{task.total}"), TextColumn("{task.description}")
            self._progress = Progress(done, BarColumn(bar_width=None), state,
                                      console=self._rich, auto_refresh=False, transient=True, expand=True)
            self._task = self._progress.add_task("", total=self._steps)
            self._progress.start()
        speed = f"  {tokens_per_second:,.0f} tokens/s" if self._rich.width >= 70 else ""
        state = f"loss {loss:.3f}{speed}  {_duration(eta)} left"
        self._progress.update(self._task, completed=step, description=state, refresh=True)

    def _stop(self):
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _heading(self, text):
        self._line()
        self._line(text, style="bold")

    def _line(self, text="", indent=0, style=""):
        text = Text(text, style=style) if isinstance(text, str) else text
        lines = text.wrap(self._rich, max(20, self._rich.width - indent)) if self._live else [text]
        for line in lines:
            self._rich.print(Text(" " * indent).append_text(line), soft_wrap=True)


_RAMBLING = 5  # words too many that are still shown


def marked(reference, hypothesis):
    """`hypothesis` with [wrong words] in brackets and red, […] where words are missing, and ✓ when all is right."""
    if hypothesis == reference:
        return Text(f"{hypothesis} ✓", style="green")
    right, wrong, space = _words(reference)[0], *_words(hypothesis)
    if len(wrong) > len(right) + _RAMBLING:  # a model that has not learnt to stop
        wrong = [*wrong[:len(right) + _RAMBLING], "…"]
    parts = []
    for change, i, j, k, l in difflib.SequenceMatcher(None, right, wrong, autojunk=False).get_opcodes():
        if change == "equal":
            parts += [Text(word) for word in wrong[k:l]]
        else:
            parts += [Text(f"[{word}]", style="bold red") for word in wrong[k:l]] or [Text("[…]", style="bold red")]
    return Text(space).join(parts)


def attention_lines(source_tokens, target_tokens, matrix, width):
    """The map of attention as lines of text: a row for a target token, a column for a source token, darker is more.

    Source words stand side by side where they fit into `width` cells, letter under letter otherwise; a map still too
    wide is cut into blocks.
    """
    label = min(14, max(map(cell_len, target_tokens), default=0)) + 1
    widths = [max(2, cell_len(token)) + 1 for token in source_tokens]
    upright = sum(widths) > width - label
    if upright:
        widths = [3 if 3 * len(source_tokens) <= width - label else 2] * len(source_tokens)
    most = max((float(value) for row in matrix for value in row), default=0) or 1
    lines = []
    for first, last in _blocks(widths, width - label):
        for row in _letters(source_tokens[first:last]) if upright else [source_tokens[first:last]]:
            cells = (set_cell_size(token, column) for token, column in zip(row, widths[first:last]))
            lines.append(Text(" " * label + "".join(cells).rstrip(), style="dim"))
        for token, row in zip(target_tokens, matrix):
            line = Text(_fitted(token, label - 1) + " ")
            for value, column in zip(row[first:last], widths[first:last]):
                shade = SHADES[min(len(SHADES) - 1, int(float(value) / most * len(SHADES)))]
                gap = column > 2
                line.append(shade * (column - gap) + " " * gap, style="cyan")
            line.rstrip()
            lines.append(line)
    return lines


def _letters(tokens, most=12):
    """Rows of letters, so that each token reads from top to bottom and ends on the last row."""
    tokens = [token if len(token) <= most else token[:most - 1] + "…" for token in tokens]
    height = max(map(len, tokens), default=0)
    return [[token.rjust(height)[row] for token in tokens] for row in range(height)]


def _blocks(widths, room):
    """(first, last) of runs of columns that fit into `room` cells."""
    first, used = 0, 0
    for column, width in enumerate(widths):
        if used + width > room and column > first:
            yield first, column
            first, used = column, 0
        used += width
    if first < len(widths):
        yield first, len(widths)


def _fitted(token, width):
    """`token` flush right in `width` cells, cut with … when it is longer."""
    if cell_len(token) > width:
        token = set_cell_size(token, width - 1).rstrip() + "…"
    return " " * (width - cell_len(token)) + token


def _words(text):
    """The words of a sentence and what stands between them: its characters where it is written without spaces."""
    if " " not in text and cell_len(text) > len(text):
        return list(text), ""
    return text.split(), " "


def _metrics(metrics):
    shown = {"loss": "loss {:.3f}", "perplexity": "perplexity {:.2f}", "token_accuracy": "tokens {:.1%}",
             "exact_match": "exact match {:.1%}", "bleu": "BLEU {:.1f}"}
    return "  ".join(form.format(metrics[name]) for name, form in shown.items() if metrics.get(name) is not None)


def _count(number, noun):
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _duration(seconds):
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min {seconds:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
