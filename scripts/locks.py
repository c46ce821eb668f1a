"""Writes the lock files in requirements/ and tells, offline, whether they still answer pyproject.toml.

``write`` asks uv to resolve for every platform and Python from the floor of ``requires-python`` upwards.
``check`` reads files only: the header of each lock carries a digest of the requirements it was made from,
each requirement that applies here must be met by the locked version, every line must carry hashes, and no
lock may say where packages come from.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
# One resolution for everything comes first; the smaller locks are cut from it, so a version never differs
# between them.
LOCKS: Mapping[str, Sequence[str]] = {
    "dev": ("pyproject.toml", "--all-extras", "--group", "dev", "--group", "build"),
    "runtime": ("pyproject.toml", "--group", "build", "--constraint", "requirements/dev.txt"),
    "build": ("--group", "build", "--constraint", "requirements/dev.txt"),
}
MARK = "# requirements sha256:"
PIN = re.compile(r"(?m)^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;]+)(.*)\n(    --hash=sha256:[0-9a-f]{64})?")
ADDRESS = re.compile(r"://|--(?:extra-)?index-url|--find-links|--trusted-host")


def project() -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def digest(tables: Mapping[str, Any]) -> str:
    """SHA-256 over every table a lock is made from; changes of other tables leave it as it is."""
    meta = tables["project"]
    source = {
        "python": meta["requires-python"],
        "dependencies": meta["dependencies"],
        "extras": meta["optional-dependencies"],
        "groups": tables["dependency-groups"],
        "build": tables["build-system"]["requires"],
        "locks": {name: list(options) for name, options in LOCKS.items()},
    }
    return hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()


def requirements(tables: Mapping[str, Any], lock: str) -> Iterator[Requirement]:
    """What pyproject.toml asks of one lock, as far as the markers hold in this environment."""
    meta, groups = tables["project"], tables["dependency-groups"]
    wanted = [*groups["build"], *tables["build-system"]["requires"]]
    if lock in {"dev", "runtime"}:
        wanted += meta["dependencies"]
    if lock == "dev":
        wanted += groups["dev"]
        wanted += [line for extra in meta["optional-dependencies"].values() for line in extra]
    for line in wanted:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement


def problems_of(lock: str, text: str, tables: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with the text of one lock; empty when it is up to date."""
    found: list[str] = []
    if f"{MARK} {digest(tables)}" not in text:
        found.append("was made from other requirements than pyproject.toml holds now")
    pins: dict[str, list[str]] = {}
    for name, version, _marker, hashes in PIN.findall(text):
        pins.setdefault(canonicalize_name(name), []).append(version)
        if not hashes:
            found.append(f"{name}=={version} carries no hash")
    for requirement in requirements(tables, lock):
        versions = pins.get(canonicalize_name(requirement.name), [])
        if not any(requirement.specifier.contains(version, prereleases=True) for version in versions):
            found.append(f"{requirement} is not met ({', '.join(versions) or 'not locked'})")
    found += [
        f"says where packages come from: {line.strip()}" for line in text.splitlines() if ADDRESS.search(line)
    ]
    return found


def check() -> int:
    """Prints each problem of each lock; 1 if there is any."""
    tables = project()
    failed = False
    for lock in LOCKS:
        path = FOLDER / f"{lock}.txt"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        for problem in problems_of(lock, text, tables):
            failed = True
            print(f"requirements/{lock}.txt {problem}")
    if failed:
        print("The lock files are out of date: run `make lock` and commit the result.")
    return int(failed)


def write(*, upgrade: bool) -> int:
    """Resolves anew, keeping the versions already locked unless ``upgrade``; 1 if uv finds no solution."""
    FOLDER.mkdir(exist_ok=True)
    seal = f"{MARK} {digest(project())}\n"
    for lock, options in LOCKS.items():
        path = FOLDER / f"{lock}.txt"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "uv", "--quiet", "pip", "compile", *options),
                *("--universal", "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links"),
                *("--custom-compile-command", "make lock", "--output-file", str(path)),
                *(["--upgrade"] if upgrade else []),
            ],
            cwd=ROOT,
            check=False,
        )
        if done.returncode != 0:
            return 1
        path.write_text(seal + path.read_text(encoding="utf-8"), encoding="utf-8")
    return check()


def main() -> int:
    """Runs ``check`` or ``write`` as asked on the command line."""
    parser = argparse.ArgumentParser(description="Lock files: check offline, or write anew.")
    parser.add_argument("action", choices=["check", "write"])
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    arguments = parser.parse_args()
    return check() if arguments.action == "check" else write(upgrade=arguments.upgrade)


if __name__ == "__main__":
    sys.exit(main())
