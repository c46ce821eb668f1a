"""What counts as an answer."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.instants import to_ms
from fundarb.errors import BadAnswer, Unavailable
from fundarb.exchange.strict import MAX_BODY, NoAnswer, VenueRefused, clean, decode, describe, read_answer
from tests.exchange.server import TIME_MS, envelope

GARBAGE = {
    "empty": b"",
    "blank": b" \n",
    "html": b"<html><body>Maintenance</body></html>",
    "null": b"null",
    "list": b"[]",
    "text": b'"OK"',
    "number": b"0",
    "cut": b'{"retCode":0,"retMsg":"OK","result":{"list":[',
    "no retCode": b'{"result":{}}',
    "retCode null": b'{"retCode":null,"result":{}}',
    "retCode true": b'{"retCode":true,"result":{}}',
    "retCode false": b'{"retCode":false,"result":{}}',
    "retCode fraction": b'{"retCode":0.0,"result":{}}',
    "retCode word": b'{"retCode":"OK","result":{}}',
    "retCode unicode digit": '{"retCode":"０","result":{}}'.encode(),
    "retCode endless": b'{"retCode":"' + b"0" * 50 + b'","result":{}}',
    "no result": b'{"retCode":0}',
    "result null": b'{"retCode":0,"result":null}',
    "result list": b'{"retCode":0,"result":[]}',
    "result text": b'{"retCode":0,"result":"{}"}',
    "NaN": b'{"retCode":0,"result":{"a":NaN}}',
    "Infinity": b'{"retCode":0,"result":{"a":-Infinity}}',
    "not utf-8": b'{"retCode":0,"result":{"a":"\xff"}}',
    "deep": b"[" * 100_000,
    "endless integer": b'{"retCode":0,"result":{"a":' + b"9" * 5000 + b"}}",
    "two documents": b'{"retCode":0,"result":{}}{"retCode":0,"result":{}}',
    "absurd exponent": b'{"retCode":0,"result":{"a":1e99999999999999999999}}',
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_with_status_200_is_no_answer(body: bytes) -> None:
    """A body that is not a complete answer raises instead of looking like an empty account."""
    with pytest.raises(BadAnswer):
        read_answer(200, body)


@pytest.mark.parametrize("code", [0, "0"])
def test_the_ret_code_may_be_a_number_or_its_text(code: object) -> None:
    """Both forms of success are success."""
    answer = read_answer(200, json.dumps({"retCode": code, "retMsg": "OK", "result": {"a": 1}}).encode())
    assert (answer.code, answer.result, answer.time) == (0, {"a": 1}, None)


def test_an_error_needs_no_result() -> None:
    """A refusal by number is an answer, whatever stands in ``result``."""
    answer = read_answer(200, b'{"retCode":10032,"retMsg":"Demo trading are not supported.","result":null}')
    assert (answer.code, answer.result) == (10032, {})
    assert answer.message == "Demo trading are not supported."


def test_no_fraction_becomes_a_float() -> None:
    """JSON numbers keep every digit."""
    answer = read_answer(200, b'{"retCode":0,"result":{"a":0.1000000000000000055,"b":[1e-8]}}')
    assert answer.result == {"a": Decimal("0.1000000000000000055"), "b": [Decimal("1e-8")]}


@pytest.mark.parametrize(
    ("time", "known"),
    [(TIME_MS, True), (str(TIME_MS), True), (1234567890, False), ("soon", False), (10**18, False)],
)
def test_the_envelopes_time_is_milliseconds_or_nothing(time: object, *, known: bool) -> None:
    """Seconds, cut digits and words are not read as another century."""
    answer = read_answer(200, json.dumps({"retCode": 0, "result": {}, "time": time}).encode())
    assert (answer.time is not None) == known
    if answer.time is not None:
        assert to_ms(answer.time) == TIME_MS


@pytest.mark.parametrize(
    ("status", "repeat"), [(301, False), (307, False), (408, True), (429, True), (500, True), (502, True)]
)
def test_other_statuses_are_no_answer_even_with_a_perfect_body(status: int, *, repeat: bool) -> None:
    """A redirect, an overload or a broken server answers nothing, and says whether a read may come again."""
    with pytest.raises(NoAnswer) as caught:
        read_answer(status, envelope({"orderId": "1"}))
    assert (caught.value.sent, caught.value.repeat, caught.value.status) == (True, repeat, status)


def test_a_4xx_with_a_code_is_a_refusal_by_number() -> None:
    """The venue's own code counts on 401 as on 200."""
    assert read_answer(401, envelope({}, code=10003, message="invalid")).code == 10003


@pytest.mark.parametrize("body", [b"<html>", envelope({})])
def test_a_4xx_without_an_error_code_is_no_answer(body: bytes) -> None:
    """Not found with a page, or with a code of success, decides nothing."""
    with pytest.raises(NoAnswer) as caught:
        read_answer(404, body)
    assert not caught.value.repeat


@pytest.mark.parametrize(
    ("body", "banned", "words"),
    [
        (b"access too frequent", True, "access too frequent"),
        (envelope({}, code=10006, message="Too many visits"), True, "access too frequent"),
        (b"<html>", True, "no reason given"),
        (
            b"<html>The Amazon CloudFront distribution is configured to block access from your country",
            False,
            "geo block",
        ),
        (b"", True, "no reason given"),
    ],
)
def test_a_403_is_an_ip_limit_or_said_to_be_a_geo_block(body: bytes, *, banned: bool, words: str) -> None:
    """Only the body tells the two apart; an unexplained one counts as the limit."""
    with pytest.raises(NoAnswer, match=words) as caught:
        read_answer(403, body)
    assert (caught.value.banned, caught.value.repeat, caught.value.sent) == (banned, False, True)


def test_a_403_keeps_the_code_it_carried() -> None:
    """A definite refusal behind a 403 can still be classified."""
    with pytest.raises(NoAnswer) as caught:
        read_answer(403, envelope({}, code=10006, message="Too many visits"))
    assert caught.value.code == 10006


def test_an_html_page_is_said_to_be_one() -> None:
    """The message tells a person what came, never the page itself."""
    assert "HTML page" in describe(b"  <!DOCTYPE html><p>secret")
    assert "secret" not in describe(b"  <!DOCTYPE html><p>secret")
    assert "cut" in describe(b'{"a":')
    assert "empty" in describe(b"")


def test_a_venues_words_are_cut_to_one_printable_line() -> None:
    """No control character of an answer reaches a terminal."""
    assert clean("a\x1b[31m\nb" + "x" * 500).startswith("a [31m b")
    assert len(clean("x" * 500)) == 200


def test_refused_reads_say_whether_repeating_helps() -> None:
    """Overload is repeated, a bad key is not."""
    assert VenueRefused("busy", code=10016).repeat
    assert not VenueRefused("bad key", code=10003).repeat


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_a_named_failure(body: bytes) -> None:
    """No body makes the reader fail in a way that its caller does not expect."""
    try:
        answer = read_answer(200, body)
    except Unavailable:
        return
    assert answer.code != 0 or isinstance(answer.result, dict)


json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, json_values)
def test_any_document_is_an_answer_or_a_named_failure(code: Any, result: Any) -> None:
    """Whatever stands for code and result, success means an object."""
    try:
        answer = read_answer(200, json.dumps({"retCode": code, "result": result}).encode())
    except Unavailable:
        return
    assert answer.code != 0 or answer.result == decode(json.dumps(result).encode())


def test_the_largest_body_is_far_above_a_whole_market() -> None:
    """Tickers of the whole market, about half a megabyte, fit many times."""
    assert MAX_BODY > 20 * 600 * 900
