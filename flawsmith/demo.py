"""`python -m flawsmith.demo`: first defects in one go, on a rendered part or on a photo of yours.

Starts a service with a data folder of its own, draws on the part, says where the pictures are, ends the service.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from flawsmith.cli import exits
from flawsmith.cli.generation import InterruptedWaitError, Result, generate_into
from flawsmith.cli.overview import write_overview
from flawsmith.cli.terminal import fail, say, tell
from flawsmith.client import AugmentOptions, Flawsmith, FlawsmithError
from flawsmith.client.augmentations import Subject
from flawsmith.contract.jobs import JobStatus
from flawsmith.stack import ports
from flawsmith.stack.application import find_application
from flawsmith.stack.errors import StackError

DEFECTS = ("scratch", "stain", "hole")
SAMPLE = ("--size", "384x256", "--seed", "58")
OPTIONS: AugmentOptions = {"count": 2, "seed": 7}
START_PATIENCE_S = 180.0
STOP_PATIENCE_S = 60.0


def demo(
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for everything.")] = Path("out/demo"),
    image: Annotated[Path | None, typer.Option(exists=True, help="Your photo of a normal part.")] = None,
    mask: Annotated[Path | None, typer.Option(exists=True, help="Where the defect may appear.")] = None,
    defect: Annotated[str | None, typer.Option(help="One defect type instead of three.")] = None,
) -> None:
    """Draw first defects."""
    if (image is None) != (mask is None):
        fail("an image and its mask belong together: give both, or neither for a rendered part", exits.USAGE)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        orders = []
        for kind in (defect,) if defect else DEFECTS:
            photo, region = (image, mask) if image and mask else _sample(out / "sample", kind)
            orders.append(Order(kind, photo, region))
        results = _draw(out, orders)
    except StackError as error:
        fail(str(error))
    except FlawsmithError as error:
        fail(str(error), exits.status_of(error))
    except (InterruptedWaitError, KeyboardInterrupt):
        sys.exit(exits.INTERRUPTED)
    _say_where(out, results)


class Order(NamedTuple):
    """What to draw."""

    defect: str
    image: Path
    mask: Path


def _sample(folder: Path, defect: str) -> tuple[Path, Path]:
    """A rendered part, and a mask on it with room for such a defect.

    Raises:
        StackError: it cannot be rendered.
    """
    folder.mkdir(parents=True, exist_ok=True)
    image, mask = folder.resolve() / "image.png", folder.resolve() / f"mask-{defect}.png"
    command = [sys.executable, "-m", "models.rendering", "sample", str(image), str(mask), *SAMPLE]
    if subprocess.run([*command, "--defect", defect], cwd=find_application(), check=False).returncode != 0:
        raise StackError(f"no sample part could be rendered for {defect}; give your own with IMAGE=… MASK=…")
    return image, mask


def _draw(out: Path, orders: list[Order]) -> list[Result]:
    with _service(out) as client:
        results = []
        for defect, image, mask in orders:
            tell(f"Drawing {defect}")
            results.append(generate_into(client, Subject(image, mask, defect), OPTIONS, out / defect))
    return results


@contextmanager
def _service(out: Path) -> Iterator[Flawsmith]:
    """A service while the block runs.

    Raises:
        StackError: it does not become ready.
    """
    port = ports.claim("127.0.0.1", 0)
    log = out / "up.log"
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "flawsmith", "up", "--port", str(port), "--data-dir", str(out / "data")]
    tell("Starting Flawsmith")
    with log.open("wb") as output:
        # In a session of its own: a Ctrl-C first ends the drawing, which then ends the service.
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        with Flawsmith(ports.url("127.0.0.1", port)) as client:
            _wait_until_ready(client, process, log)
            yield client
    finally:
        _stop(process)


def _wait_until_ready(client: Flawsmith, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_PATIENCE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if client.ready().ready:
                return
        except FlawsmithError:  # it does not listen yet
            pass
        time.sleep(0.5)
    raise StackError(f"Flawsmith does not start; {log} says:\n{log.read_text(errors='replace')}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _say_where(out: Path, results: list[Result]) -> None:
    entries = [entry for result in results for entry in result.entries]
    for result in results:
        for path in result.paths():
            say(str(path))
    if entries:
        say(f"All at a glance: {write_overview(entries, out / 'overview.png')}")
    undone = [result.job.id for result in results if result.job.status is not JobStatus.SUCCEEDED]
    if undone:
        fail(f"not all succeeded: {', '.join(undone)}")


if __name__ == "__main__":
    typer.run(demo)
