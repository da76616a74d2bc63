"""The topic files and the messages say the same."""

import msgspec
import pytest
from simway_protocol import commands, messages
from simway_protocol.identity import derive_device_key
from simway_protocol.limits import UPLINK_PARTITIONS
from simway_protocol.topics import TOPICS

EXAMPLES = [(topic, example) for topic in TOPICS.values() for example in topic.examples]


def _ids(case: tuple) -> str:
    return f"{case[0].name}: {case[1].note}"


@pytest.mark.parametrize("case", EXAMPLES, ids=_ids)
def test_each_example_decodes_and_encodes_to_itself(case):
    topic, example = case
    message = messages.decode(topic.name, msgspec.json.encode(example.value))
    assert msgspec.json.decode(messages.encode(message)) == _without_defaults(example.value)
    assert message.v == topic.version


def _without_defaults(value: dict) -> dict:
    """The messages but ``UplinkBatch`` leave out what has its default, as ``v`` has here."""
    if "uplinks" in value:
        return value
    return {name: item for name, item in value.items() if name != "v"}


@pytest.mark.parametrize("case", EXAMPLES, ids=_ids)
def test_the_key_of_each_example_is_the_device(case):
    topic, example = case
    assert example.key == (example.value["device"] if topic.key == "device" else None)


def test_partitions_retention_and_compaction_are_those_of_the_design():
    assert {name: topic.partitions for name, topic in TOPICS.items()} == {
        "uplink": UPLINK_PARTITIONS, "downlink": 1, "device-events": 1, "registry": 1, "dead-letter": 1,
    }  # fmt: skip
    days = {name: topic.retention_s and topic.retention_s // 86_400 for name, topic in TOPICS.items()}
    assert days == {"uplink": 7, "downlink": 7, "device-events": 30, "registry": None, "dead-letter": 30}
    assert [name for name, topic in TOPICS.items() if topic.compacted] == ["registry"]
    assert all(topic.name == name and topic.examples for name, topic in TOPICS.items())


def test_every_event_of_a_device_has_an_example():
    tags = {example.value["type"] for example in TOPICS["device-events"].examples}
    assert tags == {"attached", "detached", "gateway_started", "command", "inventory", "audit_anchor"}


def test_an_inventory_of_before_fallback_and_rules_still_decodes():
    old = (
        b'{"type":"inventory","device":"demo","gateway":"udp","generation":64,"t_us":1,"eid":"89","active_iccid":"8949",'
        b'"profiles":[{"iccid":"8949","aid":"a0","state":"enabled"}]}'
    )
    message = messages.decode("device-events", old)
    assert (message.os_version, message.smdp) == ("", "")
    (profile,) = message.profiles
    assert (profile.fallback, profile.rules, profile.profile_class) == (False, [], "operational")
    assert messages.encode(message) == old


@pytest.mark.parametrize("example", TOPICS["downlink"].examples, ids=lambda example: example.note)
def test_the_commands_in_the_examples_are_sealed(example):
    message = messages.decode("downlink", msgspec.json.encode(example.value))
    key = derive_device_key(bytes(range(32)), message.device, 1)
    body = commands.decode_body(message.body)
    assert commands.verify_command(key, message.body, message.mac)
    assert (body.device, body.command_id.hex(), body.counter, body.expires_us) == (
        message.device, message.command_id, message.counter, message.expires_us,
    )  # fmt: skip
    assert body.type.name.lower() == message.type
