"""The image, built once for all tests of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.podman import Podman, missing, podman_in


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    if (reason := missing()) is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"the image cannot be tested: {reason}")
        pytest.skip(f"the image is not tested: {reason}")
    with podman_in(Path(tempfile.mkdtemp(prefix="gputel-image-"))) as podman:
        yield podman
