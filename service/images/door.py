"""The door: uploads are decoded in processes of their own, a few at a time and within a byte budget.

Codecs are where hostile files do harm. A decoding process has a memory and a time limit and no secrets in its
environment; if it dies, one request is refused and the service lives on.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flawsmith.contract.uploads import ImageInfo
from service.images.decoders import Decoder, LoadedProcess, start
from service.images.errors import DecoderLostError, DoorBusyError, DoorError, Field, ImageError
from service.images.folders import private_folder
from service.images.limits import Limits

DECODING = "service.images.child"
_RETRY_AFTER_S = 2
_LOOK_AGAIN_S = 0.1
"""For memory that others give back."""

_ANOTHER_WAY = "Save the image again as an ordinary PNG and send that."


@dataclass(frozen=True)
class Admitted:
    """What became of one image, one mask, or both."""

    png: bytes | None
    """The canonical image; None if only a mask was given."""
    info: ImageInfo | None
    mask_png: bytes | None
    """The mask as 8-bit grey PNG, 0 or 255."""
    mask_pixels: int | None
    """Number of pixels set in the mask."""
    warnings: list[str]
    """Of both files, each beginning with the file it speaks of: ``image: …`` or ``mask: …``."""


@dataclass(frozen=True)
class Caller:
    """One of several that come to the door together: an image, a mask, or both, on disk."""

    image: Path | None
    """A file as it was sent."""
    mask: Path | None
    """A file as it was sent, or the canonical PNG of an earlier upload."""
    image_info: ImageInfo | None = None
    """To hold a mask against an image that was admitted before; ``image`` is then None."""
    mask_lossy: bool | None = None
    """Given for the canonical PNG of an earlier upload: whether that was compressed with loss."""


@dataclass(frozen=True)
class AdmittedFiles:
    """What became of a `Caller`, on disk."""

    image: Path | None
    """The canonical PNG; None if only a mask was given."""
    info: ImageInfo | None
    mask: Path | None
    """The mask as 8-bit grey PNG, 0 or 255."""
    mask_pixels: int | None
    """Number of pixels set in the mask; it may be 0."""
    warnings: list[str]
    """As those of `Admitted`."""
    error: ImageError | None = None
    """Why it is none, where others were to be let in all the same."""


class Door:
    """Lets images in: at most ``max_children`` decodes at once, their estimated memory within ``byte_budget``.

    Args:
        limits: what a single file may be.
        byte_budget: memory that all decodes together may take, in bytes.
        max_children: decoding processes at once.
        timeout_s: seconds one admission may decode for, and wait for its turn before.
        folder: where each admission's private folder is made; the system's temporary folder if None.
        loaded: what decoding processes are forked from; if None each is started anew.
    """

    def __init__(
        self,
        limits: Limits,
        byte_budget: int,
        max_children: int,
        timeout_s: float,
        folder: Path | None = None,
        loaded: LoadedProcess | None = None,
    ) -> None:
        self.limits = limits
        self.byte_budget = byte_budget
        self.timeout_s = timeout_s
        self._folder = folder
        self._loaded = loaded
        self._turns = asyncio.Semaphore(max_children)
        self._reserved = 0

    async def admit(
        self,
        image: bytes | Path | None,
        mask: bytes | Path | None = None,
        *,
        image_info: ImageInfo | None = None,
        mask_lossy: bool | None = None,
    ) -> Admitted:
        """Decode an image, a mask, or both.

        Args:
            image: a file as it was sent, or, together with ``image_info``, the canonical PNG of an earlier upload,
                which is passed through as it is.
            mask: a file as it was sent, or the canonical PNG of an earlier upload.
            image_info: what is already known about ``image``; may also stand without it, to check a mask.
            mask_lossy: given for the canonical PNG of an earlier upload: whether that was compressed with loss.

        Raises:
            ImageError: a file cannot be used; ``field`` says which.
            DoorBusyError: no room now; come back after ``retry_after`` seconds.
            DoorError: the decoding process failed by a fault of ours.
            OSError: the disk is full.
        """
        if image is None and mask is None:
            raise ValueError("nothing to admit: give an image, a mask or both")
        done: dict[str, Any] = {}
        png = mask_png = None
        with private_folder(self._folder) as folder:
            if mask is not None or image_info is None:
                caller = Caller(
                    None if image_info else await _as_file(image, folder / "sent-image"),
                    await _as_file(mask, folder / "sent-mask"),
                    image_info,
                    mask_lossy,
                )
                async with (
                    self._turn(),
                    aclosing(self._decode([self._request(caller, folder)], folder)) as results,
                ):
                    done = await anext(results)
            if image_info is not None:
                png = await asyncio.to_thread(image.read_bytes) if isinstance(image, Path) else image
            elif image is not None:
                png = await asyncio.to_thread((folder / "image.png").read_bytes)
            if mask is not None:
                mask_png = await asyncio.to_thread((folder / "mask.png").read_bytes)
        info = image_info or (ImageInfo.model_validate(done["info"]) if "info" in done else None)
        return Admitted(
            png=png,
            info=info,
            mask_png=mask_png,
            mask_pixels=done.get("mask_pixels"),
            warnings=_warnings(info, done),
        )

    async def admit_several(
        self, callers: Sequence[Caller], folders: Sequence[Path], *, go_on: bool = False
    ) -> AsyncGenerator[AdmittedFiles, None]:
        """Decode the files of several callers in one process, one after the other; their masks may be black.

        Args:
            callers: each with an image, a mask, or both.
            folders: as many, for what becomes of each: ``image.png`` and ``mask.png``.
            go_on: whether a file that cannot be used is told as an ``error`` in its place, and others follow.

        Yields:
            What became of each, in order.

        Raises:
            ImageError: a file of the next in order cannot be used, ``field`` says which; that ends the admission.
            DecoderLostError: the same where it was to go on and cannot.
            DoorBusyError: no room came free in time.
            DoorError: the decoding process failed by a fault of ours.
            OSError: the disk is full.
        """
        if any(caller.image is None and caller.mask is None for caller in callers):
            raise ValueError("nothing to admit: give an image, a mask or both")
        several = [
            self._request(caller, folder, mask_may_be_empty=True, go_on=go_on)
            for caller, folder in zip(callers, folders, strict=True)
        ]
        async with aclosing(self.answers(several)) as results:
            for caller, folder in zip(callers, folders, strict=True):
                done = await anext(results)
                if "refused" in done:
                    yield AdmittedFiles(None, None, None, None, [], done["refused"])
                    continue
                info = ImageInfo.model_validate(done["info"]) if "info" in done else caller.image_info
                yield AdmittedFiles(
                    image=None if caller.image is None else folder / "image.png",
                    info=info,
                    mask=None if caller.mask is None else folder / "mask.png",
                    mask_pixels=done.get("mask_pixels"),
                    warnings=_warnings(info, done),
                )

    async def answers(
        self, requests: list[dict[str, Any]], program: str = DECODING
    ) -> AsyncGenerator[dict[str, Any], None]:
        """What a program of this kind says of some requests in one process, in order; each may wait for memory.

        Args:
            requests: with ``timeout_s`` and ``go_on``, as `admit_several` knows it; all else is the program's.
            program: a module that serves them as `service.images.child` does.

        Yields:
            Results. Where a request says that it goes on, it may be the `ImageError` that it is ``refused`` for.

        Raises:
            ImageError, DecoderLostError, DoorBusyError, DoorError, OSError: as `admit_several`.
        """
        with private_folder(self._folder) as folder:
            async with (
                self._turn(),
                aclosing(self._decode(requests, folder, self.timeout_s, program)) as results,
            ):
                async for result in results:
                    yield result

    def _request(
        self, caller: Caller, folder: Path, *, mask_may_be_empty: bool = False, go_on: bool = False
    ) -> dict[str, Any]:
        return {
            "folder": str(folder.resolve()),
            "image": None if caller.image is None else str(caller.image.resolve()),
            "mask": None if caller.mask is None else str(caller.mask.resolve()),
            "image_info": caller.image_info.model_dump(mode="json") if caller.image_info else None,
            "mask_lossy": caller.mask_lossy,
            "mask_may_be_empty": mask_may_be_empty,
            "go_on": go_on,
            "limits": asdict(self.limits),
            "timeout_s": self.timeout_s,
        }

    async def _decode(
        self, requests: list[dict[str, Any]], folder: Path, patience_s: float = 0.0, program: str = DECODING
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Run one decoding process over ``requests``, with its own files in ``folder``; their results in order.

        Where a request says that it goes on, its result may be the `ImageError` that it is ``refused`` for.

        Each of them may wait ``patience_s`` for memory before the door is called busy.
        """
        path = folder / "requests.json"
        await asyncio.to_thread(path.write_text, json.dumps(requests), encoding="utf-8")
        errors = folder / "errors.txt"
        with errors.open("wb") as stderr:
            if self._loaded is not None and program == DECODING:
                decoder: Decoder = await self._loaded.fork(path, stderr)
            else:
                decoder = await start(program, path, stderr)
        try:
            for request in requests:
                try:
                    result = await self._result(decoder, errors, patience_s)
                except ImageError as error:
                    if isinstance(error, DecoderLostError) or not request["go_on"]:
                        raise
                    result = {"refused": error}
                yield result
        finally:
            await decoder.end()

    async def _result(self, decoder: Decoder, errors: Path, patience_s: float) -> dict[str, Any]:
        """What a decoding process says of its next request."""
        field: Field | None = None
        reserved = 0
        try:
            async with asyncio.timeout(self.timeout_s) as deadline:
                while line := await decoder.said():
                    message = json.loads(line)
                    if "field" in message:
                        field = message["field"]
                    elif "bytes_needed" in message:
                        deadline.reschedule(None)
                        try:
                            reserved = await self._reserve(message["bytes_needed"], field, patience_s)
                        except ImageError:
                            decoder.tell(b"no\n")
                            raise
                        deadline.reschedule(asyncio.get_running_loop().time() + self.timeout_s)
                        decoder.tell(b"go\n")
                    elif "error" in message:
                        raise ImageError(message["error"], field)
                    elif "full" in message:
                        raise OSError(message["full"], os.strerror(message["full"]))
                    elif "done" in message:
                        done: dict[str, Any] = message["done"]
                        return done
                status = await decoder.status()
        except TimeoutError:
            raise DecoderLostError(
                f"Decoding took longer than {self.timeout_s:g} s. {_ANOTHER_WAY}", field
            ) from None
        finally:
            self._reserved -= reserved
        if status < 0:
            raise DecoderLostError(
                f"Decoding the file broke the decoder (signal {-status}). {_ANOTHER_WAY}", field
            )
        tail = errors.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise DoorError(f"the decoding process ended with status {status}: {tail}")

    async def _reserve(self, needed: int, field: Field | None, patience_s: float) -> int:
        if needed > self.byte_budget:
            raise ImageError(
                f"Decoding the image would take about {needed // 10**6:,} MB of memory; this service sets aside "
                f"{self.byte_budget // 10**6:,} MB. Crop it to the part or scale it down.",
                field,
            )
        patience_ends = asyncio.get_running_loop().time() + patience_s
        while self._reserved + needed > self.byte_budget:
            if asyncio.get_running_loop().time() >= patience_ends:
                raise DoorBusyError(_RETRY_AFTER_S)
            await asyncio.sleep(_LOOK_AGAIN_S)
        self._reserved += needed
        return needed

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One of the ``max_children`` places; waits for it no longer than a decode may take."""
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._turns.acquire()
        except TimeoutError:
            raise DoorBusyError(_RETRY_AFTER_S) from None
        try:
            yield
        finally:
            self._turns.release()


async def _as_file(content: bytes | Path | None, path: Path) -> Path | None:
    """The path of a file with this content, written to ``path`` if it is not one already."""
    if isinstance(content, bytes):
        await asyncio.to_thread(path.write_bytes, content)
        return path
    return content


def _warnings(info: ImageInfo | None, done: dict[str, Any]) -> list[str]:
    of_image = [f"image: {text}" for text in (info.warnings if info else [])]
    return of_image + [f"mask: {text}" for text in done.get("mask_warnings", [])]
