"""The client against a real service, sync and async."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flawsmith import (
    AsyncFlawsmith,
    CorruptDownloadError,
    Flawsmith,
    FlawsmithError,
    InvalidParameterError,
    JobTimeoutError,
    ServiceUnreachableError,
)
from flawsmith.client.downloads import check_archive
from flawsmith.contract import problems
from flawsmith.contract.jobs import Job, JobStatus
from tests.flawsmith.conftest import Part
from tests.flawsmith.running import Up
from tests.servers import free_ports

pytestmark = pytest.mark.slow


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def test_it_draws_and_downloads(up: Up, part: Part, tmp_path: Path) -> None:
    seen: list[Job] = []
    with Flawsmith(up.url) as client:
        accepted = client.augment(
            part.image, part.mask, "scratch", count=2, seed=7, steps=6, min_quality=0.0, metadata={"line": 3}
        )
        assert accepted.request["metadata"] == {"line": 3}
        job = client.wait(accepted, timeout=240, on_progress=seen.append)
        download = client.download(job, tmp_path / "out")
        mask, before, after = client.job_mask(job), client.job_input(job), client.item_image(job, 1)
        refined = client.item_mask(job, 1)
        preview = client.item_preview(job, 1)
    assert job.status is JobStatus.SUCCEEDED
    assert seen[-1] == job
    assert [item.index for item in download.items] == [0, 1]
    assert download.items[1].image.read_bytes() == after
    assert download.items[1].mask.read_bytes() == refined
    assert download.items[1].preview.read_bytes() == preview
    assert Job.model_validate_json(download.job_file.read_bytes()) == job
    assert sorted(path.name for path in download.folder.iterdir()) == [
        "item-00-mask.png",
        "item-00-preview.png",
        "item-00.png",
        "item-01-mask.png",
        "item-01-preview.png",
        "item-01.png",
        "job.json",
    ]
    requested = pixels(mask) > 0
    assert np.array_equal(pixels(before), pixels(part.image.read_bytes()))
    assert np.array_equal(pixels(after)[~requested], pixels(before)[~requested])
    assert not (pixels(refined) > 0)[~requested].any()


def test_an_archive_is_one_file_with_everything(up: Up, part: Part, tmp_path: Path) -> None:
    with Flawsmith(up.url) as client:
        job = client.augment(part.image, part.mask, "scratch", count=2, seed=7, steps=4, min_quality=0.0)
        job = client.wait(job, timeout=240)
        path = client.archive(job.id, tmp_path / "results.zip")
        download = client.download(job, tmp_path / "folder")
        assert client.job_input(job.id) == client.job_input(job)
    with zipfile.ZipFile(path) as archive:
        assert Job.model_validate_json(archive.read("job.json")) == job
        for item in download.items:
            assert archive.read(f"images/{item.image.name}") == item.image.read_bytes()
            assert archive.read(f"masks/{item.mask.name}") == item.mask.read_bytes()
            assert archive.read(f"previews/{item.preview.name}") == item.preview.read_bytes()
        damaged = tmp_path / "damaged.zip"
        with zipfile.ZipFile(damaged, "w") as copy:
            for name in archive.namelist():
                copy.writestr(name, archive.read(name) + (b"x" if name.startswith("masks/") else b""))
    check_archive(job, path)
    with pytest.raises(CorruptDownloadError, match="masks/item-00-mask"):
        check_archive(job, damaged)


def test_paths_bytes_pictures_and_uploads_are_the_same_request(up: Up, part: Part) -> None:
    with Flawsmith(up.url) as client, Image.open(part.image) as picture, Image.open(part.mask) as mask:
        uploads = client.upload(part.image), client.upload(part.mask.read_bytes())
        assert client.upload(str(part.image)) == uploads[0]
        jobs = [
            client.augment(*files, "scratch", seed=3, steps=4, min_quality=0.0)
            for files in (
                (str(part.image), part.mask),
                (part.image.read_bytes(), part.mask.read_bytes()),
                (picture, mask),
                uploads,
                (uploads[0].id, uploads[1].id),
            )
        ]
        digests = {client.wait(job, timeout=240).items[0].pixels_sha256 for job in jobs}
    assert len(digests) == 1
    assert None not in digests


def test_sixteen_bit_pictures_keep_their_depth(up: Up, part: Part) -> None:
    deep = Image.fromarray(np.linspace(500, 4000, 64 * 64, dtype=np.uint16).reshape(64, 64))
    with Flawsmith(up.url) as client:
        plan = client.plan(deep, part.mask, "scratch", black_level=100, white_level=4095)
        assert (plan.bit_depth, plan.width, plan.mask_pixels) == (16, 64, 560)
        assert plan.request["white_level"] == 4095
        with pytest.raises(InvalidParameterError, match="mode F"):
            client.plan(Image.new("F", (64, 64)), part.mask, "scratch")


def test_jobs_are_paged_newest_first_and_can_be_deleted(up: Up, part: Part) -> None:
    with Flawsmith(up.url) as client:
        mine = [client.augment(part.image, part.mask, "scratch", steps=4, min_quality=0.0) for _ in range(3)]
        ids = [job.id for job in itertools.islice(client.jobs(page_size=2), 3)]
        assert ids == [job.id for job in reversed(mine)]
        for job in mine:
            client.wait(job, timeout=240)
        assert mine[0].id in {job.id for job in client.jobs(status=JobStatus.SUCCEEDED)}
        client.delete(mine[0])
        with pytest.raises(FlawsmithError) as refused:
            client.job(mine[0])
    assert refused.value.problem is not None
    assert refused.value.problem.type == problems.NOT_FOUND.uri


def test_a_long_job_can_be_waited_for_in_part_and_canceled(up: Up, part: Part) -> None:
    with Flawsmith(up.url) as client:
        job = client.augment(part.image, part.mask, "scratch", count=64, steps=250, severity=1.0)
        with pytest.raises(JobTimeoutError, match="still") as late:
            client.wait(job, timeout=0.5)
        assert late.value.job.id == job.id
        with pytest.raises(FlawsmithError) as refused:
            client.delete(job)
        assert refused.value.status == 409
        client.cancel(job.id)
        assert client.wait(job.id, timeout=240).status is JobStatus.CANCELED


def test_the_same_request_under_a_key_is_the_same_job(up: Up, part: Part) -> None:
    with Flawsmith(up.url) as client:
        first, second = (
            client.augment(part.image, part.mask, "scratch", steps=4, min_quality=0.0, idempotency_key="order-18")
            for _ in range(2)
        )
        assert first == second
        with pytest.raises(FlawsmithError) as refused:
            client.augment(part.image, part.mask, "scratch", steps=5, idempotency_key="order-18")
        assert refused.value.problem is not None
        assert refused.value.problem.type == problems.IDEMPOTENCY_MISMATCH.uri
        client.wait(first, timeout=240)


def test_events_tell_what_happens_until_the_end(up: Up, part: Part) -> None:
    with Flawsmith(up.url) as client:
        job = client.augment(part.image, part.mask, "scratch", count=3, steps=6, min_quality=0.0)
        events = list(client.events(job))
        again = list(client.events(job))
    outcomes = [event.item.index for event in events if event.item is not None]
    assert outcomes == [0, 1, 2]
    assert events[0].job is not None
    assert events[-1].is_last
    assert events[-1].job is not None
    assert events[-1].job.status is JobStatus.SUCCEEDED
    assert [event.item.index for event in again if event.item is not None] == [0, 1, 2]
    assert [event.kind for event in again] == ["item", "item", "item", "status"]
    assert again[-1].id == events[-1].id


def test_refusals_carry_the_problem(up: Up, part: Part) -> None:
    with Flawsmith(up.url) as client:
        with pytest.raises(FlawsmithError, match="no-such-type") as refused:
            client.augment(part.image, part.mask, "no-such-type")
        assert refused.value.problem is not None
        assert refused.value.problem.type == problems.UNKNOWN_DEFECT_TYPE.uri
        assert refused.value.problem.field == "defect_type"
        with pytest.raises(FlawsmithError) as refused:
            client.augment(b"not an image", part.mask, "scratch")
        assert refused.value.problem is not None
        assert refused.value.problem.field == "image"
        with pytest.raises(FlawsmithError) as refused:
            client.job("../readyz")
        assert refused.value.status in (404, 422)


def test_what_cannot_be_right_is_not_sent(part: Part, tmp_path: Path) -> None:
    with Flawsmith("http://127.0.0.1:9", retries=0) as client:
        with pytest.raises(InvalidParameterError, match="severity"):
            client.augment(part.image, part.mask, "scratch", severity=1.5)
        with pytest.raises(InvalidParameterError, match=r"absent\.png cannot be read"):
            client.augment(tmp_path / "absent.png", part.mask, "scratch")
        with pytest.raises(InvalidParameterError, match="all be uploads"):
            client.augment("sha256:" + 64 * "0", part.mask, "scratch")
    for address in ("127.0.0.1:8080", "ftp://127.0.0.1", "http://"):
        with pytest.raises(InvalidParameterError, match="address"):
            Flawsmith(address)


def test_an_absent_service_is_named_with_the_remedy() -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    with (
        Flawsmith(url, retries=0) as client,
        pytest.raises(ServiceUnreachableError, match="flawsmith up") as lost,
    ):
        client.ready()
    assert url in str(lost.value)


def test_async_does_the_same(up: Up, part: Part, tmp_path: Path) -> None:
    async def session() -> None:
        async with AsyncFlawsmith(up.url) as client:
            assert (await client.ready()).ready
            assert [kind.name for kind in await client.defect_types()] == ["scratch"]
            uploads = [await client.upload(part.image), await client.upload(part.mask)]
            assert (await client.plan(*uploads, "scratch")).mask_pixels == 560
            seen: list[Job] = []
            jobs = [
                await client.augment(part.image, part.mask, "scratch", seed=seed, steps=4, min_quality=0.0)
                for seed in (1, 2)
            ]
            done = await asyncio.gather(*(client.wait(job, timeout=240, on_progress=seen.append) for job in jobs))
            assert {job.status for job in done} == {JobStatus.SUCCEEDED}
            assert seen
            events = [event async for event in client.events(jobs[0])]
            assert events[-1].is_last
            download = await client.download(done[0], tmp_path)
            assert download.items[0].image.read_bytes() == await client.item_image(done[0], 0)
            assert download.items[0].mask.read_bytes() == await client.item_mask(done[0], 0)
            assert download.items[0].preview.read_bytes() == await client.item_preview(done[0], 0)
            archive = await client.archive(done[0], tmp_path / "results.zip")
            assert zipfile.is_zipfile(archive)
            assert await client.job_input(jobs[0])
            assert await client.job_mask(jobs[0])
            assert {job.id for job in jobs} <= {job.id async for job in client.jobs(page_size=1)}
            assert (await client.cancel(jobs[0])).status is JobStatus.SUCCEEDED
            await client.delete(jobs[0])
            with pytest.raises(FlawsmithError) as refused:
                await client.job(jobs[0])
            assert refused.value.status == 404
            json.loads((tmp_path / "job.json").read_text())

    asyncio.run(session())
