"""Fills what the README takes from the program: the table of settings and the outputs it shows.

``python -m scripts.readme``; with ``--demo`` the month of the demo is lived through as well, which takes half
a minute. Everything stands between markers; tests compare all of it with the program.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from fundarb.config.kinds import spoken
from fundarb.config.schema import FileSettings, keys, sections

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
GOLDEN = ROOT / "tests" / "cli" / "golden"
SHOWN = {"scan": "scan-80.txt", "why": "scan-why-pepe-120.txt", "demo": "demo-80.txt"}
"""Outputs that tests keep, by the name of their place in the README."""

PROGRAM = "import sys; from fundarb.cli.main import main; sys.exit(main())"


def settings_table() -> str:
    """Every key with its default and its sentence, as a Markdown table."""
    lines = ["| setting | default | means |", "| --- | --- | --- |"]
    for section, key in keys():
        field = (sections()[section] if section else FileSettings).model_fields[key]
        name = f"[{section}] {key}" if section else key
        meaning = field.description or "bybit, bybit-testnet, bybit-demo or sandbox"
        lines.append(f"| `{name}` | `{spoken(field.default) or '(none)'}` | {meaning} |")
    return "\n".join(lines)


def block(output: str) -> str:
    """A printed text as it stands in the README."""
    return "\n".join(["```text", *(line.rstrip() for line in output.strip("\n").splitlines()), "```"])


def placed(text: str, name: str, *, content: str) -> str:
    """The text with this content between the markers of that name."""
    start, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"README.md has no place {start} … {end}")
    return f"{before}{start}\n{content}\n{end}{after}"


def filled(text: str) -> str:
    """The text with the settings as they are now and the outputs as they are kept."""
    text = placed(text, "settings", content=settings_table())
    for name, kept in SHOWN.items():
        text = placed(text, name, content=block((GOLDEN / kept).read_text(encoding="utf-8")))
    return text


def demo() -> str:
    """What ``fundarb demo`` prints on a terminal of 80 columns."""
    environ = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, "demo"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return done.stdout


def main() -> int:
    """Write the README; 1 if there was nothing to change."""
    parser = argparse.ArgumentParser(description="Fill what the README takes from the program.")
    parser.add_argument("--demo", action="store_true", help="live through the demo's month as well")
    arguments = parser.parse_args()
    if arguments.demo:
        (GOLDEN / SHOWN["demo"]).write_text(demo(), encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    new = filled(text)
    README.write_text(new, encoding="utf-8")
    return int(new == text)


if __name__ == "__main__":
    sys.exit(main())
