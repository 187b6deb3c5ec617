"""The page of the bundled types says what their cards say."""

from __future__ import annotations

from pathlib import Path

from models.adapters import Adapter
from models.folders import BUNDLED
from models.rendering import DEFECT_TYPES
from worker.settings import WorkerSettings

PAGE = Path(__file__).parents[2] / "docs" / "defect-types.md"


def test_the_page_gives_every_type_its_defaults_and_a_sheet() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = {
        cells[0].strip("`"): (cells[3], *(float(cell) for cell in cells[4:]))
        for line in text.splitlines()
        if line.startswith("| `") and (cells := [cell.strip() for cell in line.strip("|").split("|")])
    }
    folder = BUNDLED / str(WorkerSettings.model_fields["backbone"].default) / "defect_types"
    cards = {path.stem: Adapter.load(path).card for path in folder.glob("*.safetensors")}
    assert set(rows) == set(cards) == set(DEFECT_TYPES)
    for name, card in cards.items():
        start = "sketch" if card.sketch else "noise"
        assert rows[name] == (start, card.severity, card.guidance, card.seed_share), name
        assert (PAGE.parent / "images" / f"{name}.jpg").is_file()
