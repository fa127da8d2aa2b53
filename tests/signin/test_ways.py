from idp.signin.transitions import FIRST, Step
from idp.signin.ways import ordered


def test_the_strongest_way_is_first() -> None:
    assert ordered(FIRST) == [Step.PASSKEY, Step.PASSWORD, Step.UPSTREAM, Step.EMAIL_CODE, Step.REGISTRATION]


def test_some_ways_come_first() -> None:
    assert ordered(FIRST, [Step.UPSTREAM, Step.EMAIL_CODE])[:3] == [Step.UPSTREAM, Step.EMAIL_CODE, Step.PASSKEY]


def test_every_step_stays() -> None:
    assert sorted(ordered(Step)) == sorted(Step)
