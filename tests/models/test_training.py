import json
import os
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image

from models.adapters import Adapter
from models.backbone import Backbone
from models.ddim import EXEMPLAR_REACH, laid
from models.folders import BackboneError
from models.masks import on_latent_grid
from models.rendering import DEFECT_TYPES
from models.training.diffusion import DiffusionStage, continued, new_backbone
from models.training.loop import Budget, learn
from models.training.loosening import blotted, boxed, confined, dilated, hulled, loosened
from models.training.photos import Photo
from models.training.pool import Pool
from models.training.recipe import TINY, Recipe
from models.training.run import RunError, train
from models.training.scenes import draw_scene, draw_scenes
from models.training.text import new_text_encoder, new_tokenizer
from models.training.vae import VaeStage, new_vae, reconstruction_loss, warm_cosine

CPU = torch.device("cpu")


def run(out: Path, steps: int = 3, resume: bool = False, save_every_s: float = 150) -> Backbone:
    return train(
        out,
        TINY,
        Budget(steps=steps),
        Budget(steps=steps),
        CPU,
        resume=resume,
        save_every_s=save_every_s,
        sheet_every=2,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three steps a stage."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    run(out)
    return out


def diffusion_stage(recipe: Recipe = TINY) -> DiffusionStage:
    torch.manual_seed(0)
    backbone = new_backbone(recipe, new_vae(recipe), CPU)
    pool = Pool.encode(draw_scenes(2, recipe.scenes, recipe.window_px), backbone)
    return DiffusionStage(recipe, backbone, pool, pool)


def same(one: object, other: object) -> bool:
    """Equality of nested states."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_a_run_exports_a_backbone_with_its_types(trained: Path) -> None:
    folder = trained / TINY.name
    backbone = Backbone.load(folder)
    assert (backbone.window_px, backbone.factor) == (32, 4)
    for name in DEFECT_TYPES:
        adapter = Adapter.load(folder / "defect_types" / f"{name}.safetensors")
        adapter.check(backbone)
        assert adapter.tokens.shape == (TINY.tokens_per_type, TINY.text_width)
        assert adapter.card.description
    card = (folder / "MODEL_CARD.md").read_text()
    assert "No photograph was used" in card
    assert str(trained) not in card
    assert json.loads((folder / "data.json").read_text()) == []


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    """A good photo and one with a spot."""
    rng = np.random.default_rng(0)
    good, spotted, mask = (tmp_path / f"{name}.png" for name in ("good", "spotted", "mask"))
    for path in (good, spotted):
        Image.fromarray(rng.integers(0, 255, (70, 90, 3), dtype=np.uint8)).save(path)
    spot = np.zeros((70, 90), np.uint8)
    spot[20:30, 40:50] = 255
    Image.fromarray(spot).save(mask)
    return [
        Photo(good, None, "good", "plate", "plates", "0" * 64, "MIT", "By us."),
        Photo(spotted, mask, "spot", "plate", "plates", "1" * 64, "MIT", "By us."),
    ]


def test_photos_are_learned_too_and_named_in_the_card(tmp_path: Path, photos: list[Photo]) -> None:
    out = tmp_path / "run"
    train(out, TINY, Budget(steps=1), Budget(steps=1), CPU, photos=photos)
    pool = Pool.load(out / "pool.pt")
    assert set(pool.types) == {*DEFECT_TYPES, "", "plate: spot"}
    assert not any(known for known, name in zip(pool.known, pool.types, strict=True) if name == "plate: spot")
    folder = out / TINY.name
    named = [entry["sha256"] for entry in json.loads((folder / "data.json").read_text())]
    assert named == [photo.sha256 for photo in photos]
    assert "plates` (MIT): 2 photos. By us." in (folder / "MODEL_CARD.md").read_text()
    assert len(list((folder / "defect_types").iterdir())) == len(DEFECT_TYPES)


def test_a_run_logs_every_step_and_draws_sheets(trained: Path) -> None:
    for stage, keys in (("vae", {"loss", "psnr"}), ("unet", {"defect", "background"})):
        lines = [json.loads(line) for line in (trained / f"{stage}.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [1, 2, 3]
        assert all(keys <= line.keys() and np.isfinite(list(line.values())).all() for line in lines)
        with Image.open(trained / f"{stage}-000002.png") as sheet:
            assert sheet.width > TINY.window_px


def test_a_finished_run_is_not_trained_further(trained: Path) -> None:
    digest = Backbone.load(trained / TINY.name).digest
    assert run(trained, resume=True).digest == digest
    assert len((trained / "unet.jsonl").read_text().splitlines()) == 3


def test_a_folder_in_use_is_refused(trained: Path) -> None:
    with pytest.raises(RunError, match="--resume"):
        run(trained)
    with pytest.raises(RunError, match="another recipe"):
        train(trained, replace(TINY, rate=1.0), Budget(steps=1), Budget(steps=1), CPU, resume=True)


def test_a_training_goes_on_with_what_it_began_with_alone(
    trained: Path, tmp_path: Path, photos: list[Photo]
) -> None:
    def resumed(out: Path, some: list[Photo], begin: Path | None = None) -> None:
        train(out, TINY, Budget(steps=1), Budget(steps=1), CPU, resume=True, photos=some, begin=begin)

    folder, none = trained / TINY.name, Budget(steps=0)
    on, seen = tmp_path / "on", tmp_path / "seen"
    train(on, TINY, none, Budget(steps=1), CPU, begin=folder)
    train(seen, TINY, Budget(steps=1), Budget(steps=1), CPU, photos=photos)
    digest = Backbone.load(seen / TINY.name).digest
    for out, some, begin, option in (
        (on, [], None, f"{Backbone.load(folder).digest}; give that one by --begin"),
        (on, [], seen / TINY.name, "give that one by --begin"),
        (on, photos, folder, "leave --splits and --data out"),
        (trained, [], folder, "leave --begin out"),
        (trained, photos, None, "leave --splits and --data out"),
        (seen, [], None, "2 photos; give the same ones, in the same order, by --splits"),
        (seen, photos[:1], None, "give the same ones, in the same order, by --splits"),
    ):
        with pytest.raises(RunError, match=option):
            resumed(out, some, begin)
    resumed(seen, photos)
    assert Backbone.load(seen / TINY.name).digest == digest
    assert len(json.loads((seen / TINY.name / "data.json").read_text())) == 2


def test_what_it_began_with_is_not_asked_of_a_training_that_did_not_keep_it(tmp_path: Path) -> None:
    run(tmp_path, steps=0)
    (tmp_path / "origin.json").unlink()
    run(tmp_path, steps=0, resume=True)
    assert json.loads((tmp_path / "origin.json").read_text()) == {"begin": None, "photos": []}


class KilledError(Exception):
    pass


@pytest.mark.parametrize("name", ["images.npy", "photos.npy"])
def test_a_run_killed_while_pictures_are_written_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: list[Photo], name: str
) -> None:
    whole = np.save

    def killed(file: Path | IO[bytes], images: np.ndarray) -> None:
        whole(file, images)
        path = file if isinstance(file, Path) else Path(file.name)
        if path.stem == Path(name).stem:
            os.truncate(path, 200)
            raise KilledError

    def trained_on(resume: bool) -> None:
        train(tmp_path, TINY, Budget(steps=1), Budget(steps=0), CPU, resume=resume, photos=photos)

    monkeypatch.setattr(np, "save", killed)
    with pytest.raises(KilledError):
        trained_on(resume=False)
    assert not (tmp_path / name).exists()
    monkeypatch.setattr(np, "save", whole)
    trained_on(resume=True)
    assert len(np.load(tmp_path / name)) == (TINY.vae_scenes if name == "images.npy" else TINY.vae_photo_crops)


@pytest.mark.parametrize("stage", [VaeStage, DiffusionStage])
def test_a_killed_run_goes_on_identically(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: type
) -> None:
    whole = stage.step

    def killed(self: object, step: int, progress: float) -> dict[str, float]:
        if step == 2:
            raise KilledError
        losses: dict[str, float] = whole(self, step, progress)
        return losses

    monkeypatch.setattr(stage, "step", killed)
    with pytest.raises(KilledError):
        run(tmp_path, save_every_s=0)
    monkeypatch.setattr(stage, "step", whole)
    again = run(tmp_path, resume=True)
    assert again.digest == Backbone.load(trained / TINY.name).digest
    for name in ("vae.pt", "unet.pt"):
        ours, theirs = (torch.load(out / name, weights_only=True) for out in (tmp_path, trained))
        assert ours["step"] == theirs["step"] == 3
        assert same(ours["stage"], theirs["stage"])


def test_the_diffusion_stage_learns() -> None:
    stage = diffusion_stage(replace(TINY, batch_defects=6, batch_normals=5, rate=3e-3))
    tokens = stage.tokens.detach().clone()
    losses = [stage.step(step, 0.0) for step in range(40)]
    for term in ("defect", "background"):
        assert np.mean([loss[term] for loss in losses[-10:]]) < np.mean([loss[term] for loss in losses[:10]])
    assert not torch.equal(stage.tokens, tokens)


def test_the_average_follows_the_weights_behind() -> None:
    stage = diffusion_stage()
    first = stage.average["tokens"].clone()
    for step in range(3):
        stage.step(step, 0.0)
    averaged, tokens = stage.averaged()
    now = stage.tokens.detach()
    assert (tokens - first).norm() < (now - first).norm()
    assert not torch.equal(tokens, first)
    assert torch.equal(averaged.unet.conv_in.weight, stage.average["unet.conv_in.weight"])


def test_a_backbone_goes_on_from_an_exported_one(trained: Path, tmp_path: Path) -> None:
    folder = trained / TINY.name
    begun = Backbone.load(folder)
    older = UNet2DConditionModel.from_config(
        begun.unet.config,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        only_cross_attention=False,
    )
    without_finest = replace(begun, unet=older, digest="")
    z, t = torch.randn(1, TINY.latent_channels, 8, 8), torch.tensor([500])
    with torch.no_grad():
        tokens = begun.embed(["wood"])
        for one in (begun, without_finest):
            on = continued(TINY, one, CPU)
            torch.testing.assert_close(on.predict_noise(z, t, tokens), one.predict_noise(z, t, tokens))
    again = train(tmp_path, TINY, Budget(steps=0), Budget(steps=1), CPU, begin=folder)
    assert again.digest != begun.digest
    assert not (tmp_path / "vae.pt").exists()
    for key, value in begun.vae.state_dict().items():
        assert torch.equal(again.vae.state_dict()[key], value)
    card = (tmp_path / TINY.name / "MODEL_CARD.md").read_text("utf-8")
    assert f"| U-Net, begun from {TINY.name} | 1 |" in card


def test_a_backbone_of_another_shape_cannot_be_gone_on_from(trained: Path) -> None:
    begun = Backbone.load(trained / TINY.name)
    with pytest.raises(BackboneError, match="does not fit this recipe"):
        continued(replace(TINY, unet_channels=(8, 16, 24)), begun, CPU)


def test_drawings_begin_at_t_or_above_and_never_below_the_least_start() -> None:
    stage = diffusion_stage()
    t = torch.arange(0, 1000, 5)
    for sketched, least, top in ((False, TINY.least_start, 1.0), (True, TINY.least_sketched, EXEMPLAR_REACH)):
        some = t[t < 1000 * top]
        starts = stage.terms._starts(np.random.default_rng(0), some, torch.full(some.shape, sketched))
        assert (starts >= some.clamp(min=int(1000 * least))).all()
        assert (starts < 1000 * top).all()
        assert len(starts[:100].unique()) > 50


def test_drawings_begin_on_sketches_as_deep_as_they_start_or_on_the_normal_image() -> None:
    scenes, starts = torch.tensor([0, 1, 2]), torch.tensor([150, 300, 590])
    stage = diffusion_stage()
    normal, sketch = stage.terms.pool.normal[scenes].float(), stage.terms.pool.sketch[scenes].float()
    assert (sketch != normal).flatten(1).any(dim=1).all()
    severity = (starts / 600)[:, None, None, None]
    on_sketches, on_normals = (
        stage.terms._begun(scenes, starts, torch.full((3,), kind)) for kind in (True, False)
    )
    torch.testing.assert_close(on_sketches, laid(normal, sketch, severity))
    torch.testing.assert_close(on_normals, normal)


@pytest.mark.parametrize("normals", [1, 2, 6])
def test_normal_images_have_a_random_mask_in_every_third_row(normals: int) -> None:
    stage = diffusion_stage(replace(TINY, batch_defects=1, batch_backgrounds=1, batch_normals=normals))
    rng, noise, masked = np.random.default_rng(0), torch.Generator().manual_seed(0), 0
    for _ in range(60):
        batch = stage.terms.batch(stage.tokens, rng, noise)
        taken = batch.taken[-batch.normals :].flatten(1).any(dim=1)
        masked += int(taken.sum())
        if normals == 6:
            assert taken.sum() == 2
    assert masked / (60 * normals) == pytest.approx(1 / 3, abs=0.12)


def test_defect_tokens_learn_only_from_rows_of_their_type() -> None:
    stage = diffusion_stage(replace(TINY, batch_defects=1, close_up=0.0))
    stage.step(0, 0.0)
    assert stage.tokens.grad is not None
    assert (stage.tokens.grad.abs().amax(dim=(1, 2)) > 0).sum() == 1


def test_the_vae_stage_learns_and_scales_its_latents() -> None:
    images = np.stack([draw_scene(1, i, TINY.window_px).image for i in range(6)])
    stage = VaeStage(TINY, images, CPU)
    losses = [stage.step(step, 0.0)["loss"] for step in range(30)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    backbone = new_backbone(TINY, stage.finish(), CPU)
    with torch.no_grad():
        x = torch.from_numpy(stage.images).permute(0, 3, 1, 2).float() / 255
        z = backbone.encode(x)
    assert z.mean().item() == pytest.approx(0, abs=0.02)
    assert z.std().item() == pytest.approx(1, abs=0.02)


def test_reconstruction_loss_is_zero_for_equals_and_counts_edges() -> None:
    x = torch.rand(1, 3, 8, 8)
    assert reconstruction_loss(x, x, 1.0).item() == 0
    shifted, noisy = x + 0.1, x + 0.1 * torch.ones(8).cumsum(0).remainder(2)[None, None, None].mul(2).sub(1)
    assert reconstruction_loss(x, noisy, 1.0) > reconstruction_loss(x, shifted, 1.0)


def test_learning_rate_warms_up_and_falls() -> None:
    assert warm_cosine(0, 0.0) == pytest.approx(1 / 50)
    assert warm_cosine(100, 0.0) == pytest.approx(1)
    assert warm_cosine(1000, 1.0) == pytest.approx(0.02)
    assert warm_cosine(1000, 0.5, hold=0.5) == pytest.approx(1)
    assert warm_cosine(1000, 0.75, hold=0.5) == pytest.approx(0.51)
    assert warm_cosine(1000, 1.0, hold=0.5) == pytest.approx(0.02)


def test_budgets() -> None:
    assert Budget(steps=4).progress(1, 999) == 0.25
    assert Budget(minutes=2).progress(10**6, 60) == 0.5
    assert Budget(minutes=0).progress(0, 0) == 1
    assert Budget(steps=0).progress(0, 0) == 1
    with pytest.raises(ValueError, match="either steps or minutes"):
        Budget()


def test_a_budget_in_minutes_ends(tmp_path: Path) -> None:
    images = np.zeros((4, 32, 32, 3), np.uint8)
    figures = learn(VaeStage(TINY, images, CPU), tmp_path, Budget(minutes=0.005))
    assert figures["steps"] >= 1
    assert figures["seconds"] >= 0.3


@pytest.fixture
def corner() -> np.ndarray:
    """An L of two strokes."""
    mask = np.zeros((32, 32), bool)
    mask[4:20, 6:8] = True
    mask[18:20, 6:24] = True
    return mask


def test_loosened_masks_hold_the_mask(corner: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    areas = set()
    for _ in range(30):
        loose = loosened(corner, rng)
        assert (loose | corner == loose).all()
        areas.add(int(loose.sum()))
    assert len(areas) >= 4
    assert int(corner.sum()) in areas


def test_shapes_of_loosened_masks(corner: np.ndarray) -> None:
    assert boxed(corner).sum() == 16 * 18
    assert corner.sum() < hulled(corner).sum() < boxed(corner).sum()
    assert dilated(corner, 1).sum() > corner.sum()
    line = np.zeros((32, 32), bool)
    line[5, 3:9] = True
    assert (hulled(line) == line).all()
    assert not loosened(np.zeros((32, 32), bool), np.random.default_rng(1)).any()


def test_thin_masks_stay_on_the_latent_grid() -> None:
    mask = np.zeros((32, 32), bool)
    mask[13, 22] = True
    latent = on_latent_grid(mask, 4)
    assert latent.shape == (8, 8)
    assert np.argwhere(latent).tolist() == [[3, 5]]


def test_the_pool_holds_requests_around_each_mask() -> None:
    pool = diffusion_stage().terms.pool
    for mask, requests in zip(pool.mask, pool.requests, strict=True):
        tight = torch.from_numpy(on_latent_grid(mask.numpy(), 4)) > 0
        assert ((requests | tight) == requests).all()
    assert len({int(request.sum()) for request in pool.requests.flatten(0, 1)}) > 4


def test_a_generous_box_is_wider_than_the_smallest(corner: np.ndarray) -> None:
    wide = [boxed(corner, np.random.default_rng(seed)) for seed in range(8)]
    assert all((box | boxed(corner) == box).all() for box in wide)
    assert max(int(box.sum()) for box in wide) > boxed(corner).sum()


def test_blotted_masks_hold_the_mask_in_shapes_of_all_sizes(corner: np.ndarray) -> None:
    areas = []
    for seed in range(40):
        blotted_mask = blotted(corner, np.random.default_rng(seed))
        assert (blotted_mask | corner == blotted_mask).all()
        areas.append(int(blotted_mask.sum()))
    assert min(areas) <= corner.sum() + 8
    assert max(areas) > 2 * corner.sum()


def test_confined_masks_lie_inside_and_keep_something() -> None:
    mask = np.zeros((64, 64), bool)
    mask[10:50, 12:52] = True
    parts = [confined(mask, np.random.default_rng(seed)) for seed in range(20)]
    assert all((part & ~mask).sum() == 0 and part.sum() >= 6 for part in parts)
    assert min(int(part.sum()) for part in parts) < 80


def test_scenes_differ_from_their_normal_inside_the_mask_alone() -> None:
    for index in range(9):
        scene = draw_scene(7, index, 64)
        assert scene.normal is not None
        assert scene.mask.any()
        assert (scene.image == scene.normal)[~scene.mask].all()
        assert (scene.image != scene.normal)[scene.mask].any()


def test_scenes_depend_on_seed_and_index_alone() -> None:
    first, again = draw_scene(7, 3, 32), list(draw_scenes(7, 5, 32))[3]
    assert (first.image == again.image).all()
    assert first.defect_type == DEFECT_TYPES[3 % len(DEFECT_TYPES)]
    assert (first.image != draw_scene(8, 3, 32).image).any()


def test_scenes_drawn_in_processes_are_the_same() -> None:
    parallel, serial = list(draw_scenes(7, 3, 32, processes=2)), list(draw_scenes(7, 3, 32))
    for one, other in zip(parallel, serial, strict=True):
        assert (one.image == other.image).all()
        assert one.part == other.part


def test_pools_survive_their_file(tmp_path: Path) -> None:
    pool = diffusion_stage().terms.pool
    pool.save(tmp_path / "pool.pt")
    again = Pool.load(tmp_path / "pool.pt")
    assert torch.equal(again.image, pool.image)
    assert torch.equal(again.mask, pool.mask)
    assert again.parts == pool.parts
    assert again.types == pool.types
    assert len(again) == TINY.scenes


def test_known_words_are_whole_and_unknown_ones_are_spelled() -> None:
    tokenizer = new_tokenizer(Recipe())
    assert tokenizer.tokenize("Binarised circuit board") == ["binarised</w>", "circuit</w>", "board</w>"]
    ids = tokenizer("ünïcøde 部品").input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert new_tokenizer(Recipe()).get_vocab() == tokenizer.get_vocab()


def test_the_text_encoder_tells_parts_apart() -> None:
    tokenizer = new_tokenizer(TINY)
    encoder = new_text_encoder(TINY, tokenizer).eval()
    batch = tokenizer(["wood", "glass"], padding="max_length", max_length=TINY.max_tokens, return_tensors="pt")
    with torch.no_grad():
        wood, glass = encoder(batch.input_ids).last_hidden_state
    assert not torch.allclose(wood, glass)
