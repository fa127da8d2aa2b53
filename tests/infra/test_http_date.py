"""Dates in headers of other servers: any text is a time or none."""

from datetime import UTC, datetime

import pytest

from idp.infra import http_date


@pytest.mark.parametrize(
    "text",
    [
        "Tue, 01 Dec 2020 12:00:00 GMT",
        "Tue, 01 Dec 2020 12:00:00 -0000",
        "Tue, 01 Dec 2020 12:00:00",
        "Tue, 01 Dec 2020 13:00:00 +0100",
    ],
)
def test_dates(text: str) -> None:
    assert http_date.parse(text) == datetime(2020, 12, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "", "0", "-1", "yesterday", "\0", "Tue, 32 Dec 2020 12:00:00 GMT", "Tue, 01 Dec 2020 99:00:00 GMT",
        "Tue, 01 Dec 99999999999999999999 12:00:00 GMT", "Tue, 01 Dec 2147483648 12:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -1200",
        "Tue, 01 Dec 2020 12:00:00 +99999999999999",
    ],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    assert http_date.parse(text) is None
