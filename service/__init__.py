"""The REST API: everything that happens before work is queued and after it is done."""
