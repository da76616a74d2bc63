"""Metrics of several workers as one, and the counts of one as metrics."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from simway_backbone.metrics import exposition
from simway_udp_server.counts import ACK_BUCKETS_S, Counts
from simway_udp_server.totals import Totals, to_families


def counts(**totals):
    made = Counts(**totals)
    made.acknowledged(3_000, 2)
    return made


def samples(totals):
    families = text_string_to_metric_families(exposition(totals.collect).decode())
    return {(one.name, *sorted(one.labels.values())): one.value for family in families for one in family.samples}


def test_workers_add_up_and_a_worker_that_ends_leaves_its_counts():
    totals = Totals()
    totals.update(0, to_families(counts(datagrams_in=5, send_dropped=2, refused={"bad_tag": 2}).families(3)))
    totals.update(1, to_families(counts(datagrams_in=7, refused={"bad_tag": 1, "busy": 4}).families(4)))
    totals.update(1, to_families(counts(datagrams_in=8, refused={"bad_tag": 1, "busy": 4}).families(4)))
    found = samples(totals)
    assert found["simway_udp_datagrams_total", "in"] == 13
    assert found["simway_udp_bad_datagrams_total", "bad_tag"] == 3
    assert found["simway_udp_attaches_total", "busy"] == 4
    assert found["simway_udp_sessions",] == 7
    assert found["simway_udp_send_drops_total",] == 2
    assert found["simway_ack_seconds_count", "udp"] == 4
    totals.end(0)
    found = samples(totals)
    assert found["simway_udp_datagrams_total", "in"] == 13
    assert found["simway_udp_sessions",] == 4
    totals.update(0, to_families(counts(datagrams_in=1).families(0)))
    assert samples(totals)["simway_udp_datagrams_total", "in"] == 14


@given(st.lists(st.integers(0, 20_000_000), max_size=20))
def test_the_histogram_counts_each_answer_once_at_its_bucket(ages_us):
    made = Counts()
    for age_us in ages_us:
        made.acknowledged(age_us, 1)
    totals = Totals()
    totals.update(0, to_families(made.families(0)))
    found = {}
    for family in text_string_to_metric_families(exposition(totals.collect).decode()):
        for one in family.samples:
            if one.name == "simway_ack_seconds_bucket":
                found[float(one.labels["le"])] = one.value
    for bound_s in ACK_BUCKETS_S:
        assert found[bound_s] == sum(age_us <= bound_s * 1e6 for age_us in ages_us)
    assert found[float("inf")] == len(ages_us)


def test_readings_admitted_are_those_received_less_those_rejected():
    totals = Totals()
    totals.update(0, to_families(counts(readings=10, rejected={"too_old": 3}).families(0)))
    found = samples(totals)
    assert found["simway_readings_admitted_total", "udp"] == 7
    assert found["simway_readings_rejected_total", "too_old", "udp"] == 3
