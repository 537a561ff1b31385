"""What becomes of each row: credited once and counted, or rejected, and whom it names."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest
import sqlalchemy as sa

from airflow_provider_crm.loyalty import destination
from airflow_provider_crm.loyalty.tables import credits_table
from airflow_provider_crm.operators.spread import loyalty as operators

from .credits import amounts, posts, row

# The counts


def test_each_row_is_credited_once_and_counted(spread, add, credit, crm_sandbox):
    zoe = add("zoe@example.fr")
    source = [row("a"), row("b", zoe, "2.50"), row("c", amount=10), row("d", amount=5.0)]
    result = credit(source)
    assert (result["read"], result["created"], result["credited"], result["already_credited"]) == (4, 4, 4, 0)
    assert result["amount"] == "22.50" or Decimal(result["amount"]) == Decimal("22.5")
    assert amounts(spread) == {(zoe, Decimal(5)): 2, (zoe, Decimal("2.5")): 1, (zoe, Decimal(10)): 1}
    again = credit(source)
    assert (again["credited"], again["already_credited"], again["unchanged"]) == (0, 4, 4)
    assert Decimal(again["amount"]) == 0
    assert posts(crm_sandbox) == 4


def test_amounts_are_exact_numbers_on_the_wire(spread, add, credit, monkeypatch):
    add("zoe@example.fr")
    bodies = []
    body = operators.SpreadHook.request
    monkeypatch.setattr(
        operators.SpreadHook,
        "request",
        lambda self, call, read: bodies.append(call.body) or body(self, call, read),
    )
    credit([row("a", amount="10"), row("b", amount="0.10"), row("c", amount="1e3"), row("d", amount=0.3)])
    lines = [line.amount for line in spread.loyalty.lines]
    assert sorted(map(Decimal, lines)) == [Decimal("0.1"), Decimal("0.3"), Decimal(10), Decimal(1000)]
    sent = [body.split(b'"amount":')[1].rstrip(b"}") for body in bodies if body]
    assert sorted(sent) == [b"0.1", b"0.3", b"10", b"1000"]


def test_a_key_that_comes_twice_in_one_source(spread, add, ends):
    zoe = add("zoe@example.fr")
    assert ends([row("a"), row("a"), row("a", amount=6), row("a", zoe)]) == [
        "created",
        "unchanged: credited before",
        f"rejected: this key was credited with 5 points for customer {zoe}",
        "unchanged: credited before",
    ]
    assert amounts(spread) == {(zoe, Decimal(5)): 1}


@pytest.mark.slow
def test_a_key_that_comes_very_often_costs_no_waits(spread, add, credit, monkeypatch):
    zoe = add("zoe@example.fr")
    waits = []
    pause = operators.SpreadHook.pause
    monkeypatch.setattr(
        operators.SpreadHook, "pause", lambda self, seconds: waits.append(seconds) or pause(self, seconds)
    )
    source = [row("a") for _ in range(40)]
    for created in (1, 0):
        result = credit(source)
        assert (result["credited"], result["already_credited"]) == (created, 40 - created)
    assert destination.POLL_EVERY not in waits
    assert amounts(spread) == {(zoe, Decimal(5)): 1}


def test_a_key_whose_answer_names_another_customer(spread, add, credit, crm_sandbox):
    """Another record may have taken hers over; the row is the same one all the same when it comes again."""
    zoe = add("zoe@example.fr")
    line = '{"cagnotteLineId": "146964", "customerId": "77", "amount": "5"}'
    body = f'{{"customer": {{"id": "77"}}, "cagnotte": {line}}}'
    crm_sandbox.fault("answer_after", method="POST", path="/cagnottes", times=1, body=body)
    assert credit([row("a", zoe)])["credited"] == 1
    assert credit([row("a", zoe)])["already_credited"] == 1


def test_cells_of_a_data_frame(spread, add, ends):
    """Where some are missing, it holds NaN, and whole numbers become fractions."""
    zoe, nan = add("zoe@example.fr"), float("nan")
    assert ends(
        [
            {"credit_key": nan, "customer_id": nan, "email": "zoe@example.fr", "amount": 5},
            {"credit_key": 7.0, "customer_id": nan, "email": "zoe@example.fr", "amount": 5.0},
            {"credit_key": 7, "customer_id": None, "email": "zoe@example.fr", "amount": 5},
            {"credit_key": "8", "customer_id": float(zoe), "email": nan, "amount": 6},
            {"credit_key": "9", "customer_id": nan, "email": nan, "amount": 6},
        ]
    ) == [
        "rejected: credit_key: a credit needs a reference of its own",
        "created",
        "unchanged: credited before",
        "created",
        "rejected: email or customer_id is required",
    ]
    assert amounts(spread) == {(zoe, Decimal(5)): 1, (zoe, Decimal(6)): 1}


@pytest.mark.sampled
@pytest.mark.parametrize("wrong", ["0{}", "0{}.0", "{}a", "+{}", " {},{} "])
def test_an_id_that_the_crm_may_take_for_another_one(spread, add, ends, crm_sandbox, wrong):
    zoe = add("zoe@example.fr")
    named = wrong.format(zoe, zoe)
    assert ends([{"credit_key": "a", "customer_id": named, "amount": 5}]) == [
        "rejected: customer_id: an id such as 123456 is required"
    ]
    assert posts(crm_sandbox) == 0


def test_a_key_seen_again_for_somebody_else(spread, add, ends):
    zoe, bob = add("zoe@example.fr"), add("bob@example.fr")
    assert ends([row("a"), row("b", bob)]) == ["created", "created"]
    assert ends([row("a", bob), row("b", "bob@example.fr"), row("a", "bob@example.fr")]) == [
        f"rejected: this key was credited with 5 points for customer {zoe}",
        "unchanged: credited before",
        f"rejected: this key was credited with 5 points for customer {zoe}",
    ]
    assert amounts(spread).total() == 2


def test_refused_rows_may_come_again_repaired(spread, add, ends, ledger):
    zoe = add("zoe@example.fr")
    first = ends([row("a", "nobody@example.fr"), row("b", "999999")])
    assert all(end.startswith("rejected") for end in first)
    assert {one.state for one in ledger().values()} == {"refused"}
    assert ends([row("a"), row("b", zoe, 7)]) == ["created", "created"]
    assert amounts(spread) == {(zoe, Decimal(5)): 1, (zoe, Decimal(7)): 1}


def test_bad_rows_are_rejected_with_the_reason_and_nothing_is_sent(spread, add, ends, crm_sandbox):
    add("zoe@example.fr")
    bad = [
        row(""),
        row("k" * 256),
        row("a\nb"),
        {"credit_key": "c", "amount": 5},
        row("d", "not-an-address@"),
        *(row(f"n{number}", amount=amount) for number, amount in enumerate(BAD_AMOUNTS)),
    ]
    found = ends(bad)
    assert all(end.startswith("rejected: ") for end in found)
    assert [end.split(": ", 1)[1] for end in found[5:]] == list(BAD_AMOUNTS.values())
    assert posts(crm_sandbox) == 0


NO_NUMBER = "amount: a number such as 5 or 12.50 is required"
BAD_AMOUNTS = {
    0: "amount: zero credits nothing",
    "-5": "amount: negative; see `allow_debit`",
    "nan": "amount: a finite number is required",
    float("inf"): "amount: a finite number is required",
    None: NO_NUMBER,
    "five": NO_NUMBER,
    "1_000": NO_NUMBER,
    "5,50": NO_NUMBER,
    "1.005": "amount: at most 2 decimals",
    "1." + "0" * 40 + "1": "amount: at most 2 decimals",
    0.1 + 0.2: "amount: at most 2 decimals",
    "1" * 13: "amount: at most 12 digits",
    "1e400": "amount: at most 12 digits",
}


def test_debits_when_they_are_allowed(spread, add, ends):
    zoe = add("zoe@example.fr")
    assert ends([row("a", amount=-5)], allow_debit=True) == ["created"]
    assert amounts(spread) == {(zoe, Decimal(-5)): 1}


def test_a_dry_run_claims_nothing_and_sends_nothing(spread, add, ends, ledger, crm_sandbox):
    add("zoe@example.fr")
    source = [row("a"), row("a"), row("b"), row("a", amount=6), row("c", amount=0)]
    assert ends(source, dry_run=True) == [
        "created",
        "unchanged: credited by an earlier row",
        "created",
        "rejected: this key was credited with 5 points by an earlier row",
        "rejected: amount: zero credits nothing",
    ]
    assert ledger() == {}
    assert posts(crm_sandbox) == 0
    ends(source)
    assert ends([row("a"), row("d")], dry_run=True) == ["unchanged: credited before", "created"]


# Naming people


def test_one_person_named_in_several_ways_is_one_person(spread, add, credit):
    zoe = add("Zoe@Example.fr")
    credit([row("a", "zoe@example.fr"), row("b", zoe), row("c", "ZOE@example.FR"), row("d", zoe)])
    assert amounts(spread) == {(zoe, Decimal(5)): 4}


def test_an_email_in_another_case_is_found(spread, add, ends, ledger):
    zoe = add("Zoe@Example.fr")
    assert ends([row("a", "zoe@example.fr")]) == ["created"]
    assert ledger()["a"].customer_id == zoe


@pytest.mark.sampled
@pytest.mark.parametrize("unknown_id", ["404_json", "200_error", "404_html"])
def test_an_unknown_customer_is_rejected(spread, add, ends, crm_sandbox, unknown_id):
    crm_sandbox.switch("spread", unknown_id=unknown_id)
    zoe = add("Zoe@Example.fr")
    found = ends([row("a", "nobody@example.fr"), row("b", "424242"), row("c", "zoe@example.fr")])
    assert [end.split(":")[0] for end in found] == ["rejected", "rejected", "created"]
    assert amounts(spread) == {(zoe, Decimal(5)): 1}


def test_a_crm_that_takes_ids_under_another_name(spread, add, ends, crm_sandbox):
    crm_sandbox.switch("spread", customer_id_key="id")
    zoe = add("Zoe@Example.fr")
    assert ends([row("a", zoe), row("b", "zoe@example.fr")]) == ["created", "created"]
    assert amounts(spread) == {(zoe, Decimal(5)): 2}


def test_with_both_the_id_counts(spread, add, ends):
    zoe, bob = add("zoe@example.fr"), add("bob@example.fr")
    assert ends([row("a", zoe, email="bob@example.fr")]) == ["created"]
    assert amounts(spread) == {(zoe, Decimal(5)): 1}
    assert bob


# One reference is one credit, however it is written

UUID_TEXT = "550e8400-e29b-41d4-a716-446655440abc"
SPELLINGS = {
    "int": 1001,
    "float": 1001.0,
    "decimal": Decimal("1001.000000000"),
    "text": "1001",
    "blanks": " 1001 ",
    "bytes": b"1001",
    "formula": '="1001"',
    "invisible": "\u200b1001",
}


@pytest.mark.slow
def test_one_reference_is_one_credit_however_it_is_written(spread, add, ends):
    zoe = add("zoe@example.fr")
    rows = [row(key) for key in SPELLINGS.values()]
    assert ends(rows) == ["created", *["unchanged: credited before"] * (len(rows) - 1)]
    for key in SPELLINGS.values():
        assert ends([row(key)]) == ["unchanged: credited before"]
    assert amounts(spread) == {(zoe, Decimal(5)): 1}


def test_how_accents_are_encoded_makes_no_other_reference(spread, add, ends):
    zoe = add("zoe@example.fr")
    assert ends([row("No\u00ebl"), row("Noe\u0308l")]) == ["created", "unchanged: credited before"]
    assert amounts(spread) == {(zoe, Decimal(5)): 1}


def test_a_uuid_is_one_reference_in_small_and_capital_letters(spread, add, ends):
    zoe = add("zoe@example.fr")
    spellings = [UUID_TEXT.upper(), uuid.UUID(UUID_TEXT), UUID_TEXT]
    assert ends([row(key) for key in spellings]) == ["created", *["unchanged: credited before"] * 2]
    assert ends([row(UUID_TEXT)]) == ["unchanged: credited before"]
    assert amounts(spread) == {(zoe, Decimal(5)): 1}


@pytest.mark.parametrize("key", ["1.23457E+14", "1,23457E+14", "1.001E+03", "2E+12"])
def test_a_reference_that_a_spreadsheet_has_shortened_is_none(spread, add, ends, key):
    add("zoe@example.fr")
    reason = "credit_key: a spreadsheet may have cut digits off this number: hand it over as text"
    assert ends([row(key), row(key)]) == [f"rejected: {reason}"] * 2
    assert amounts(spread) == {}


@pytest.mark.sampled
@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("held", "again"),
    [
        ("1001", "1001.0"),
        ("1001.0", 1001),
        ("1001.0", "1001"),
        ("1001", "1001.000000000"),
        (12.5, "12.50"),
        ("1001", "1001,0"),
        ("1001,00", 1001),
        ("12.5", "12,50"),
        ("0001001", 1001),
        ("0001001", "1001.0"),
        (1001, "0001001"),
        ("1001.0", "0001001"),
        ("001001", "0001001"),
    ],
)
def test_a_text_that_may_be_another_reference_is_rejected(spread, add, ends, held, again, dry_run):
    zoe = add("zoe@example.fr")
    reason = f"rejected: the ledger holds the credit {held}, which may be this one in another spelling"
    assert ends([row(held)]) == ["created"]
    assert ends([row(again), row("other")], dry_run=dry_run) == [reason, "created"]
    assert amounts(spread) == {(zoe, Decimal(5)): 1 if dry_run else 2}


@pytest.mark.sampled
@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("first", ["1001.0", "0001001"])
def test_two_spellings_in_one_source(spread, add, ends, first, dry_run):
    zoe = add("zoe@example.fr")
    assert ends([row(first), row("1001")], dry_run=dry_run) == [
        "created",
        f"rejected: the ledger holds the credit {first}, which may be this one in another spelling",
    ]
    assert amounts(spread) == ({} if dry_run else {(zoe, Decimal(5)): 1})


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("former", "cell"),
    [
        ("1001.000000000", Decimal("1001.000000000")),
        ("12.50", Decimal("12.50")),
        ("Noe\u0308l", "Noe\u0308l"),
        ("Noe\u0308l", "No\u00ebl"),
        ('="1001"', '="1001"'),
        (UUID_TEXT.upper(), uuid.UUID(UUID_TEXT)),
        (UUID_TEXT.upper(), UUID_TEXT),
        (UUID_TEXT.upper(), UUID_TEXT.upper()),
    ],
)
def test_a_ledger_keeps_the_keys_that_it_has(spread, add, ends, ledger, tmp_path, former, cell):
    zoe = add("zoe@example.fr")
    assert ends([row("x")]) == ["created"]
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    with engine.begin() as connection:
        connection.execute(credits_table.update().values(credit_key=former))
    engine.dispose()
    assert ends([row(cell)]) == ["unchanged: credited before"]
    assert set(ledger()) == {former}
    assert amounts(spread) == {(zoe, Decimal(5)): 1}


def test_a_refused_credit_in_another_spelling_is_in_nobodys_way(spread, add, ends):
    zoe = add("zoe@example.fr")
    assert ends([row("1001", "nobody@example.fr")])[0].startswith("rejected")
    assert ends([row("1001.0")]) == ["created"]
    assert amounts(spread) == {(zoe, Decimal(5)): 1}


def test_a_customers_id_may_come_as_a_decimal(spread, add, ends):
    zoe = add("zoe@example.fr")
    ids = [int(zoe), float(zoe), Decimal(f"{zoe}.000000000"), f"{zoe}.0", f"\u200b{zoe}"]
    assert ends([row(f"k{number}", one) for number, one in enumerate(ids)]) == ["created"] * len(ids)
    assert amounts(spread) == {(zoe, Decimal(5)): len(ids)}
