"""Tab completion that quotes names from outside for the shell.

Anybody who can push a record chooses labels, and a label such as ``node;reboot`` must not become a
command when Enter is pressed. A name is quoted in the same way as the word on the command line. It
is left out if that is impossible, if it has characters that are not printable, or if a command
would take it for an option. zsh and fish quote names themselves, bash does not.
"""

from __future__ import annotations

import os
import re
from typing import Any

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

from gputel.printable import is_printable, printable

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")
_SAFE_MARKS = frozenset("_@%+=:,./-")
_SPOILS_QUOTES = {'"': frozenset('"$`\\!'), "'": frozenset("'")}
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")

_BASH = """\
%(complete_func)s() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        case "$line" in
            dir,*) compopt -o dirnames ;;
            file,*) compopt -o default ;;
            plain,*) COMPREPLY+=("${line#plain,}") ;;
        esac
    done < <(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORD="$2" \
%(complete_var)s=bash_complete "$1")
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_FISH = """\
function %(complete_func)s;
    set -l response (env %(complete_var)s=fish_complete \
COMP_WORDS=(commandline -cp | string collect) \
COMP_CWORD=(commandline -t | string collect) %(prog_name)s);

    for completion in $response;
        set -l item (string split -m 1 -- "," $completion);

        if test "$item[1]" = "dir";
            __fish_complete_directories $item[2];
        else if test "$item[1]" = "file";
            __fish_complete_path $item[2];
        else if test "$item[1]" = "plain";
            printf '%%s\\n' $item[2];
        end;
    end;
end;

complete --no-files --command %(prog_name)s --arguments \
"(%(complete_func)s)";
"""


class _Offers(ShellComplete):
    """Only items of one printable line, and their descriptions as one printable line."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """The items whose value is one printable line."""
        items = super().get_completions(args, incomplete)
        for item in items:
            item.help = printable(item.help) if item.help else item.help
        return [item for item in items if is_printable(str(item.value))]


class Bash(_Offers, BashComplete):
    """For bash, which does not quote items."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor's word, and that word, all without quotes.

        The script of an earlier gputel, which a shell may still have loaded, sets no COMP_LINE.
        """
        if "COMP_LINE" not in os.environ:
            return super().get_completion_args()
        line = os.environ["COMP_LINE"]
        last, _ = last_word(line)
        words = split_arg_string(line.removesuffix(last) if last else line)
        while words and _ASSIGNMENT.match(words[0]):
            words.pop(0)
        return words[1:], "".join(split_arg_string(last))

    def complete(self) -> str:
        """A line for each item: its type, a comma, and the text that replaces the word."""
        args, incomplete = self.get_completion_args()
        lines = (_in_bash(item) for item in self.get_completions(args, incomplete))
        return "\n".join(line for line in lines if line is not None)


class Fish(_Offers, FishComplete):
    """For fish, which quotes items; a tab begins the description."""

    source_template = _FISH


class Zsh(_Offers, ZshComplete):
    """For zsh, which quotes items; the order of an item's lines says what each is."""


def use_safe_completion() -> None:
    """Make click use these classes for the three shells."""
    for name, kind in (("bash", Bash), ("zsh", Zsh), ("fish", Fish)):
        add_completion_class(kind, name)


def _in_bash(item: CompletionItem[Any]) -> str | None:
    if item.type != "plain":
        return f"{item.type},{item.value}"
    if "COMP_LINE" not in os.environ:  # the script of an earlier gputel removes quotes
        return f"plain,{item.value}" if _PLAIN.fullmatch(item.value) else None
    word, quote = last_word(os.environ["COMP_LINE"])
    text = quoted_for_bash(item.value, word, quote, os.environ.get("COMP_WORD", ""))
    return None if text is None else f"plain,{text}"


def quoted_for_bash(value: str, word: str, quote: str, replaced: str) -> str | None:
    """The text that makes the word mean ``value`` when readline replaces ``replaced`` by it.

    ``word`` is the word as it was typed up to the cursor, and ``quote`` the quote that is open
    there. ``replaced`` is the end of the word: for readline a new word begins behind a colon or an
    equals sign. None if the value cannot be offered.
    """
    if quote:
        inside = word.partition(quote)[2]
        if set(value) & _SPOILS_QUOTES[quote] or word[0] != quote or quote in inside:
            return None
        text, typed = value, inside
    else:
        text, typed = _with_backslashes(value), word
    name, equals, rest = word.partition("=")
    if word.startswith("--") and equals and not quote:  # --option=VALUE
        typed, replaced = rest, replaced.removeprefix(f"{name}=").removeprefix("=")
    if text.startswith(typed) and typed.endswith(replaced):
        return text[len(typed) - len(replaced) :]
    return text if typed == replaced else None


def _with_backslashes(value: str) -> str:
    return "".join(
        character if character.isalnum() or character in _SAFE_MARKS else "\\" + character
        for character in value
    )


def last_word(line: str) -> tuple[str, str]:
    """The last word of a command line as it was typed, and its open quote or ""."""
    start, quote, escaped = 0, "", False
    for at, character in enumerate(line):
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character.isspace():
            start = at + 1
    return line[start:], quote
