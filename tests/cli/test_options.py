"""Options that repeat a list from elsewhere, to be quick, repeat it whole."""

from idp.cli.options import SIGNING_ALGORITHM
from idp.keys.algorithms import SIGNING_ALGORITHMS


def test_every_signing_algorithm_can_be_chosen() -> None:
    assert tuple(SIGNING_ALGORITHM.choices) == SIGNING_ALGORITHMS
