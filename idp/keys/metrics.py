"""Metrics of the signing keys (docs/metrics.md)."""

from collections import Counter

from idp import clock
from idp.infra.metrics.declared import Gauge
from idp.keys import lifecycle
from idp.keys.algorithms import ALGORITHMS
from idp.keys.lifecycle import State

KEYS = Gauge("idp_signing_keys", "Signing keys, by algorithm and state.", "alg", "state", mode="mostrecent")
AGE = Gauge("idp_signing_key_age_seconds", "Age of the key that signs, by algorithm.", "alg", mode="mostrecent")


async def read_keys() -> None:
    """Read how many keys there are in each state, and since when the active ones sign."""
    found, now = await lifecycle.list_keys(), clock.now()
    numbers = Counter((key.alg, key.state) for key in found)
    for alg in ALGORITHMS:
        for state in State:
            KEYS.set(numbers[alg, state], alg, state)
    for key in found:
        if key.state is State.ACTIVE and key.activates_at is not None:
            AGE.set((now - key.activates_at).total_seconds(), key.alg)
