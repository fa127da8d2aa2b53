"""Codes as users type and paste them, in every field for a code."""

import time
import unicodedata
from collections.abc import Callable

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.accounts import email_proofs, typed_codes
from idp.accounts.tables import User
from idp.signin.factors import recovery_codes, totp

pytestmark = pytest.mark.fault(28)

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "space": lambda code: f" {code[:3]} {code[3:]}\n",
    "no-break space": lambda code: f"{code[:3]}\u00a0{code[3:]}",
    "dash": lambda code: f"{code[:3]}-{code[3:]}",
    "en dash and minus": lambda code: f"{code[:2]}\u2013{code[2:4]}\u2212{code[4:]}",
    "dots": lambda code: f"{code[:3]}.{code[3:]}.",
    "middle dot": lambda code: "\u00b7".join(code),
    "full-width": lambda code: _shifted(code, 0xFF10),
    "Arabic-Indic": lambda code: _shifted(code, 0x0660),
    "Persian, with dashes": lambda code: _shifted(f"{code[:3]}-{code[3:]}", 0x06F0),
    "Devanagari": lambda code: _shifted(code, 0x0966),
    "right-to-left marks": lambda code: f"\u200f\u202b{code}\u202c\u200e",
    "isolates": lambda code: f"\u2068{code}\u2069",
    "zero-width": lambda code: "\u200b".join(code) + "\ufeff",
}
WRONG = ["", " ", "-", "\u200f", "\ud800" * 6, "\0", "12345", "1234567", "1 2 3 4 5", "\u0301" * 31_000]


def _shifted(code: str, zero: int) -> str:
    return "".join(chr(zero + int(character)) if character.isdigit() else character for character in code)


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_spellings(spell: Callable[[str], str]) -> None:
    assert typed_codes.normalise_code(spell("049517")) == "049517"


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
async def test_every_field_accepts_typed_codes(alice: User, spell: Callable[[str], str]) -> None:
    """In mails, from an app, on paper."""
    sent = await email_proofs.create(email_proofs.Purpose.SIGN_IN, alice.email, lifetime=60, flow_id=str(alice.id))
    app = pyotp.TOTP((await totp.start_setup(alice.id, "test", alice.email)).secret)
    code = (await recovery_codes.generate(alice.id))[0]
    for text in WRONG[:4]:
        assert await email_proofs.consume_code(email_proofs.Purpose.SIGN_IN, str(alice.id), text) is None
        assert not await totp.confirm(alice.id, "test", text)
        assert not await recovery_codes.consume(alice.id, text)
    assert await email_proofs.consume_code(email_proofs.Purpose.SIGN_IN, str(alice.id), spell(sent.code)) is not None
    assert await totp.confirm(alice.id, "test", spell(app.at(int(time.time()))))
    assert await recovery_codes.consume(alice.id, spell(code))


@pytest.mark.parametrize("text", WRONG, ids=lambda text: ascii(text)[:12])
def test_invalid_codes(text: str) -> None:
    assert len(typed_codes.normalise_code(text)) != 6


@given(st.text(max_size=80))
def test_any_typed_text(text: str) -> None:
    """The result can be hashed and compared: no surrogates, no marks, digits in ASCII."""
    found = typed_codes.normalise_code(text)
    found.encode()
    assert all(character.isalnum() for character in found)
    assert all(character.isascii() for character in found if unicodedata.category(character) == "Nd")
