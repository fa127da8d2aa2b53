"""Passwords: what is accepted, how they are hashed and verified.

Argon2id with the parameters of the settings, in threads of its own: one hashing takes tens of milliseconds and tens
of MiB. Threads and queue are bounded, so that a flood of sign-ins is told to come back and does not fill the memory.
Hashes that other systems made verify too (:mod:`idp.accounts.imported_hashes`), and always need a rehash.
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
from typing import Any, ParamSpec, TypeVar

from argon2 import DEFAULT_HASH_LENGTH, DEFAULT_RANDOM_SALT_LENGTH, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from idp.accounts import imported_hashes, strength
from idp.accounts.breaches import is_breached
from idp.errors import OverloadedError, ValidationError
from idp.infra.i18n import gettext as _
from idp.infra.thread_scheduling import threads
from idp.settings import settings

P = ParamSpec("P")
T = TypeVar("T")

#: How far threads that hash stand back, from 0 to 19.
NICENESS = 10
#: Of so many hashings the time is averaged.
AVERAGED_CALLS = 8
#: Lengths in characters (NIST SP 800-63B section 5.1.1.2). The shortest concerns only new passwords.
MIN_LENGTH, MAX_LENGTH = 8, 1024


class InvalidPasswordError(ValidationError):
    """A new password is too short, too long, too easy to guess or known from a breach: plain sentences."""

    code = "invalid_password"


async def check_new_password(password: str, *, user_inputs: Sequence[str] = ()) -> None:
    """Make sure that nobody guesses a password that somebody chose.

    Args:
        user_inputs: what others may know of the person, as their address and name.

    Raises:
        InvalidPasswordError: its length is not allowed, it is too weak, or known from a breach.
        OverloadedError: too many passwords are being hashed.
    """
    _check_length(password)
    known = [*user_inputs, settings().product_name]
    found = await _pool().run(strength.estimate, password, known)
    if found.score < settings().password_min_score:
        raise InvalidPasswordError(strength.explain_weakness(found))
    if await is_breached(_normalised(password)):
        raise InvalidPasswordError(_("The password is known from a data breach elsewhere. Choose another one."))


async def hash_password(password: str) -> str:
    """Hash a new password, for storage.

    Raises:
        InvalidPasswordError: its length is not allowed.
        OverloadedError: too many hashings wait already.
    """
    _check_length(password)
    return await rehash_password(password)


async def rehash_password(password: str) -> str:
    """Hash a password that was accepted before, whatever was asked of it then.

    Raises:
        OverloadedError: too many hashings wait already.
    """
    return await _pool().run(_hasher().hash, _encoded(_normalised(password)))


async def verify_password(hash: str | None, password: str) -> bool:
    """Whether this is the password of a stored hash.

    Without a hash the same work is done in vain, so that the time does not tell whether there is one.

    Raises:
        OverloadedError: too many hashings wait already.
    """
    if len(password) > MAX_LENGTH:
        return await verify_password(None, "")
    return await _pool().run(_matches, hash or _decoy(), password)


def check_load() -> None:
    """Refuse now what would be refused anyhow, before anything else is done for it.

    Raises:
        OverloadedError: too many hashings wait already.
    """
    _pool().check()


def needs_rehash(hash: str) -> bool:
    """Whether a stored hash was made with other parameters than today's."""
    try:
        return _hasher().check_needs_rehash(hash)
    except InvalidHashError:
        return True


def _check_length(password: str) -> None:
    # The longest first: normalising takes time that grows with the square of the length.
    if len(password) > MAX_LENGTH:
        raise InvalidPasswordError(
            _("The password is too long: at most %(count)s characters are allowed.", count=MAX_LENGTH)
        )
    if len(_normalised(password)) < MIN_LENGTH:
        raise InvalidPasswordError(
            _("The password is too short: at least %(count)s characters are needed.", count=MIN_LENGTH)
        )


def _normalised(password: str) -> str:
    """One form for the same password typed on different devices (NIST SP 800-63B: NFKC)."""
    return unicodedata.normalize("NFKC", password)


def _encoded(password: str) -> bytes:
    # Half a surrogate pair is no text, but may be in JSON: it is just another wrong password.
    return password.encode("utf-8", "surrogatepass")


def _matches(hash: str, password: str) -> bool:
    """Ours are of the normalised form, those of others often of what was typed."""
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
    """A hash with today's parameters that no password has: its digest is drawn, not computed."""
    salt, digest = (
        b64encode(secrets.token_bytes(length)).rstrip(b"=").decode()
        for length in (DEFAULT_RANDOM_SALT_LENGTH, DEFAULT_HASH_LENGTH)
    )
    config = settings()
    costs = f"m={config.argon2_memory_cost},t={config.argon2_time_cost},p={config.argon2_parallelism}"
    return f"$argon2id$v=19${costs}${salt}${digest}"


def _lower_priority() -> None:
    """Let every other thread go first: whoever only fetches a key must not wait for a CPU that hashes."""
    if sys.platform == "linux":
        # Of this thread alone, on Linux.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


class _Pool:
    """Threads that hash, and a queue before them that is as long as can be worked off in time.

    Args:
        queue: most that may wait, whatever their time: what they hold fills the memory.
        longest_wait: seconds for which one may wait.
        now: the clock, in seconds.
    """

    def __init__(
        self, threads: int, queue: int, longest_wait: float = math.inf, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="hashing", initializer=_lower_priority)
        self._threads, self._queue, self._longest_wait, self._now = threads, queue, longest_wait, now
        self._lock = threading.Lock()
        #: Under way or waiting.
        self._outstanding = 0
        #: Seconds that one takes, averaged with more weight on the last ones.
        self._seconds = 0.0

    def check(self) -> None:
        """
        Raises:
            OverloadedError: one more would wait for too long.
        """
        before = self._outstanding - self._threads + 1
        if before > self._queue or before * self._seconds / self._threads > self._longest_wait:
            raise OverloadedError

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a thread.

        Raises:
            OverloadedError: it would wait for too long, or did.
        """
        with self._lock:
            self.check()
            self._outstanding += 1
        threads.computing(+1)
        future = self._executor.submit(self._work, self._now(), partial(function, *args, **kwargs))
        # Not when the caller stops waiting: a thread that hashes cannot be interrupted.
        future.add_done_callback(self._done)
        return await asyncio.wrap_future(future)

    def _work(self, queued_at: float, function: Callable[[], T]) -> T:
        started = self._now()
        if started - queued_at > self._longest_wait:
            # Those before it took longer than was foreseen. Whoever waited is told now, and not after the hashing.
            raise OverloadedError
        try:
            return function()
        finally:
            self._seconds += (self._now() - started - self._seconds) / AVERAGED_CALLS

    def _done(self, _: Future[Any]) -> None:
        threads.computing(-1)
        with self._lock:
            self._outstanding -= 1


@cache
def _pool() -> _Pool:
    config = settings()
    # More threads than CPUs would only take the memory, and the time, of those that hash already.
    share = max(1, (os.cpu_count() or 1) // config.workers)
    return _Pool(config.hashing_threads or share, config.hashing_queue, config.hashing_wait)


# A worker forked from a process that has hashed would wait for threads that were not forked with it.
os.register_at_fork(after_in_child=_pool.cache_clear)
