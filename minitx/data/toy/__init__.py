"""The toy languages: one meaning, several languages, exactly one right translation.

meanings.py says what can be meant and scenes.py draws it at random; lexicon.py is the vocabulary; english.py, spanish.py,
korean.py and chinese.py each put a meaning into words; splits.py makes corpora. examples/add_a_language.py adds a fifth.
"""

from minitx.data.toy.chinese import CHINESE
from minitx.data.toy.describe import describe
from minitx.data.toy.english import ENGLISH
from minitx.data.toy.korean import KOREAN
from minitx.data.toy.language import LANGUAGES, Language, Sentence, Word, parse_pair, register
from minitx.data.toy.rules import RULES
from minitx.data.toy.scenes import Scenes
from minitx.data.toy.spanish import SPANISH
from minitx.data.toy.splits import Corpus, Example, corpus

__all__ = [
    "LANGUAGES", "RULES", "Corpus", "Example", "Language", "Scenes", "Sentence", "Word",
    "corpus", "describe", "parse_pair", "register",
]  # fmt: skip

for _language in (ENGLISH, SPANISH, KOREAN, CHINESE):
    register(_language)
