"""OTLP metrics: what OpenTelemetry's collectors and programs send, in protobuf or JSON."""
