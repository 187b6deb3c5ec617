"""The page of a report: whole, safe, and alone; read by a parser, and by a browser where there is one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from flawsmith.contract.jobs import JobStatus
from service.reports.gathering import gathered, thumbnails
from service.reports.page import page
from service.store.folder import FolderStorage
from tests.service.exports import made
from tests.service.exports.made import Made, box, photo

HOSTILE = "<img src=x onerror=alert(1)>\"'&.png"
VOID = {"meta", "img", "input", "link", "br"}


class Reader(HTMLParser):
    """Elements, in the order in which they begin, and whether each ends where it should."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def text(tmp_path: Path) -> str:
    storage = FolderStorage(tmp_path)
    items = [
        *made.zoo(),
        Made("twin-1", "train", "normal", pixels=photo(seed=9), source=HOSTILE),
        Made("twin-2", "test", "normal", pixels=photo(seed=9), source=HOSTILE),
        Made("hidden", defects=[("scratch", box(2, 2, 9, 9))], source=HOSTILE),
    ]
    manifest = made.keep(storage, items, metadata={"part": "Spindle 7"})
    report = gathered(storage, manifest, JobStatus.SUCCEEDED)
    return "".join(page(report, thumbnails(storage, manifest, report)))


def test_elements_end_where_they_should_and_links_lead_somewhere(text: str) -> None:
    found = Reader(text)

    assert found.open == []
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [str(one["href"]) for one in found.all("a")]
    assert links
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_nothing_is_fetched_and_nothing_runs(text: str) -> None:
    found = Reader(text)

    assert not {tag for tag, _ in found.elements} & {"script", "link", "iframe", "object", "form", "base"}
    assert all(str(one["src"]).startswith("data:image/jpeg;base64,") for one in found.all("img"))
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert "url(" not in text
    assert "http:" not in text
    assert "https:" not in text


def test_names_of_others_are_text_and_nothing_else(text: str) -> None:
    assert "<img src=x" not in text
    assert HOSTILE in Reader(text).text


def test_pictures_and_charts_say_what_they_show(text: str) -> None:
    found = Reader(text)

    assert found.all("img")
    assert all(one.get("alt") for one in found.all("img"))
    charts = [one for one in found.all("svg") if one.get("aria-hidden") != "true"]
    assert charts
    assert all(one.get("role") == "img" and one.get("aria-label") for one in charts)
    assert [one.get("lang") for one in found.all("html")] == ["en"]
    assert len(found.all("h1")) == 1


BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
_MEASURED = """
<script>addEventListener("load", () => { const images = [...document.images]; document.title = JSON.stringify({
  wide: document.documentElement.scrollWidth, window: innerWidth,
  broken: images.filter(image => !image.naturalWidth).length, images: images.length,
  outlines: [...document.querySelectorAll(".frame svg")].filter(one => one.clientWidth > 20).length,
  small: [...document.querySelectorAll("p, td, dd, figcaption")]
    .filter(one => parseFloat(getComputedStyle(one).fontSize) < 12).length
}); });</script></body>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this computer: the page is not looked at by a browser")
@pytest.mark.parametrize("width", [400, 1200])
def test_a_browser_shows_it_at_the_width_of_a_phone_and_of_a_desk(text: str, tmp_path: Path, width: int) -> None:
    """A script of the test measures the page; the page itself forbids scripts, so its policy is taken out."""
    measured = tmp_path / "measured.html"
    policy = text[text.index("<meta http-equiv") : text.index('<meta name="viewport"')]
    # A window of a browser without a head is no narrower than 500 pixels; a frame in it is.
    inner = text.replace(policy, "").replace("</body>", _MEASURED)
    (tmp_path / "inner.html").write_text(inner)
    measured.write_text(
        f'<body><iframe src="inner.html" width="{width}" height="900" style="border:0"></iframe>'
        '<script>onload = () => setTimeout(() => { const p = document.createElement("pre"); p.id = "found";'
        "p.textContent = frames[0].document.title; document.body.append(p); }, 0)</script></body>"
    )
    found = dumped(measured, tmp_path)

    assert found["window"] == width
    assert found["wide"] <= width  # nothing is to be scrolled sideways but tables of their own
    assert found["images"] > 10
    assert (found["broken"], found["small"]) == (0, 0)
    assert found["outlines"] > 0


def dumped(path: Path, folder: Path) -> dict[str, Any]:
    """What a page's script left in its element ``found``."""
    assert BROWSER is not None
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--allow-file-access-from-files",
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=5000",
        "--dump-dom",
        path.as_uri(),
    ]
    environment = os.environ | {"HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)
    text = done.stdout.partition('<pre id="found">')[2].partition("</pre>")[0]
    found = json.loads(text)
    assert isinstance(found, dict)
    return found
