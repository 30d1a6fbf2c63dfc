"""Every answer of the broker tells browsers not to guess what it is."""

import pytest

from tests.helpers.raw_http import raw_to, request

MESSAGE = b'{"id":"a","payload":"x"}'
ANY = {
    "publish": request("/publish", MESSAGE),
    "nothing to consume": request("/consume?max=1&wait_s=0"),
    "refusal": request("/publish", b"{"),
    "unknown": request("/nothing"),
    "not allowed": request("/publish", method="GET"),
    "stats": request("/stats", method="GET"),
    "health": request("/healthz", method="GET"),
    "metrics": request("/metrics", method="GET"),
    "no HTTP": b"no HTTP\r\n\r\n",
    "chunked": request("/publish", b"0\r\n\r\n", "Transfer-Encoding: chunked"),
    "foreign": request("/publish", MESSAGE, "Origin: https://evil.example"),
}


@pytest.mark.parametrize("data", ANY.values(), ids=ANY)
async def test_no_answer_is_sniffed(broker, data) -> None:
    async with raw_to(broker.port) as raw:
        await raw.send(data)
        assert (await raw.reply()).fields["x-content-type-options"] == "nosniff"
