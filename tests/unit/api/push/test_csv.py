from __future__ import annotations

from gputel.api.push.csv import parse_csv

FIRST = "metric_name,uuid,value,hostname"
SWAPPED = "metric_name,hostname,value,uuid"
UNUSABLE = "metric_name,hostname,value,gpu_number"


def test_lines_are_read_by_the_header_above_them() -> None:
    lines = [
        FIRST, "TEMP,GPU-7,1,node-7", SWAPPED, "TEMP,node-7,2,GPU-7", UNUSABLE,
        "TEMP,node-7,3,GPU-7", FIRST, "TEMP,GPU-7,4,node-7",
    ]  # fmt: skip
    push = parse_csv("\n".join(lines).encode(), 100, 1_800_000_000_000_000)
    rows = [(row["uuid"], row["hostname"], row["value"]) for row in push.batch.to_pylist()]
    assert rows == [("GPU-7", "node-7", number) for number in (1, 2, 4)]
    assert push.indices.tolist() == [0, 2, 6]
    assert [reject.index for reject in push.rejects] == [3, 4]
    why = "the header in line 5: the header lacks column uuid"
    assert all(reject.reason.startswith(why) for reject in push.rejects)
