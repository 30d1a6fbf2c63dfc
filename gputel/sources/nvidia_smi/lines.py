"""Lines of nvidia-smi to lines in the form of DCGM's CSV: one for each value."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache

from gputel.model.raw_labels import raw_text
from gputel.sources.nvidia_smi.header import SmiLayout, ValueColumn
from gputel.sources.nvidia_smi.table import (
    BUS_ID,
    HOST,
    INDEX,
    LABELS,
    MASKS,
    NAME,
    STATE,
    UUID,
    WORDS,
    WORDY,
)

HEADER = b"timestamp,metric_name,gpu_id,device,uuid,modelName,Hostname,value,labels_raw"
"""The columns of the lines that come out."""

_BOM = "\ufeff"
_MOST_GPUS = 4096  # whose labels are remembered
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)
_HEX = re.compile(r"0x[0-9A-Fa-f]{1,16}")
_STATE = re.compile(r"P(\d{1,2})", re.ASCII)
_SHOWN = 160
_CUT_OFF = "the file looks cut off in this line: it has no line feed"


class LineFlaw(Exception):
    """Why a line has no values."""


@dataclass
class Rewritten:
    """Lines in the form of DCGM's CSV; ``rows`` has the number of the row of each.

    The row of the value in column c of the values and line i is i times the rows of a line, plus c.
    ``flaws`` has the first row of each line that has no values, and the reason.
    """

    lines: list[bytes] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    flaws: list[tuple[int, str]] = field(default_factory=list)


class SmiLines:
    """Rewrites the lines below one header. ``host`` is the GPUs' host, unless a column names it.

    A line has ``rows_per_line`` rows: at least as many as there are columns of values.
    """

    def __init__(self, layout: SmiLayout, host: str, rows_per_line: int) -> None:
        self._layout = layout
        self._rows_per_line = rows_per_line
        self._host = host
        self._ends: dict[tuple[str, ...], tuple[list[str], str]] = {}

    def rewrite(self, lines: Sequence[bytes]) -> Rewritten:
        """Rewrite lines, each with its line feed.

        Blank lines, the header once more, and values that nvidia-smi does not have give nothing.
        """
        result = Rewritten()
        for index, line in enumerate(lines):
            first_row = index * self._rows_per_line
            try:
                self._rewrite(line, first_row, result)
            except LineFlaw as flaw:
                result.flaws.append((first_row, str(flaw)))
        return result

    def _rewrite(self, line: bytes, first_row: int, result: Rewritten) -> None:
        cells = self._cells(line.decode("utf-8", "surrogateescape"))
        if not cells:
            return
        heads, tail = self._around_value(cells)
        time = _quoted(cells[self._layout.time_place])
        for number, column in enumerate(self._layout.values):
            text = _value(cells[column.place], column)
            if text is not None:
                row = f"{time}{heads[number]}{text}{tail}\n"
                result.lines.append(row.encode("utf-8", "surrogateescape"))
                result.rows.append(first_row + number)

    def _cells(self, line: str) -> list[str]:
        """The fields of a line; none for a line that is blank or the header. Raises LineFlaw."""
        text = line.removesuffix("\n").removesuffix("\r").removeprefix(_BOM)
        if not text.strip():
            return []
        cells = _split(text)
        titles = self._layout.titles
        if tuple(cells) == titles:
            return []
        if len(cells) == 1 < len(titles):
            raise LineFlaw(f"not a row of values, but a message: {cells[0][:_SHOWN]}")
        if len(cells) != len(titles):
            raise LineFlaw(f"wrong number of fields: found {len(cells)}, expected {len(titles)}")
        if not line.endswith("\n"):  # the last number may lack digits
            raise LineFlaw(_CUT_OFF)
        return cells

    def _around_value(self, cells: Sequence[str]) -> tuple[list[str], str]:
        """What comes before and behind the value in the rewritten lines of a GPU."""
        key = tuple(cells[place] for place in self._layout.labels.values())
        known = self._ends.get(key)
        if known is None:
            if len(self._ends) >= _MOST_GPUS:
                self._ends.clear()
            texts = {
                name: text
                for name, text in zip(self._layout.labels, key, strict=True)
                if not _is_absent(text)
            }
            known = self._ends[key] = self._written(texts)
        return known

    def _written(self, texts: dict[str, str]) -> tuple[list[str], str]:
        host = texts.setdefault(HOST, self._host)
        index = texts.get(INDEX, "")
        device = f"nvidia{index}" if index else ""
        raw = {LABELS[name]: text for name, text in texts.items() if text}
        raw |= {"device": device} if device else {}
        labels = (index, device, _identity(texts), texts.get(NAME, ""), host)
        shown = ",".join(map(_quoted, labels))
        heads = [f",{column.metric},{shown}," for column in self._layout.values]
        return heads, "," + _quoted(raw_text(raw))


def _split(text: str) -> list[str]:
    if '"' not in text:
        return [cell.strip() for cell in text.split(",")]
    try:
        cells = next(csv.reader([text], strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise LineFlaw(f"not CSV: {error}") from None
    return [cell.strip() for cell in cells]


def _identity(texts: dict[str, str]) -> str:
    """What identifies a GPU. Without a UUID it is made as for exporters that have none."""
    host = texts[HOST]
    if uuid := texts.get(UUID):
        return uuid
    if bus_id := texts.get(BUS_ID):
        return f"{bus_id}@{host}"
    if index := texts.get(INDEX):
        return f"gpu{index}@{host}"
    raise LineFlaw("no GPU is named: nvidia-smi has none of its uuid, pci.bus_id and index")


def _is_absent(cell: str) -> bool:
    """Whether nvidia-smi has no text or value: ``[N/A]``, ``[Not Supported]`` and others."""
    return cell in ("", "N/A") or (cell.startswith("[") and cell.endswith("]"))


@lru_cache(maxsize=65_536)
def _value(cell: str, column: ValueColumn) -> str | None:
    """The value as a field of a CSV; None if it is absent. What is no number stays as it is."""
    if cell and _is_absent(cell):
        return None
    text = cell.removesuffix(column.unit).rstrip()
    if _NUMBER.fullmatch(text):
        return text if column.factor == 1 else f"{Decimal(text) * column.factor:f}"
    if column.name.startswith(MASKS) and _HEX.fullmatch(text):
        return str(int(text, 16))
    if column.name == STATE and (state := _STATE.fullmatch(text)):
        return state[1]
    word = WORDS.get(text) if column.name.startswith(WORDY) else None
    return word or _quoted(cell)


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
