"""Push one record to the API at GPUTEL_API_URL, and read it back: what `helm test` runs.

The exit status is 0 when the record came back as it was sent, else 1 with one line that says where
it stopped. The record is of the GPU "GPU-helm-test" and stays in the store.
"""

import http.client
import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime

UUID = "GPU-helm-test"
METRIC = "GPUTEL_HELM_TEST"
# No proxy and no redirect is shown the token.
OPENER = urllib.request.OpenerDirector()
for handler in (
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
):
    OPENER.add_handler(handler())
PATIENCE_S = float(os.environ.get("ROUNDTRIP_PATIENCE_S", "120"))


def main() -> int:
    """Push, wait, compare."""
    record = {
        "timestamp": datetime.now(UTC).isoformat(),
        "metric_name": METRIC,
        "uuid": UUID,
        "Hostname": "helm-test",
        "modelName": "none",
        "value": float(random.randrange(10**9)),
    }
    try:
        answer = ask("POST", "/api/v1/telemetry", [record])
        print(f"pushed: {json.dumps(answer)}")
        return wait_for(record["value"])
    except urllib.error.HTTPError as error:
        text = error.read(2000).decode(errors="replace")
        return told(f"{error.url} answered {error.code}: {text}")
    except OSError as error:
        return told(f"{os.environ['GPUTEL_API_URL']}: {getattr(error, 'reason', error)}")
    except (ValueError, http.client.HTTPException) as error:  # whose words may quote the token
        return told(f"{os.environ['GPUTEL_API_URL']}: {type(error).__name__}")


def wait_for(value: float) -> int:
    """Look for the value until it is there: its way is through queue and collector."""
    started = time.monotonic()
    while time.monotonic() < started + PATIENCE_S:
        rows = ask("GET", f"/api/v1/gpus/{UUID}/telemetry?metric={METRIC}&limit=1000")
        if any(row["value"] == value for row in rows):
            print(f"read back after {time.monotonic() - started:.2f} s")
            return 0
        time.sleep(0.2)
    return told(f"the record was taken, but is not in the store after {PATIENCE_S:g} s")


def ask(method: str, path: str, body: object = None) -> object:
    """The API's answer, decoded; a GPU that is not known yet has no rows."""
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if token := os.environ.get("GPUTEL_TOKEN", "").strip():
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    url = os.environ["GPUTEL_API_URL"].rstrip("/") + path
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with OPENER.open(request, timeout=30) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        if method == "GET" and error.code == 404:
            return []
        raise


def told(problem: str) -> int:
    """Say what is wrong; the exit status for it."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in problem)
    print(f"roundtrip: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
