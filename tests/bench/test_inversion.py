from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.inversion import Measures, Scene, table
from models.batching import Progress
from models.drawing import Outside
from models.generation import Generator
from models.items import ItemRequest, ItemResult
from models.noise import noise_key, seeded_noise
from tests.models.tiny import tiny_adapter, tiny_backbone


@pytest.fixture(scope="module")
def item() -> ItemRequest:
    backbone = tiny_backbone()
    adapter = tiny_adapter(backbone)
    image = np.random.default_rng(5).integers(60, 200, (100, 120, 3), dtype=np.uint8)
    mask = np.zeros((100, 120), dtype=np.bool_)
    mask[30:50, 40:70] = True
    mask[80, 5:60] = True
    return ItemRequest(image, mask, adapter, "metal", 0.7, 2.0, 0.9, steps=4, seed=7, index=0)


def drawn(generator: Generator, item: ItemRequest) -> ItemResult:
    return generator.generate([item])[0]


@pytest.mark.parametrize(("sketch", "outside"), [("", "inversion"), ("scratch", "noise")])
def test_by_default_only_what_begins_on_the_normal_image_is_inverted(
    item: ItemRequest, sketch: str, outside: Outside
) -> None:
    adapter = replace(item.adapter, card=replace(item.adapter.card, sketch=sketch))
    for control in (False, True):
        request = replace(item, adapter=adapter, control=control)
        by_type = drawn(Generator(tiny_backbone()), request)
        assert np.array_equal(by_type.image, drawn(Generator(tiny_backbone(), outside=outside), request).image)
    (parts,) = Generator(tiny_backbone()).decoded([request])
    assert {part.drawing.outside for part in parts} == {outside}


def test_the_noised_outside_is_the_closed_form_with_one_noise_an_item(item: ItemRequest) -> None:
    generator = Generator(tiny_backbone(), outside="noise")
    planes = []
    for request, attempt in ((item, 1), (item, 2), (replace(item, seed=8), 1)):
        for part in generator._drawn([request], [attempt], Progress())[0]:
            drawing = part.drawing
            z_0 = drawing.plane[0]
            key = noise_key(request.seed, request.index, drawing.plot.name + "/outside", attempt)
            eps = seeded_noise(key, tuple(z_0.shape))
            for level, z_t in enumerate(drawing.plane[1:], start=1):
                alpha_bar = float(drawing.grid.alpha_bar[level])
                torch.testing.assert_close(z_t, alpha_bar**0.5 * z_0 + (1 - alpha_bar) ** 0.5 * eps)
        planes.append(drawing.plane[-1])
    assert not torch.equal(planes[0], planes[1])
    assert not torch.equal(planes[0], planes[2])


def test_inverting_and_noising_share_a_cached_window(item: ItemRequest) -> None:
    generator, alone = Generator(tiny_backbone(), outside="noise"), Generator(tiny_backbone())
    drawn(generator, item)
    generator.outside = "inversion"
    assert np.array_equal(drawn(generator, item).image, drawn(alone, item).image)


def test_noise_needs_no_passes_to_invert_and_keeps_the_promises(item: ItemRequest) -> None:
    generator = Generator(tiny_backbone(), outside="noise")
    inverting = Generator(tiny_backbone())
    assert generator.fingerprint != inverting.fingerprint
    steps: dict[str, list[tuple[int, int]]] = {"noise": [], "inversion": []}

    def into(name: str) -> Callable[[int, int], None]:
        return lambda done, total: steps[name].append((done, total))

    (result,) = generator.generate([item], into("noise"))
    inverting.generate([item], into("inversion"))
    assert steps["noise"][-1][0] == steps["noise"][-1][1] < steps["inversion"][-1][1]
    assert np.array_equal(result.image[~item.mask], item.image[~item.mask])
    assert np.array_equal(drawn(generator, item).image, result.image)  # a cache hit
    other = replace(item, seed=8)
    assert np.array_equal(
        drawn(generator, other).image, drawn(Generator(tiny_backbone(), outside="noise"), other).image
    )


def test_the_table_compares_pair_by_pair() -> None:
    one = [
        Scene(Measures(0.9, 0.8, float(i), 0.5, 1.0, 32, 16), "a sketch", (0.7, 0.8), (0.1, 0.2)) for i in range(8)
    ]
    other = [
        replace(s, measures=replace(s.measures, context_error=s.measures.context_error + 2), controls=(0.75, 0.75))
        for s in one
    ]
    rows = {row["median of"]: row for row in table(one, other)}
    assert rows["context error"]["difference"] == pytest.approx((-2, -2))
    assert (rows["presence (AUROC)"]["inversion"], rows["presence (AUROC)"]["noise"]) == (1, 0.5)
    assert rows["presence (AUROC)"]["difference"] == pytest.approx((0.5, 0.5))
