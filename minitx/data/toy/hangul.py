"""Hangul syllables are numbers: 가 is U+AC00, and lead consonant, vowel and final consonant count up from there.

So the endings of Korean words, which depend on the last sound, are arithmetic (The Unicode Standard, section 3.12).
"""

_FIRST, _VOWELS, _FINALS = 0xAC00, 21, 28
_VOWEL = dict(zip("ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ", range(_VOWELS), strict=True))
_FINAL = dict(zip(" ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ", range(_FINALS), strict=True))
_VOWEL_NAMES, _FINAL_NAMES = "".join(_VOWEL), "".join(_FINAL)

# What the vowel of a stem and the 아 or 어 of an ending become together: 보 + 았 = 봤, 마시 + 었 = 마셨.
_CONTRACTED = {"ㅏ": "ㅏ", "ㅓ": "ㅓ", "ㅐ": "ㅐ", "ㅔ": "ㅔ", "ㅗ": "ㅘ", "ㅜ": "ㅝ", "ㅣ": "ㅕ"}


def vowel(word: str) -> str:
    """The vowel of the last syllable: 곰 has ㅗ."""
    return _VOWEL_NAMES[(ord(word[-1]) - _FIRST) // _FINALS % _VOWELS]


def final(word: str) -> str:
    """The final consonant (batchim) of the last syllable, a space where there is none: 곰 has ㅁ."""
    return _FINAL_NAMES[(ord(word[-1]) - _FIRST) % _FINALS]


def with_final(word: str, consonant: str) -> str:
    """The word with another final consonant: 가 with ㄴ is 간, 팔 with a space is 파."""
    code = ord(word[-1]) - _FIRST
    return word[:-1] + chr(_FIRST + code - code % _FINALS + _FINAL[consonant])


def with_vowel(word: str, new: str) -> str:
    """The word with another last vowel: 쓰 with ㅓ is 써."""
    return word[:-1] + chr(ord(word[-1]) + (_VOWEL[new] - _VOWEL[vowel(word)]) * _FINALS)


def attach(word: str, after_vowel: str, after_consonant: str) -> str:
    """The particle that suits the last sound: attach("개", "는", "은") is 개는, of 말 it is 말은."""
    return word + (after_vowel if final(word) == " " else after_consonant)


# Endings of verbs and adjectives. A stem is the dictionary form without 다.


def with_n_or_l(stem: str, consonant: str) -> str:
    """-(으)ㄴ and -(으)ㄹ: 크, 큰; 먹, 먹을; 팔, 판; 무겁, 무거운; 빨갛, 빨간. All stems in ㅂ here soften it to 우."""
    match final(stem):
        case " " | "ㄹ" | "ㅎ":
            return with_final(stem, consonant)
        case "ㅂ":
            return with_final(stem, " ") + with_final("우", consonant)
        case _:
            return stem + with_final("으", consonant)


def before_n(stem: str) -> str:
    """ㄹ falls before ㄴ: 팔 + 는 is 파는."""
    return with_final(stem, " ") if final(stem) == "ㄹ" else stem


def plain_present(stem: str) -> str:
    """The plain present of a verb: 자, 잔다; 먹, 먹는다; 팔, 판다."""
    return with_final(stem, "ㄴ") + "다" if final(stem) in " ㄹ" else stem + "는다"


def past_stem(stem: str) -> str:
    """-았/었 by vowel harmony, drawn together after a vowel: 먹, 먹었; 찾, 찾았; 보, 봤; 하, 했; 쓰, 썼; 돕, 도왔."""
    if stem.endswith("하"):
        return stem[:-1] + "했"
    if final(stem) == "ㅂ":
        return with_final(stem, " ") + ("왔" if vowel(stem) in "ㅏㅗ" else "웠")
    if final(stem) != " ":
        return stem + ("았" if vowel(stem) in "ㅏㅗ" else "었")
    if vowel(stem) == "ㅡ":
        bright = len(stem) > 1 and vowel(stem[:-1]) in "ㅏㅗ"
        return with_final(with_vowel(stem, "ㅏ" if bright else "ㅓ"), "ㅆ")
    if vowel(stem) in _CONTRACTED:
        return with_final(with_vowel(stem, _CONTRACTED[vowel(stem)]), "ㅆ")
    return stem + "었"
