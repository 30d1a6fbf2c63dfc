"""The process takes what its user may have of open files."""

import resource

from gputel.config.settings import AccessSettings
from gputel.file_limit import file_limit, raise_file_limit
from gputel.web.server.open_connections import OpenConnections


def test_the_soft_limit_is_raised_to_the_hard_one_and_bounds_connections(caplog) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        few = OpenConnections.of(AccessSettings(), 200)
        assert (few.most, few.most_of_client) == (824, 773)
        assert "raise the hard limit" in caplog.text
        assert raise_file_limit() == file_limit() == min(hard, 1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_settings_bound_connections_where_files_are_enough() -> None:
    raise_file_limit()
    given = AccessSettings(connections_max=100, connections_of_client_max=7)
    counted = OpenConnections.of(given, 10)
    assert (counted.most, counted.most_of_client) == (100, 7)
