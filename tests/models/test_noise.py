import torch

from models.noise import noise_key, seeded_noise


def test_keys_depend_on_all_their_parts() -> None:
    keys = {
        noise_key(*parts)
        for parts in [(0, 0, "r", 1), (1, 0, "r", 1), (0, 1, "r", 1), (0, 0, "s", 1), (0, 0, "r", 2)]
    }
    keys.add(noise_key(0, 0, "r", 1, defect=1))
    assert len(keys) == 6
    assert all(0 <= key < 2**63 for key in keys)


def test_the_first_of_several_defects_has_the_key_that_it_always_had() -> None:
    assert noise_key(7, 3, "10,20", 2, defect=0) == noise_key(7, 3, "10,20", 2) == 3092771518521704129


def test_noise_depends_on_its_key_alone() -> None:
    first = seeded_noise(7, (3, 8, 9))
    torch.manual_seed(1)
    assert torch.equal(first, seeded_noise(7, (3, 8, 9)))
    assert not torch.equal(first, seeded_noise(8, (3, 8, 9)))
    assert first.dtype == torch.float32
