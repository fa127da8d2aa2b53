"""The system account that PostgreSQL runs as, and how a child process switches to it."""

import contextlib
import ctypes
import os
import pwd
import signal
import sys
from pathlib import Path
from typing import Self

from idp.errors import OperatorError

# linux/prctl.h, linux/securebits.h, linux/capability.h
_PR_SET_PDEATHSIG, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 28, 47, 2
_SECBIT_NO_SETUID_FIXUP = 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1


class NoOSUserError(OperatorError):
    """Root has no account under which PostgreSQL can run. The message is one sentence."""


class OSUser:
    """The system account that PostgreSQL runs as. PostgreSQL refuses to run as root, so root uses an unprivileged
    account.
    """

    def __init__(self, uid: int | None = None, gid: int | None = None) -> None:
        self.uid, self.gid = uid, gid

    @classmethod
    def for_server(cls) -> Self:
        if os.geteuid() != 0:
            return cls()
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return cls(entry.pw_uid, entry.pw_gid)
        raise NoOSUserError(
            "PostgreSQL does not run as root, and there is no account 'postgres' or 'nobody' to run it as."
            " Run this as an ordinary user."
        )

    def own(self, folder: Path) -> None:
        """Make the account the owner of a folder."""
        if self.uid is not None and self.gid is not None:
            os.chown(folder, self.uid, self.gid)

    def enter(self, parent: int) -> None:
        """In the child process before exec: switch to the account, and end when the parent does."""
        if self.uid is not None and self.gid is not None:
            os.setgroups([])
            if sys.platform == "linux":
                _set_ids_keeping_dac_override(self.uid, self.gid)
            else:
                os.setgid(self.gid)
                os.setuid(self.uid)
        # After the change of user, which clears it.
        end_with_parent(signal.SIGINT)
        if os.getppid() != parent:
            # The parent ended before the signal was requested.
            os._exit(1)


def end_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent ends for any reason. Linux only."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, number)


def _prctl(operation: int, *arguments: int) -> None:
    values = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if ctypes.CDLL(None, use_errno=True).prctl(operation, *values) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _set_ids_keeping_dac_override(uid: int, gid: int) -> None:
    """Switch to another account, keeping only root's capability to pass through folders.

    The programs and the data may be below /root, which other accounts cannot enter, and whose permissions we do not
    change.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # The capabilities stay when the user changes, and apply to access() too, with which PostgreSQL looks for its
    # programs.
    _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setgid(gid)
    os.setuid(uid)
    kept = 1 << _CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Effective, permitted and inheritable, in two halves of 32 bits each.
    data = (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)
    if libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE)
