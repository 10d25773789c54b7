"""The workload: reproducible, distributed as named, and no obligation twice unless intended."""

from __future__ import annotations

from collections import Counter

from settlement_engine.api.translate import to_instruction
from settlement_lab.bench.wishes import BANKS, MIXED, Spread, Wishes

COUNT = 5_000


def test_the_same_seed_makes_the_same_workload():
    one, other = Wishes(Spread.ZIPF, 7).many(50), Wishes(Spread.ZIPF, 7).many(50)
    assert one == other
    assert one != Wishes(Spread.ZIPF, 8).many(50)


def test_every_instruction_is_valid_and_has_an_obligation_of_its_own():
    for spread in Spread:
        wishes = Wishes(spread, 7).many(COUNT)
        for wish in wishes:
            to_instruction(wish, caller="bench")
        assert len({wish.obligation_id for wish in wishes}) == COUNT


def test_a_hot_load_debits_one_account():
    assert {wish.from_bank for wish in Wishes(Spread.HOT, 7).many(COUNT)} == {BANKS[0]}


def test_many_is_even_and_zipf_prefers_the_first():
    many = Counter(wish.from_bank for wish in Wishes(Spread.MANY, 7).many(COUNT))
    zipf = Counter(wish.from_bank for wish in Wishes(Spread.ZIPF, 7).many(COUNT))
    assert max(many.values()) < COUNT / 100
    assert zipf[BANKS[0]] > COUNT / 10
    assert zipf[BANKS[0]] > zipf[BANKS[9]] * 5


def test_a_mixed_load_has_the_stated_share_of_faults():
    wishes = Wishes(Spread.MANY, 7, MIXED).many(COUNT)
    scripts = Counter(wish.metadata.get("simulate", "") for wish in wishes)
    for name, share in MIXED.items():
        assert abs(scripts[name] / COUNT - share / 1_000) < 0.01
    repeated = COUNT - len({wish.obligation_id for wish in wishes})
    assert 0.005 < repeated / COUNT < 0.02
