"""Estimates the strength of passwords with zxcvbn, and explains weaknesses to the user."""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from zxcvbn_rs_py import zxcvbn

from idp.infra.i18n import gettext as _

#: Number of characters that are estimated. The work is cubic in the length and holds the GIL: a worst-case password
#: takes 20 ms at this length and 1 s at 100. A strong prefix is enough.
MAX_ESTIMATED_LENGTH = 32


class Strength(NamedTuple):
    """A score from 0 to 4, and the names of zxcvbn's warning and suggestions."""

    score: int
    warning: str | None
    suggestions: tuple[str, ...]


def estimate(password: str, user_inputs: Sequence[str] = (), *, length: int = MAX_ESTIMATED_LENGTH) -> Strength:
    """Estimate a password. CPU-bound: call it in a thread.

    Args:
        user_inputs: known data of the user, such as address and name.
        length: number of characters that are estimated, at most :data:`MAX_ESTIMATED_LENGTH`.
    """
    result = zxcvbn(_normalise(password)[:length], [_normalise(word) for text in user_inputs for word in _words(text)])
    feedback = result.feedback
    if feedback is None:
        return Strength(int(result.score), None, ())
    warning = _member_name(feedback.warning) if feedback.warning is not None else None
    return Strength(int(result.score), warning, tuple(map(_member_name, feedback.suggestions)))


def explain_weakness(strength: Strength) -> str:
    """Return why a password is too weak and how to improve it, in the user's language."""
    sentences = _sentences()
    told = [strength.warning, *strength.suggestions] if strength.warning else [*strength.suggestions]
    advice = [sentences[name] for name in told if name in sentences]
    return " ".join([_("The password is too easy to guess."), *advice])


def describe(score: int) -> str:
    """Return how strong a password is that is accepted, in the user's language."""
    words = (_("This password is acceptable."), _("This password is good."), _("This password is strong."))
    return words[max(0, score - 2)]


def _normalise(text: str) -> str:
    return unicodedata.normalize("NFKC", text).encode("utf-8", "replace").decode()[:MAX_ESTIMATED_LENGTH]


def _words(text: str) -> set[str]:
    """Return a text and its words: of alice.example@example.com, "alice" is as easy to guess as the whole."""
    return {text, *re.split(r"[\W_]+", text)} - {""}


def _member_name(member: object) -> str:
    # The members of zxcvbn's enumerations have neither a name nor a hash.
    return repr(member).rpartition(".")[2]


def _sentences() -> dict[str, str]:
    """Return the sentences of all of zxcvbn's warnings and suggestions by name."""
    return {
        "StraightRowsOfKeysAreEasyToGuess": _("Rows of neighbouring keys are easy to guess."),
        "ShortKeyboardPatternsAreEasyToGuess": _("Short patterns on the keyboard are easy to guess."),
        "RepeatsLikeAaaAreEasyToGuess": _("Repeats like “aaa” are easy to guess."),
        "RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess": _(
            "Repeats like “abcabc” are hardly harder to guess than “abc”."
        ),
        "ThisIsATop10Password": _("This is one of the ten most common passwords."),
        "ThisIsATop100Password": _("This is one of the hundred most common passwords."),
        "ThisIsACommonPassword": _("This is a very common password."),
        "ThisIsSimilarToACommonlyUsedPassword": _("This is very similar to a common password."),
        "SequencesLikeAbcAreEasyToGuess": _("Sequences like “abc” or “6543” are easy to guess."),
        "RecentYearsAreEasyToGuess": _("Recent years are easy to guess."),
        "AWordByItselfIsEasyToGuess": _("A word by itself is easy to guess."),
        "DatesAreOftenEasyToGuess": _("Dates are often easy to guess."),
        "NamesAndSurnamesByThemselvesAreEasyToGuess": _("Names by themselves are easy to guess."),
        "CommonNamesAndSurnamesAreEasyToGuess": _("Common names are easy to guess."),
        "UseAFewWordsAvoidCommonPhrases": _("Use a few words, but not a common phrase."),
        "NoNeedForSymbolsDigitsOrUppercaseLetters": _("Symbols, digits and capitals are not needed."),
        "AddAnotherWordOrTwo": _("Add another word or two; uncommon ones are better."),
        "CapitalizationDoesntHelpVeryMuch": _("Capitals do not help much."),
        "AllUppercaseIsAlmostAsEasyToGuessAsAllLowercase": _("All capitals are as easy to guess as none."),
        "ReversedWordsArentMuchHarderToGuess": _("Words written backwards are hardly harder to guess."),
        "PredictableSubstitutionsDontHelpVeryMuch": _("Substitutions like “@” for “a” do not help much."),
        "UseALongerKeyboardPatternWithMoreTurns": _("Use a longer pattern on the keyboard, with more turns."),
        "AvoidRepeatedWordsAndCharacters": _("Avoid repeated words and characters."),
        "AvoidSequences": _("Avoid sequences."),
        "AvoidRecentYears": _("Avoid recent years."),
        "AvoidYearsThatAreAssociatedWithYou": _("Avoid years that are connected with you."),
        "AvoidDatesAndYearsThatAreAssociatedWithYou": _("Avoid dates and years that are connected with you."),
    }
