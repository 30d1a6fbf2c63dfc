"""The part of Prometheus' HTTP API that Grafana uses."""
