"""The database of the chart."""

from __future__ import annotations

from tests.chart.conftest import RenderOf


def test_its_files_lie_in_a_directory_of_their_own_on_its_disk(render_of: RenderOf) -> None:
    render = render_of()
    container = render.container("postgres")
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    (claim,) = render.one("StatefulSet", "postgres")["spec"]["volumeClaimTemplates"]
    assert render.env("postgres")["PGDATA"].startswith(mounts[claim["metadata"]["name"]] + "/")


def test_all_that_it_writes_beside_them_is_mounted(render_of: RenderOf) -> None:
    container = render_of().container("postgres")
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/tmp", "/var/run/postgresql", "/dev/shm"} <= mounts


def test_it_listens_where_its_probes_and_its_service_look(render_of: RenderOf) -> None:
    render = render_of("knobs")
    container = render.container("postgres")
    assert "port=6543" in container["args"]
    assert render.env("postgres")["PGPORT"] == "6543", "psql and pg_isready look there"
    assert [port["containerPort"] for port in container["ports"]] == [6543]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        command = container[probe]["exec"]["command"]
        assert command[command.index("-h") + 1] == "127.0.0.1", "not the socket of the set-up"
        assert command[command.index("-d") + 1] == "telemetry"


def test_settings_of_the_server_are_arguments(render_of: RenderOf) -> None:
    container = render_of("knobs").container("postgres")
    assert {"max_connections=200", "jit=false"} <= set(container["args"])


def test_its_disk_stays_unless_it_is_told_to_go(render_of: RenderOf) -> None:
    policy = "persistentVolumeClaimRetentionPolicy"
    kept = render_of().one("StatefulSet", "postgres")["spec"][policy]
    assert kept == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    told = render_of(postgres={"storage": {"whenDeleted": "Delete", "size": "1Ti"}})
    assert told.one("StatefulSet", "postgres")["spec"][policy]["whenDeleted"] == "Delete"
