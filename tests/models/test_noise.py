import torch

from models.noise import noise_key, seeded_noise


def test_keys_depend_on_all_their_parts() -> None:
    keys = {
        noise_key(*parts)
        for parts in [(0, 0, "r", 1), (1, 0, "r", 1), (0, 1, "r", 1), (0, 0, "s", 1), (0, 0, "r", 2)]
    }
    assert len(keys) == 5
    assert all(0 <= key < 2**63 for key in keys)


def test_noise_depends_on_its_key_alone() -> None:
    first = seeded_noise(7, (3, 8, 9))
    torch.manual_seed(1)
    assert torch.equal(first, seeded_noise(7, (3, 8, 9)))
    assert not torch.equal(first, seeded_noise(8, (3, 8, 9)))
    assert first.dtype == torch.float32
