"""labels_raw is read in the forms that people have, or it is said that it was not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gputel.model.raw_labels import MOST_RAW_LABELS, read_raw

POD = {"gpu": "0", "pod": "train-0"}


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("", {}),
        ('gpu="0",pod="train-0"', POD),
        ('{gpu="0",pod="train-0"}', POD),
        ('DCGM_FI_DEV_GPU_UTIL{gpu="0",pod="train-0",}', POD),
        (' gpu = "0" , pod = "train-0" , ', POD),
        ("gpu='0',pod='train-0'", POD),
        ("gpu=0,pod=train-0", POD),
        ("gpu=0;pod=train-0", POD),
        ("gpu=0 pod=train-0", POD),
        ('gpu="0" pod="train-0"', POD),
        ("gpu: 0, pod: train-0", POD),
        ('{"gpu":"0","pod":"train-0"}', POD),
        ('{"gpu": 0, "pod": "train-0", "container": null}', POD),
        ("{'gpu': 0, 'pod': 'train-0'}", POD),
        ('{"gpu"="0",pod="train-0"}', POD),
        (
            "modelName=NVIDIA H100 80GB HBM3,gpu=0",
            {"modelName": "NVIDIA H100 80GB HBM3", "gpu": "0"},
        ),
        ("instance=dgx:9400", {"instance": "dgx:9400"}),
        ('{"mig": true, "x": 1.50, "off": false}', {"mig": "true", "x": "1.50", "off": "false"}),
        (r'{"a": "\u00e9\n\"q\""}', {"a": 'é\n"q"'}),
        ('k8s.node.name="n1",k8s.pod.name="p1"', {"k8s_node_name": "n1", "k8s_pod_name": "p1"}),
        ('"k8s.pod.name"="p1"', {"k8s_pod_name": "p1"}),
        ('app.kubernetes.io/name="x",2nd="y"', {"app_kubernetes_io_name": "x", "_2nd": "y"}),
        (r'a="say \"hi\"",b="\\",c="1\n2"', {"a": 'say "hi"', "b": "\\", "c": "1\n2"}),
        ("a='it\\'s, so'", {"a": "it's, so"}),
        ('a="x=y,z=1",b="{c}"', {"a": "x=y,z=1", "b": "{c}"}),
        ('a="",a="2",a="2",b=', {"a": "2"}),
    ],
)
def test_labels_of_every_form_are_read_whole(text, labels):
    assert read_raw(text) == (labels, True)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('a="1",b="not closed', {"a": "1"}),
        ('a="ends in \\', {}),
        ('a="1",junk,b="2"', {"a": "1", "b": "2"}),
        ('a="1",a="2"', {"a": "1"}),
        ('a.b="1",a_b="2"', {"a_b": "1"}),
        ('{"a":"1","a":"2"}', {"a": "1"}),
        ('{"a":"1","b":{"c":"2"}}', {"a": "1"}),
        ('[{"name":"a","value":"1"}]', {}),
        ("map[a:1 b:2]", {}),
        ('é="1",è="2"', {"_": "1"}),
        ("N/A", {}),
        ('""="x"', {}),
    ],
)
def test_text_that_is_not_read_whole_is_told(text, labels):
    read = read_raw(text)
    assert not read.whole
    assert labels.items() <= read.labels.items()


def test_half_of_a_surrogate_pair_which_no_answer_can_hold_is_never_in_a_label():
    for text in (r'{"a":"\ud800"}', r'{"\udfff":"a"}'):
        assert str(read_raw(text).labels).isascii()


def test_only_so_many_labels_are_taken_from_a_text_and_that_is_told():
    text = ",".join(f'a{n}="1"' for n in range(MOST_RAW_LABELS))
    assert read_raw(text).whole
    more = read_raw(text + ',more="1"')
    assert (len(more.labels), more.whole) == (MOST_RAW_LABELS, False)


names = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,5}\Z")
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(names, texts, max_size=5))
def test_what_an_exporter_writes_is_read_as_it_was(labels):
    escaped = {
        name: text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for name, text in labels.items()
    }
    written = ",".join(f'{name}="{text}"' for name, text in escaped.items())
    assert read_raw(written) == (labels, True)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab=:,;\"'\\{}[] 1", max_size=30))
def test_any_text_is_read_or_told_and_names_are_names(text):
    for name, value in read_raw(text).labels.items():
        assert name.isidentifier()
        assert value
