"""`python -m bench.replicas`: one, two and four replicas of one worker each, behind one PostgreSQL."""

from contextlib import ExitStack

from bench import load, product

REPLICAS = (1, 2, 4)
SECONDS = 8


async def _measure(port: int) -> None:
    from bench import sample
    from bench.setting import prepared

    print("| replicas | client_credentials (tokens/s) | refresh_token (rotations/s) |\n| ---: | ---: | ---: |")
    async with prepared(port, SECONDS, 1) as bench:
        # One issuer for all ports, as behind a load balancer.
        users = [user for user, _ in await sample.people(bench.enough)]
        for number in REPLICAS:
            with ExitStack() as stack:
                ports = [product.free_port() for _ in range(number)]
                replicas = [
                    stack.enter_context(
                        product.running(
                            bench.folder, bench.dsn, port=one, IDP_WORKERS="1", IDP_ISSUER=bench.product.issuer
                        )
                    )
                    for one in ports
                ]
                token = bench.sample.token_request(grant_type="client_credentials", resource="https://rs256.example")
                tokens = _together(replicas, [[token]] * number, once=False)
                requests = await sample.refresh_tokens(bench.sample, users)
                shares = [requests[one::number] for one in range(number)]
                rotations = _together(replicas, shares, once=True)
            print(f"| {number} | {tokens:,.0f} | {rotations:,.0f} |")


def _together(replicas: list[product.Product], requests: list[list[load.Request]], *, once: bool) -> float:
    """Return the sum of their rates under concurrent load."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(load.loading(replica.url, share, seconds=SECONDS, connections=16, once=once))
            for replica, share in zip(replicas, requests, strict=True)
        ]
        return sum(load.result(process).rate for process in running)


def main() -> None:
    product.run(_measure)


if __name__ == "__main__":
    main()
