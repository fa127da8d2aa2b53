"""Password policy, hashing and verification.

Hashes are Argon2id with the parameters of the settings, computed in a thread pool: one hash takes tens of milliseconds
and tens of MiB. Threads and queue are limited, so that a flood of sign-ins gets a 503 and does not exhaust the memory.
Hashes of other systems are accepted (:mod:`idp.accounts.imported_hashes`) and always need a rehash.
"""

import asyncio
import math
import os
import secrets
import sys
import threading
import time
import unicodedata
from base64 import b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import Any, NamedTuple, ParamSpec, TypeVar

from argon2 import DEFAULT_HASH_LENGTH, DEFAULT_RANDOM_SALT_LENGTH, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from idp.accounts import imported_hashes, strength
from idp.accounts.breaches import is_breached
from idp.branding.registry import product_name
from idp.errors import OverloadedError, ValidationError
from idp.infra.i18n import gettext as _
from idp.infra.metrics.declared import Counter, Gauge, Histogram
from idp.infra.thread_scheduling import threads
from idp.infra.tracing import spans
from idp.settings import settings

CALLS = Gauge("idp_password_hashing_calls", "Hashings that run or wait.", mode="livesum")
WAIT = Histogram("idp_password_hashing_wait_seconds", "Time that hashings waited for a thread.")
DURATION = Histogram("idp_password_hashing_duration_seconds", "Time that hashings ran.")
REFUSED = Counter("idp_password_hashing_refused", "Hashings that were refused because of the load.")

P = ParamSpec("P")
T = TypeVar("T")

#: Nice value of the hashing threads, 0 to 19.
NICENESS = 10
#: Number of calls over which the duration of a hash is averaged.
AVERAGED_CALLS = 8
#: Lengths in characters (NIST SP 800-63B section 5.1.1.2). The minimum applies to new passwords only.
MIN_LENGTH, MAX_LENGTH = 8, 1024
#: Number of characters that are estimated while a password is typed, which is more often than when it is chosen.
ASSESSED_LENGTH = 24


class InvalidPasswordError(ValidationError):
    """The new password is too short, too long, too weak or breached. The message is for the user."""

    code = "invalid_password"


class Assessment(NamedTuple):
    """How good a new password is.

    Attributes:
        score: from 0 to 4.
        accepted: whether the policy accepts it, as far as it does not ask for breaches.
        text: the same as a sentence, in the user's language. It advises how to improve a password that is refused.
    """

    score: int
    accepted: bool
    text: str


async def assess(password: str, *, user_inputs: Sequence[str] = ()) -> Assessment:
    """Return the strength of a new password while it is typed.

    Args:
        user_inputs: as for :func:`check_new_password`.

    Raises:
        OverloadedError: another password is being assessed.
    """
    try:
        _check_length(password)
    except InvalidPasswordError as error:
        return Assessment(0, False, str(error))
    known, pool = [*user_inputs, product_name()], _assessing()
    if pool.outstanding:
        raise OverloadedError
    found = await pool.run(strength.estimate, password, known, length=ASSESSED_LENGTH)
    if found.score < settings().password_min_score:
        return Assessment(found.score, False, strength.explain_weakness(found))
    return Assessment(found.score, True, strength.describe(found.score))


async def check_new_password(password: str, *, user_inputs: Sequence[str] = ()) -> None:
    """Check a new password against the policy.

    Args:
        user_inputs: known data of the user, such as address and name, which make a password easy to guess.

    Raises:
        InvalidPasswordError: its length is not allowed, it is too weak, or known from a breach.
        OverloadedError: too many passwords are being hashed.
    """
    _check_length(password)
    found = await _pool().run(strength.estimate, password, [*user_inputs, product_name()])
    if found.score < settings().password_min_score:
        raise InvalidPasswordError(strength.explain_weakness(found))
    if await is_breached(_normalised(password)):
        raise InvalidPasswordError(_("The password is known from a data breach. Choose another one."))


async def hash_password(password: str) -> str:
    """Hash a new password.

    Raises:
        InvalidPasswordError: its length is not allowed.
        OverloadedError: the hashing queue is full.
    """
    _check_length(password)
    return await rehash_password(password)


async def rehash_password(password: str) -> str:
    """Hash a verified password again, without checking its length.

    Raises:
        OverloadedError: the hashing queue is full.
    """
    return await _pool().run(_hasher().hash, _encoded(_normalised(password)))


async def verify_password(hash: str | None, password: str) -> bool:
    """Return whether a password matches a stored hash.

    Without a hash the same work is done, so that the response time does not reveal whether there is one.

    Raises:
        OverloadedError: the hashing queue is full.
    """
    if len(password) > MAX_LENGTH:
        return await verify_password(None, "")
    return await _pool().run(_matches, hash or _decoy(), password)


def check_load() -> None:
    """Fail early if the hashing queue is full.

    Raises:
        OverloadedError: the hashing queue is full.
    """
    _pool().check()


def needs_rehash(hash: str) -> bool:
    """Return whether a hash has other parameters than the settings."""
    try:
        return _hasher().check_needs_rehash(hash)
    except InvalidHashError:
        return True


