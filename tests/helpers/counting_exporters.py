"""Exporters in a process of its own, which tell how often each was asked, and remember when.

It prints their addresses in one line. ``/answers`` has the time of each answer of one of them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from aiohttp import web

GPUS = 2
METRICS = ("ASKED", "DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_POWER_USAGE")
"""What each GPU has a sample of; the first is the number of this answer, from 1."""


def exporter(number: int) -> web.Application:
    """The exporter of one node."""
    times: list[float] = []

    async def metrics(_request: web.Request) -> web.Response:
        times.append(time.time())
        lines = [
            f'{name}{{gpu="{gpu}",UUID="GPU-{number}-{gpu}",device="nvidia{gpu}",'
            f'modelName="H100",Hostname="node-{number}"}} {value}\n'
            for gpu in range(GPUS)
            for name, value in zip(METRICS, (len(times), 40 + gpu, 300.5), strict=True)
        ]
        return web.Response(text="".join(lines))

    async def answers(_request: web.Request) -> web.Response:
        return web.json_response(times)

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/answers", answers)])
    return app


async def main(count: int) -> None:
    addresses = []
    for number in range(count):
        runner = web.AppRunner(exporter(number), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        addresses.append(f"{host}:{port}")
    print(json.dumps(addresses), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
