"""The promises about speed and memory, measured: ``make bench`` runs every ``bench_*.py`` of this folder.

A module exposes ``run() -> list[Row]``. Rows that belong together are measured in the same run, side by side.
"""
