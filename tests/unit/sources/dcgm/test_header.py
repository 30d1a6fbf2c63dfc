from pathlib import Path

import pytest

from gputel.errors import SourceError
from gputel.sources.csv.file import CsvFile
from gputel.sources.dcgm.header import parse_header

PATH = Path("some.csv")
REAL = "timestamp,metric_name,gpu_id,device,uuid,modelName,Hostname,container,pod,namespace,value"


def refusal(content: bytes) -> str:
    with pytest.raises(SourceError) as caught:
        parse_header(content, PATH)
    assert str(PATH) in caught.value.message
    return caught.value.message


def test_header_of_a_real_capture_is_understood():
    layout = parse_header((REAL + ",labels_raw\n").encode(), PATH)
    assert layout.places["model_name"] == 5
    assert layout.titles["hostname"] == "Hostname"
    assert layout.width == 12
    assert not layout.ignores


def test_reordered_and_extra_columns_are_fine():
    layout = parse_header(b"value,cluster,uuid,timestamp,metric_name\n", PATH)
    assert layout.places == {"timestamp": 3, "metric_name": 4, "uuid": 2, "value": 0}
    assert layout.ignores


@pytest.mark.parametrize("name", ["modelName", "model_name", "MODELNAME", "Model_Name"])
def test_names_match_in_either_spelling_and_any_case(name):
    layout = parse_header(f"timestamp,metric_name,uuid,value,{name}\n".encode(), PATH)
    assert layout.places["model_name"] == 4


def test_exact_name_wins_over_one_that_differs_in_case():
    layout = parse_header(b"timestamp,metric_name,uuid,VALUE,value\n", PATH)
    assert layout.places["value"] == 4


def test_bom_crlf_and_quotes_around_names_are_fine():
    layout = parse_header(b'\xef\xbb\xbf"timestamp","metric_name","uuid","value"\r\n', PATH)
    assert layout.places["timestamp"] == 0
    assert layout.places["value"] == 3


def test_missing_columns_are_named_with_those_that_were_found():
    message = refusal(b"timestamp,metric_name,gpu_id,Hostname\n")
    assert "lacks columns uuid, value" in message
    assert "found: timestamp, metric_name, gpu_id, Hostname" in message


def test_wrong_separator_is_pointed_out():
    assert "separated by commas" in refusal(b"timestamp;metric_name;uuid;value\n")


def test_duplicate_column_is_named():
    assert "column value 2 times" in refusal(b"timestamp,metric_name,uuid,value,value\n")


def test_two_spellings_of_one_column_are_ambiguous():
    assert "VALUE, Value" in refusal(b"timestamp,metric_name,uuid,VALUE,Value\n")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x00\x01\x02\x03\n", "binary"),
        (b"\x89PNG\r\n", "not UTF-8"),
        ("timestamp,value".encode("utf-16"), "UTF-16"),
        (b'timestamp,"value\n', "not CSV"),
        (b"\n", "blank"),
        (b"a\rb\n", "not CSV"),
    ],
)
def test_what_is_no_csv_is_refused(content, expected):
    assert expected in refusal(content)


def test_file_without_a_header_is_refused(bench):
    with pytest.raises(SourceError, match="lacks columns"):
        CsvFile.open(bench.raw(bench.line() + b"\n"))


def test_endless_first_line_is_refused(bench):
    with pytest.raises(SourceError, match="first line"):
        CsvFile.open(bench.raw(b"x" * 200_000))
