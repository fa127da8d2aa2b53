"""How long a document is cached."""

import pytest

from idp import clock
from idp.oauth.clients.documents.freshness import DEFAULT_LIFETIME, lifetime

SHORTEST, LONGEST = 300, 86400


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, DEFAULT_LIFETIME),
        ({"cache-control": "max-age=600"}, 600),
        ({"cache-control": "public, MAX-AGE=600"}, 600),
        ({"cache-control": 'max-age="600"'}, 600),
        ({"cache-control": "max-age=600, max-age=900"}, 600),
        ({"cache-control": "max-age=600, s-maxage=900"}, 900),
        ({"cache-control": "max-age=900", "age": "200"}, 700),
        ({"cache-control": "max-age=900", "age": "soon"}, 900),
        ({"cache-control": "public"}, DEFAULT_LIFETIME),
        ({"cache-control": "max-age=0"}, SHORTEST),
        ({"cache-control": "max-age=99999999999999999999"}, LONGEST),
        ({"cache-control": "max-age=-1"}, SHORTEST),
        ({"cache-control": "max-age"}, SHORTEST),
        ({"cache-control": "max-age=6e9"}, SHORTEST),
        ({"cache-control": "max-age=²"}, SHORTEST),
        ({"cache-control": "no-store, max-age=900"}, SHORTEST),
        ({"cache-control": "no-cache"}, SHORTEST),
        ({"cache-control": "private, max-age=900"}, SHORTEST),
        ({"expires": "0"}, SHORTEST),
        ({"expires": "Tue, 01 Dec 99999999999999999999 12:00:00 GMT"}, SHORTEST),
        ({"expires": "Tue, 01 Dec 2020 12:10:00 -0000", "date": "Tue, 01 Dec 2020 12:00:00 GMT"}, 600),
        ({"expires": "Tue, 01 Dec 2020 12:00:00 GMT"}, SHORTEST),
        ({"expires": "Tue, 01 Dec 2020 12:10:00 GMT", "date": "Tue, 01 Dec 2020 12:00:00 GMT"}, 600),
        ({"expires": "Tue, 01 Dec 2020 12:10:00 GMT", "date": "yesterday"}, SHORTEST),
        ({"cache-control": "max-age=700", "expires": "Tue, 01 Dec 2020 12:00:00 GMT"}, 700),
    ],
)
def test_lifetimes(headers: dict[str, str], seconds: float) -> None:
    assert lifetime(headers) == seconds


def test_an_expiry_without_a_date_is_compared_with_our_clock() -> None:
    expires = clock.now().replace(microsecond=0).timestamp() + 1000
    from email.utils import formatdate

    assert 990 < lifetime({"expires": formatdate(expires, usegmt=True)}) <= 1000
