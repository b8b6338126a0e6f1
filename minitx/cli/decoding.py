"""The commands `minitx translate` and `minitx generate`: what a trained model says."""
import codecs
import sys
import warnings
from itertools import chain
from pathlib import Path
from typing import Literal

from ..errors import UserError
from .typed import Runs, Switch, Texts, Typed, Whole, check_beam, decoded, require, translator_of, typed


def translate(
    run: Path,
    /,
    *text: str,
    beam: Whole = 1,
    n_best: Whole = 1,
    alpha: float = 1.0,
    beta: float = 0.0,
    samples: Whole = 0,
    temperature: float = 1.0,
    top_k: Whole = 0,
    top_p: float = 1.0,
    seed: Whole = 0,
    prefix: Typed = "",
    ensemble: Runs | None = None,
    copy_unknown: Switch = False,
    tokenised: Switch = False,
    show_attention: Switch = False,
    device: Literal["cpu", "cuda"] = "cpu",
):
    """Translate sentences, typed or from standard input.

    Without any text, every line of standard input gives one line of translation.

    Parameters
    ----------
    run
        folder of the run that minitx train made
    text
        sentences, each in quotes; those that begin with a dash stand behind --
    beam
        hypotheses kept by the search; 1 is greedy
    n_best
        translations shown of each sentence, as its number, a score and the text
    alpha
        power of the length by which a beam divides log P; 0 prefers short translations
    beta
        weight of the coverage penalty: above 0, a beam leaves fewer words out; about 0.01 beside alpha 1, 0.2 beside alpha 0.2
    samples
        draw so many translations instead of searching, shown as with --n-best
    temperature
        of samples: above 1 bolder, below 1 safer
    top_k
        of samples: only the k most probable words may be said; 0: all
    top_p
        of samples: only the most probable words that together have this probability; 1: all
    seed
        of samples: another seed, other translations
    prefix
        text that every translation begins with; subwords may go on with its last word
    ensemble
        another run with the same vocabularies, to translate together; several times for several
    copy_unknown
        put the word that the decoder looked at in the place of <unk>
    tokenised
        read and write text as the model was trained on it, where that has its punctuation apart
    show_attention
        draw where the decoder looked when it wrote each word
    device
        where to compute
    """
    check_beam(beam, alpha, beta)
    for name, value, plain in (("temperature", temperature, 1.0), ("top_k", top_k, 0), ("top_p", top_p, 1.0), ("seed", seed, 0)):
        if not samples and value != plain:
            raise UserError(f"{name} is {value}, but nothing is drawn; add --samples 3, or drop --{name.replace('_', '-')}")
    if samples and n_best > 1:
        raise UserError(f"n_best is {n_best}, but of {samples} samples all are shown; drop --n-best")
    if samples < 0 or samples and beam > 1:
        raise UserError(f"samples is {samples}{' and beam is ' + str(beam) if beam > 1 else ''}: draw one translation or more, or search; drop one of the two")
    if not 1 <= n_best <= beam:
        raise UserError(f"n_best is {n_best} but beam keeps {beam}; take --beam {max(n_best, 1)} or a smaller --n-best")
    require(device)
    from ..console import Console

    translator, console, number = translator_of(run, device=device, ensemble=ensemble or ()), Console(), 0
    if (show_attention or copy_unknown) and translator.settings.score == "none":
        flag = "--show-attention" if show_attention else "--copy-unknown"
        raise UserError(f"{run} has no attention: it was trained with --score none; drop {flag}")
    options = {"prefix": typed(prefix), "copy_unknown": copy_unknown, "tokenised": tokenised}
    for lines in [[typed(line) for line in text]] if text else _lines_of_stdin():
        _warn_of_unknown_words(translator, lines, number)
        if samples:
            found = translator.sample(lines, samples, seed, temperature=temperature, top_k=top_k, top_p=top_p, **options)
        else:
            found = translator.translate(lines, beam=beam, n_best=n_best, alpha=alpha, beta=beta, **options)
        for line, result in zip(lines, found, strict=True):
            number += 1
            hypotheses = [result] if isinstance(result, str) else [f"{number}\t{one.score:.4f}\t{one.text}" for one in result]
            print(*hypotheses, sep="\n")
            if show_attention and line.strip():
                console.attention(*translator.attention(line, beam=beam))
        sys.stdout.flush()


