"""Secrets are hidden without a look at what they mean."""

import pytest

from gputel.masking import mask, mask_url, remember, remember_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p%40ss@h:5432/db", "postgresql://***@h:5432/db"),
        ("postgresql://u@/db?host=/tmp/x", "postgresql://***@/db?host=/tmp/x"),
        ("postgresql://h/db?user=u&password=SECRET", "postgresql://h/db?user=u&password=***"),
        ("postgres://h/db?sslpassword=SECRET", "postgres://h/db?sslpassword=***"),
        ("postgres://h/db?passfile=SECRET&host=h", "postgres://h/db?passfile=***&host=h"),
        ("postgres://h/db?password=a&SECRET", "postgres://h/db?password=***&***"),
        ("postgres://h/db?host=a#SECRET", "postgres://h/db?host=***"),
        ("postgresql://u:a/SECRET@h/db", "postgresql://***@h/db"),
        ("postgresql://u:a?SECRET@h/db", "postgresql://***@h/db"),
        ("postgresql://u:a#SECRET@h/db", "postgresql://***@h/db"),
        ("postgresql://u:a@SECRET@h/db", "postgresql://***@h/db"),
        ("postgresql://u@h/db?password=a@SECRET", "postgresql://***"),
        ("postgresql://u:SECRET", "postgresql://***"),
        ("postgresql://h/db#SECRET", "postgresql://h/db#***"),
        ("host=h password=SECRET", "***"),
        ("SECRET", "***"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert mask_url(url) == shown


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach http://u:SECRET@h:1/x",
        "nonnumeric port in http://u:SEC/RET@h, again",
        "invalid: password=SECRET host=h",
        "invalid: password='SE CRET' host=h",
        "https://h/f?X-Amz-Signature=SECRET&x=1",
        "sent Authorization: Bearer SECRET",
    ],
)
def test_a_text_is_shown_without_its_secrets(text: str) -> None:
    assert "RET" not in mask(text)
    assert "***" in mask(text)


def test_words_of_ours_stay() -> None:
    text = "send it as `Authorization: Bearer TOKEN`; see the token; ask http://h:1/x?limit=3"
    assert mask(text) == text


def test_a_secret_in_use_is_hidden_wherever_it_stands_whole_or_in_parts() -> None:
    remember("Hk2-remembered-token")
    remember_url("postgresql://u:aaaaaaa%2Fbbbbbbb@h/db?sslpassword=ccccccc")
    shown = mask("b'Hk2-remembered-token' 'bbbbbbb' aaaaaaa/bbbbbbb ccccccc")
    assert shown == "b'***' '***' *** ***"
    remember("gputel")
    assert mask("gputel") == "gputel"  # a word of ours
