"""A format is registered in one place, and complete there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from marshmallow import Schema, fields

from gputel.api.formats.format import Format
from gputel.api.formats.shape import RECORD
from gputel.api.push.formats import FORMATS as PUSH_FORMATS
from gputel.cli.query import options


class RowSchema(Schema):
    """A row of a time and a text."""

    timestamp = fields.DateTime()
    name = fields.String()


@pytest.mark.parametrize("chosen", Format)
def test_each_format_encodes_records_and_rows(chosen: Format) -> None:
    encoder = chosen.new_encoder(RECORD)
    assert isinstance(encoder.start() + encoder.end(), bytes)
    row = {"timestamp": datetime(2026, 1, 2, tzinfo=UTC), "name": "some text"}
    assert b"some text" in chosen.encode_rows([row], RowSchema)


def test_each_format_has_a_media_type_of_its_own() -> None:
    assert len({each.media_type for each in Format}) == len(Format)
    assert len({each.media_type for each in PUSH_FORMATS}) == len(PUSH_FORMATS)
    both = {each.name for each in PUSH_FORMATS} & {each.value for each in Format}
    for each in PUSH_FORMATS:
        assert each.name not in both or Format(each.name).media_type == each.media_type


def test_the_cli_offers_each_format_and_shows_none_that_is_binary() -> None:
    assert ("table", *Format) == options.FORMATS
    assert [each for each in Format if each in options.BINARY] == [Format.ARROW, Format.PARQUET]
