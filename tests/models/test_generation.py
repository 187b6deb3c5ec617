"""Promises of the method, on a tiny backbone with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from models.adapters import Adapter, AdapterError, Card
from models.aims import Aim
from models.finishing import Outcome, change_of, finished, judged, place_of
from models.generation import Generator
from models.items import MAX_AIMED_ATTEMPTS, MAX_ATTEMPTS, ItemRequest, ItemResult
from models.levels import Pixels
from models.placement.drawn import DrawnMask
from models.refinement import Calibration
from models.resampling import model_windows
from models.samples import Exemplar, Sample, exemplars_of
from models.training.recipe import Ablation
from tests.models.tiny import tiny_adapter, tiny_backbone

SHAPE = (150, 220)


@pytest.fixture(scope="module")
def adapter() -> Adapter:
    backbone = tiny_backbone()
    return tiny_adapter(backbone)


def alone() -> Generator:
    return Generator(tiny_backbone())


def in_company() -> Generator:
    return Generator(tiny_backbone(), batch_shape=3)


def padded() -> Generator:
    return Generator(tiny_backbone(), batch_shape=3, padded=True)


@pytest.fixture(params=[alone, in_company, padded])
def new_generator(request: pytest.FixtureRequest) -> Callable[[], Generator]:
    made: Callable[[], Generator] = request.param
    return made


@pytest.fixture
def generator(new_generator: Callable[[], Generator]) -> Generator:
    return new_generator()


def photo(channels: int | None = 3, dtype: type[np.unsignedinteger] = np.uint8, top: int = 255) -> Pixels:
    rng = np.random.default_rng(5)
    shape = SHAPE if channels is None else (*SHAPE, channels)
    ramp = np.linspace(0.2, 0.7, SHAPE[1])[None, :, None] if channels else np.linspace(0.2, 0.7, SHAPE[1])[None]
    return np.asarray(np.clip(ramp + rng.normal(0, 0.02, shape), 0, 1) * top, dtype=dtype)


def spots() -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, dtype=np.bool_)
    mask[40:60, 50:80] = True
    mask[130:150, 190:220] = True
    mask[10, 5:200] = True
    return mask


def boxed() -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, dtype=np.bool_)
    mask[60:100, 60:120] = True
    return mask


@pytest.fixture
def item(adapter: Adapter) -> Callable[..., ItemRequest]:
    base = ItemRequest(photo(), spots(), adapter, "metal", 0.7, 2.0, 0.9, steps=4, seed=7, index=0)
    return lambda **changes: replace(base, **changes)


def same(one: ItemResult, other: ItemResult) -> bool:
    return bool(
        np.array_equal(one.image, other.image)
        and np.array_equal(one.refined_mask, other.refined_mask)
        and one.scores == other.scores
    )


def test_an_item_begins_on_its_types_sketch(item: Callable[..., ItemRequest]) -> None:
    plain = item()
    sketching, another = (
        item(adapter=replace(plain.adapter, card=Card(sketch=name))) for name in ("hole", "scratch")
    )
    generator = Generator(tiny_backbone())
    noise, sketched, again, other = generator.generate([plain, sketching, sketching, another])
    assert not same(noise, sketched)
    assert not same(other, sketched)
    assert same(sketched, again)
    assert same(sketched, Generator(tiny_backbone()).generate([sketching])[0])
    assert sketched.scores.background_max_abs_diff == 0


@pytest.mark.parametrize("begins_on", ["noise", "sketch", "exemplar"])
def test_a_control_has_nothing_laid_and_keeps_all_that_was_drawn_in_the_shape_of_an_item(
    item: Callable[..., ItemRequest], begins_on: str
) -> None:
    label = np.pad(np.ones((20, 20), np.bool_), 12)
    dark = Exemplar(np.where(label, 20, 160).astype(np.uint8)[:, :, None], label, 0)
    card = Card(sketch="hole" if begins_on == "sketch" else "", exemplars=float(begins_on == "exemplar"))
    plain = item(mask=boxed(), exemplars=[dark])
    request = replace(plain, adapter=replace(plain.adapter, card=card))
    assert request.begins_on == begins_on
    generator = Generator(tiny_backbone())
    ((defect,),), ((control,),) = (
        generator.decoded([replace(request, control=of_control)]) for of_control in (False, True)
    )
    result = generator.generate([replace(request, control=True)])[0]

    if begins_on == "exemplar":
        photo = defect.drawing.levels.to_unit(defect.drawing.plot.frame(request.image))
        assert defect.drawing.graft is not None
        assert control.drawing.graft is not None
        assert (photo - defect.drawing.graft)[defect.drawing.lies].mean() > 0.1
        assert abs((photo - control.drawing.graft)[defect.drawing.lies].mean()) < 0.01
        assert np.array_equal(control.drawing.lies, defect.drawing.lies)
    else:
        assert control.drawing.exemplar is None
    assert torch.equal(control.drawing.mask, defect.drawing.mask)

    changed = (result.image != request.image).any(axis=2)
    inside = ndimage.binary_erosion(result.refined_mask, iterations=2)
    shape = request.mask if begins_on == "noise" else control.drawing.lies_at(np.s_[0 : SHAPE[0], 0 : SHAPE[1]])
    assert np.array_equal(result.refined_mask, request.mask & shape)
    assert inside.any()
    assert changed[inside].mean() > 0.9
    assert result.scores.background_max_abs_diff == 0
    assert result.regions == ()


def test_a_drawing_keeps_the_detail_of_the_real_defect_that_it_follows_however_much_darker_it_is(
    item: Callable[..., ItemRequest],
) -> None:
    speckled = np.random.default_rng(2).random((40, 60)) < 0.3
    exemplar = Exemplar(np.where(speckled, 40, 128).astype(np.uint8)[:, :, None], np.ones((40, 60), np.bool_), 0)
    mask = boxed()
    base = item(image=np.full((*SHAPE, 3), 128, dtype=np.uint8), mask=mask, exemplars=[exemplar])
    backbone = tiny_backbone()
    ((part,),) = Generator(backbone).decoded(
        [replace(base, adapter=replace(base.adapter, card=Card(exemplars=1.0)))]
    )
    drawing = part.drawing
    assert drawing.graft is not None
    photo = np.full_like(drawing.graft, 128 / 255)
    laid = [
        functional.avg_pool2d(window[None], 3, 1, 1)[0]  # a VAE's round trip is soft
        for window in model_windows(drawing.graft - photo, drawing.plot, backbone.window_px)
    ]
    before = [trajectory.reconstruction for trajectory in drawing.trajectories]
    begun = [base + one for base, one in zip(before, laid, strict=True)]
    place = place_of(drawing.plot, SHAPE, 0)
    x = np.full((*mask[place].shape, 3), 128 / 255, np.float32)

    def fine(pictures: list[Tensor]) -> NDArray[np.float64]:
        pixels = change_of(replace(part, pictures=pictures, begun=begun), place, x).pixels.mean(axis=2)
        return np.asarray(pixels - ndimage.gaussian_filter(pixels, 1.0), np.float64)[mask[place]]

    real = fine(begun)
    assert real.std() > 0.02
    assert np.corrcoef(fine([one - 0.2 for one in begun]), real)[0, 1] > 0.95
    assert fine([base - 0.2 for base in before]).std() < 0.2 * real.std()


def test_on_a_real_defect_no_more_is_drawn_than_that_defects_shape(item: Callable[..., ItemRequest]) -> None:
    """However loose the request: its outline is nobody's defect."""
    line = np.zeros((40, 60), dtype=np.bool_)
    line[20, 10:50] = True
    exemplar = Exemplar(np.where(line, 40, 128).astype(np.uint8)[:, :, None], line, 0)
    mask = np.zeros(SHAPE, dtype=np.bool_)
    mask[60:100, 60:120] = True
    on_noise = item(mask=mask)
    on_defect = replace(
        on_noise, adapter=replace(on_noise.adapter, card=Card(exemplars=1.0)), exemplars=[exemplar]
    )
    generator = Generator(tiny_backbone())
    ((one,), (other,)) = generator.decoded([on_noise, on_defect])
    assert 0 < other.drawing.mask.sum() < 0.5 * one.drawing.mask.sum()
    whole, shaped = (result.refined_mask for result in generator.generate([on_noise, on_defect]))
    lies = other.drawing.lies_at((slice(0, SHAPE[0]), slice(0, SHAPE[1])))
    assert not (shaped & ~lies).any()
    assert (whole & ~lies).any()


