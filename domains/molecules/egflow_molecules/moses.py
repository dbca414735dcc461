"""The MOSES data set (Polykovskiy et al. 2020, arXiv 1811.12823): 1.58 million drug-like molecules of ZINC.

The package ``molsets`` on PyPI carries the data; it is fetched as a file, checked, and never installed or imported:

    python -m egflow_molecules.moses [FOLDER]
"""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from egflow._files import write_atomic

PACKAGE = "molsets==0.3.1"
FILES = {
    "train": ("train.csv.gz", "786f0313aa6b9ba5514df685f885742a70ea8d86f1a4fa48115f7f80a634265c"),
    "test": ("test.csv.gz", "f896fbf3764f88d94670b9959e5872c600c12152a18233823e820761b7a791b2"),
    "test_scaffolds": ("test_scaffolds.csv.gz", "adffb2192c1bfe31ab0e13154d4af19a37dc18bdbf3cd7b4491e04405128adde"),
}
"""Part -> its file, and the SHA-256 of that."""
FOLDER = Path.home() / ".cache" / "egflow" / "moses"


def fetch(folder: str | Path = FOLDER) -> Path:
    """Download the three parts of MOSES into a folder, unless they are there, and check them.

    Raises:
        RuntimeError: if pip cannot download the package.
        ValueError: if a file is not the one it should be.
    """
    folder = Path(folder)
    if all((folder / name).is_file() for name, _ in FILES.values()):
        for part in FILES:
            _check(folder, part)
        return folder
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", temporary, PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"pip could not download {PACKAGE}: {done.stderr.strip()[-500:]}")
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(next(Path(temporary).glob("*.whl"))) as wheel:
            for name, _ in FILES.values():
                _write(folder / name, wheel.read(f"moses/dataset/data/{name}"))
    for part in FILES:
        _check(folder, part)
    return folder


def smiles(part: str = "train", folder: str | Path = FOLDER) -> list[str]:
    """The SMILES of one part of MOSES.

    Args:
        part: "train" (1,584,663), "test" (176,074) or "test_scaffolds" (176,225).
        folder: where `fetch` put them.

    Raises:
        FileNotFoundError: naming the command that fetches them.
        ValueError: for another part, or a file that is not the one it should be.
    """
    file = _check(Path(folder), part)
    with gzip.open(file, "rt") as lines:
        next(lines)  # the header
        return [line.partition(",")[0].strip() for line in lines]


def _write(file: Path, content: bytes) -> None:
    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    write_atomic(file, write)


def _check(folder: Path, part: str) -> Path:
    if part not in FILES:
        raise ValueError(f"MOSES has the parts {', '.join(FILES)}, not {part!r}")
    name, digest = FILES[part]
    file = folder / name
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there: fetch it with  python -m egflow_molecules.moses {folder}")
    if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
        raise ValueError(f"{file} is not {PACKAGE}'s: delete it and fetch it again")
    return file


if __name__ == "__main__":
    print(f"MOSES is in {fetch(*sys.argv[1:2])}")
