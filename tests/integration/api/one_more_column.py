"""A gputel whose table of columns has one more line: every part of it has to know the column.

Run as a program with the DSN of a database; it ends with an error at the first part that does not.
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

NAMES = Path(__file__).parents[3] / "gputel" / "model" / "names.py"
LINE = """\
    RecordColumn("cluster", "Cluster of the host.", "east", csv="Cluster", api="clusterName",
           prometheus="Cluster", title="cluster", filter="Only in this cluster", groupable=True,
           of_gpu=True),
"""
END = ")  # fmt: skip\n"
MIGRATION = "ALTER TABLE series ADD COLUMN cluster text NOT NULL DEFAULT ''"
CSV = (
    b"timestamp,metric_name,uuid,value,Hostname,Cluster\n"
    b"2026-03-01T12:00:00Z,TEMP,GPU-a,41,host-1,east\n"
    b"2026-03-01T12:00:00Z,TEMP,GPU-b,42,host-2,west\n"
)
WHERE = {"clusterName": "east"}


def load_names() -> ModuleType:
    """``gputel.model.names`` with the line, before anything else has imported it."""
    assert not [name for name in sys.modules if name.startswith("gputel.")]
    spec = importlib.util.spec_from_file_location("gputel.model.names", NAMES)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    text = NAMES.read_text("utf-8")
    assert END in text
    exec(compile(text.replace(END, LINE + END, 1), NAMES, "exec"), module.__dict__)
    return module


def source_reads_it(directory: Path) -> Any:
    """A CSV file and the simulator; the batch of the file, through the codec."""
    from gputel.model.record_batch import decode, encode
    from gputel.sources.csv.file import CsvFile
    from gputel.sources.simulated.simulator import simulate

    file = directory / "file.csv"
    file.write_bytes(CSV)
    batch = CsvFile.open(file).read(0, 10).batch
    assert batch.column("cluster").to_pylist() == ["east", "west"]
    with file.open("wb") as out:
        simulate(out, 1, 1, 20)
    made = CsvFile.open(file).read(0, 100)
    assert (made.batch.num_rows, made.batch.column("cluster").to_pylist()) == (20, [""] * 20)
    return decode(encode(batch))


def pushes_take_it() -> None:
    """Each format of a push, by both names."""
    import pyarrow as pa

    from gputel.api.push.arrow import parse_arrow
    from gputel.api.push.csv import parse_csv
    from gputel.api.push.json import parse_json, parse_ndjson
    from gputel.api.push.schemas import PushedRecordSchema

    assert {"clusterName", "Cluster"} <= set(PushedRecordSchema().fields)
    for name in ("clusterName", "Cluster"):
        line = b'{"metric_name":"M","uuid":"G","value":1,"%s":"east"}' % name.encode()
        table = pa.table({"metric_name": ["M"], "uuid": ["G"], "value": [1.0], name: ["east"]})
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        parsed = [
            parse_json(line, 10, 0),
            parse_ndjson(line, 10, 0),
            parse_arrow(sink.getvalue(), 10, 0),
        ]
        for each in parsed:
            assert not each.rejects
            assert each.batch.column("cluster").to_pylist() == ["east"]
    assert parse_csv(CSV, 10, 0).batch.column("cluster").to_pylist() == ["east", "west"]


def command_line_shows_it() -> None:
    """The filter's option, the option to group, and the tables."""
    from click.testing import CliRunner

    from gputel.cli.ask import table
    from gputel.cli.query.inventory import _GPUS
    from gputel.cli.query.telemetry import _LATEST, _RECORDS, telemetry_command

    assert table.LABELS["cluster"] in _RECORDS
    assert table.LABELS["cluster"] in _LATEST
    assert table.LABELS["cluster"] in _GPUS
    text = " ".join(CliRunner().invoke(telemetry_command, ["--help"]).output.split())
    assert "--cluster TEXT Only in this cluster" in text
    assert "clusterName, " in text
    refused = CliRunner().invoke(telemetry_command, ["GPU-a", "--cluster", "east"])
    assert "--cluster: is for many GPUs" in str(refused.exception)


async def api_answers_it(session: Any) -> None:
    """Lists, filters, groups, every format, PromQL and the document."""
    path, fleet = "/api/v1/telemetry", dict(WHERE, format="json")
    for each in (path, "/api/v1/telemetry/latest", "/api/v1/gpus"):
        (row,) = await answer(session, each, fleet)
        assert (row["uuid"], row["clusterName"]) == ("GPU-a", "east"), each
        for kind in ("ndjson", "csv", "arrow", "parquet"):
            assert b"east" in await body(session, each, {**WHERE, "format": kind}), (each, kind)
    assert b",Cluster\r\n" in await body(session, path, {"format": "csv"})
    grouped = {"group_by": "clusterName", "step": "1m", "order": "asc"}
    rows = await answer(session, path, grouped)
    assert sorted(row["clusterName"] for row in rows) == ["east", "west"]
    (row,) = await answer(session, "/api/v1/telemetry/top", dict(WHERE, metric="TEMP",
        start_time="2026-03-01T00:00:00Z", end_time="2026-03-02T00:00:00Z"))  # fmt: skip
    assert row["uuid"] == "GPU-a"
    gpu = await answer(session, "/api/v1/gpus/GPU-a", {})
    assert (gpu["clusterName"], gpu["labels"]["Cluster"]) == ("east", "east")
    query = {"query": 'TEMP{Cluster=~"east|north"}', "time": "2026-03-01T12:00:00Z"}
    found = await answer(session, "/prometheus/api/v1/query", query)
    assert [each["metric"]["Cluster"] for each in found["data"]["result"]] == ["east"]
    text = await body(session, "/openapi.json", {})
    assert text.count(b'"clusterName"') > 8


async def body(session: Any, path: str, query: dict[str, str]) -> bytes:
    """The body of a good answer."""
    async with session.get(path, params=query) as response:
        read: bytes = await response.read()
        assert response.status == 200, (path, query, read)
        return read


async def answer(session: Any, path: str, query: dict[str, str]) -> Any:
    """The same, decoded from JSON."""
    import json

    return json.loads(await body(session, path, query))


async def main(dsn: str, directory: Path) -> None:
    """Land records with the column, then ask for them."""
    import aiohttp
    import asyncpg

    from gputel.api.server import serve
    from gputel.config.settings import ApiSettings, PostgresSettings
    from gputel.store.limits import NARROWER
    from gputel.store.pool import close_pool, open_pool
    from gputel.store.read.reader import Reader
    from gputel.store.write.writer import Arrival, Writer
    from gputel.web.health import Health

    batch = source_reads_it(directory)
    pushes_take_it()
    command_line_shows_it()
    assert "clusterName" in NARROWER
    connection = await asyncpg.connect(dsn)
    await connection.execute(MIGRATION)
    await connection.close()
    pool = await open_pool(dsn, PostgresSettings())
    assert await Writer(pool).land([Arrival("message", None, batch)]) == [True]
    (record, *_) = [each async for each in _records(Reader(pool))]
    assert {record.cluster} <= {"east", "west"}
    async with (
        serve(ApiSettings(api_port=0), "127.0.0.1", Reader(pool), Health()) as listener,
        aiohttp.ClientSession(listener.url) as session,
    ):
        await api_answers_it(session)
    await close_pool(pool)


async def _records(reader: Any) -> Any:
    from gputel.store.read.telemetry import TelemetryQuery, telemetry

    async for records in telemetry(reader, TelemetryQuery()):
        for record in records:
            yield record


if __name__ == "__main__":
    load_names()
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
