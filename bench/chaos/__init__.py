"""Chaos: a mixed load on a stack whose parts are killed, stopped and spoilt, and an oracle outside of it."""
