"""Chooses the language of a response, and translates texts.

Texts are English in the code and in the templates; ``idp/locales`` holds a catalogue for each other language.
"""

from collections.abc import Iterable
from contextvars import ContextVar
from datetime import datetime
from functools import cache, lru_cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time, format_timedelta, get_timezone_gmt
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.units import format_unit

from idp import clock

FOLDER = Path(__file__).parents[1] / "locales"
SOURCE = "en"
#: Every available language by its BCP 47 tag, and its own name, by which lists of them are sorted. Babel has the names
#: too, with all that it knows of each language: 17 MiB, and a tenth of a second of the start.
NAMES = {
    "de": "Deutsch",
    "en": "English",
    "es": "Español",
    "fr": "Français",
    "it": "Italiano",
    "nl": "Nederlands",
    "pl": "Polski",
    "pt-BR": "Português (Brasil)",
    "sv": "Svenska",
    "tr": "Türkçe",
    "cs": "Čeština",
    "ar": "العربية",
    "zh-Hans": "中文 (简体)",
    "ja": "日本語",
}
#: Their tags, English first.
LOCALES = (SOURCE, *sorted(NAMES.keys() - {SOURCE}))
#: Longest part of an Accept-Language header that is read.
MAX_LENGTH = 500

locale: ContextVar[str] = ContextVar("locale", default=SOURCE)
#: Whether the user chose the language in this browser.
explicit: ContextVar[bool] = ContextVar("explicit", default=False)


def choose(wanted: Iterable[str]) -> str | None:
    """Return the first wanted language that is available, by BCP 47 tags.

    ``pt`` and ``pt-PT`` match ``pt-BR``, and ``zh-CN`` matches ``zh-Hans``. ``zh-TW`` does not: it has another script.
    """
    return next((found for tag in wanted if (found := _available(tag)) is not None), None)


@lru_cache(maxsize=1024)
def _available(tag: str) -> str | None:
    if tag in LOCALES:
        return tag
    try:
        asked = Locale.parse(tag.replace("_", "-"), sep="-")
    except (ValueError, UnknownLocaleError):
        asked = None
    language = asked.language if asked is not None else tag.partition("-")[0].lower()
    script = asked.script if asked is not None else None
    same = (code for code in LOCALES if cldr(code).language == language)
    return next((code for code in same if script is None or cldr(code).script in (None, script)), None)


@cache
def cldr(language: str) -> Locale:
    """Return the data of a language: its formats of dates, its plurals, its direction. English is British English."""
    return Locale.parse("en-GB" if language == SOURCE else language, sep="-")


@lru_cache(maxsize=256)
def from_header(header: str) -> str | None:
    """Return the best available language of an Accept-Language header, or None."""
    return choose(accepted(header))


def accepted(header: str) -> list[str]:
    """Return the tags of an Accept-Language header, by descending weight (RFC 9110 section 12.5.4)."""
    weighed = []
    for position, item in enumerate(header[:MAX_LENGTH].split(",")):
        tag, _, weight = item.strip().partition(";q=")
        try:
            weighed.append((-float(weight or 1), position, tag.strip()))
        except ValueError:
            continue
    return [tag for weight, _, tag in sorted(weighed) if weight < 0]


def prefer(wanted: Iterable[str]) -> None:
    """Use the first available of these languages for the current request, such as those of ``ui_locales``.

    The user's own choice goes before.
    """
    chosen = choose(wanted) if not explicit.get() else None
    if chosen is not None:
        locale.set(chosen)


@cache
def catalogue(language: str) -> NullTranslations:
    """Return the translations of a language, which are read at first use."""
    if language == SOURCE:
        return NullTranslations()
    compiled = BytesIO()
    with (FOLDER / language / "messages.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale=cldr(language)))
    compiled.seek(0)
    return GNUTranslations(compiled)


def direction() -> str:
    """Return ``ltr`` or ``rtl``, the direction of the current language."""
    return str(cldr(locale.get()).text_direction)


def translate(message: str) -> str:
    """Translate a text to the language of the current request, with its placeholders."""
    return catalogue(locale.get()).gettext(message)


def translate_plural(singular: str, plural: str, count: int) -> str:
    """As :func:`translate`, in singular or plural."""
    return catalogue(locale.get()).ngettext(singular, plural, count)


def gettext(message: str, **values: object) -> str:
    """Translate a text to the language of the current request. The values replace its ``%(name)s`` placeholders."""
    text = translate(message)
    return text % values if values else text


def ngettext(singular: str, plural: str, count: int, **values: object) -> str:
    """As :func:`gettext`, in singular or plural by ``count``, which replaces ``%(count)s``."""
    return translate_plural(singular, plural, count) % ({"count": count} | values)


def moment(value: datetime) -> str:
    """Format a time: how long ago, or the date if that is more than a week."""
    past = clock.now() - value
    if past.days < 7:
        return format_timedelta(
            -past, add_direction=True, locale=cldr(locale.get()), granularity="minute", threshold=1.2
        )
    return date(value)


def date(value: datetime) -> str:
    """Format the date of a time, with the month in words."""
    return format_date(value, "long", locale=cldr(locale.get()))


def duration(seconds: int) -> str:
    """Format a length of time in the largest unit that divides it."""
    units = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
    unit, size = next((unit, size) for unit, size in units if seconds % size == 0)
    return format_unit(seconds // size, f"duration-{unit}", locale=cldr(locale.get()))


def exact_moment(value: datetime) -> str:
    """Format a time to the minute, in UTC, for mails."""
    return _date_and_time(date(value), format_time(value, "HH:mm", locale=cldr(locale.get())))


def moment_in_zone(value: datetime, zone: ZoneInfo) -> str:
    """Format a time to the minute in a time zone: ``21 Nov 2026, 10:05 GMT+01:00``."""
    language, local = cldr(locale.get()), value.astimezone(zone)
    return _date_and_time(
        format_date(local, "medium", locale=language),
        format_time(local, "HH:mm", tzinfo=zone, locale=language),
        get_timezone_gmt(local, "long", locale=language) if local.utcoffset() else "UTC",
    )


def second(value: datetime) -> str:
    """Format a time to the second, in UTC, for lists of events."""
    language = cldr(locale.get())
    return _date_and_time(
        format_date(value, "medium", locale=language), format_time(value, "HH:mm:ss", locale=language)
    )


def _date_and_time(date: str, time: str, zone: str = "UTC") -> str:
    """Join a date and a time as the language does: ``21 November 2026, 09:05 UTC``."""
    pattern = str(cldr(locale.get()).datetime_formats["medium"])
    return f"{pattern.format(time, date)} {zone}"
