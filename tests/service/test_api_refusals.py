"""What the API refuses: always a problem that names the field and the remedy, and nothing queued or stored."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from flawsmith.contract import problems
from flawsmith.contract.problems import ProblemType
from tests.service.conftest import Api
from tests.service.pictures import animated, bomb, encoded, mask, pages, part, part_16_bit

IMAGE, MASK = encoded(part()), encoded(mask())
GOOD = {"image": IMAGE, "mask": MASK, "defect_type": "scratch"}


def assert_problem(answer: httpx.Response, kind: ProblemType, at: str | None, *words: str) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["type"]) == (kind.status, kind.status, kind.uri), (
        problem
    )
    assert problem.get("field") == at
    assert problem["instance"] == answer.request.url.path
    for word in words:
        assert word in problem["detail"]


def form(parts: list[tuple[str, str | bytes]]) -> tuple[bytes, str]:
    """A multipart body with exactly these parts; bytes are files."""
    body = bytearray()
    for name, value in parts:
        filename = '; filename="a file"' if isinstance(value, bytes) else ""
        body += f'--limit\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'.encode()
        body += value if isinstance(value, bytes) else value.encode()
        body += b"\r\n"
    return bytes(body + b"--limit--\r\n"), "multipart/form-data; boundary=limit"


@dataclass(frozen=True)
class Case:
    """A request that is good but for one thing."""

    name: str
    kind: ProblemType
    at: str
    words: tuple[str, ...]
    change: Mapping[str, Any] = field(default_factory=dict)
    extra: tuple[tuple[str, str | bytes], ...] = ()


BAD_FILES = [
    Case("truncated image", problems.INVALID_IMAGE, "image", ("Send",), {"image": IMAGE[: len(IMAGE) // 2]}),
    Case("image of zero bytes", problems.INVALID_IMAGE, "image", ("empty", "Send"), {"image": b""}),
    Case("mask of zero bytes", problems.INVALID_MASK, "mask", ("empty", "Send"), {"mask": b""}),
    Case("text as image", problems.INVALID_IMAGE, "image", ("PNG",), {"image": b"hello"}),
    Case("PDF as image", problems.INVALID_IMAGE, "image", ("PDF", "PNG"), {"image": b"%PDF-1.7\n"}),
    Case("decompression bomb", problems.INVALID_IMAGE, "image", ("100000×100000", "Crop"), {"image": bomb()}),
    Case(
        "30,000×10 pixels",
        problems.INVALID_IMAGE,
        "image",
        ("30000×10", "16,384", "Crop"),
        {"image": encoded(part(30_000, 10, "L")), "mask": encoded(mask(30_000, 10))},
    ),
    Case(
        "CMYK image",
        problems.INVALID_IMAGE,
        "image",
        ("CMYK", "RGB"),
        {"image": encoded(part(mode="CMYK"), "JPEG")},
    ),
    Case("animated image", problems.INVALID_IMAGE, "image", ("animat",), {"image": animated()}),
    Case("image of several pages", problems.INVALID_IMAGE, "image", ("page",), {"image": pages()}),
    Case(
        "mask of another size",
        problems.INVALID_MASK,
        "mask",
        ("32×48", "64×48", "Send"),
        {"mask": encoded(mask(32, 48))},
    ),
    Case("empty mask", problems.INVALID_MASK, "mask", ("empty", "Paint"), {"mask": encoded(mask(value=0))}),
    Case("truncated mask", problems.INVALID_MASK, "mask", ("Send",), {"mask": MASK[:60]}),
    Case(
        "file over the limit",
        problems.BODY_TOO_LARGE,
        "image",
        ("400000 bytes",),
        {"image": encoded(part(600, 600))},
    ),
]

BAD_TEXTS = [
    Case("unknown type", problems.UNKNOWN_DEFECT_TYPE, "defect_type", ("dent", "GET"), {"defect_type": "dent"}),
    Case("unknown version", problems.UNKNOWN_DEFECT_TYPE, "defect_type", ("GET",), {"defect_type": "scratch@2"}),
    Case("odd type", problems.INVALID_REQUEST, "defect_type", ("name@version",), {"defect_type": "../x"}),
    Case("count 0", problems.INVALID_REQUEST, "count", ("between 1 and 64", "got", "0"), {"count": 0}),
    Case("count 65", problems.INVALID_REQUEST, "count", ("between 1 and 64", "65"), {"count": 65}),
    Case("severity 0", problems.INVALID_REQUEST, "severity", ("greater than 0", "at most 1"), {"severity": 0}),
    Case("severity 2", problems.INVALID_REQUEST, "severity", ("at most 1", "got", "2"), {"severity": 2}),
    Case("size of one end", problems.INVALID_REQUEST, "size.max", ("missing",), {"size": {"min": 3}}),
    Case("size the wrong way", problems.INVALID_REQUEST, "size", ("below max",), {"size": {"min": 9, "max": 3}}),
    Case("size in no range", problems.INVALID_REQUEST, "size", ('"unit": "um"',), {"size": 7}),
    Case("size unseen", problems.INVALID_REQUEST, "size", ("shorter than 4",), {"size": {"min": 1, "max": 3}}),
    Case("size too large", problems.INVALID_REQUEST, "size", ("diagonal",), {"size": {"min": 99, "max": 300}}),
    Case(
        "size in µm of unknown pixels",
        problems.INVALID_REQUEST,
        "pixel_size_um",
        ("missing", "size is in µm"),
        {"size": {"min": 50, "max": 200, "unit": "um"}},
    ),
    Case(
        "contrast of controls",
        problems.INVALID_REQUEST,
        "contrast",
        ("a control has none",),
        {"contrast": {"min": 0.1, "max": 0.2}, "control": True},
    ),
    Case("seed -1", problems.INVALID_REQUEST, "seed", ("between 0 and 9007199254740991", "-1"), {"seed": -1}),
    Case("seed 10^40", problems.INVALID_REQUEST, "seed", ("between 0 and 9007199254740991",), {"seed": 10**40}),
    Case("steps 3", problems.INVALID_REQUEST, "steps", ("between 4 and 250",), {"steps": 3}),
    Case("empty part", problems.INVALID_REQUEST, "part", ("1 to 200 characters",), {"part": ""}),
    Case("long part", problems.INVALID_REQUEST, "part", ("1 to 200 characters",), {"part": "x" * 201}),
    Case("unknown method", problems.INVALID_REQUEST, "method", ("diffusion", "paste", "draw"), {"method": "draw"}),
    Case("nothing to paste", problems.INVALID_REQUEST, "method", ("scratch@1", "samples"), {"method": "paste"}),
    Case("unknown field", problems.INVALID_REQUEST, "colour", ("not a known field",), {"colour": "red"}),
    Case("misspelt field", problems.INVALID_REQUEST, "severty", ("did you mean severity?",), {"severty": 0.5}),
    Case(
        "black at white",
        problems.INVALID_REQUEST,
        "black_level",
        ("below white_level", "500"),
        {"black_level": 500, "white_level": 500},
    ),
    Case(
        "levels for 8 bits",
        problems.INVALID_REQUEST,
        "white_level",
        ("16-bit images only", "leave it out"),
        {"white_level": 4000},
    ),
]

METADATA = [
    ({f"key {number}": 1 for number in range(65)}, "at most 64 keys"),
    ({"text": "x" * 16_384}, "at most 16384 bytes"),
    ({"deep": json.loads("[" * 20 + "]" * 20)}, "levels deep"),
    ([1, 2], "JSON object"),
]

ONLY_TEXT = [
    ("count", "1e2", "whole number"),
    ("count", "3.0", "whole number"),
    ("count", " 3", "whole number"),
    ("count", "", "whole number"),
    ("count", "٣", "whole number"),
    ("seed", "9" * 5_000, "between 0 and 9007199254740991"),
    ("severity", "nan", "greater than 0"),
    ("severity", "NaN", "greater than 0"),
    ("severity", "inf", "greater than 0"),
    ("severity", "1e999", "greater than 0"),
    ("severity", "0,5", "greater than 0"),
    ("severity", "0x1", "greater than 0"),
    ("control", "yes", "true or false"),
    ("dry_run", "1", "true or false"),
    ("metadata", "{", "JSON object"),
    ("metadata", "x" * 70_000, "over 65536 bytes"),
    ("metadata", '{"a": NaN}', "finite"),
    ("metadata", '{"a": "\\ud800"}', "Unicode"),
    ("metadata", "[" * 60_000, "JSON object"),
]

ONLY_JSON = [
    ("count", '"3"', "whole number"),
    ("count", "3.5", "whole number"),
    ("count", "true", "whole number"),
    ("seed", "1e-3", "whole number"),
    ("seed", "1e300", "between 0 and 9007199254740991"),
    ("severity", "NaN", "greater than 0"),
    ("severity", "Infinity", "greater than 0"),
    ("severity", "1e999", "greater than 0"),
    ("severity", '"0.5"', "greater than 0"),
    ("control", '"true"', "true or false"),
    ("metadata", '{"a": NaN}', "finite"),
    ("part", '"\\ud800"', "characters"),
    ("image", '"part.png"', "POST /v1/uploads"),
    ("mask", '"mask.png"', "POST /v1/uploads"),
    ("region", '"mask.png"', "POST /v1/uploads"),
    ("exclude", "7", "POST /v1/uploads"),
]


def named(case: Case) -> str:
    return case.name


def send_form(
    api: Api, values: Mapping[str, Any], extra: tuple[tuple[str, str | bytes], ...] = ()
) -> httpx.Response:
    parts = [
        (name, value if isinstance(value, bytes | str) else json.dumps(value)) for name, value in values.items()
    ]
    body, content_type = form(parts + list(extra))
    return api.client.post("/v1/augmentations", content=body, headers={"Content-Type": content_type})


def send_json(api: Api, body: str | bytes) -> httpx.Response:
    return api.client.post("/v1/augmentations", content=body, headers={"Content-Type": "application/json"})


@pytest.fixture
def uploads(api: Api) -> dict[str, str]:
    """Image and mask, uploaded."""
    return {
        name: api.client.post("/v1/uploads", files={"file": data}).json()["id"]
        for name, data in (("image", IMAGE), ("mask", MASK))
    }


@pytest.fixture
def untouched(api: Api) -> Callable[[], bool]:
    """Whether queue and storage still hold what they held before the test."""
    before = api.traces()
    return lambda: api.traces() == before


@pytest.mark.parametrize("case", BAD_FILES + BAD_TEXTS, ids=named)
def test_a_form_with_one_fault_is_refused(api: Api, untouched: Callable[[], bool], case: Case) -> None:
    answer = send_form(api, GOOD | dict(case.change), case.extra)

    assert_problem(answer, case.kind, case.at, *case.words)
    assert untouched()


@pytest.mark.parametrize("case", BAD_TEXTS, ids=named)
def test_json_with_one_fault_is_refused(api: Api, uploads: dict[str, str], case: Case) -> None:
    before = api.traces()

    answer = send_json(api, json.dumps({**uploads, "defect_type": "scratch", **case.change}))

    assert_problem(answer, case.kind, case.at, *case.words)
    assert api.traces() == before


@pytest.mark.parametrize(("metadata", "words"), METADATA, ids=[words for _, words in METADATA])
def test_metadata_over_its_limits_is_refused(
    api: Api, untouched: Callable[[], bool], metadata: object, words: str
) -> None:
    ids = {"image": "sha256:" + 64 * "0", "mask": "sha256:" + 64 * "1"}
    by_form = send_form(api, GOOD | {"metadata": json.dumps(metadata)})
    by_json = send_json(api, json.dumps({**ids, "defect_type": "scratch", "metadata": metadata}))

    assert_problem(by_form, problems.INVALID_REQUEST, "metadata", words)
    assert_problem(by_json, problems.INVALID_REQUEST, "metadata", words)
    assert untouched()


@pytest.mark.parametrize(
    ("at", "text", "words"), ONLY_TEXT, ids=[f"{at}={text[:10]}" for at, text, _ in ONLY_TEXT]
)
def test_texts_of_a_form_are_read_strictly(
    api: Api, untouched: Callable[[], bool], at: str, text: str, words: str
) -> None:
    answer = send_form(api, GOOD | {at: text})

    assert_problem(answer, problems.INVALID_REQUEST, at, words)
    assert untouched()


@pytest.mark.parametrize(("at", "text", "words"), ONLY_JSON, ids=[f"{at}={text}" for at, text, _ in ONLY_JSON])
def test_values_of_json_are_read_strictly(
    api: Api, untouched: Callable[[], bool], at: str, text: str, words: str
) -> None:
    values = {
        "image": json.dumps("sha256:" + 64 * "0"),
        "mask": json.dumps("sha256:" + 64 * "1"),
        "defect_type": '"scratch"',
        at: text,
    }
    answer = send_json(api, "{" + ",".join(f'"{name}": {value}' for name, value in values.items()) + "}")

    assert_problem(answer, problems.INVALID_REQUEST, at, words)
    assert untouched()


@pytest.mark.parametrize(
    ("extra", "at"),
    [(("count", "2"), "count"), (("defect_type", "scratch"), "defect_type"), (("image", IMAGE), "image")],
    ids=["a text", "the same text", "a file"],
)
def test_a_field_sent_twice_in_a_form_is_refused(
    api: Api, untouched: Callable[[], bool], extra: tuple[str, str | bytes], at: str
) -> None:
    answer = send_form(api, GOOD | {"count": 1}, (extra,))

    assert_problem(answer, problems.INVALID_REQUEST, at, "send it once")
    assert untouched()


def test_a_field_sent_twice_in_json_is_refused(api: Api, untouched: Callable[[], bool]) -> None:
    answer = send_json(api, '{"defect_type": "scratch", "count": 1, "count": 2}')

    assert_problem(answer, problems.INVALID_REQUEST, "count", "send it once")
    assert untouched()


def test_a_key_sent_twice_inside_metadata_is_refused(api: Api, untouched: Callable[[], bool]) -> None:
    assert_problem(
        send_form(api, GOOD | {"metadata": '{"a": {"b": 1, "b": 2}}'}),
        problems.INVALID_REQUEST,
        "b",
        "send it once",
    )
    assert untouched()


@pytest.mark.parametrize("name", ["image", "mask", "defect_type"])
def test_a_missing_field_is_asked_for(api: Api, untouched: Callable[[], bool], name: str) -> None:
    kind = problems.MASK_REQUIRED if name == "mask" else problems.INVALID_REQUEST
    ids = {"image": "sha256:" + 64 * "0", "mask": "sha256:" + 64 * "1", "defect_type": "scratch"}

    by_form = send_form(api, {key: value for key, value in GOOD.items() if key != name})
    by_json = send_json(api, json.dumps({key: value for key, value in ids.items() if key != name}))

    assert_problem(by_form, kind, name, "missing", "send")
    assert_problem(by_json, kind, name, "missing", "send")
    assert untouched()


@pytest.mark.parametrize("name", ["image", "mask"])
def test_an_upload_that_does_not_exist_is_named(api: Api, uploads: dict[str, str], name: str) -> None:
    before = api.traces()
    absent = "sha256:" + 64 * "0"

    answer = send_json(api, json.dumps({**uploads, "defect_type": "scratch", name: absent}))

    assert_problem(answer, problems.UNKNOWN_UPLOAD, name, absent, "POST /v1/uploads")
    assert api.traces() == before


def test_an_uploaded_mask_of_another_size_is_refused(api: Api, uploads: dict[str, str]) -> None:
    other = api.client.post("/v1/uploads", files={"file": encoded(mask(32, 48))}).json()["id"]
    before = api.traces()

    answer = send_json(api, json.dumps({**uploads, "mask": other, "defect_type": "scratch"}))

    assert_problem(answer, problems.INVALID_MASK, "mask", "32×48", "64×48")
    assert api.traces() == before


def test_levels_are_taken_for_16_bits(api: Api) -> None:
    values = GOOD | {"image": encoded(part_16_bit()), "black_level": 500, "white_level": 4000}

    assert send_form(api, values).status_code == 202


def test_files_sent_as_text_are_refused(api: Api, untouched: Callable[[], bool]) -> None:
    answer = send_form(api, GOOD | {"image": "sha256:" + 64 * "0"})

    assert_problem(answer, problems.INVALID_REQUEST, "image", "as a file")
    assert untouched()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b'{"count": ', "line 1"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "one JSON object"),
        (b"[" * 100_000, "nests too deep"),
        (b'{"seed": ' + b"9" * 5_000 + b"}", "too many digits"),
    ],
    ids=["nothing", "half", "not UTF-8", "a list", "deep", "digits"],
)
def test_what_is_not_a_json_object_is_malformed(
    api: Api, untouched: Callable[[], bool], body: bytes, words: str
) -> None:
    assert_problem(send_json(api, body), problems.MALFORMED_BODY, None, words)
    assert untouched()


@pytest.mark.parametrize("path", ["/v1/augmentations", "/v1/uploads"])
@pytest.mark.parametrize(
    ("body", "boundary", "words"),
    [
        (form([("image", IMAGE)])[0][:-30], "; boundary=limit", "closing boundary"),
        (b"", "; boundary=limit", "closing boundary"),
        (b"no form", "; boundary=limit", "RFC 7578"),
        (b"--limit\r\nContent-Type: image/png\r\n\r\nx\r\n--limit--\r\n", "; boundary=limit", "no name"),
        (form([("image", IMAGE)])[0], "", "boundary"),
        (b"", "; boundary=" + 300 * "x", "RFC 7578"),
    ],
    ids=["cut off", "nothing", "no form", "a part without a name", "no boundary", "a long boundary"],
)
def test_broken_forms_are_malformed(
    api: Api, untouched: Callable[[], bool], path: str, body: bytes, boundary: str, words: str
) -> None:
    if path == "/v1/uploads":
        body = body.replace(b'name="image"', b'name="file"')
    headers = {"Content-Type": "multipart/form-data" + boundary}

    assert_problem(
        api.client.post(path, content=body, headers=headers), problems.MALFORMED_BODY, None, words, "send"
    )
    assert untouched()


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/augmentations", {"Content-Type": "text/plain"}),
        ("/v1/augmentations", {"Content-Type": "image/png"}),
        ("/v1/augmentations", {"Content-Type": "application/x-www-form-urlencoded"}),
        ("/v1/augmentations", {}),
        ("/v1/augmentations", {"Content-Type": "application/json", "Content-Encoding": "gzip"}),
        ("/v1/uploads", {"Content-Type": "application/json"}),
        ("/v1/uploads", {"Content-Type": "image/png", "Content-Encoding": "br"}),
    ],
)
def test_other_media_types_are_refused(
    api: Api, untouched: Callable[[], bool], path: str, headers: dict[str, str]
) -> None:
    answer = api.client.post(path, content=IMAGE, headers=headers)

    assert_problem(answer, problems.UNSUPPORTED_MEDIA_TYPE, None, "send")
    assert untouched()


@pytest.mark.parametrize("case", [case for case in BAD_FILES if "image" in case.change], ids=named)
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "form"])
def test_a_bad_file_is_no_upload(api: Api, untouched: Callable[[], bool], case: Case, raw: bool) -> None:
    data = case.change["image"]
    if raw:
        answer = api.client.post("/v1/uploads", content=data, headers={"Content-Type": "image/png"})
    else:
        answer = api.client.post("/v1/uploads", files={"file": data})

    assert_problem(answer, case.kind, "file", *case.words)
    assert untouched()


@pytest.mark.parametrize(
    ("parts", "at", "words"),
    [
        ([("image", IMAGE)], "image", "known fields: file"),
        ([("file", IMAGE), ("file", IMAGE)], "file", "send it once"),
        ([("file", IMAGE), ("name", "part")], "name", "known fields: file"),
        ([], "file", "missing"),
    ],
    ids=["another name", "two files", "a text", "no part"],
)
def test_an_upload_is_one_file(
    api: Api, untouched: Callable[[], bool], parts: list[tuple[str, str | bytes]], at: str, words: str
) -> None:
    body, content_type = form(parts)
    if not parts:
        body = b"--limit--\r\n"

    answer = api.client.post("/v1/uploads", content=body, headers={"Content-Type": content_type})

    assert_problem(answer, problems.INVALID_REQUEST, at, words)
    assert untouched()


def test_noise_behind_a_file_signature_is_a_problem_and_no_failure(
    api: Api, untouched: Callable[[], bool]
) -> None:
    generator = np.random.default_rng(1)
    for start in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0", b"BM", b"RIFF\x20\0\0\0WEBP"):
        answer = send_form(api, GOOD | {"image": start + generator.bytes(500)})
        assert_problem(answer, problems.INVALID_IMAGE, "image")
    assert untouched()


def test_float_images_are_refused_with_the_remedy(api: Api, untouched: Callable[[], bool]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((48, 64), np.float32)).save(buffer, "TIFF")

    assert_problem(send_form(api, GOOD | {"image": buffer.getvalue()}), problems.INVALID_IMAGE, "image", "16")
    assert untouched()
