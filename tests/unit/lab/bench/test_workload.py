"""The workload: reproducible, distributed as named, and no obligation twice unless intended."""

from __future__ import annotations

from collections import Counter

from settlement_engine.api.translate import to_instruction
from settlement_lab.bench.workload import BANKS, MIXED, LoadSpread, Workload

COUNT = 5_000


def test_the_same_seed_makes_the_same_workload():
    one, other = Workload(LoadSpread.ZIPF, 7).many(50), Workload(LoadSpread.ZIPF, 7).many(50)
    assert one == other
    assert one != Workload(LoadSpread.ZIPF, 8).many(50)


def test_every_instruction_is_valid_and_has_an_obligation_of_its_own():
    for spread in LoadSpread:
        workload = Workload(spread, 7).many(COUNT)
        for payment_request in workload:
            to_instruction(payment_request, caller="bench")
        assert len({payment_request.obligation_id for payment_request in workload}) == COUNT


def test_a_hot_load_debits_one_account():
    assert {
        payment_request.from_bank for payment_request in Workload(LoadSpread.HOT, 7).many(COUNT)
    } == {BANKS[0]}


def test_many_is_even_and_zipf_prefers_the_first():
    many = Counter(
        payment_request.from_bank for payment_request in Workload(LoadSpread.MANY, 7).many(COUNT)
    )
    zipf = Counter(
        payment_request.from_bank for payment_request in Workload(LoadSpread.ZIPF, 7).many(COUNT)
    )
    assert max(many.values()) < COUNT / 100
    assert zipf[BANKS[0]] > COUNT / 10
    assert zipf[BANKS[0]] > zipf[BANKS[9]] * 5


def test_a_mixed_load_has_the_stated_share_of_faults():
    workload = Workload(LoadSpread.MANY, 7, MIXED).many(COUNT)
    scripts = Counter(payment_request.metadata.get("simulate", "") for payment_request in workload)
    for name, share in MIXED.items():
        assert abs(scripts[name] / COUNT - share / 1_000) < 0.01
    repeated = COUNT - len({payment_request.obligation_id for payment_request in workload})
    assert 0.005 < repeated / COUNT < 0.02