def test_a_severe_control_is_exaggerated_no_more_than_the_item_on_a_real_defect(
    item: Callable[..., ItemRequest],
) -> None:
    exemplar = Exemplar(np.full((20, 20, 1), 40, np.uint8), np.ones((20, 20), np.bool_), 0)
    base = item(exemplars=[exemplar])
    adapter = replace(base.adapter, card=Card(exemplars=1.0, severity=0.15))
    severe = replace(base, adapter=adapter, severity=1.0)
    for part, *_ in Generator(tiny_backbone()).decoded([severe, replace(severe, control=True)]):
        drawing = part.drawing
        begun = drawing.plane[0] + 1 if drawing.request.control or drawing.exemplar is None else drawing.exemplar
        drawing.reinject(begun, 0)
        drawing.strengthen()
        inside = drawing.mask.expand_as(drawing.z) > 0
        grown = (drawing.z - drawing.plane[0])[inside] / (begun - drawing.plane[0])[inside]
        torch.testing.assert_close(grown, torch.full_like(grown, 1.5), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("channels", [None, 2, 3, 4])
@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535), (np.uint16, 4095)])
def test_outside_the_request_every_pixel_is_the_inputs_and_inside_the_label_tells_what_changed(
    item: Callable[..., ItemRequest], channels: int | None, dtype: type[np.unsignedinteger], top: int
) -> None:
    request = item(image=photo(channels, dtype, top))
    (result,) = Generator(tiny_backbone()).generate([request])
    changed = result.image != request.image
    changed = changed.any(axis=2) if changed.ndim == 3 else changed
    assert result.image.shape == request.image.shape
    assert result.image.dtype == request.image.dtype
    assert changed.any()
    assert not (changed & ~request.mask).any()
    assert not (result.refined_mask & ~request.mask).any()
    unlabelled = changed & ~result.refined_mask
    distance = ndimage.distance_transform_edt(~result.refined_mask)
    assert not unlabelled.any() or distance[unlabelled].max() <= result.soft_edge_px
    assert result.scores.background_max_abs_diff == 0
    if channels in (2, 4):
        assert np.array_equal(result.image[..., -1], request.image[..., -1])
    if top > 255:
        assert len(np.unique(result.image[changed])) > 256
        assert result.image.max() <= top


