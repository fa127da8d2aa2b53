"""Runs `idp` with the restrictions of deploy/systemd/idp.service that a process can give itself.

They are the filter of system calls, made from the lists of this systemd, MemoryDenyWriteExecute and NoNewPrivileges.
"""

import ctypes
import errno
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "idp.service"
_PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE, _MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def calls(name: str) -> Iterator[str]:
    """Return the system calls of a set such as ``@system-service``."""
    printed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    for line in printed.stdout.splitlines()[1:]:
        entry = line.strip()
        if entry.startswith("@"):
            yield from calls(entry)
        elif entry and not entry.startswith("#"):
            yield entry


def allowed() -> set[str]:
    """Return the system calls that the unit allows. The set ``@default`` always is."""
    found = set(calls("@default"))
    for names in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE):
        denied = names.startswith("~")
        for name in names.lstrip("~").split():
            found = found - set(calls(name)) if denied else found | set(calls(name))
    return found


def restrict() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_MDWE, _MDWE_REFUSE_EXEC_GAIN)):
        if libc.prctl(option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option})")
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(_ERRNO | errno.EPERM))
    for name in allowed():
        # Calls of other architectures have no number here.
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0 and seccomp.seccomp_rule_add(context, _ALLOW, number, 0) != 0:
            raise OSError(f"seccomp_rule_add({name})")
    if seccomp.seccomp_load(context) != 0:
        raise OSError("seccomp_load")


if __name__ == "__main__":
    restrict()
    from idp.cli.main import main

    sys.argv[0] = "idp"
    main()
