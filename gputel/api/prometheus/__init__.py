"""The part of Prometheus' HTTP API that Grafana asks for."""
