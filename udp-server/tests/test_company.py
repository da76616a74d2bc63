"""Bulk gives way only where somebody else is there, and only as long as both are."""

from simway_udp_server.company import BULK_DATAGRAMS, SENDERS_MAX, WINDOW_S, Company


def window(company: Company, number: int, **senders: int) -> bool:
    """One window in which each sender brings so many; whether it was mixed at its end."""
    company.turn_over(number * WINDOW_S)
    for sender, datagrams in senders.items():
        for _ in range(datagrams):
            company.note(sender)
    return company.is_mixed


def test_bulk_beside_somebody_who_just_goes_on_is_mixed_and_until_a_window_after_its_end():
    company = Company()
    assert not window(company, 0, live=BULK_DATAGRAMS)
    assert not window(company, 1, live=1)
    assert window(company, 2, live=1, back=BULK_DATAGRAMS + 1)
    assert window(company, 3, live=1)
    assert not window(company, 4, live=1)


def test_bulk_among_itself_is_not_mixed():
    company = Company()
    assert not any(window(company, number, one=1_000, other=500) for number in range(5))


def test_bulk_that_pauses_is_nobodys_company():
    company = Company()
    window(company, 0, one=1_000, other=1_000)
    window(company, 1, one=1_000, other=3)
    assert not window(company, 2, one=1_000, other=1_000)


def test_many_who_bring_little_are_not_mixed():
    company = Company()
    fleet = {f"truck-{number}": number % BULK_DATAGRAMS for number in range(1_000)}
    assert not any(window(company, number, **fleet) for number in range(3))


def test_what_was_long_ago_says_nothing():
    company = Company()
    window(company, 0, live=1)
    assert not window(company, 9, back=1_000)


def test_made_up_senders_take_bounded_memory():
    company = Company()
    company.turn_over(0.0)
    for number in range(SENDERS_MAX + 100):
        company.note(number)
    assert len(company._counts) == SENDERS_MAX