def test_sixteen_bits_are_judged_in_the_range_that_they_are_drawn_in(item: Callable[..., ItemRequest]) -> None:
    image, mask = np.full((300, 300), 200, np.uint16), np.zeros((300, 300), dtype=np.bool_)
    mask[100:180, 100:180] = True
    image[:, 210:] = 3500  # what is drawn with the mask has some of it, what is judged around the mask none
    image += np.random.default_rng(0).integers(0, 20, image.shape).astype(np.uint16)
    asked = item(image=image, mask=mask)
    result, told = Generator(tiny_backbone()).generate([asked, replace(asked, white_level=4095)])
    assert np.array_equal(result.image, told.image)
    assert (result.scores, result.regions) == (told.scores, told.regions)


@pytest.mark.parametrize("brightest", [300, 3500])
def test_a_real_defect_is_laid_as_strong_in_a_dim_place_of_sixteen_bits(
    item: Callable[..., ItemRequest], brightest: int
) -> None:
    """Whatever else the photo shows: it darkens by half, as it did where it was cut out."""
    rng = np.random.default_rng(0)

    def dim() -> NDArray[np.float64]:
        image = np.full((300, 300), 300.0)
        image[:, 250:] = brightest
        return np.asarray(image + rng.normal(0, 3, image.shape))

    sample, defect, mask = dim(), np.zeros((300, 300), np.bool_), np.zeros((300, 300), np.bool_)
    defect[90:120, 80:115], mask[85:125, 75:120] = True, True
    sample[defect] *= 0.5
    plain = item(
        image=dim().astype(np.uint16),
        mask=mask,
        exemplars=exemplars_of([Sample(sample.astype(np.uint16), defect, "")]),
    )
    asked = replace(plain, adapter=replace(plain.adapter, card=Card(exemplars=1.0)))
    ((part,),) = Generator(tiny_backbone()).decoded([asked])
    drawing = part.drawing
    assert drawing.graft is not None
    photo = drawing.levels.to_unit(drawing.plot.frame(asked.image[:, :, None]))
    core = ndimage.binary_erosion(drawing.lies, iterations=3)
    assert 1 - drawing.graft[core].mean() / photo[core].mean() == pytest.approx(0.5, abs=0.08)


