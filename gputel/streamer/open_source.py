"""Opens the source of the settings, and names its stream."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gputel.config.settings import StreamerSettings
from gputel.errors import SourceError
from gputel.sources.dcgm.file import DcgmCsv
from gputel.sources.dcgm.looping import LoopingSource
from gputel.sources.simulated.simulator import sample_csv
from gputel.streamer.streamer import Source


@dataclass(frozen=True)
class OpenSource:
    """An open source, and the identity of its stream."""

    source: Source
    csv: DcgmCsv
    stream_id: str
    fingerprint: str
    path: Path


def open_source(
    settings: StreamerSettings, data_dir: Path, descriptor: int | None = None
) -> OpenSource:
    """Open the CSV of the settings, or the sample; blocks. Raises SourceError.

    With a ``descriptor``, the CSV is read from it, and the path is only a name.

    The default stream id is the fingerprint of the content. So new content under an old name is a
    new stream, and the same content is the same stream under any name. A loop and a one-shot
    ingest of one file are two streams.
    """
    path = settings.csv or sample_csv(data_dir)
    csv = DcgmCsv.open(path, settings.timestamps, descriptor=descriptor)
    if settings.loop and csv.is_empty:
        raise SourceError(f"{path}: no rows below the header; there is nothing to loop over")
    source: Source = LoopingSource(csv) if settings.loop else csv
    stream_id = settings.stream_id or default_stream_id(csv, loop=settings.loop)
    known_as = path if descriptor is not None else path.resolve()
    return OpenSource(source, csv, stream_id, csv.fingerprint, known_as)


def default_stream_id(csv: DcgmCsv, *, loop: bool) -> str:
    """The default id of a stream: its fingerprint and whether it loops."""
    return f"csv-{csv.fingerprint[:16]}{'.loop' if loop else ''}"