def current_prefix() -> str:
    """Return the beginning of hashes with the parameters of the settings."""
    config = settings()
    costs = f"m={config.argon2_memory_cost},t={config.argon2_time_cost},p={config.argon2_parallelism}"
    return f"$argon2id$v=19${costs}$"


def _check_length(password: str) -> None:
    # The maximum first: normalisation takes time quadratic in the length.
    if len(password) > MAX_LENGTH:
        raise InvalidPasswordError(
            _("The password is too long: at most %(count)s characters are allowed.", count=MAX_LENGTH)
        )
    if len(_normalised(password)) < MIN_LENGTH:
        raise InvalidPasswordError(
            _("The password is too short: at least %(count)s characters are needed.", count=MIN_LENGTH)
        )


def _normalised(password: str) -> str:
    """Return the NFKC form, which is the same on all devices (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password)


def _encoded(password: str) -> bytes:
    # JSON can contain lone surrogates. Such a password is only wrong.
    return password.encode("utf-8", "surrogatepass")


def _matches(hash: str, password: str) -> bool:
    """Try the normalised form, and the typed one, which other systems often hashed."""
    one = _is_argon2 if hash.startswith("$argon2") else imported_hashes.verify
    return any(one(hash, _encoded(form)) for form in dict.fromkeys((_normalised(password), password)))


def _is_argon2(hash: str, password: bytes) -> bool:
    try:
        return _hasher().verify(hash, password)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False


def _hasher() -> PasswordHasher:
    config = settings()
    return _hasher_of(config.argon2_time_cost, config.argon2_memory_cost, config.argon2_parallelism)


@cache
def _hasher_of(time_cost: int, memory_cost: int, parallelism: int) -> PasswordHasher:
    return PasswordHasher(time_cost=time_cost, memory_cost=memory_cost, parallelism=parallelism)


def _decoy() -> str:
    """Return a hash with the current parameters and a random digest, which no password matches."""
    salt, digest = (
        b64encode(secrets.token_bytes(length)).rstrip(b"=").decode()
        for length in (DEFAULT_RANDOM_SALT_LENGTH, DEFAULT_HASH_LENGTH)
    )
    return f"{current_prefix()}{salt}${digest}"


def _lower_priority() -> None:
    """Lower the priority of this thread, so that cheap requests do not wait for hashing."""
    if sys.platform == "linux":
        # On Linux the priority is set per thread.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


class _Pool:
    """A thread pool with a queue that is limited by length and by waiting time.

    Args:
        queue: maximum number of waiting calls, which limits memory.
        longest_wait: maximum waiting time in seconds.
        now: the clock, in seconds.
    """

    def __init__(
        self, threads: int, queue: int, longest_wait: float = math.inf, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="hashing", initializer=_lower_priority)
        self._threads, self._queue, self._longest_wait, self._now = threads, queue, longest_wait, now
        self._lock = threading.Lock()
        #: Number of running and waiting calls.
        self.outstanding = 0
        #: Exponential moving average of the duration of a call, in seconds.
        self._seconds = 0.0

    def check(self) -> None:
        """
        Raises:
            OverloadedError: the queue is full, or the expected waiting time is too long.
        """
        before = self.outstanding - self._threads + 1
        if before > self._queue or before * self._seconds / self._threads > self._longest_wait:
            REFUSED.add()
            raise OverloadedError

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a thread.

        Raises:
            OverloadedError: as :meth:`check`, or the actual waiting time was too long.
        """
        with self._lock:
            self.check()
            self.outstanding += 1
        threads.computing(+1)
        with spans.part("hash a password") as span:
            future = self._executor.submit(self._work, self._now(), partial(function, *args, **kwargs), span)
            # Not when the caller is cancelled: the thread cannot be interrupted.
            future.add_done_callback(self._done)
            return await asyncio.wrap_future(future)

    def _work(self, queued_at: float, function: Callable[[], T], span: "spans.Span | None") -> T:
        started = self._now()
        WAIT.observe(started - queued_at)
        if span is not None:
            span.add_event("a thread is free")
        if started - queued_at > self._longest_wait:
            # Earlier calls took longer than expected. Fail before hashing, not after.
            REFUSED.add()
            raise OverloadedError
        try:
            return function()
        finally:
            seconds = self._now() - started
            self._seconds += (seconds - self._seconds) / AVERAGED_CALLS
            DURATION.observe(seconds)

    def _done(self, _: Future[Any]) -> None:
        threads.computing(-1)
        with self._lock:
            self.outstanding -= 1


def read_load() -> None:
    """Set the gauge of hashings in this worker."""
    CALLS.set(_pool().outstanding)


@cache
def _pool() -> _Pool:
    config = settings()
    # More threads than CPUs would use memory without hashing faster.
    share = max(1, (os.cpu_count() or 1) // config.workers)
    return _Pool(config.hashing_threads or share, config.hashing_queue, config.hashing_wait)


@cache
def _assessing() -> _Pool:
    """Return the thread for passwords that are being typed. They wait for nothing, and no sign-in waits for them."""
    return _Pool(threads=1, queue=0)


# Threads are not copied by fork, so a forked worker needs new pools.
for _one in (_pool, _assessing):
    os.register_at_fork(after_in_child=_one.cache_clear)
