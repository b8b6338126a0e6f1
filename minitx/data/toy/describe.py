"""Sentences for people: each word of a translation with the rules that made it, in columns."""

import textwrap
from unicodedata import combining, east_asian_width

from .language import LANGUAGES, parse_pair
from .rules import RULES
from .scenes import Scenes

DESCRIBE_STREAM = 6


def describe(pair: str, n: int = 5, seed: int = 0) -> str:
    """Plain text: n sentences of the pair, their translations word by word with the rules, and what those rules say."""
    source, target = (LANGUAGES[code] for code in parse_pair(pair))
    scenes, lines, used = Scenes(seed, DESCRIBE_STREAM), [], set()
    for scene in (scenes.draw() for _ in range(n)):
        translation = target.realise(scene)
        lines += [f"{source.code}  {source.realise(scene)}", f"{target.code}  {translation}", ""]
        column = 2 + max(width(word.text) for word in translation.words)
        for text, rules in translation.words:
            lines.append(f"    {pad(text, column)}{', '.join(rules)}".rstrip())
            used.update(rules)
        lines.append("")
    column = 2 + max(map(width, used), default=0)
    lines.append("Rules")
    for rule in sorted(used, key=list(RULES).index):
        first, *rest = textwrap.wrap(RULES[rule], 96 - column)
        lines += [f"  {pad(rule, column)}{first}"] + [f"  {pad('', column)}{line}" for line in rest]
    return "\n".join(lines)


def width(text: str) -> int:
    """The columns that a text takes in a terminal, where Korean and Chinese characters are twice as wide."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, columns: int) -> str:
    """The text, filled with spaces to so many columns."""
    return text + " " * (columns - width(text))
