"""Malicious messages: refused at once, at little cost, with a typed error, and never a crash."""

from __future__ import annotations

import random
import resource
import time

import pytest

from settlement_engine.messages import xml
from settlement_engine.messages.envelope import built, opened
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.kinds import versions
from settlement_engine.messages.recognition import recognised
from settlement_engine.messages.xml import MARKUP_MAX, MESSAGE_BYTES_MAX, parse
from tests.support.corpora import shared_folder
from tests.support.messages import Maker

CPU_SECONDS_MAX = 0.1
ATTEMPTS = 3
"""The best of these attempts counts, because Python's garbage collector may run during any of them."""

GROWTH_BYTES_MAX = 20 * 1024 * 1024
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE = {
    "entities": f'<!DOCTYPE d [<!ENTITY l0 "lol">{LAUGHS}]><Document>&l9;</Document>',
    "doctype": '<?xml version="1.0"?>\n<!DOCTYPE Document><Document/>',
    "doctype after a comment": "<!-- <Document> --><!DOCTYPE Document><Document/>",
    "file": '<!DOCTYPE d [<!ENTITY f SYSTEM "file:///etc/passwd">]><Document>&f;</Document>',
    "network": '<!DOCTYPE d SYSTEM "http://127.0.0.1:1/x.dtd"><Document/>',
    "entity without a type": "<Document>&f;</Document>",
    "50 MB": "<Document>" + "x" * 50_000_000 + "</Document>",
    "depth": "<a>" * 10_000 + "</a>" * 10_000,
    "depth of documents": "<Envelope>" * 200 + "</Envelope>" * 200,
    "tags": "<Document>" + "<a/>" * (2 * MARKUP_MAX) + "</Document>",
    "attributes": "<Document " + " ".join(f'a{n}=""' for n in range(2 * MARKUP_MAX)) + "/>",
    "prolog": "<?a ?>" * 100_000 + "<Document/>",
    "half a comment": "<!--" + "-" * 1_000_000,
    "UTF-16": '<?xml version="1.0" encoding="UTF-16"?><Document/>',
    "UTF-7": '<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE d><Document/>',
    "a null": "<Document>\x00</Document>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_message_is_refused_at_once_and_costs_little(name):
    data = HOSTILE[name].encode()
    memory, spent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(ATTEMPTS):
        began = time.process_time()
        with pytest.raises(MessageError) as caught:
            opened(data)
        spent.append(time.process_time() - began)
        assert caught.value.place
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * 1024
    assert min(spent) < CPU_SECONDS_MAX
    assert grown < GROWTH_BYTES_MAX


def test_tag_names_kept_by_libxml2_are_limited_per_process(monkeypatch):
    monkeypatch.setattr(xml, "TAGS_KEPT_MAX", 250)
    good = built("pacs.002.001.10", _report(Maker(7).content("pacs.002.001.10"), 1))
    opened(good)
    parse(_tags(1, 100))
    parse(_tags(2, 100))
    with pytest.raises(MessageError, match="too many such messages"):
        parse(_tags(3, 100))
    assert len(xml._tags_kept) <= 250
    assert opened(good).kind == "pacs.002"


def _tags(first: int, count: int) -> bytes:
    return b"<a>" + b"".join(b"<t%d_%d/>" % (first, n) for n in range(count)) + b"</a>"


def test_a_message_of_too_many_different_tags_is_refused():
    with pytest.raises(MessageError, match="different tags"):
        parse(_tags(1, xml.TAGS_MAX + 1))
    with pytest.raises(MessageError, match="a tag of more than"):
        parse(b"<" + b"a" * (xml.TAG_BYTES_MAX + 1) + b"/>")


def test_real_utf_16_is_refused_before_it_is_parsed():
    text = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE Document><Document/>'
    with pytest.raises(MessageError, match="UTF-8"):
        parse(text.encode("utf-16"))


def test_the_word_doctype_in_text_is_accepted():
    assert parse(b"<Document><!-- <!DOCTYPE x> --><![CDATA[<!DOCTYPE x>]]></Document>").text


def test_a_message_of_the_largest_size_is_parsed():
    filler = b"x" * (MESSAGE_BYTES_MAX - len("<Document></Document>"))
    assert parse(b"<Document>" + filler + b"</Document>") is not None


def test_many_payments_in_one_message_cost_in_proportion():
    one = Maker(7).content("pacs.002.001.10")
    few, many = (_seconds(built("pacs.002.001.10", _report(one, count))) for count in (200, 4000))
    assert many < few * 20 * 4


def _report(content, count):
    from settlement_engine.messages.pacs002 import StatusReportMessage, TransactionStatus

    payment = TransactionStatus(end_to_end_id="E1", status="ACSP")
    return StatusReportMessage(header=content.header, transactions=(payment,) * count)


def _seconds(data: bytes) -> float:
    best = 9.0
    for _ in range(3):
        began = time.process_time()
        opened(data)
        best = min(best, time.process_time() - began)
    return best


def _harmed(data: bytes, chance: random.Random) -> bytes:
    way = chance.randrange(4)
    if way == 0:
        return data[: chance.randrange(len(data))]
    harmed = bytearray(data)
    if way == 1:
        for _ in range(chance.randint(1, 8)):
            harmed[chance.randrange(len(harmed))] = chance.randrange(256)
    elif way == 2:
        place = chance.randrange(len(harmed))
        del harmed[place : place + chance.randint(1, 40)]
    else:
        place = chance.randrange(len(harmed))
        harmed[place:place] = harmed[place // 2 : place // 2 + chance.randint(1, 200)]
    return bytes(harmed)


def _try(data: bytes) -> bool:
    try:
        recognised(data)
    except MessageError as error:
        fault = error
    else:
        return True
    assert fault.place
    assert fault.reason
    return False


@pytest.mark.parametrize("definition", versions())
def test_truncated_and_altered_messages_are_read_or_refused(definition):
    chance = random.Random(definition)
    read = 0
    for seed in range(20):
        data = built(definition, Maker(seed).content(definition), Maker(seed).head("02"))
        assert _try(data)
        read += sum(_try(_harmed(data, chance)) for _ in range(15))
    assert read < 300


def test_altered_messages_of_others_are_read_or_refused():
    chance = random.Random(15)
    files = sorted(
        [*shared_folder("corpora/cbpr").iterdir(), *shared_folder("corpora/camt").iterdir()]
    )
    for file in files:
        data = file.read_bytes()
        for _ in range(4):
            _try(_harmed(data, chance))