def test_thresholds_follow_the_surface_and_not_what_no_window_shows(item: Callable[..., ItemRequest]) -> None:
    """Windows around an oblique line leave corners of its place out; a plain surface stays plain for that."""
    image = np.asarray(np.random.default_rng(0).normal(200, 2, (300, 300)), np.uint8)
    mask, along = np.zeros((300, 300), np.bool_), np.arange(75, 225)
    mask[along, along], mask[along, along + 1] = True, True
    (part,) = Generator(tiny_backbone()).decoded([item(image=image, mask=mask)])[0]
    place = place_of(part.drawing.plot, mask.shape, 18)
    change = change_of(part, place, part.drawing.levels.to_unit(image[:, :, None][place]))
    shown, z_0 = part.drawing.plot.shown_at(place), part.drawing.plane[0]
    assert not shown.all()
    assert change.texture == pytest.approx(float(change.reconstruction[shown].std()), rel=1e-4)
    assert change.texture < 0.1 * change.reconstruction.std()
    covered = z_0[:, (z_0 != 0).any(dim=0)]
    assert covered.shape[1] < z_0[0].numel()
    assert change.latent_texture == pytest.approx(float(covered.std(dim=1).norm()), rel=1e-4)


def test_an_items_pixels_do_not_depend_on_its_neighbours_its_slot_or_the_cache(
    item: Callable[..., ItemRequest], generator: Generator, new_generator: Callable[[], Generator]
) -> None:
    (by_itself,) = generator.generate([item(index=2)])
    box = np.zeros(SHAPE, dtype=np.bool_)
    box[70:100, 100:140] = True
    crowd = [item(index=0), item(index=1, mask=box, severity=0.9), item(index=2), item(index=3, control=True)]
    warm = generator.generate(crowd)
    cold = new_generator().generate(crowd)
    assert same(by_itself, warm[2])
    assert all(same(one, other) for one, other in zip(warm, cold, strict=True))


def test_in_company_every_item_has_the_pixels_that_it_has_alone(item: Callable[..., ItemRequest]) -> None:
    crowd = [item(index=0), item(index=1, severity=0.9), item(index=2, guidance=1.0), item(index=3, control=True)]
    one_by_one, together = alone(), in_company()
    assert one_by_one.fingerprint == together.fingerprint
    for one, other in zip(one_by_one.generate(crowd), together.generate(crowd), strict=True):
        assert same(one, other)


