"""What ``/metrics`` of a process shows."""

from __future__ import annotations

import os

from prometheus_client.parser import text_string_to_metric_families

from gputel import metrics


async def shown() -> dict[str, float]:
    """The names of all samples, each with one of its values."""
    text = (await metrics.render()).decode()
    families = text_string_to_metric_families(text)
    return {sample.name: sample.value for family in families for sample in family.samples}


async def test_a_process_shows_only_the_families_of_its_roles_and_those_of_all() -> None:
    with metrics.only_of(["store", "api"]):
        names = await shown()
    assert "gputel_api_stream_clients" in names
    assert "gputel_build_info" in names
    assert "gputel_http_connections" in names
    absent = ("gputel_broker_", "gputel_streamer_", "gputel_collector_")
    assert not [name for name in names if name.startswith(absent)]
    assert "gputel_collector_series_known" in await shown()


async def test_a_process_tells_of_itself_as_every_prometheus_client_does() -> None:
    names = await shown()
    for family in metrics.PROCESS.families:
        suffix = "_total" if family.type == "counter" else ""
        assert names[family.name + suffix] > 0
    read = {family.name: family.documentation for family in metrics.PROCESS.collect()}
    assert read == {family.name: family.documentation for family in metrics.PROCESS.families}
    assert names["process_open_fds"] <= names["process_max_fds"]
    assert names["process_virtual_memory_bytes"] > os.sysconf("SC_PAGESIZE")
