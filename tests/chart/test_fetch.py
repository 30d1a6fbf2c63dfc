"""The script that fetches a streamer's file, against a real server that has its moods."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.chart.renders import CHART

CONTENT = os.urandom(3 << 20)


class Store(ThreadingHTTPServer):
    """Serves CONTENT at every path: after the answers that are to come first."""

    first: list[int]  # statuses; 0 breaks off in the middle
    authorization: str | None = None
    moved_to: str | None = None  # where each request is redirected, but those at /here

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.first = []
        self.shown: list[str | None] = []  # each request's Authorization

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/bucket/fleet.csv"


class Handler(BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        self.server.shown.append(self.headers.get("Authorization"))
        if self.server.moved_to and not self.path.startswith("/here"):
            self.send_response(302)
            self.send_header("Location", self.server.moved_to)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        status = self.server.first.pop(0) if self.server.first else 200
        if self.server.authorization not in (None, self.headers.get("Authorization")):
            status = 403
        self.send_response(status or 200)
        self.send_header("Content-Length", str(len(CONTENT)) if status in (0, 200) else "0")
        self.end_headers()
        if status in (0, 200):
            self.wfile.write(CONTENT if status else CONTENT[: len(CONTENT) // 2])

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as store:
        thread = threading.Thread(target=store.serve_forever, args=(0.05,))
        thread.start()
        yield store
        store.shutdown()
        thread.join()


def fetch(target: Path, url: str, **given: str) -> subprocess.CompletedProcess[str]:
    env = {"OBJECT_URL": url, "OBJECT_PATIENCE_S": "5", "PATH": os.environ["PATH"], **given}
    command = [sys.executable, str(CHART / "files" / "fetch.py"), str(target)]
    return subprocess.run(command, env=env, capture_output=True, text=True)


def test_the_file_comes_whole_under_its_name(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "fleet.csv"
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    done = fetch(target, store.url, OBJECT_SHA256=sha256.upper())
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == CONTENT
    assert sha256 in done.stdout
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("mood", [503, 429, 0])
def test_what_may_pass_is_tried_again(store: Store, tmp_path: Path, mood: int) -> None:
    store.first = [mood]
    target = tmp_path / "fleet.csv"
    assert fetch(target, store.url).returncode == 0
    assert target.read_bytes() == CONTENT


def test_what_cannot_pass_ends_at_once(store: Store, tmp_path: Path) -> None:
    store.first = [404]
    done = fetch(tmp_path / "fleet.csv", store.url + "?signature=secret")
    assert done.returncode == 1
    assert done.stderr == f"fetch: {store.url}: answered 404 Not Found\n"
    assert store.first == []
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_stays_away_is_given_up(store: Store, tmp_path: Path) -> None:
    store.first = [503] * 100
    done = fetch(tmp_path / "fleet.csv", store.url, OBJECT_PATIENCE_S="1.5")
    assert done.returncode == 1
    assert "answered 503" in done.stderr


def test_another_content_than_asked_for_is_not_used(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "fleet.csv"
    done = fetch(target, store.url, OBJECT_SHA256="0" * 64)
    assert done.returncode == 1
    assert "not the " + "0" * 64 in done.stderr
    assert not target.exists()


def test_the_header_of_the_secret_is_sent(store: Store, tmp_path: Path) -> None:
    store.authorization = "Bearer abc"
    assert fetch(tmp_path / "one.csv", store.url).returncode == 1
    done = fetch(tmp_path / "two.csv", store.url, OBJECT_AUTHORIZATION="Bearer abc")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://objects.example/x", "bucket/x"])
def test_only_http_is_fetched(tmp_path: Path, url: str) -> None:
    done = fetch(tmp_path / "fleet.csv", url)
    assert done.returncode == 1
    assert "is not an http:// or https:// address" in done.stderr


def test_a_password_in_the_address_is_not_shown(tmp_path: Path) -> None:
    done = fetch(tmp_path / "x", "http://me:secret@127.0.0.1:9/x", OBJECT_PATIENCE_S="0")
    assert done.returncode == 1
    assert "secret" not in done.stdout + done.stderr


@pytest.fixture
def other(store: Store) -> Iterator[Store]:
    """The same host on another port: another origin."""
    with Store() as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.05,))
        thread.start()
        yield other
        other.shutdown()
        thread.join()


def test_a_redirect_to_another_origin_is_not_shown_the_secret(
    store: Store, other: Store, tmp_path: Path
) -> None:
    store.moved_to = other.url
    done = fetch(tmp_path / "f", store.url, OBJECT_AUTHORIZATION="Bearer SECRET")
    assert done.returncode == 0, done.stderr
    assert (store.shown, other.shown) == (["Bearer SECRET"], [None])


def test_a_way_back_is_not_shown_the_secret_again(
    store: Store, other: Store, tmp_path: Path
) -> None:
    store.moved_to, other.moved_to = other.url, store.url.replace("/bucket", "/here")
    done = fetch(tmp_path / "f", store.url, OBJECT_AUTHORIZATION="Bearer SECRET")
    assert done.returncode == 0, done.stderr
    assert (store.shown, other.shown) == (["Bearer SECRET", None], [None])


def test_a_redirect_within_the_origin_is_shown_the_secret(store: Store, tmp_path: Path) -> None:
    store.moved_to = "/here/fleet.csv"
    done = fetch(tmp_path / "f", store.url, OBJECT_AUTHORIZATION="Bearer SECRET\n")
    assert done.returncode == 0, done.stderr
    assert store.shown == ["Bearer SECRET"] * 2


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_a_redirect_to_another_protocol_is_not_followed(
    store: Store, tmp_path: Path, place: str
) -> None:
    store.moved_to = place
    done = fetch(tmp_path / "f", store.url)
    assert done.returncode == 1
    assert "redirect" in done.stderr.lower()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("http://u:SECRET@127.0.0.1:1/f", "x"),
        ("http://u:SEC/SECRET@127.0.0.1:1/f", "x"),
        ("http://127.0.0.1:1/f?X-Amz-Signature=SECRET", "x"),
        ("http://127.0.0.1:1/f", "Bearer SECRET\nx"),
        ("ftp://u:SECRET@h/f", "x"),
    ],
)
def test_no_error_shows_a_secret(tmp_path: Path, url: str, secret: str) -> None:
    done = fetch(tmp_path / "f", url, OBJECT_AUTHORIZATION=secret, OBJECT_PATIENCE_S="0")
    assert done.returncode == 1
    assert "SECRET" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_plain_address_is_not_asked_through_a_proxy(
    store: Store, other: Store, tmp_path: Path
) -> None:
    proxy = other.url.removesuffix("/bucket/fleet.csv")
    done = fetch(
        tmp_path / "f",
        store.url,
        OBJECT_AUTHORIZATION="Bearer SECRET",
        http_proxy=proxy,
        HTTP_PROXY=proxy,
        all_proxy=proxy,
    )
    assert done.returncode == 0, done.stderr
    assert (store.shown, other.shown) == (["Bearer SECRET"], [])


def test_an_https_address_is_asked_through_a_tunnel_of_the_proxy(
    other: Store, tmp_path: Path
) -> None:
    done = fetch(
        tmp_path / "f",
        "https://objects.invalid/x",
        OBJECT_AUTHORIZATION="Bearer SECRET",
        OBJECT_PATIENCE_S="0",
        https_proxy=other.url.removesuffix("/bucket/fleet.csv"),
    )
    assert "Tunnel connection failed: 501" in done.stderr
    assert other.shown == []
