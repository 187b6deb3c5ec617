import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from models.attention import MaskedAttnProcessor
from models.region import FORBIDDEN, Region
from tests.models.tiny import TOKENS, WIDTH, tiny_backbone

L = 32
DEFECT = 3


def square(batch: int = 2) -> torch.Tensor:
    mask = torch.zeros(batch, 1, L, L)
    mask[:, :, 8:16, 12:24] = 1
    return mask


def region(mask: torch.Tensor, valid: bool = True, coarse: str = "maxpool") -> Region:
    return Region(mask, TOKENS, torch.full((len(mask), DEFECT), valid), coarse)  # type: ignore[arg-type]


def attention(cross: bool) -> Attention:
    torch.manual_seed(0)
    return Attention(
        query_dim=8,
        cross_attention_dim=WIDTH if cross else None,
        heads=2,
        dim_head=4,
        processor=MaskedAttnProcessor(),
    ).requires_grad_(False)


@pytest.mark.parametrize("side", [32, 16, 8, 4])
def test_outside_queries_do_not_see_inside_values(side: int) -> None:
    layer, inside = attention(cross=False), region(square())
    c = inside.coverage(side, side)[0] > 0
    hidden = torch.randn(2, side * side, 8)
    changed = torch.where(c[None, :, None], torch.randn_like(hidden), hidden)
    before, after = layer(hidden, region=inside), layer(changed, region=inside)
    assert torch.equal(before[:, ~c], after[:, ~c])
    assert not torch.allclose(before[:, c], after[:, c])


@pytest.mark.parametrize("side", [32, 16, 8, 4])
def test_inside_queries_see_the_outside(side: int) -> None:
    layer, inside = attention(cross=False), region(square())
    c = inside.coverage(side, side)[0] > 0
    hidden = torch.randn(2, side * side, 8)
    changed = torch.where(c[None, :, None], hidden, torch.randn_like(hidden))
    before, after = layer(hidden, region=inside), layer(changed, region=inside)
    assert ((before - after).abs().amax(dim=2) > 0)[:, c].all()


@pytest.mark.parametrize("side", [32, 16, 8, 4])
@pytest.mark.parametrize("masked_self", [True, False])
def test_without_background_keys_inside_queries_see_the_inside_alone(side: int, masked_self: bool) -> None:
    mask = torch.zeros(2, 1, L, L)
    mask[:, :, 8:16, 8:24] = 1  # whole cells at every level
    valid = torch.ones(2, DEFECT, dtype=torch.bool)
    layer = attention(cross=False)
    blind = Region(mask, TOKENS, valid, masked_self=masked_self, background_keys=False)
    c = blind.coverage(side, side)[0] > 0
    hidden = torch.randn(2, side * side, 8)
    changed = torch.where(c[None, :, None], hidden, torch.randn_like(hidden))
    before, after = layer(hidden, region=blind), layer(changed, region=blind)
    assert torch.equal(before[:, c], after[:, c])
    assert not torch.allclose(before[:, ~c], after[:, ~c])
    seen = layer(hidden, region=Region(mask, TOKENS, valid, masked_self=masked_self))
    assert torch.equal(before[:, ~c], seen[:, ~c])


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_without_background_keys_one_kind_of_cell_alone_sees_all_of_itself(fill: float) -> None:
    valid = torch.ones(1, DEFECT, dtype=torch.bool)
    blind = Region(torch.full((1, 1, L, L), fill), TOKENS, valid, background_keys=False)
    assert (blind.self_bias(8, 8) == 0).all()


@pytest.mark.parametrize("side", [32, 16, 8])
def test_outside_queries_do_not_see_defect_tokens(side: int) -> None:
    layer, inside = attention(cross=True), region(square())
    c = inside.coverage(side, side)[0] > 0
    hidden, tokens = torch.randn(2, side * side, 8), torch.randn(2, TOKENS + DEFECT, WIDTH)
    changed = tokens.clone()
    changed[:, TOKENS:] += 1
    before = layer(hidden, encoder_hidden_states=tokens, region=inside)
    after = layer(hidden, encoder_hidden_states=changed, region=inside)
    assert torch.equal(before[:, ~c], after[:, ~c])
    assert ((before - after).abs().amax(dim=2) > 0)[:, c].all()


def test_invalid_defect_tokens_are_unseen_everywhere() -> None:
    layer = attention(cross=True)
    hidden, tokens = torch.randn(2, 256, 8), torch.randn(2, TOKENS + DEFECT, WIDTH)
    padded = layer(hidden, encoder_hidden_states=tokens, region=region(square(), valid=False))
    plain = layer(hidden, encoder_hidden_states=tokens[:, :TOKENS])
    torch.testing.assert_close(padded, plain)


def test_without_a_region_it_is_plain_attention() -> None:
    layer, hidden = attention(cross=False), torch.randn(2, 64, 8)
    ours = layer(hidden)
    layer.set_processor(AttnProcessor2_0())
    torch.testing.assert_close(ours, layer(hidden))


def test_coverage_is_a_mean_only_at_coarse_levels() -> None:
    mask = torch.zeros(1, 1, L, L)
    mask[:, :, 3, 5] = 1
    assert set(region(mask, coarse="coverage").coverage(16, 16).unique().tolist()) == {0.0, 1.0}
    assert region(mask, coarse="coverage").coverage(8, 8).max() == pytest.approx(1 / 16)
    assert region(mask, coarse="maxpool").coverage(8, 8).max() == 1


