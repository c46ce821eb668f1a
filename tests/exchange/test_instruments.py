"""The instrument cache: nothing that does not fit is believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fundarb.clock import VirtualClock
from fundarb.exchange.instruments import InstrumentCache, RawInstruments
from fundarb.exchange.parse import ParseError
from tests.exchange.conftest import NOW
from tests.exchange.test_bybit_market import linear, spot

HOUR = timedelta(hours=1)


class Source:
    """A venue that counts how often it is asked."""

    def __init__(self, clock: VirtualClock) -> None:
        """Answer with the time of this clock."""
        self.clock = clock
        self.asked = 0

    def __call__(self) -> RawInstruments:
        """One pair, two contracts."""
        self.asked += 1
        return RawInstruments([spot()], [linear(), linear("ETHUSDT")], self.clock.now())


def make(
    folder: Path | None, clock: VirtualClock | None = None, name: str = "a"
) -> tuple[InstrumentCache, Source]:
    """A cache over a new source."""
    clock = clock or VirtualClock(NOW)
    source = Source(clock)
    return InstrumentCache(source, clock=clock, source=name, folder=folder, max_age=HOUR), source


def filled(folder: Path) -> Path:
    """The file of a cache that was filled once."""
    cache, _ = make(folder)
    cache.get()
    assert cache.path is not None
    return cache.path


def test_the_list_survives_the_process_unchanged(tmp_path: Path) -> None:
    """What is kept parses to the same instruments as what the venue sent."""
    first, _ = make(tmp_path)
    second, source = make(tmp_path)
    assert second.get().perp
    assert first.get() == second.get()
    assert source.asked == 1
    third, asked = make(tmp_path)
    assert third.get() == first.get()
    assert asked.asked == 0


def test_an_old_list_is_read_anew(tmp_path: Path) -> None:
    """After an hour, in memory and on disk; refresh asks at once; a future file belongs to another clock."""
    clock = VirtualClock(NOW)
    cache, source = make(tmp_path, clock)
    cache.get()
    clock.sleep(HOUR)
    cache.get()
    assert source.asked == 1
    clock.sleep(timedelta(seconds=1))
    cache.get()
    assert source.asked == 2
    cache.get(refresh=True)
    assert source.asked == 3
    earlier, again = make(tmp_path, VirtualClock(NOW - HOUR))
    earlier.get()
    assert again.asked == 1


def test_another_venue_has_another_file(tmp_path: Path) -> None:
    """Two venues never share a list."""
    filled(tmp_path)
    other, source = make(tmp_path, name="b")
    other.get()
    assert source.asked == 1
    assert len(list(tmp_path.iterdir())) == 2


def edit_head(**changes: object) -> Callable[[bytes], bytes]:
    """Change the first line."""

    def change(content: bytes) -> bytes:
        head, _, rest = content.partition(b"\n")
        return json.dumps(json.loads(head) | changes).encode() + b"\n" + rest

    return change


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-20],
        lambda content: content.replace(b"0.001", b"0.002"),
        lambda content: content.split(b"\n")[0],
        lambda content: b"null\n" + content,
        lambda content: b"[]\n[]",
        lambda content: b"\xff\xfe" + content,
        edit_head(version=0),
        edit_head(source="b"),
        edit_head(read_at="now"),
        edit_head(read_at=10**30),
        edit_head(sha256=""),
    ],
)
def test_a_damaged_file_is_read_anew(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """Cut, edited, of another version, hash or shape: the venue is asked, and the file mended."""
    path = filled(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    cache, source = make(tmp_path)
    assert set(cache.get().perp) == {"BTCUSDT", "ETHUSDT"}
    assert source.asked == 1
    mended, unasked = make(tmp_path)
    mended.get()
    assert unasked.asked == 0


@settings(max_examples=40)
@given(st.integers(0, 3000), st.integers(0, 255))
def test_any_changed_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, place: int, byte: int) -> None:
    """Whatever is flipped, the list that comes out is the venue's."""
    folder = tmp_path_factory.mktemp("cache")
    path = filled(folder)
    content = bytearray(path.read_bytes())
    content[place % len(content)] = byte
    path.write_bytes(content)
    cache, _ = make(folder)
    assert set(cache.get().perp) == {"BTCUSDT", "ETHUSDT"}


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """The list is there, the problem is said, no half file is left."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    cache, _ = make(blocked)
    assert cache.get().perp
    assert "instruments-" in cache.problem
    folder = tmp_path / "taken"
    folder.mkdir()
    (folder / filled(tmp_path / "other").name).mkdir()
    full, _ = make(folder)
    assert full.get().perp
    assert full.problem
    assert len(list(folder.iterdir())) == 1


def test_folders_that_it_makes_are_private(tmp_path: Path) -> None:
    """The home folder may hold money's books later: neither it nor the cache in it is open to others."""
    cache, _ = make(tmp_path / "home" / "cache")
    cache.get()
    for folder in (tmp_path / "home", tmp_path / "home" / "cache"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_without_a_folder_nothing_is_kept_on_disk() -> None:
    """Memory only."""
    cache, source = make(None)
    assert cache.path is None
    assert cache.get() is cache.get()
    assert source.asked == 1


def test_an_unreadable_list_is_not_kept(tmp_path: Path) -> None:
    """What cannot be parsed is neither returned nor written."""
    cache = InstrumentCache(
        lambda: RawInstruments([{"symbol": "X"}], [linear()], NOW),
        clock=VirtualClock(NOW),
        source="a",
        folder=tmp_path,
        max_age=HOUR,
    )
    with pytest.raises(ParseError, match="unreadable"):
        cache.get()
    assert list(tmp_path.iterdir()) == []


def test_an_unchanged_list_is_not_parsed_again(tmp_path: Path) -> None:
    """Read anew and equal, it keeps its instruments and what was unreadable, and gets the new time, on disk
    too; any change that matters is taken.
    """
    clock = VirtualClock(NOW)
    odd = linear("ODDUSDT") | {"lotSizeFilter": {}}
    listed = [linear(), *(linear(f"C{number}USDT") for number in range(20)), odd]
    cache = InstrumentCache(
        lambda: RawInstruments([spot()], listed, clock.now()),
        clock=clock,
        source="a",
        folder=tmp_path,
        max_age=HOUR,
    )
    first = cache.get()
    clock.sleep(2 * HOUR)
    again = cache.get()
    assert again.perp["BTCUSDT"] is first.perp["BTCUSDT"]
    assert again.as_of == NOW + 2 * HOUR
    assert set(cache.unreadable) == {"ODDUSDT"}
    assert make(tmp_path, clock)[0].get() == again
    listed[0] = linear() | {"status": "Delivering"}
    assert cache.get(refresh=True).perp["BTCUSDT"].status == "Delivering"
    listed[-1] = linear("ODDUSDT")
    assert "ODDUSDT" in cache.get(refresh=True).perp
    assert not cache.unreadable
