"""`python -m bench.audit`: what it costs that every token is in the audit trail, as CPU time a token.

CPU time, not throughput: both ways are measured in turn on a machine that may do other things. That of PostgreSQL and
of sealing the rows is in it.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from bench import load, product

KINDS = ("client_credentials", "refresh_token")
#: Long enough for all that waits to be written and sealed.
SETTLE_SECONDS = 3.0


def _cpu_seconds(pids: Iterable[int]) -> float:
    """What processes, and their children that have ended, have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


async def _measure(kind: str, rounds: int, seconds: float, port: int) -> None:
    from bench.profile import _requests
    from bench.setting import prepared

    costs: dict[str, list[float]] = {"false": [], "true": []}
    async with prepared(port, seconds, 1) as bench:
        bench.product.stop()
        postgres = int((bench.folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        for number in range(2 * rounds):
            tokens = "true" if number % 4 in (1, 2) else "false"
            requests = await _requests(kind, bench)
            settings = {"IDP_AUDIT_TOKENS": tokens, "IDP_AUDIT_CHECKPOINT_INTERVAL": "1"}
            with product.running(bench.folder, bench.dsn, port=port, **settings) as running:
                load.load(running.url, requests[:200], seconds=1, once=kind != "client_credentials")
                time.sleep(SETTLE_SECONDS)
                pids = _family(running.process.pid) + _family(postgres)
                before = _cpu_seconds(pids)
                found = load.load(running.url, requests[200:] or requests, seconds=seconds, once=len(requests) > 1)
                time.sleep(SETTLE_SECONDS)
                costs[tokens].append((_cpu_seconds(pids) - before) / found.requests * 1e6)
            print(kind, tokens, f"{costs[tokens][-1]:.1f} µs, {found.rate:.0f}/s", file=sys.stderr)
    without, with_tokens = (statistics.median(costs[tokens]) for tokens in ("false", "true"))
    print(
        f"{kind}: {without:.0f} µs of CPU a token, {with_tokens:.0f} µs with audit ({with_tokens / without - 1:+.1%})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description=__doc__)
    parser.add_argument("kinds", nargs="*", default=KINDS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    arguments = parser.parse_args()
    for kind in arguments.kinds:
        product.run(partial(_measure, kind, arguments.rounds, arguments.seconds))


if __name__ == "__main__":
    main()
