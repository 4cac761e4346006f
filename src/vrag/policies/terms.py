"""Content words of a question, and the terms by which words of a page match them, in any script."""

from __future__ import annotations

import re
import unicodedata

from vrag.index.tokens import query_tokens

# English, German, French, Spanish; what carries no content in a question
_STOP = """
    a an and any are as at be by can could did do does for from given has have how i if in into is it its
    looking many may me mean much must need of on one or shall should state tell than that the their them
    there these they this those to was we were what when where which who whom whose why will with would you
    your am auf aus bei das dass dem den der des die ein eine einem einen einer eines er es für hat im ist
    mit nach sich sind und viel viele vom von wann warum was welche welchem welchen welcher welches wer wie
    wieviel wird wo wurde zu zum zur au aux avec ce cette combien comment dans de des du elle en est et il
    la le les leur où par pour pourquoi quand que quel quelle quelles quels qui quoi sont sur un une al como
    con cuál cuándo cuánta cuántas cuánto cuántos del dónde el ella en es esta este fue hay las lo los más
    para por qué quién se son su sus una unas uno unos y
    """
_STOP_WORDS = frozenset(_STOP.split())
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Han: written without spaces
_CJK_STOP = re.compile(
    "什么|多少|哪些|哪个|哪里|怎么|如何|几个|为什么|请问|是|的|了|吗|呢|在|有|いくら|です|どの|何|か|は|の|を|が"
)
_WORD = re.compile(rf"[{_CJK}]+|(?:(?![{_CJK}])\w)+(?:[-.,:/'’&](?:(?![{_CJK}])\w)+)*")
_HOW = re.compile(
    r"\b(how|wie) (?:long|large|big|high|tall|old|far|often|fast|lange?|oft|hoch|groß|weit)\b", re.IGNORECASE
)
_WHO = re.compile(r"\b(who|whom|wer|wem|wen|qui|quién)\b", re.IGNORECASE)
_WHERE = re.compile(r"\b(where|wo|où|dónde)\b", re.IGNORECASE)
_PERSON = re.compile(r"\b([A-ZÀ-ÖØ-Þ][\w'’-]*) (?:[A-Z]\. )?[A-ZÀ-ÖØ-Þ][\w'’-]+")
# words of labels that people call otherwise when they ask, by what they count as
_MEANS = {"number": "number", "telephone": "telephone", "mail": "email"}
_SAME = re.compile(
    r"(?P<number>\b(?:no|nr|num)\.?(?=\s*[:#]?\s*(?:$|\S*\d)))|(?P<telephone>\b(?:tel|phone|telefon)\b)|(?P<mail>\be-?mails?\b)",
    re.IGNORECASE,
)
_ADDRESSES = {"email": re.compile(r"[\w.]@[\w-]+\.\w"), "website": re.compile(r"\bwww\.|\bhttps?://")}
_IS_CJK = re.compile(f"[{_CJK}]")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,:/-]\d+)*%?")


def content_words(text: str) -> list[str]:
    """The words worth searching for, as written, each once; all words if there are only stop words."""
    asked = _HOW.sub(r"\1", _fold(text))
    words = [piece for word in _WORD.findall(asked) for piece in _pieces(word)]
    lettered = "A" in words[1:] and asked != asked.upper()  # of Widget A
    content = [
        word for word in words if re.sub("['’]s$", "", word.casefold()) not in _STOP_WORDS or (lettered and word == "A")
    ]
    return list(dict.fromkeys(content or words))


def names(question: str) -> list[str]:
    """The content words that name one thing, so that a page without them is about another: those with a capital within
    the question (Porto), and those with a digit (P-250, 2019).
    """
    folded = _fold(question)
    first = next(iter(_WORD.findall(folded)), "")
    shouted = folded == folded.upper()
    return [
        word
        for word in content_words(question)
        if any(char.isdigit() for char in word) or (word[:1].isupper() and word != first and not shouted)
    ]


def terms(text: str) -> list[str]:
    """What words are compared by: the tokens of the index without English inflection, other words for the same, and
    what an address is.
    """
    found = [_stem(token) for token in query_tokens(_SAME.sub(lambda match: _MEANS[match.lastgroup or ""], text))]
    return found + [kind for kind, shape in _ADDRESSES.items() if shape.search(text)]


def numbers(text: str) -> list[str]:
    """The numbers in `text` with their separators: 4,812 or 3.5 or 2020-11-03 or 12%."""
    return _NUMBER.findall(_fold(text))


_EXPECTS_NUMBER = re.compile(
    r"\b(how (many|much|long|large|big|high|tall|old|far|often|fast)|when|number of|percentage|"
    r"(what|which) (year|date|day|version|share|size|number|port|amount)|"
    r"wie ?(viel|viele|lange|hoch|groß)|wann|combien|quand|cuánt[oa]s?|cuándo)\b"
    r"|多少|几|何时|哪年|いくつ|いつ",
    re.IGNORECASE,
)


def expects_number(question: str) -> bool:
    """Whether the question asks for an amount or a date."""
    return _EXPECTS_NUMBER.search(_fold(question)) is not None


def people(text: str) -> list[str]:
    """What may be names of persons: two words with capitals, of which the first is no article."""
    return [match.group() for match in _PERSON.finditer(text) if match.group(1).casefold() not in _STOP_WORDS]


def asks_who(question: str) -> bool:
    return _WHO.search(question) is not None


def asks_where(question: str) -> bool:
    return _WHERE.search(question) is not None


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _pieces(word: str) -> list[str]:
    return [piece for piece in _CJK_STOP.split(word) if piece] if _IS_CJK.match(word) else [word]


def _stem(word: str) -> str:
    """English inflection off, crudely: a page that says "headers" answers a question about a "header"."""
    if not word.isascii() or len(word) < 4 or not word.isalpha():
        return word
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith(("ches", "shes", "sses", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    elif word.endswith(("ing", "ed")) and len(word) > 4:
        word = re.sub("(ing|ed)$", "", word)
    return word.removesuffix("e") if len(word) > 3 else word
