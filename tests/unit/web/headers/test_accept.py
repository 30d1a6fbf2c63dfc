from __future__ import annotations

import pytest

from gputel.web.headers import accept

OFFERS = ("application/json", "text/csv", "application/x-ndjson")


@pytest.mark.parametrize(
    ("header", "best"),
    [
        ([], "application/json"),
        ([""], "application/json"),
        (["*/*"], "application/json"),
        (["text/csv"], "text/csv"),
        (["TEXT/CSV; charset=utf-8"], "text/csv"),
        (["text/*"], "text/csv"),
        (["application/json;q=0.5, text/csv"], "text/csv"),
        (["application/json;q=0.5", "text/csv"], "text/csv"),
        (["application/json;q=0, */*;q=0.1"], "text/csv"),
        (["text/csv;q=0.2, application/*;q=0.1"], "text/csv"),
        (["image/png, */*;q=0.001"], "application/json"),
        (["text/csv;q=nonsense"], "text/csv"),
        (["image/png"], None),
        (["application/json;q=0"], None),
        (["*/*;q=0"], None),
    ],
)
def test_the_media_type_that_is_liked_best_is_chosen(header: list[str], best: str | None) -> None:
    assert accept.media_type(header, OFFERS) == best


@pytest.mark.parametrize(
    ("header", "best"),
    [
        ([], None),
        (["identity"], None),
        (["gzip, deflate, br"], "gzip"),
        (["gzip, zstd"], "zstd"),
        (["gzip;q=1.0, zstd;q=0.5"], "gzip"),
        (["zstd;q=0, *"], "gzip"),
        (["*"], "zstd"),
        (["gzip;q=0"], None),
    ],
)
def test_a_body_is_compressed_only_as_asked(header: list[str], best: str | None) -> None:
    assert accept.coding(header, ("zstd", "gzip")) == best
