"""Schemas, ids and problem types that client, service and worker share. Pydantic only."""
