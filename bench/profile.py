"""`make profile`: a flame graph of one worker under one of the loads, in bench/profiles."""

import argparse
import subprocess
import sysconfig
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import load, product

if TYPE_CHECKING:
    from bench.figures import Bench

FOLDER = Path(__file__).with_name("profiles")
LOADS = (
    "client_credentials", "private_key_jwt", "dpop", "authorization_code", "refresh_token", "pushed_request",
    "authorization", "bound_code", "password_sign_in", "jwks",
)  # fmt: skip


async def _requests(kind: str, bench: "Bench") -> list[load.Request]:
    from bench import sample

    people = await sample.people(bench.enough)
    users, emails = [user for user, _ in people], [email for _, email in people]
    issuer = bench.product.issuer
    match kind:
        case "private_key_jwt":
            return sample.assertions(bench.sample, issuer, bench.enough)
        case "dpop":
            return sample.proved_requests(bench.sample, issuer, bench.enough)
        case "pushed_request":
            return sample.pushes(bench.sample, issuer, bench.enough)
        case "authorization":
            return await sample.pushed(bench.sample, users)
        case "bound_code":
            return await sample.bound_codes(bench.sample, issuer, users)
        case "authorization_code":
            return await sample.codes(bench.sample, users)
        case "refresh_token":
            return await sample.refresh_tokens(bench.sample, users)
        case "password_sign_in":
            return await sample.sign_ins(bench.product.issuer, emails)
        case "jwks":
            return [load.Request("GET", "/.well-known/jwks.json")]
        case _:
            return [bench.sample.token_request(grant_type="client_credentials", resource="https://rs256.example")]


async def _record(kind: str, seconds: float, port: int) -> None:
    from bench.setting import prepared

    FOLDER.mkdir(exist_ok=True)
    output = FOLDER / f"{kind}.svg"
    async with prepared(port, seconds, 1) as bench:
        requests = await _requests(kind, bench)
        once = kind not in ("client_credentials", "jwks")
        with load.loading(bench.product.url, requests, seconds=seconds, once=once) as process:
            time.sleep(1)
            spy = Path(sysconfig.get_path("scripts"), "py-spy")
            command = [spy, "record", "--gil", "-r", "500", "-d", int(seconds - 2), "-o", output]
            subprocess.run(
                [*map(str, command), "-p", str(bench.product.workers[0])], check=True, stdout=subprocess.DEVNULL
            )
            print(load.result(process))
    print(output)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("load", nargs="?", choices=LOADS, default=LOADS[0])
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    product.run(partial(_record, arguments.load, arguments.seconds))


if __name__ == "__main__":
    main()
