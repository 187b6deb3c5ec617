"""What health checks call in the images of others: `valkey-cli … ping` and `wget URL`, as far as they use it."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import urllib.request

from redis import Redis
from redis.exceptions import RedisError


def valkey_cli(arguments: list[str]) -> int:
    """Send a command; with `-e` an error is the exit status 1, without it none is."""
    parser = argparse.ArgumentParser("valkey-cli")
    parser.add_argument("-e", action="store_true", dest="strict")
    parser.add_argument("-p", type=int, default=6379, dest="port")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args(arguments)
    try:
        with Redis(port=given.port, password=os.environ.get("REDISCLI_AUTH"), socket_timeout=5) as redis:
            redis.execute_command(*given.command)
    except RedisError as error:
        sys.stderr.write(f"{error}\n")
        return 1 if given.strict or "connecting" in str(error) else 0
    return 0


def wget(arguments: list[str]) -> int:
    """Write what a URL answers to a file."""
    parser = argparse.ArgumentParser("wget")
    parser.add_argument("-q", action="store_true")
    parser.add_argument("-O", dest="file", required=True)
    parser.add_argument("url")
    given = parser.parse_args(arguments)
    try:
        with urllib.request.urlopen(given.url, timeout=5) as answer, open(given.file, "wb") as file:  # noqa: PTH123
            shutil.copyfileobj(answer, file)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    sys.exit({"valkey-cli": valkey_cli, "wget": wget}[name](rest))