def test_windows_and_starts_of_all_items_are_encoded_together(
    item: Callable[..., ItemRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = padded()
    encode, rows = generator.backbone.encode, []
    monkeypatch.setattr(generator.backbone, "encode", lambda x: rows.append(len(x)) or encode(x))
    box = np.zeros(SHAPE, dtype=np.bool_)
    box[70:100, 100:140] = True
    photos = [photo(3), 255 - photo(3)]
    generator.generate([item(image=one, mask=box) for one in photos])
    assert rows == [3], "one padded call for the windows of both photos"


def test_a_trajectory_deepened_later_is_the_one_inverted_at_once(item: Callable[..., ItemRequest]) -> None:
    stepwise, at_once = Generator(tiny_backbone()), Generator(tiny_backbone())
    stepwise.generate([item(severity=0.3)])
    assert same(stepwise.generate([item(severity=1.0)])[0], at_once.generate([item(severity=1.0)])[0])


def test_seeds_and_indices_differ_and_repeat(item: Callable[..., ItemRequest]) -> None:
    generator = Generator(tiny_backbone())
    first, other_index, other_seed, again = generator.generate([item(), item(index=1), item(seed=8), item()])
    assert same(first, again)
    assert not np.array_equal(first.image, other_index.image)
    assert not np.array_equal(first.image, other_seed.image)


def test_masks_types_and_seeds_share_one_inversion_per_window(item: Callable[..., ItemRequest]) -> None:
    calls: list[tuple[int, int]] = []
    generator = Generator(tiny_backbone())
    generator.generate([item()], lambda done, total: calls.append((done, total)))
    one = calls[-1][1]
    calls.clear()
    generator.generate([item(index=1), item(index=2)], lambda done, total: calls.append((done, total)))
    two = calls[-1][1]
    assert calls[-1][0] == two
    assert [done for done, _ in calls] == list(range(1, two + 1))
    assert two < 2 * one


def test_what_the_cache_forgets_is_gone(item: Callable[..., ItemRequest]) -> None:
    """Though windows are inverted side by side."""
    generator = Generator(tiny_backbone(), batch_shape=3)
    generator.generate([item(seed=seed, image=photo() + np.uint8(seed)) for seed in range(3)])
    for trajectory in generator.cache._held.values():
        for latent in trajectory.latents:
            assert latent.untyped_storage().nbytes() == latent.nbytes


def test_a_cache_without_budget_forgets_and_changes_nothing(item: Callable[..., ItemRequest]) -> None:
    frugal = Generator(tiny_backbone(), cache_bytes=0)
    (first,) = frugal.generate([item()])
    assert len(frugal.cache) == 0
    assert same(first, Generator(tiny_backbone()).generate([item()])[0])


def test_a_step_callback_that_raises_stops_the_work_and_the_generator_goes_on(
    item: Callable[..., ItemRequest],
) -> None:
    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise StopError

    generator = Generator(tiny_backbone())
    with pytest.raises(StopError):
        generator.generate([item()], stop)
    assert same(generator.generate([item()])[0], Generator(tiny_backbone()).generate([item()])[0])


def test_a_control_ignores_the_defect_tokens(item: Callable[..., ItemRequest], adapter: Adapter) -> None:
    other = replace(adapter, tokens=adapter.tokens + 1)
    generator = Generator(tiny_backbone())
    one, two = generator.generate([item(control=True), item(control=True, adapter=other)])
    assert same(one, two)
    defect, other_defect = generator.generate([item(), item(adapter=other)])
    assert not np.array_equal(defect.image, other_defect.image)


def test_below_its_quality_an_item_is_drawn_again_a_bounded_number_of_times(
    item: Callable[..., ItemRequest],
) -> None:
    (result,) = Generator(tiny_backbone()).generate([item(min_quality=1.0)])
    assert not result.accepted
    assert result.attempts == MAX_ATTEMPTS


def test_without_a_labelled_pixel_an_item_is_no_defect_whatever_quality_is_asked_for(
    item: Callable[..., ItemRequest],
) -> None:
    def accepted(request: ItemRequest, label: NDArray[np.bool_]) -> bool:
        return judged(
            request, request.image, label, [Outcome(0.0, int(request.mask.sum()), 2, 1.0)], Calibration(), 1
        ).accepted

    request, nothing = item(min_quality=0.0), np.zeros(SHAPE, np.bool_)
    pixel = nothing.copy()
    pixel[50, 60] = True
    assert not accepted(request, nothing)
    assert accepted(request, pixel)
    assert accepted(replace(request, control=True), nothing)


def test_measures_describe_the_refined_mask(item: Callable[..., ItemRequest]) -> None:
    (result,) = Generator(tiny_backbone()).generate([item()])
    assert sum(region.area for region in result.regions) == result.refined_mask.sum()
    for region in result.regions:
        x, y, width, height = region.box
        assert result.refined_mask[y : y + height, x : x + width].any()
        assert 0 < region.width <= region.length <= np.hypot(width, height) + 1


def test_a_dark_photo_is_drawn_on_up_to_its_white_level_and_labelled_by_what_is_left_of_a_change(
    item: Callable[..., ItemRequest],
) -> None:
    def brightened(image: Pixels, white: int | None) -> ItemResult:
        request = item(image=image, mask=boxed(), white_level=white)
        (parts,) = Generator(tiny_backbone()).decoded([request])
        bright = [
            replace(part, pictures=[base.reconstruction + 0.6 for base in part.drawing.trajectories])
            for part in parts
        ]
        return finished(request, bright, Calibration(), attempt=1)

    dark = np.random.default_rng(0).integers(140, 160, SHAPE).astype(np.uint16)
    result = brightened(dark, 4095)
    assert result.accepted
    assert result.image[result.refined_mask].mean() > 2000
    assert np.array_equal(result.image[~boxed()], dark[~boxed()])

    white = np.full(SHAPE, 255, np.uint8)
    result = brightened(white, None)
    assert not result.accepted
    assert not result.refined_mask.any()
    assert np.array_equal(result.image, white)


def test_a_shift_of_hue_has_the_contrast_of_its_channels(item: Callable[..., ItemRequest]) -> None:
    grey, label = np.full((*SHAPE, 3), 128, np.uint8), boxed()
    shifted = grey.copy()
    shifted[label] = 208, 128, 48
    outcomes = [Outcome(1.0, int(label.sum()), 2, 1.0)]
    result = judged(item(image=grey, mask=label), shifted, label, outcomes, Calibration(), 1)
    assert result.regions[0].contrast == pytest.approx(160 / 3 / 255)


def test_a_type_of_another_backbone_is_refused(item: Callable[..., ItemRequest]) -> None:
    with pytest.raises(AdapterError, match="trained on backbone"):
        Generator(tiny_backbone(seed=3)).generate([item()])


def test_an_ablated_attention_draws_otherwise_and_says_so(item: Callable[..., ItemRequest]) -> None:
    full = Generator(tiny_backbone())
    blind = Generator(tiny_backbone(), ablation=Ablation(background_keys=False))
    assert full.fingerprint == Generator(tiny_backbone(), ablation=Ablation()).fingerprint
    assert "background_keys=False" in blind.fingerprint
    (seen,), (unseen,) = full.generate([item()]), blind.generate([item()])
    assert (seen.image != unseen.image).any()


def test_without_grain_an_item_is_what_was_decoded_where_the_edge_is_not_soft(
    item: Callable[..., ItemRequest],
) -> None:
    request = item(mask=spots() & (np.arange(SHAPE[0]) > 30)[:, None])
    full, plain = Generator(tiny_backbone()), Generator(tiny_backbone(), grain=False)
    (with_grain,), (without,) = full.generate([request]), plain.generate([request])
    assert "grain" in plain.fingerprint
    assert full.fingerprint != plain.fingerprint
    assert without.scores.background_max_abs_diff == 0
    assert np.array_equal(without.refined_mask, with_grain.refined_mask)
    hard = np.asarray(ndimage.binary_erosion(without.refined_mask, iterations=without.soft_edge_px + 1))
    assert hard.sum() > 100
    whole = (slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    decoded = np.full((*SHAPE, 3), np.nan)
    for part in plain.decoded([request])[0]:
        own = part.drawing.plot.mask_at(whole)
        decoded[own] = 255 * part.drawing.blended(part.pictures, whole, 3)[own].clip(0, 1)
    assert np.abs(without.image[hard] - decoded[hard]).max() <= 1
    assert np.abs(with_grain.image[hard] - decoded[hard]).max() > 5


def test_an_autoencoder_kl_backbone_draws_as_well(item: Callable[..., ItemRequest], adapter: Adapter) -> None:
    backbone = tiny_backbone(vae="kl")
    own = replace(adapter, backbone_digest=backbone.digest)
    (result,) = Generator(backbone).generate([item(adapter=own)])
    assert result.scores.background_max_abs_diff == 0
    assert (result.image != photo()).any()


def test_the_fingerprint_tells_batch_shapes_and_backbones_apart() -> None:
    prints = {
        Generator(tiny_backbone(), 1, padded=True).fingerprint,
        Generator(tiny_backbone(), 2, padded=True).fingerprint,
        Generator(tiny_backbone(seed=3), 1).fingerprint,
    }
    assert len(prints) == 3
    assert Generator(tiny_backbone(), 1, padded=True).fingerprint in prints


def test_where_calls_are_not_padded_their_rows_are_not_in_the_fingerprint() -> None:
    assert Generator(tiny_backbone(), 4).fingerprint == Generator(tiny_backbone(), 1).fingerprint


def test_an_item_with_an_aim_is_drawn_in_the_masks_of_its_attempts(item: Callable[..., ItemRequest]) -> None:
    lengths: list[float] = []

    def again(attempt: int, length: float) -> DrawnMask:
        lengths.append(length)
        mask = np.zeros(SHAPE, dtype=np.bool_)
        mask[70:80, 40 + attempt : 40 + attempt + max(2, round(min(length, 120)))] = True
        return DrawnMask(mask, ())

    first = item(mask=again(1, 40).mask, aim=Aim(size=(1000, 2000), length=40, again=again))
    beside = item(seed=9)
    generator = Generator(tiny_backbone(), batch_shape=2)
    result, other = generator.generate([first, beside])
    assert (result.attempts, result.accepted, result.missed) == (MAX_AIMED_ATTEMPTS, False, ("size",))
    assert len(lengths) == MAX_AIMED_ATTEMPTS, "the first mask, and one for each other attempt"
    requested = first.mask if result.requested is None else result.requested.mask
    assert not (result.refined_mask & ~requested).any()
    assert np.array_equal(result.image[~requested], first.image[~requested])
    assert same(other, Generator(tiny_backbone(), batch_shape=2).generate([beside])[0])
