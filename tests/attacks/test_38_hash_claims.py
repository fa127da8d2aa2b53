"""Row 38: a hash claim is never omitted or accepted because its algorithm is unknown."""

import pytest

from idp.keys import jose
from idp.keys.algorithms import SIGNING_ALGORITHMS


@pytest.mark.parametrize("alg", ["none", "", "HS256", "RS1", "ES256K", "rs256", "Ed448", "ML-DSA-65", "sha256"])
def test_38_an_unknown_algorithm_has_no_hash(alg: str) -> None:
    with pytest.raises(jose.UnsupportedAlgorithmError):
        jose.left_half_hash("token", alg)


@pytest.mark.parametrize("alg", SIGNING_ALGORITHMS)
def test_38_every_algorithm_has_a_hash(alg: str) -> None:
    assert len(jose.left_half_hash("token", alg)) == (43 if alg.startswith("Ed") else 22)
    assert jose.left_half_hash("token", alg) != jose.left_half_hash("other", alg)
