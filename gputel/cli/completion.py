"""``gputel completion``: the script that makes a shell complete gputel's commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from gputel.cli.completion_shells import use_safe_completion
from gputel.cli.main import VARIABLE


@click.command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete gputel's commands, options and names.

    Bash: eval "$(gputel completion bash)" in ~/.bashrc; zsh likewise in ~/.zshrc; fish:
    gputel completion fish > ~/.config/fish/completions/gputel.fish
    """
    use_safe_completion()
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "gputel", VARIABLE).source())
