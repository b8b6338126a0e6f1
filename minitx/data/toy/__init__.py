"""The toy languages: one meaning, several languages, exactly one right translation.

meanings.py says what can be meant and scenes.py draws it at random; lexicon.py is the vocabulary; english.py,
spanish.py, korean.py and chinese.py each put a meaning into words, and rules.py explains the rules they name;
splits.py makes corpora. examples/add_a_language.py adds a fifth language.
"""

from .chinese import CHINESE
from .describe import describe
from .english import ENGLISH
from .korean import KOREAN
from .language import LANGUAGES, Language, Sentence, Word, parse_pair, register
from .rules import RULES
from .scenes import Scenes
from .spanish import SPANISH
from .splits import Corpus, Example, corpus

__all__ = [
    "LANGUAGES", "RULES", "Corpus", "Example", "Language", "Scenes", "Sentence", "Word",
    "corpus", "describe", "parse_pair", "register",
]

for _language in (ENGLISH, SPANISH, KOREAN, CHINESE):
    register(_language)
