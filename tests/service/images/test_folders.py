"""Private folders: gone with their request, and swept only where their process is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.images.folders import private_folder, sweep

ROOT = Path(__file__).parents[3]
HOLDING = (
    "import sys; from pathlib import Path; from service.images.folders import private_folder\n"
    "with private_folder(Path(sys.argv[1])) as folder:\n"
    "    (folder / 'photo.png').write_bytes(b'photo')\n"
    "    print(folder, flush=True)\n"
    "    sys.stdin.read()"
)


def holder(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has a folder in ``parent``, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(parent)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_private_and_gone_with_its_request(tmp_path: Path) -> None:
    with private_folder(tmp_path) as folder:
        (folder / "photo.png").write_bytes(b"photo")
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_and_what_others_are_at_is_not(tmp_path: Path) -> None:
    killed, left = holder(tmp_path)
    killed.kill()
    killed.communicate()
    living, held = holder(tmp_path)
    (tmp_path / "of somebody else").mkdir()
    (tmp_path / "flawsmith-spool-link").symlink_to(tmp_path / "of somebody else")
    assert left.exists()
    try:
        with private_folder(tmp_path) as own:
            sweep(tmp_path)
            assert own.exists()
        assert not left.exists()
        assert (held / "photo.png").exists()
        assert (tmp_path / "of somebody else").exists()
    finally:
        living.communicate()
    assert not held.exists()


def test_a_folder_that_was_swept_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.images import folders

    lock, swept = folders.fcntl.flock, []

    def late(file: int, how: int) -> None:
        if not swept:
            swept.append(True)
            monkeypatch.setattr(folders.fcntl, "flock", lock)
            sweep(tmp_path)
        lock(file, how)

    monkeypatch.setattr(folders.fcntl, "flock", late)
    with private_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert swept
