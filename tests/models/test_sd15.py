"""A backbone in the folder of Stable Diffusion 1.5: loaded as it is, refused where it is of another kind."""

from __future__ import annotations

import fnmatch
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from models.backbone import Backbone
from models.folders import BackboneError
from tests.models.sd15 import tiny_sd15


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sd15(tmp_path_factory.mktemp("backbones") / "sd15")


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(folder, tmp_path / "changed"))


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_it_predicts_encodes_and_embeds_as_its_own_pipeline(folder: Path) -> None:
    ours = Backbone.load(folder)
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder,
        variant="fp16",
        safety_checker=None,
        feature_extractor=None,
        low_cpu_mem_usage=False,
    ).to(torch.float32)
    assert (ours.name, ours.window_px, ours.factor, ours.latent_size) == ("sd15", 128, 8, 16)
    assert (ours.background_tokens, ours.predicts) == (77, "epsilon")
    z, x = torch.randn(1, 4, 16, 16), torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        theirs, _ = pipeline.encode_prompt("a steel part", "cpu", 1, False)
        c2 = ours.embed(["a steel part"])
        torch.testing.assert_close(c2, theirs)
        noise = pipeline.unet(z, 500, encoder_hidden_states=theirs).sample
        torch.testing.assert_close(ours.predict_noise(z, torch.tensor([500]), c2), noise)
        latents = pipeline.vae.encode(2 * x - 1).latent_dist.mode() * 0.18215
        torch.testing.assert_close(ours.encode(x), latents)
    torch.testing.assert_close(ours.alphas_cumprod.float(), pipeline.scheduler.alphas_cumprod)


def test_it_loads_quietly_and_does_not_learn(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ours = Backbone.load(folder)
    assert capfd.readouterr() == ("", "")
    assert not any(weight.requires_grad for module in ours.modules() for weight in module.parameters())


def test_of_two_variants_of_weights_the_full_one_is_read(copied: Path) -> None:
    half = Backbone.load(copied)
    for path in copied.rglob("*.fp16.safetensors"):
        path.with_name(path.name.replace(".fp16", "")).write_bytes(path.read_bytes())
    assert Backbone.load(copied).digest != half.digest
    for path in copied.rglob("*.fp16.safetensors"):
        path.unlink()
    assert Backbone.load(copied).digest != half.digest


XL = {"addition_embed_type": "text_time", "cross_attention_dim": 2048}


@pytest.mark.parametrize(
    ("file", "fields", "words"),
    [
        ("unet/config.json", XL, "as SDXL does"),
        ("unet/config.json", {"time_cond_proj_dim": 256}, "distilled"),
        ("unet/config.json", {"in_channels": 9}, "inpainting"),
        ("unet/config.json", {"cross_attention_dim": 32}, "tokens of width 32"),
        ("unet/config.json", {"sample_size": None}, "sample_size"),
        (
            "scheduler/scheduler_config.json",
            {"_class_name": "LCMScheduler"},
            "LCMScheduler is that of",
        ),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "'sample' is not supported"),
        ("model_index.json", {"text_encoder": ["transformers", "T5EncoderModel"]}, "T5EncoderModel"),
        ("model_index.json", {"unet": None, "transformer": ["diffusers", "FluxTransformer2DModel"]}, "no unet"),
        ("model_index.json", {"vae": ["diffusers", "VQModel"]}, "VQModel"),
    ],
)
def test_what_the_method_cannot_use_is_refused_before_its_weights_are_read(
    copied: Path, file: str, fields: dict[str, object], words: str
) -> None:
    for path in copied.rglob("*.safetensors"):
        path.unlink()
    change(copied / file, **fields)
    with pytest.raises(BackboneError, match=words):
        Backbone.load(copied)


def test_a_schedule_without_betas_is_refused(copied: Path) -> None:
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}
    (copied / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match=r"FlowMatchEulerDiscreteScheduler has no noise schedule of betas"):
        Backbone.load(copied)


def test_pickles_are_not_read(copied: Path) -> None:
    for path in (copied / "unet").glob("*.safetensors"):
        path.rename(path.with_name("diffusion_pytorch_model.bin"))
    with pytest.raises(BackboneError, match="safetensors files alone"):
        Backbone.load(copied)


# The hub


class Hub:
    """Stands for the hub: a repository that is a folder, of which what was asked for comes."""

    def __init__(self, repository: Path, cache: Path) -> None:
        self.repository = repository
        self.cache = cache

    def snapshot_download(self, name: str, allow_patterns: list[str]) -> str:
        for path in self.repository.rglob("*"):
            file = path.relative_to(self.repository).as_posix()
            if path.is_file() and any(fnmatch.fnmatch(file, pattern) for pattern in allow_patterns):
                (self.cache / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, self.cache / file)
        return str(self.cache)

    def fetched(self) -> set[str]:
        """Weights that came."""
        return {path.relative_to(self.cache).as_posix() for path in self.cache.rglob("*.safetensors")}


@pytest.fixture
def hub(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    import huggingface_hub

    hub = Hub(copied, tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


def test_of_the_hub_come_the_weights_that_are_read_and_no_others(hub: Hub, folder: Path) -> None:
    full = hub.repository / "vae" / "diffusion_pytorch_model.safetensors"
    shutil.copy(hub.repository / "vae" / "diffusion_pytorch_model.fp16.safetensors", full)
    backbone = Backbone.load("owner/sd15")
    assert backbone.name == "owner/sd15"
    assert hub.fetched() == {
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.fp16.safetensors",
    }


def test_of_the_hub_no_weights_come_for_nothing(hub: Hub) -> None:
    change(hub.repository / "unet" / "config.json", **XL)
    with pytest.raises(BackboneError, match="owner/xl: the U-Net needs further conditions"):
        Backbone.load("owner/xl")
    assert hub.fetched() == set()


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """No network, and an empty cache, into which a folder may be put."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def cached(folder: Path) -> None:
        repository = tmp_path / "hub" / "models--owner--sd15"
        shutil.copytree(folder, repository / "snapshots" / ("0" * 40))
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("0" * 40)

    return cached


def test_without_network_the_cache_of_the_hub_serves(offline: Callable[[Path], None], folder: Path) -> None:
    offline(folder)
    assert Backbone.load("owner/sd15").digest == Backbone.load(folder).digest


def test_without_network_and_cache_the_error_says_what_to_do(offline: Any) -> None:
    with pytest.raises(BackboneError, match=r"'owner/sd15' could not be fetched .* name it by its path"):
        Backbone.load("owner/sd15")
