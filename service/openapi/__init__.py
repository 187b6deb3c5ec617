"""The OpenAPI document: made from the code; ``python -m service.openapi`` writes it to ``openapi.yaml``."""
