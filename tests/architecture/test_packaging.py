"""What leaves the checkout: the wheel holds the package with its data files and nothing else."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the checkout, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=repo_root, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_package(wheel: Path, repo_root: Path) -> None:
    """Modules, the typing marker and data files are all in, and only they."""
    on_disk = {
        path.relative_to(repo_root).as_posix()
        for path in (repo_root / "fundarb").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == on_disk


def test_the_wheel_brings_command_and_licence(wheel: Path) -> None:
    """The command fundarb is declared, the licence is included and Python below 3.11 is refused."""
    with zipfile.ZipFile(wheel) as archive:
        texts = {
            name.partition(".dist-info/")[2]: name for name in archive.namelist() if ".dist-info/" in name
        }
        assert "fundarb = fundarb.cli.main:main" in archive.read(texts["entry_points.txt"]).decode()
        assert "licenses/LICENSE" in texts
        assert "Requires-Python: >=3.11" in archive.read(texts["METADATA"]).decode()


def test_a_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere it scans the packaged market and writes the packaged templates."""
    place = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    program = (
        "import sys, fundarb; from fundarb.cli.main import main; print(fundarb.__file__); sys.exit(main())"
    )
    for words in (("scan", "--recorded", "--top", "1"), ("init", str(tmp_path / "new"))):
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(place)},
            check=True,
            capture_output=True,
            text=True,
        )
        assert done.stdout.startswith(str(place)), "another copy was imported"
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "fundarb.toml",
        "jobs.toml",
        ".env.example",
    }
