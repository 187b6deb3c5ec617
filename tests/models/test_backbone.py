import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from diffusers import DDIMScheduler

from models.adapters import Adapter
from models.backbone import Backbone
from models.folders import BackboneError
from models.region import Region
from tests.models.tiny import TOKENS, WIDTH, tiny_backbone


def noise(backbone: Backbone) -> torch.Tensor:
    """A prediction that touches U-Net, text encoder, tokenizer and masked attention."""
    side = backbone.latent_size
    z = torch.randn(2, 4, side, side, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 1, side, side)
    mask[:, :, 2:9, 4:7] = 1
    with torch.no_grad():
        c2 = backbone.embed(["cast iron", "part"])
        tokens = torch.cat([c2, torch.ones(2, 3, WIDTH)], dim=1)
        region = Region(mask, backbone.background_tokens, torch.ones(2, 3, dtype=torch.bool))
        return backbone.predict_noise(z, torch.tensor([10, 900]), tokens, region)


def picture(backbone: Backbone) -> torch.Tensor:
    side = backbone.window_px
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny backbone, saved."""
    folder = tmp_path_factory.mktemp("backbones") / "tiny"
    tiny_backbone().save(folder)
    return folder


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(folder, tmp_path / "broken"))


@pytest.mark.parametrize("vae", ["tiny", "kl"])
def test_round_trip(tmp_path: Path, vae: Literal["tiny", "kl"]) -> None:
    ours = tiny_backbone(vae=vae)
    ours.save(tmp_path / "stored")
    again = Backbone.load(tmp_path / "stored")
    assert type(again.vae) is type(ours.vae)
    torch.testing.assert_close(noise(again), noise(ours), atol=5e-3, rtol=5e-3)
    with torch.no_grad():
        z = ours.encode(picture(ours))
        torch.testing.assert_close(again.encode(picture(ours)), z, atol=5e-3, rtol=5e-3)
        torch.testing.assert_close(again.decode(z), ours.decode(z), atol=5e-3, rtol=5e-3)
    torch.testing.assert_close(again.alphas_cumprod, ours.alphas_cumprod)


def test_a_full_precision_round_trip_is_exact(tmp_path: Path) -> None:
    ours = tiny_backbone()
    ours.save(tmp_path / "stored", torch.float32)
    assert torch.equal(noise(Backbone.load(tmp_path / "stored")), noise(ours))


def test_a_folder_tells_nothing_of_the_folder_that_it_was_loaded_from(folder: Path, tmp_path: Path) -> None:
    Backbone.load(folder).save(tmp_path / "again")
    for config in (tmp_path / "again").rglob("*.json"):
        assert str(folder) not in config.read_text("utf-8")


def test_saving_leaves_the_backbone_as_it_was(tmp_path: Path) -> None:
    ours = tiny_backbone()
    before = noise(ours)
    ours.save(tmp_path / "stored")
    assert torch.equal(noise(ours), before)
    assert next(ours.unet.parameters()).dtype == torch.float32


@pytest.mark.parametrize("vae", ["tiny", "kl"])
def test_shapes_and_ranges(vae: Literal["tiny", "kl"]) -> None:
    backbone = tiny_backbone(vae=vae)
    assert (backbone.window_px, backbone.factor, backbone.latent_size) == (64, 4, 16)
    assert (backbone.latent_channels, backbone.token_width, backbone.background_tokens) == (4, WIDTH, TOKENS)
    assert backbone.alphas_cumprod.shape == (1000,)
    assert backbone.alphas_cumprod.dtype == torch.float64
    with torch.no_grad():
        z = backbone.encode(picture(backbone))
        x = backbone.decode(z * 10)
    assert z.shape == (1, 4, 16, 16)
    assert x.shape == (1, 3, 64, 64)
    assert 0 <= x.min() <= x.max() <= 1
    with torch.no_grad():
        assert torch.equal(backbone.encode(picture(backbone)), z)
        assert backbone.embed(["a", "b c", ""]).shape == (3, TOKENS, WIDTH)


def test_latents_are_scaled_and_shifted() -> None:
    backbone = tiny_backbone()
    with torch.no_grad():
        raw, decoded = backbone.encode(picture(backbone)), backbone.decode(torch.ones(1, 4, 16, 16))
        backbone.vae.register_to_config(scaling_factor=2.0, shift_factor=0.5)
        torch.testing.assert_close(backbone.encode(picture(backbone)), (raw - 0.5) * 2)
        torch.testing.assert_close(backbone.decode(torch.ones(1, 4, 16, 16)), decoded)


def test_long_texts_are_cut() -> None:
    backbone = tiny_backbone()
    with torch.no_grad():
        assert torch.equal(backbone.embed(["abcdefgh"]), backbone.embed(["abcdefghijklmnop"]))


def test_the_digest_names_weights_and_configs(folder: Path, copied: Path) -> None:
    digest = Backbone.load(folder).digest
    assert digest.startswith("sha256:")
    assert Backbone.load(copied).digest == digest
    (copied / "calibration.json").write_text('{"threshold": 1}')
    (copied / "MODEL_CARD.md").write_text("Words.")
    calibrated = Backbone.load(copied)
    assert calibrated.digest == digest
    assert calibrated.calibration == {"threshold": 1}
    config = copied / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text() + "\n")
    assert Backbone.load(copied).digest != digest


def test_in_memory_the_digest_follows_the_weights() -> None:
    assert tiny_backbone(0).digest == tiny_backbone(0).digest
    assert tiny_backbone(0).digest != tiny_backbone(1).digest


def test_half_precision_variants_load(folder: Path, copied: Path) -> None:
    for part, name in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        (copied / part / f"{name}.safetensors").rename(copied / part / f"{name}.fp16.safetensors")
    loaded = Backbone.load(copied)
    assert all(p.dtype == torch.float32 for module in loaded.modules() for p in module.parameters())
    assert torch.equal(noise(loaded), noise(Backbone.load(folder)))


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(BackboneError, match=r"no backbone 'no-such-backbone'.*bundled"):
        Backbone.load("no-such-backbone")


def test_unreachable_hub_names_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*_args: object, **_options: object) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(BackboneError, match=r"'owner/name' could not be fetched.*no network"):
        Backbone.load("owner/name")


def test_hub_names_load_what_was_fetched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_args, **_options: str(folder))
    assert Backbone.load("owner/name").name == "owner/name"


@pytest.mark.parametrize(
    "missing",
    [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "text_encoder/model.safetensors",
    ],
)
def test_a_missing_file_is_named(copied: Path, missing: str) -> None:
    (copied / missing).unlink()
    with pytest.raises(BackboneError, match=missing):
        Backbone.load(copied)


def test_weights_that_do_not_fit_are_refused(copied: Path) -> None:
    rewrite(copied / "unet" / "config.json", block_out_channels=[16, 16, 16])
    with pytest.raises(BackboneError, match="broken: its unet does not load"):
        Backbone.load(copied)


def test_loading_and_saving_are_quiet(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Backbone.load(folder).save(tmp_path / "again")
    assert capfd.readouterr() == ("", "")


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_of_a_backbone_that_predicts_v_the_noise_is_what_v_means(folder: Path, copied: Path) -> None:
    rewrite(copied / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    predicts_v, predicts_eps = Backbone.load(copied), Backbone.load(folder)
    assert (predicts_v.predicts, predicts_eps.predicts) == ("v_prediction", "epsilon")
    side = predicts_v.latent_size
    z_t = torch.randn(2, 4, side, side, generator=torch.Generator().manual_seed(2))
    t = torch.tensor([10, 900])
    with torch.no_grad():
        c2 = predicts_v.embed(["cast iron", "part"])
        v, eps = predicts_eps.predict_noise(z_t, t, c2), predicts_v.predict_noise(z_t, t, c2)
    scheduler = DDIMScheduler.from_pretrained(copied / "scheduler")
    scheduler.set_timesteps(1000)
    for row, level in enumerate(t.tolist()):
        clean = scheduler.step(v[row], level, z_t[row]).pred_original_sample
        alpha_bar = predicts_v.alphas_cumprod[level].float()
        torch.testing.assert_close(alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * eps[row], z_t[row])


def test_in_memory_the_digest_follows_what_is_predicted() -> None:
    ours = tiny_backbone()
    scheduler = DDIMScheduler.from_config(ours.scheduler.config, prediction_type="v_prediction")
    assert replace(ours, scheduler=scheduler, digest="").digest != ours.digest


@pytest.mark.parametrize(
    ("change", "words"),
    [({"prediction_type": "sample"}, "'sample' is not supported"), ({"rescale_betas_zero_snr": True}, "zero SNR")],
)
def test_schedules_that_cannot_be_inverted_are_refused(
    copied: Path, change: dict[str, object], words: str
) -> None:
    rewrite(copied / "scheduler" / "scheduler_config.json", **change)
    with pytest.raises(BackboneError, match=words):
        Backbone.load(copied)


def test_other_parts_are_refused(copied: Path) -> None:
    index = copied / "model_index.json"
    rewrite(index, vae=["diffusers", "VQModel"])
    with pytest.raises(BackboneError, match="VAE VQModel is not supported"):
        Backbone.load(copied)
    rewrite(index, vae=["diffusers", "AutoencoderTiny"], unet=["diffusers", "UNet3DConditionModel"])
    with pytest.raises(BackboneError, match="not a UNet2DConditionModel"):
        Backbone.load(copied)
    rewrite(index, unet=None)
    with pytest.raises(BackboneError, match="names no unet"):
        Backbone.load(copied)
    index.write_text("{")
    with pytest.raises(BackboneError, match="not JSON"):
        Backbone.load(copied)


def test_parts_that_do_not_fit_are_refused() -> None:
    ours = tiny_backbone()
    ours.vae.register_to_config(latent_channels=8)
    with pytest.raises(BackboneError, match="the VAE has 8"):
        Backbone(
            unet=ours.unet,
            vae=ours.vae,
            text_encoder=ours.text_encoder,
            tokenizer=ours.tokenizer,
            scheduler=DDIMScheduler(),
            name="odd",
        )


@pytest.mark.slow
def test_bundled_backbones_load_with_their_types() -> None:
    from models.folders import BUNDLED

    for folder in sorted(path for path in BUNDLED.glob("*") if path.is_dir()):
        backbone = Backbone.load(folder.name)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        assert size <= 30 * 2**20
        assert (folder / "MODEL_CARD.md").is_file()
        types = sorted((folder / "defect_types").glob("*.safetensors"))
        assert types
        for path in types:
            adapter = Adapter.load(path)
            adapter.check(backbone)
            assert adapter.name == path.stem