def test_partly_covered_cells_weigh_in_between() -> None:
    half = torch.zeros(1, 1, L, L)
    half[:, :, :, : L // 2 + 2] = 1
    bias = region(half, coarse="coverage").self_bias(8, 8).exp()[0, 0].reshape(8, 8, 8, 8)
    outside, inside, edge = (0, 7), (0, 0), (0, 4)
    assert bias[*outside, *inside] == 0
    assert bias[*inside, *outside] == 1
    assert bias[*edge, *inside] == pytest.approx(0.5)
    assert bias[*outside, *edge] == pytest.approx(0.5)


@pytest.mark.parametrize("fill", [0.0, 1.0])
@pytest.mark.parametrize("coarse", ["maxpool", "coverage"])
def test_empty_and_full_masks_give_numbers(fill: float, coarse: str) -> None:
    backbone = tiny_backbone()
    side = backbone.latent_size
    where = Region(
        torch.full((1, 1, side, side), fill),
        backbone.background_tokens,
        torch.ones(1, DEFECT, dtype=torch.bool),
        coarse,  # type: ignore[arg-type]
    )
    tokens = torch.randn(1, TOKENS + DEFECT, WIDTH)
    noise = backbone.predict_noise(torch.randn(1, 4, side, side), torch.tensor([500]), tokens, where)
    assert torch.isfinite(noise).all()


def test_a_full_mask_without_defect_tokens_is_no_mask() -> None:
    backbone = tiny_backbone()
    side = backbone.latent_size
    z, t, tokens = torch.randn(1, 4, side, side), torch.tensor([500]), torch.randn(1, TOKENS, WIDTH)
    where = Region(torch.ones(1, 1, side, side), TOKENS, torch.zeros(1, DEFECT, dtype=torch.bool))
    padded = torch.cat([tokens, torch.zeros(1, DEFECT, WIDTH)], dim=1)
    with torch.no_grad():
        plain, masked = backbone.predict_noise(z, t, tokens), backbone.predict_noise(z, t, padded, where)
    torch.testing.assert_close(masked, plain, atol=1e-5, rtol=1e-4)


def test_biases_are_made_once_for_each_level() -> None:
    where = region(square())
    assert where.self_bias(16, 16) is where.self_bias(16, 16)
    assert where.cross_bias(16, 16).shape == (2, 1, 256, TOKENS + DEFECT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("background_keys", [True, False])
def test_biases_of_fine_grids_are_exact_at_any_precision(dtype: torch.dtype, background_keys: bool) -> None:
    where = fine_region(background_keys=background_keys)
    inside = where.coverage(64, 64)[0] > 0
    allowed = ~(~inside[:, None] & inside[None, :])
    if not background_keys:
        allowed &= ~(inside[:, None] & ~inside[None, :])
    bias = where.self_bias(64, 64, dtype)
    assert bias.shape == (1, 1, 4096, 4096)
    assert bias.dtype == dtype
    assert torch.equal(bias[0, 0], torch.where(allowed, 0.0, -torch.inf).to(dtype))


def fine_region(**ablated: bool) -> Region:
    mask = torch.zeros(1, 1, 64, 64)
    mask[:, :, 10:20, 30:50] = 1
    return Region(mask, TOKENS, torch.tensor([[True, True, False]]), **ablated)


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize(
    "ablated", [{}, {"background_keys": False}, {"masked_self": False}, {"masked_cross": False}]
)
def test_what_rides_along_on_fine_grids_gives_the_bits_that_a_bias_gives(
    monkeypatch: pytest.MonkeyPatch, cross: bool, ablated: dict[str, bool]
) -> None:
    layer, hidden = attention(cross), torch.randn(1, 64 * 64, 8)
    tokens = torch.randn(1, TOKENS + DEFECT, WIDTH) if cross else None
    assert fine_region(**ablated).riders(64, 64, torch.float32, cross=cross) is not None
    riding = layer(hidden, encoder_hidden_states=tokens, region=fine_region(**ablated))
    monkeypatch.setattr("models.region.BIASED_CELLS", 64 * 64)
    biased = layer(hidden, encoder_hidden_states=tokens, region=fine_region(**ablated))
    torch.testing.assert_close(riding, biased, rtol=0, atol=1e-6)
    if not ablated:
        assert not torch.allclose(riding, layer(hidden, encoder_hidden_states=tokens), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "ablated", [{}, {"background_keys": False}, {"masked_self": False}, {"masked_cross": False}]
)
def test_riders_forbid_what_a_bias_forbids_and_nothing_else(dtype: torch.dtype, ablated: dict[str, bool]) -> None:
    where = fine_region(**ablated)
    for cross, bias in ((False, where.self_bias(64, 64, dtype)), (True, where.cross_bias(64, 64, dtype))):
        riders = where.riders(64, 64, dtype, cross=cross)
        assert riders is not None
        score = (riders.queries @ riders.keys.mT)[:, None]
        assert torch.equal(score == 0, bias == 0)
        assert (score[bias != 0] <= FORBIDDEN).all()
        assert (torch.exp(score[bias != 0].float() / 1280**0.5) == 0).all(), "in the widest head, too"


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="mask is"):
        Region(torch.zeros(2, L, L), TOKENS, torch.ones(2, DEFECT, dtype=torch.bool))
    with pytest.raises(ValueError, match="defect_tokens_valid"):
        Region(torch.zeros(2, 1, L, L), TOKENS, torch.ones(1, DEFECT, dtype=torch.bool))
