"""Normalisation of email addresses, and refusal of invalid ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.accounts.addresses import InvalidEmailError, normalise_email


@pytest.mark.parametrize(
    ("written", "normalised"),
    [
        ("alice@example.com", "alice@example.com"),
        ("  Alice@Example.COM\n", "alice@example.com"),
        ("ALICE+Shop@example.com", "alice+shop@example.com"),
        ("\uff41lice\uff20example.com", "alice@example.com"),
        ("stra\u00dfe@example.com", "strasse@example.com"),
        ("STRASSE@example.com", "strasse@example.com"),
        ("STRA\u1e9eE@example.com", "strasse@example.com"),
        ("jos\u00e9@example.com", "jos\u00e9@example.com"),
        ("JOSE\u0301@example.com", "jos\u00e9@example.com"),
        ("a@b\u00fccher.example", "a@xn--bcher-kva.example"),
        ("a@B\u00dcCHER.example", "a@xn--bcher-kva.example"),
        ("a@XN--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("demo@localhost", "demo@localhost"),
        ("demo@shop.test", "demo@shop.test"),
        ("demo@printer.local", "demo@printer.local"),
        ("demo@intranet", "demo@intranet"),
    ],
)
def test_one_form_for_each_address(written: str, normalised: str) -> None:
    assert normalise_email(written) == normalised


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "@example.com",
        "alice@",
        "alice@@example.com",
        "alice@example..com",
        "alice@-example.com",
        "alice@exam ple.com",
        "alice bob@example.com",
        '"alice bob"@example.com',
        "Alice <alice@example.com>",
        "alice@[127.0.0.1]",
        "alice@example.com, bob@example.com",
        "alice\0@example.com",
        "alice\r\nBcc: bob@example.com",
        "al\u200bice@example.com",
        "al\u00adice@example.com",
        "alice\ud800@example.com",
        "a@xn--a.example",
        "a" * 65 + "@example.com",
        "a@" + "b" * 250 + ".com",
        "=?utf-8?q?bob?=@example.com",
        "\uff1d\uff1fx?q?a=00?=@example.com",
    ],
    ids=repr,
)
def test_an_invalid_address_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(InvalidEmailError) as refused:
        normalise_email(text)
    assert str(refused.value).endswith(".")


@given(st.text(max_size=30), st.sampled_from(["example.com", "b\u00fccher.example", "x.test", "LOCALHOST"]))
def test_normalising_twice_changes_nothing(local: str, domain: str) -> None:
    try:
        once = normalise_email(f"{local}@{domain}")
    except InvalidEmailError:
        return
    assert normalise_email(once) == once
    assert once == once.casefold()
    assert "\0" not in once
