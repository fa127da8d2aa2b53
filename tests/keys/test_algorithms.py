"""The list of algorithms matches joserfc, and types that repeat a part of it are complete."""

from typing import get_args, get_type_hints

import pytest

from idp.admin.api.models.server import Rotation
from idp.keys.algorithms import ALGORITHMS, DEFAULT_ALGORITHM, RSA_SIZES, SIGNING_ALGORITHMS, VERIFICATION_ALGORITHMS
from idp.keys.jose import registries


def test_the_default_comes_first() -> None:
    """Discovery shows the algorithms in this order."""
    assert SIGNING_ALGORITHMS == ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
    assert SIGNING_ALGORITHMS[0] == DEFAULT_ALGORITHM
    assert set(SIGNING_ALGORITHMS) < set(VERIFICATION_ALGORITHMS)


@pytest.mark.parametrize("alg", VERIFICATION_ALGORITHMS)
def test_the_key_type_is_that_of_joserfc(alg: str) -> None:
    model = registries.FOREIGN.get_alg(alg)
    assert model.key_type == ALGORITHMS[alg].kty
    assert getattr(model, "curve", ALGORITHMS[alg].crv) == ALGORITHMS[alg].crv


def test_the_api_accepts_the_same_rsa_sizes() -> None:
    assert get_args(get_type_hints(Rotation)["size"]) == RSA_SIZES
