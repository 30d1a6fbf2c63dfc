"""``gputel scrape``: look at what exporters answer, without storing anything."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gputel.cli.options import settings_options
from gputel.cli.scrape.answer import check_text, check_url
from gputel.cli.scrape.answer_report import show_answer
from gputel.cli.scrape.configuration import check_configuration
from gputel.cli.scrape.configuration_report import show_configuration
from gputel.cli.scrape.jobs import ChosenJob, job_names
from gputel.cli.scrape.subject import Kind, kind_of
from gputel.config.resolve import resolve
from gputel.config.settings import Settings
from gputel.errors import UsageError


@click.group()
def scrape() -> None:
    """Exporters that gputel scrapes: check them before gputel stores anything."""


@scrape.command("check")
@click.argument("subject", metavar="FILE|TARGET", type=click.Path(allow_dash=True))
@click.option("--fetch", is_flag=True, help="Fetch once from each target of a configuration.")
@click.option("--job", "job_name", metavar="NAME", shell_complete=job_names,
              help="Check by the rules of this job; of a configuration only this job.")  # fmt: skip
@click.option("--scrape-config", metavar="PATH", type=click.Path(),
              help="Configuration that has the job of --job.")  # fmt: skip
@click.option("--every-line", is_flag=True, help="Show what becomes of each line of the answer.")
@click.option("--format", "shape", type=click.Choice(("text", "json")), default="text",
              show_default=True, help="Format of the report.")  # fmt: skip
@settings_options("impossible_values")
def check_command(
    subject: str,
    fetch: bool,
    job_name: str | None,
    scrape_config: str | None,
    every_line: bool,
    shape: str,
    impossible_values: str | None,
) -> None:
    """Show what gputel would store of an answer, and what it would refuse. It stores nothing.

    TARGET is an exporter, as in --scrape of `gputel run`: gpu1:9400 or
    http://gpu1:9400/metrics. It is fetched once.

    FILE is a configuration of scrape jobs if its name ends in .yml or .yaml: its targets are
    listed, and fetched with --fetch. Any other FILE that exists, and - for standard input, is the
    saved answer of an exporter, as of `curl http://gpu1:9400/metrics`. It is read as if a target
    with the name "target" had answered it. Give a URL for a host that has the name of a FILE.

    Exit code: 0 if all is well, 3 if lines were refused, 1 if a target cannot be scraped, an
    answer has nothing to store, or targets cannot be listed, 2 if the configuration or an argument
    is wrong.
    """
    flags = {"scrape_config": scrape_config, "impossible_values": impossible_values}
    settings = resolve(flags).settings
    kind = kind_of(subject)
    if kind is Kind.CONFIGURATION:
        if every_line or scrape_config:
            raise UsageError("--every-line and --scrape-config are for an answer, not for a "
                             "configuration")  # fmt: skip
        sys.exit(_check_configuration(Path(subject), job_name, settings, fetch, shape))
    if fetch:
        raise UsageError("--fetch is for a configuration, whose name ends in .yml or .yaml")
    if scrape_config and job_name is None:
        raise UsageError("--scrape-config: name one of its jobs with --job")
    chosen = ChosenJob.of(settings.streamer, job_name)
    sys.exit(_check_answer(subject, kind, chosen, settings, every_line, shape))


def _check_configuration(
    path: Path, job_name: str | None, settings: Settings, fetch: bool, shape: str
) -> int:
    keep = settings.collector.keep_impossible
    checks = check_configuration(path, job_name, fetch=fetch, keep_impossible=keep)
    show_configuration(checks, shape)
    return max(check.outcome for check in checks).exit_code


def _check_answer(
    subject: str, kind: Kind, chosen: ChosenJob, settings: Settings, every_line: bool, shape: str
) -> int:
    check = check_url if kind is Kind.TARGET else check_text
    checked = check(subject, chosen, keep_impossible=settings.collector.keep_impossible)
    show_answer(checked, shape, every_line=every_line)
    return checked.outcome.exit_code
