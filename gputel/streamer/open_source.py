"""Opens the source of the settings, and names its stream."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from gputel.config.settings import StreamerSettings
from gputel.errors import SourceError
from gputel.sources.csv.file import CsvFile
from gputel.sources.csv.looping import LOOP_MARK, LoopingSource
from gputel.sources.csv.open import CsvOptions, source_name
from gputel.sources.simulated.simulator import sample_csv
from gputel.streamer.streamer import Source

log = logging.getLogger("gputel.streamer")


@dataclass(frozen=True)
class OpenSource:
    """An open source, and the identity of its stream."""

    source: Source
    stream_id: str
    fingerprint: str
    name: str  # in the store and in log lines


def csv_options(settings: StreamerSettings, *, keep_impossible: bool = False) -> CsvOptions:
    """How the settings want files to be read."""
    return CsvOptions(settings.timestamps, keep_impossible, settings.host_of_csv)


def open_source(settings: StreamerSettings, data_dir: Path, options: CsvOptions) -> OpenSource:
    """Open the CSV of the settings, or the sample; blocks. Raises SourceError.

    The default stream id is the content's fingerprint, so that new content under an old name is a
    new stream, and the same content is the same stream whatever it is called and wherever it lies.
    A loop and a one-shot ingest of one file are two streams.
    """
    path = settings.csv or sample_csv(data_dir)
    csv = CsvFile.open(path, options)
    if settings.loop and csv.is_empty:
        raise SourceError(f"{path}: no rows below the header; there is nothing to loop over")
    name = source_name(path)
    for note in csv.notes:
        log.info("%s: %s", name, note)
    source: Source = LoopingSource(csv) if settings.loop else csv
    if settings.loop:
        log.warning(
            "the streamer loops over %s: the times of its records are made up, and they have the "
            "label %s",
            name,
            LOOP_MARK,
        )
    stream_id = settings.stream_id or csv.stream_id + (".loop" if settings.loop else "")
    return OpenSource(source, stream_id, csv.fingerprint, name)
