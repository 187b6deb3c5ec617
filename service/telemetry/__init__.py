"""What the service and the workers tell their operators: logs, metrics, traces. No web framework, no models."""
