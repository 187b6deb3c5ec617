"""The plan of a data set: what is in it, and what stays as it is whatever is added."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawsmith.contract.augmentations import MAX_SEED
from flawsmith.contract.datasets import PlannedItem, ResolvedEntry
from flawsmith.contract.files import PLAN_ROWS
from flawsmith.contract.specs import DatasetSplit
from service import planning
from service.planning import plan, series, side
from service.store.plans import plan_files
from tests.service.plans import SPLIT, TYPES, dataset, entry, planned, source

SOURCES = [source(number) for number in range(5)]

entries = st.builds(
    lambda names, count, each, low, given: entry(
        *names[: 1 if given else 2],
        count=count if each is None else None,
        per_image=each,
        severity=(low, 0.8),
        given=given,
    ),
    st.lists(st.sampled_from(["scratch", "dent", "pit"]), min_size=1, max_size=2),
    st.integers(1, 12),
    st.none() | st.integers(1, 3),
    st.sampled_from([0.2, 0.5, 0.8]),
    st.booleans(),
)
masked = [source(number, mask_sha256=64 * "a" if number % 2 else None) for number in range(7)]
sources = st.integers(2, len(masked)).map(lambda count: masked[:count])


def made(items: list[PlannedItem]) -> set[str]:
    return {item.made for item in items}


def of_entry(items: list[PlannedItem], number: int) -> list[PlannedItem]:
    return [item for item in items if item.entry == number and item.kind == "defect"]


def augmented(item: PlannedItem) -> Any:
    assert item.augmentation is not None
    return item.augmentation


def test_items_go_round_the_normal_images_and_are_ordered_by_them() -> None:
    items = planned(
        entry("scratch", count=7), entry("dent", per_image=2), sources=SOURCES, controls=3, normals=True
    )

    assert [item.index for item in items] == list(range(7 + 10 + 3 + 5))
    assert [item.source.number for item in items] == sorted(item.source.number for item in items)
    assert Counter(item.kind for item in items) == {"defect": 17, "control": 3, "normal": 5}
    assert sorted(Counter(item.source.number for item in of_entry(items, 0)).values()) == [1, 1, 1, 2, 2]
    assert set(Counter(item.source.number for item in of_entry(items, 1)).values()) == {2}
    for number in range(5):
        here = [item for item in items if item.source.number == number]
        assert here[0].kind == "normal"
        places = [(item.entry, item.kind == "control") for item in here[1:]]
        assert places == sorted(places)


def test_a_row_is_an_augmentation_of_one_item() -> None:
    (item,) = planned(entry("scratch", "dent", count=1), sources=[source(0, pixel_size_um=12.5)], normals=False)

    drawn = augmented(item)
    assert (drawn.count, drawn.method, drawn.control, drawn.pixel_size_um) == (1, "diffusion", False, 12.5)
    assert [defect.reference for defect in drawn.defects] == ["scratch@1", "dent@1"]
    assert 0 <= drawn.seed <= MAX_SEED
    assert drawn.defects[0].severity != drawn.defects[1].severity
    assert re.fullmatch(r"part_0-scratch\+dent-[0-9a-f]{8}", item.name)
    assert item.name.endswith(item.made[:8])


def test_normal_images_are_items_as_they_are() -> None:
    item, *_ = planned(entry("scratch", count=1), sources=SOURCES)

    assert (item.kind, item.entry, item.augmentation) == ("normal", None, None)
    assert item.name.startswith("part_0-good-")


DEEP = source(0).image.model_copy(update={"bit_depth": 16})


def viewed(items: list[PlannedItem]) -> list[PlannedItem]:
    return [item for item in items if item.view is not None]


def test_what_is_exported_as_it_was_made_has_no_view() -> None:
    asked = entry("scratch", per_image=2)
    assert not viewed(planned(asked, sources=SOURCES, controls=3))
    assert not viewed(planned(asked, sources=SOURCES, bit_depth="8"))
    some = [source(0), source(1, image=DEEP)]
    assert {item.source.number for item in planned(asked, sources=some, bit_depth="8") if item.view} == {1}


def test_how_it_is_exported_changes_no_item_and_is_a_view_of_its_own() -> None:
    deep = [source(number, image=DEEP) for number in range(3)]
    ways: list[dict[str, Any]] = [
        {},
        {"bit_depth": "8"},
        {"frame": "crop", "crop_size": 512},
        {"frame": "crop", "crop_size": 256},
        {"frame": "crop", "crop_size": 256, "bit_depth": "8"},
    ]
    built = [planned(entry("scratch", per_image=2), sources=deep, controls=3, **way) for way in ways]
    assert all([item.made for item in items] == [item.made for item in built[0]] for items in built)
    assert all([item.name for item in items] == [item.name for item in built[0]] for items in built)
    views = [item.view for items in built[1:] for item in items]
    assert None not in views
    assert len(set(views)) == len(views)
    assert not set(views) & made(built[0])


def test_normal_images_are_cropped_where_defects_are_drawn_on_them() -> None:
    crop: dict[str, Any] = {"frame": "crop", "crop_size": 512}
    first, second = entry("scratch", per_image=1), entry("dent", count=3)
    items = planned(first, second, sources=SOURCES, controls=5, **crop)
    normals = [item for item in items if item.kind == "normal"]
    assert all(item.place is None for item in items if item.kind != "normal")
    drawn = [augmented(item) for item in items if item.kind == "defect"]
    real = [item for item in normals if item.place in drawn]
    assert {item.source.number for item in normals} == set(range(5))
    assert real
    assert all(item.place is not None and item.place.count == 1 for item in normals)
    assert {item.place.defects[0].defect_type for item in normals if item.place} == {"scratch", "dent"}

    more = planned(second, entry("scratch", per_image=4), sources=[*SOURCES, source(7)], **crop)
    views = {item.source.number: item.view for item in more if item.kind == "normal"}
    assert all(views[item.source.number] == item.view for item in normals), "counts, order and photos move no crop"


def test_a_normal_image_that_nothing_is_drawn_on_has_no_place() -> None:
    some = [source(0, mask_sha256=64 * "a"), source(1)]
    asked = entry("scratch", count=1, given=True)
    items = planned(asked, sources=some, frame="crop", crop_size=64)
    normals = [item for item in items if item.kind == "normal"]
    assert [item.place is None for item in normals] == [False, True]
    assert all(item.view for item in normals)


def test_controls_are_the_first_entry_without_its_defect() -> None:
    items = planned(entry("scratch", per_image=1), entry("dent", count=1), sources=SOURCES, controls=5)

    controls = [item for item in items if item.kind == "control"]
    assert {item.source.number for item in controls} == set(range(5))
    assert all(augmented(item).control and item.entry == 0 for item in controls)
    assert all(augmented(item).defects[0].defect_type == "scratch" for item in controls)
    assert all(augmented(item).defects[0].min_quality == 0 for item in controls)
    assert {item.backbone for item in controls} == {TYPES["scratch@1"].backbone}
    assert all("-control-" in item.name for item in controls)
    assert not made(controls) & made(of_entry(items, 0))
    seeds = [augmented(item).seed for item in items if item.augmentation]
    assert len(set(seeds)) == len(seeds)


def test_severities_are_spread_over_their_range() -> None:
    items = planned(entry("scratch", "dent", count=400, severity=(0.2, 0.8)), sources=SOURCES, normals=False)

    for place in (0, 1):
        values = [augmented(item).defects[place].severity for item in items]
        assert all(0.2 <= value <= 0.8 for value in values)
        counts = Counter(int((value - 0.2) / 0.15) for value in values)
        assert all(60 <= counts[part] <= 140 for part in range(4))
    for item in planned(entry("scratch", count=9, severity=(0.37, 0.37)), sources=SOURCES, normals=False):
        assert augmented(item).defects[0].severity == 0.37


def test_masks_that_were_sent_are_drawn_on_and_no_others() -> None:
    some = [source(0, mask_sha256=64 * "a"), source(1), source(2, mask_sha256=64 * "b")]
    items = planned(entry("scratch", count=4, given=True), sources=some, normals=False)

    assert Counter(item.source.number for item in items) == {0: 2, 2: 2}


def test_where_nothing_may_be_drawn_nothing_is() -> None:
    items = planned(entry("scratch", per_image=1), sources=SOURCES, closed=(1, 3), controls=6)

    assert {item.source.number for item in items if item.kind != "normal"} == {0, 2, 4}
    assert Counter(item.kind for item in items) == {"normal": 5, "defect": 3, "control": 6}


def test_what_is_made_depends_on_all_that_shapes_it_and_on_nothing_else() -> None:
    def one(of: ResolvedEntry | None = None, seed: int = 7, **changes: Any) -> PlannedItem:
        wanted = of or entry("scratch", count=1)
        return planned(wanted, sources=[source(0, **changes)], seed=seed, normals=False)[0]

    first = one()
    assert one().made == first.made
    same = [
        one(name="other.png"),
        one(metadata={"lot": 3}),
        one(split="test", group="g"),
        one(sha256=64 * "9"),
        one(mask_sha256=64 * "9"),
        one(entry("scratch", per_image=1)),
    ]
    assert all(other.made == first.made for other in same)
    others = [
        one(seed=8),
        one(input_sha256=64 * "9"),
        one(pixels=3),
        one(region_sha256=64 * "9"),
        one(exclude_sha256=64 * "9"),
        one(pixel_size_um=3.0),
        one(entry("dent", count=1)),
        one(entry("scratch", count=1, severity=(0.3, 0.8))),
        one(entry("scratch", count=1, method="paste")),
        one(entry("scratch", count=1, given=True), mask_sha256=64 * "9"),
        one(entry("scratch", count=1, given=True), mask_sha256=64 * "8"),
        one(image=first.source.image.model_copy(update={"source_format": "tiff"})),
    ]
    assert len(made([first, *others])) == len(others) + 1
    for field in ("adapter_sha256", "exemplars_sha256", "backbone_digest"):
        types = {"scratch@1": TYPES["scratch@1"].model_copy(update={field: 64 * "8"})}
        (other,) = plan(dataset(entry("scratch", count=1), normals=False), [source(0)], types)
        assert other.made != first.made
        assert augmented(other).seed == augmented(first).seed


def test_a_lone_image_holds_what_is_given_by_its_mask_alone() -> None:
    def given_one(**changes: Any) -> str:
        on = source(0, mask_sha256=64 * "a", **changes)
        return planned(entry("scratch", count=1, given=True), sources=[on], normals=False)[0].made

    assert given_one() == given_one(region_sha256=64 * "9"), "the mask is cut to it already"


@given(st.lists(entries, min_size=1, max_size=4), sources, st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_the_same_request_has_the_same_plan_and_no_item_twice(
    asked: list[ResolvedEntry], on: list[Any], controls: int
) -> None:
    items = planned(*asked, sources=on, controls=controls)

    assert planned(*asked, sources=on, controls=controls) == items
    assert len(made(items)) == len(items)
    assert len({item.name for item in items}) == len(items)
    assert [item.index for item in items] == list(range(len(items)))
    spread = series(7, asked, controls, on)
    assert sum(one.items for one in spread) + len(on) == len(items)
    for number, one in enumerate(asked):
        here = len(of_entry(items, number))
        assert here == (one.count if one.count else (one.per_image or 0) * len(spread[number].numbers))


@given(st.lists(entries, min_size=1, max_size=4), sources, st.data())
@settings(max_examples=60, deadline=None)
def test_what_was_there_stays_whatever_is_added(
    asked: list[ResolvedEntry], on: list[Any], data: st.DataObject
) -> None:
    before = made(planned(*asked, sources=on))

    more = [
        one.model_copy(update={"count": one.count + data.draw(st.integers(0, 9))})
        if one.count
        else one.model_copy(update={"per_image": (one.per_image or 0) + data.draw(st.integers(0, 2))})
        for one in asked
    ]
    assert before <= made(planned(*more, sources=on))
    place = data.draw(st.integers(0, len(asked)))
    assert before <= made(planned(*asked[:place], data.draw(entries), *asked[place:], sources=on))
    assert made(planned(*data.draw(st.permutations(asked)), sources=on)) == before
    turned = [one.model_copy(update={"number": number}) for number, one in enumerate(reversed(on))]
    assert made(planned(*asked, sources=turned)) == before


@given(st.lists(entries, min_size=1, max_size=4), sources)
@settings(max_examples=60, deadline=None)
def test_another_normal_image_changes_no_item_of_the_others(asked: list[ResolvedEntry], on: list[Any]) -> None:
    before = planned(*asked, sources=on)
    after = planned(*asked, sources=[*on, source(len(on), pixels=99, mask_sha256=64 * "c")])

    kept = [item for item in after if item.source.number < len(on)]
    assert made(kept) <= made(before)
    assert {item.made for item in before if item.kind == "normal"} <= made(kept)
    if all(one.per_image for one in asked):  # a count is spread anew, and some of each image's items go
        assert made(kept) == made(before)


def test_names_stay_apart_and_are_short_and_safe() -> None:
    odd = [
        source(0, name="../ä b/Prüfung: 1.tif"),
        source(1, name=60 * "x" + ".png"),
        source(2, name="sha256:" + 64 * "0"),
        source(3, name=".png"),
    ]
    items = planned(entry("scratch", "dent", per_image=2), sources=odd, controls=2)

    assert all(re.fullmatch(r"[A-Za-z0-9_+-]{1,160}", item.name) for item in items)
    assert items[0].name.startswith("Pr_fung_1-good-")
    assert {len(item.name.partition("-")[0]) for item in items if item.source.number == 1} == {40}


def test_a_name_that_is_taken_gets_more_of_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    from service import planning

    digests = iter([8 * "a" + 56 * "1", 8 * "a" + 56 * "2", 8 * "a" + 56 * "3"])
    monkeypatch.setattr(planning, "_made", lambda *_: next(digests))
    items = planned(entry("scratch", count=3), sources=[source(0)], normals=False)

    ends = [item.name.rpartition("-")[2] for item in items]
    assert ends == [8 * "a", 8 * "a" + 8 * "2", 8 * "a" + 8 * "3"]


@given(st.text(min_size=1, max_size=20), st.integers(0, 10), st.integers(0, 10))
def test_a_group_is_on_one_side_that_has_a_share(group: str, train: int, val: int) -> None:
    total = train + val + 1
    split = DatasetSplit(train=train / total, val=val / total, test=1 - train / total - val / total)

    found = side(group, split)
    assert found == side(group, split)
    assert getattr(split, found) > 0


def test_shares_are_met_on_average_and_a_greater_share_keeps_what_it_had() -> None:
    groups = [f"lot {number}" for number in range(4000)]
    counts = Counter(side(group, SPLIT) for group in groups)
    assert all(abs(counts[name] / 4000 - getattr(SPLIT, name)) < 0.03 for name in ("train", "val", "test"))

    more = DatasetSplit(train=0.8, val=0.1, test=0.1)
    assert all(side(group, more) == "train" for group in groups if side(group, SPLIT) == "train")
    assert {side(group, DatasetSplit()) for group in groups} == {"train"}


def test_everything_that_is_made_of_an_image_is_on_its_side() -> None:
    lots = [source(number, group=f"lot {number % 4}") for number in range(20)]
    items = planned(entry("scratch", per_image=2), sources=lots, controls=9)

    sides: dict[str, set[str]] = {}
    for item in items:
        sides.setdefault(item.source.group, set()).add(item.source.split)
    assert len(sides) == 4
    assert all(len(found) == 1 for found in sides.values())


def test_rows_lie_some_hundred_to_a_file_and_read_back() -> None:
    items = planned(entry("scratch", count=PLAN_ROWS + 3), sources=SOURCES, normals=False)
    files = plan_files(items)

    assert list(files) == ["plan/0.jsonl", "plan/1.jsonl"]
    assert [data.count(b"\n") for data in files.values()] == [PLAN_ROWS, 3]
    read = [PlannedItem.model_validate_json(line) for data in files.values() for line in data.splitlines()]
    assert read == items


def test_items_without_a_size_keep_the_seeds_and_digests_that_they_had_before_there_were_sizes() -> None:
    items = planned(
        entry("scratch", count=1), entry("dent", "pit", count=1), sources=[source(0)], controls=1, normals=False
    )
    assert [(item.kind, augmented(item).seed, item.made) for item in items] == [
        ("defect", 6343581236469148, "77aa092f0fe3ba19815c57524f54fccc54c94da01e0a1125ee7f574668c7db5b"),
        ("control", 1636493012482516, "05b4dc66254074216f7dd1c6b3fc1590d1e732365b750f4ebe4695db3968ba32"),
        ("defect", 563229903361011, "0677bb4d1c8359597b2a9487d0be4c0d74890f8e4d36253711d4d2d5e30bdb6e"),
    ]


def test_normal_images_without_an_item_are_not_kept() -> None:
    (few,), (each,) = (series(7, [one], 0, SOURCES) for one in (entry("pit", count=2), entry("pit", per_image=2)))
    assert [list(numbers) for numbers in few.numbers.values()] == [[0], [0]]
    assert few.items == 2
    assert set(each.numbers) == set(range(5))


def binned(*bins: dict[str, Any], **changes: Any) -> ResolvedEntry:
    return entry("scratch", bins=list(bins), **changes)


SMALL = {"size": {"min": 10, "max": 20}}
LARGE = {"size": {"min": 200, "max": 400, "unit": "um"}, "contrast": {"min": 0.05, "max": 0.2}}


def test_each_bin_has_its_own_items_of_its_size_and_contrast() -> None:
    on = [source(number, pixel_size_um=5.0) for number in range(5)]
    asked = binned(SMALL | {"count": 7}, LARGE | {"per_image": 2})
    items = planned(asked, entry("dent", count=2), sources=on, controls=3)

    of_bins = {place: [item for item in of_entry(items, 0) if item.bin == place] for place in (0, 1)}
    assert {place: len(found) for place, found in of_bins.items()} == {0: 7, 1: 10}
    for place, wanted in enumerate((SMALL, LARGE)):
        for item in of_bins[place]:
            (defect,) = augmented(item).model_dump(mode="json")["defects"]
            assert defect["size"] == {"unit": "px"} | wanted["size"]
            assert defect.get("contrast") == wanted.get("contrast")
    controls = [item for item in items if item.kind == "control"]
    for item in controls:
        (defect,) = augmented(item).defects
        assert (item.bin, defect.contrast) == (None, None)
        assert defect.size is not None, "in places of the first bin"
    assert all(item.bin is None for item in of_entry(items, 1))
    assert [item.source.number for item in items] == sorted(item.source.number for item in items)
    here = [item.bin for item in items if item.source.number == 0 and item.kind == "defect" and item.entry == 0]
    assert here == sorted(here, key=lambda place: place or 0)


def test_more_bins_and_counts_and_another_order_change_no_item_that_was_there() -> None:
    on = [source(number, pixel_size_um=5.0) for number in range(5)]
    before = made(planned(binned(SMALL | {"count": 7}, LARGE | {"count": 3}), sources=on))

    middle = {"size": {"min": 20, "max": 40}, "count": 4}
    after = made(planned(binned(LARGE | {"count": 5}, middle, SMALL | {"count": 9}), sources=on))
    assert before < after
    apart = made(planned(binned(SMALL | {"count": 7}), binned(LARGE | {"count": 3}), sources=on))
    assert apart == before
    assert not made(planned(entry("scratch", count=7), sources=on, normals=False)) & before


def test_normal_images_that_cannot_show_a_size_are_left_out_of_its_bin() -> None:
    on = [source(0, pixel_size_um=5.0), source(1, pixel_size_um=200.0), source(2, pixel_size_um=2.0)]
    items = planned(binned(SMALL | {"per_image": 1}, LARGE | {"count": 4}), sources=on)

    assert {item.source.number for item in items if item.bin == 0} == {0, 1, 2}
    assert Counter(item.source.number for item in items if item.bin == 1) == {0: 4}, (
        "2 pixels are too few, and 100 more than the diagonal"
    )


def test_a_plan_is_what_it_was_when_every_normal_image_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "VIEW_FORMAT", 1)  # as it was then
    on = [
        source(number, pixels=number % 5, pixel_size_um=5.0, mask_sha256=64 * "a" if number % 3 else None)
        for number in range(7)
    ]
    asked = [
        binned(SMALL | {"count": 3}, LARGE | {"per_image": 1}),
        entry("dent", count=2, given=True),
        entry("pit", "dent", count=9),
        binned(SMALL | {"count": 2}),
    ]
    items = planned(*asked, sources=on, controls=4, closed=(2,), frame="crop", crop_size=64)
    before = "14ba571d519b1a8ea306ee5f52429ab43958c2f0a044d55e5cf5d2beb4ac5a09"
    told = [f"{one.kind} {one.source.number} {one.entry} {one.bin} {one.made} {one.view}" for one in items]
    assert len(told) == 33
    assert hashlib.sha256("\n".join(told).encode()).hexdigest() == before