def _lines_of_stdin():
    """Lists of lines, as soon as they have come: a pipe gives many at once, a person one."""
    if sys.stdin is None:  # closed by whoever started us
        return
    if sys.stdin.isatty():
        print("one sentence a line; Ctrl-D ends", file=sys.stderr)
    rest, start = b"", True
    # read1 waits for the first bytes only, so a program that waits for each answer gets it.
    while chunk := sys.stdin.buffer.read1(1 << 16):
        chunk, start = chunk.removeprefix(codecs.BOM_UTF8) if start else chunk, False
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield [decoded(line.removesuffix(b"\r")) for line in lines]
    if rest:
        yield [decoded(rest)]


def _warn_of_unknown_words(translator, lines, number):
    for place, line in enumerate(lines, number + 1):
        if words := translator.unknown(line):
            warnings.warn(f"sentence {place}: never seen in training: {', '.join(words)}")


def generate(
    run: Path,
    /,
    *,
    prompt: Texts | None = None,
    n: Whole = 1,
    max_tokens: Whole = 200,
    temperature: float = 1.0,
    top_k: Whole = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    stop: Texts | None = None,
    seed: Whole = 0,
    stream: Switch = False,
    show_distribution: Switch = False,
    out: Path | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
):
    """Go on with a text, by a language model.

    Tokens are drawn from the model's probabilities, as the flags below change them.

    Parameters
    ----------
    run
        folder of the run that minitx train --text made, or of a pretrained model (GPT-2 or Llama, as Hugging Face stores them)
    prompt
        what to go on with; several times for several texts in one batch [default: the start of a line]
    n
        samples of each prompt
    max_tokens
        most tokens of each sample
    temperature
        above 1 bolder, below 1 safer; 0: always the most probable token
    top_k
        only the k most probable tokens may be said; 0: all
    top_p
        only the most probable tokens that together have this probability; 1: all
    min_p
        only tokens with at least this share of the highest probability; 0: all
    repetition_penalty
        above 1, what has been said becomes less likely
    stop
        end a sample before this text; several times for several
    seed
        another seed, other texts
    stream
        show the text as it comes
    show_distribution
        show how likely each next token is, instead of going on
    out
        with --show-distribution: a PNG file for the picture of it
    device
        where to compute
    """
    prompts, stop = ([typed(text, keep_lines=True) for text in texts] for texts in (prompt or [""], stop or []))
    sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "repetition_penalty": repetition_penalty}
    if not 1 <= n <= 10_000:
        raise UserError(f"n is {n} but must be a whole number from 1 to 10,000")
    if (stream or show_distribution) and len(prompts) * n > 1:
        raise UserError(f"{'stream' if stream else 'show_distribution'} is for one text, but {len(prompts) * n} are asked for; give one --prompt and no --n")
    if stream and show_distribution:
        raise UserError("stream goes on with the text and show_distribution does not; drop one of the two")
    if out is not None and not show_distribution:
        raise UserError("out is for the picture that --show-distribution draws; add --show-distribution")
    require(device)
    import minitx

    generator = minitx.load(run, device=device)
    if not hasattr(generator, "generate"):
        raise UserError(f"{run} is a translator; use it with minitx translate, or train a language model: minitx train --text FILE")
    for number, text in enumerate(prompts, 1):
        if unknown := generator.unknown(text):
            warnings.warn(f"prompt {number}: never seen in training: {', '.join(map(repr, unknown))}")
    if show_distribution:
        _show_distribution(generator, prompts[0], sampling, out)
    elif stream:
        for piece in chain(prompts, generator.stream(prompts[0], max_tokens=max_tokens, stop=stop, seed=seed, **sampling)):
            print(piece, end="", flush=True)
        print()
    else:
        found = generator.generate(prompts, n=n, max_tokens=max_tokens, stop=stop, seed=seed, **sampling)
        texts = [text + one for text, samples in zip(prompts, found) for one in (samples if n > 1 else [samples])]
        for number, text in enumerate(texts, 1):
            if len(texts) > 1:
                print(f"── {number} of {len(texts)} ──")
            print(text)


def _show_distribution(generator, prompt, sampling, out):
    """The most probable next tokens as a table and, with `out`, as a picture."""
    from ..console import Console

    found = generator.next_tokens(prompt, **sampling)
    Console().distribution(prompt, found)
    if out is not None:
        from ..plots import distribution

        if missing_font := distribution(found, out):
            warnings.warn(missing_font)
