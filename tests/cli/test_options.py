"""Options with choices that are listed in other modules."""

import subprocess
import sys

from idp.admin.roles import Role
from idp.cli.options import ADMIN_ROLES, SIGNING_ALGORITHM
from idp.keys.algorithms import SIGNING_ALGORITHMS


def test_every_signing_algorithm_can_be_chosen() -> None:
    assert tuple(SIGNING_ALGORITHM.choices) == SIGNING_ALGORITHMS


def test_every_role_of_administrators_can_be_chosen() -> None:
    assert tuple(Role) == ADMIN_ROLES


def test_the_list_of_algorithms_loads_no_cryptography() -> None:
    """Every command reads it, also ``--help``."""
    program = "import sys, idp.cli.options; assert not {'joserfc', 'cryptography'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
