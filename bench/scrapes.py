"""The figure of the metrics listener: tokens while it is scraped often, against tokens while nothing scrapes."""

from functools import partial
from typing import Any

from bench.figures import Bench, Figure, paired
from bench.load import Request, load, loading, result
from bench.product import free_port, running

#: Scrapes per second, and connections that make them.
RATE, SCRAPERS = 200, 20
#: Loads of tokens: as much as the cores can do, and about a tenth of it.
LOADS: dict[str, dict[str, Any]] = {"full load": {}, "light load": {"connections": 4, "pause": 0.01}}


async def scrapes(bench: Bench) -> Figure:
    """Measure p99 of client_credentials during 200 scrapes a second, and check that these were answered."""
    tokens = bench.sample.token_request(grant_type="client_credentials", resource="https://rs256.example")
    scrape, address = Request("GET", "/metrics"), f"127.0.0.1:{free_port()}"
    with running(bench.folder, bench.dsn, port=bench.product.other_port, IDP_METRICS_ADDRESS=address) as product:

        async def alone(options: dict[str, Any]) -> float:
            return load(product.url, [tokens], **{"seconds": bench.seconds} | options).p99

        async def scraped(options: dict[str, Any]) -> float:
            seconds, pause = bench.seconds + 1, 0.95 * SCRAPERS / RATE
            with loading(f"http://{address}", [scrape], seconds=seconds, connections=SCRAPERS, pause=pause) as scraping:
                p99 = await alone(options)
                found = result(scraping)
            if found.broken or found.refused or found.rate < RATE * 0.8:
                raise RuntimeError(f"{found.rate:.0f} scrapes a second, {found.broken} broke.")
            return p99

        parts = [
            await paired(bench, f"p99 under {name}", partial(scraped, options), partial(alone, options))
            for name, options in LOADS.items()
        ]
    return Figure.of(f"p99 of client_credentials during {RATE} scrapes a second", "ms", "<= 1.10", parts)
