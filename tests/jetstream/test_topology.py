"""Reading streams/*.json and comparing them: nothing here needs a server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from caxton_nats.core.errors import ConfigurationError
from caxton_nats.jetstream import stream_files, topology
from caxton_nats.jetstream.topology import Difference, Options, compare

FILES = Path(__file__).resolve().parents[2] / "streams"
WANTED: dict[str, Any] = {
    "name": "CAXTON_DLQ",
    "subjects": ["caxton.dlq.>"],
    "max_msgs": 5,
    "deny_purge": False,
    "metadata": {"caxton": "1"},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of streams/ that the topology is read from."""
    copied = tmp_path / "streams"
    shutil.copytree(FILES, copied)
    monkeypatch.setattr(stream_files, "_folder", lambda: copied)
    return copied


def edit(path: Path, **keys: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def by_name(options: Options) -> dict[str, dict[str, Any]]:
    return {config["name"]: config for config in topology.streams(options)}


def test_the_files_say_the_limits(folder: Path) -> None:
    """A changed file changes the topology: there is no second place where it is written."""
    edit(folder / "dead_letters.stream.json", max_age=7)
    assert by_name(Options())["CAXTON_DLQ"]["max_age"] == 7
    edit(folder / "router.consumer.json", max_ack_pending=9)
    assert topology.consumer("router")["max_ack_pending"] == 9


def test_an_unknown_key_of_a_stream_is_refused(folder: Path) -> None:
    """A misspelt limit would be no limit: file and key are named."""
    edit(folder / "dead_letters.stream.json", max_msg=7, retain="limits")
    with pytest.raises(ConfigurationError) as refused:
        topology.streams(Options())
    assert refused.value.field == "dead_letters.stream.json"
    assert "max_msg, retain" in refused.value.reason


def test_an_unknown_key_of_a_consumer_is_refused(folder: Path) -> None:
    """The same for the files of consumers, whose keys are others."""
    edit(folder / "mailbox.consumer.json", max_msgs=7)
    with pytest.raises(ConfigurationError) as refused:
        topology.consumer("mailbox")
    assert refused.value.field == "mailbox.consumer.json"
    assert "max_msgs" in refused.value.reason


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name": "\xff"}'])
def test_a_file_that_is_no_json_object_is_refused(folder: Path, content: bytes) -> None:
    """Named like any other mistake in a file, without a traceback of a decoder."""
    (folder / "attempts.stream.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match="cannot be read") as refused:
        topology.streams(Options())
    assert refused.value.field == "attempts.stream.json"


def test_a_file_that_is_not_there_is_refused(folder: Path) -> None:
    """A broken installation says which file it lacks."""
    (folder / "router.consumer.json").unlink()
    with pytest.raises(ConfigurationError) as refused:
        topology.consumer("router")
    assert refused.value.field == "router.consumer.json"


def test_there_is_a_mailbox_stream_for_each_shard() -> None:
    """Shard 0 is in the file; the others differ in name and subject only."""
    found = by_name(Options(shards=3))
    shards = [name for name in found if name.startswith("CAXTON_MAILBOX_")]
    assert shards == ["CAXTON_MAILBOX_0", "CAXTON_MAILBOX_1", "CAXTON_MAILBOX_2"]
    assert found["CAXTON_MAILBOX_2"]["subjects"] == ["caxton.mailbox.2.*", "caxton.urgent.2.*"]
    first, last = found["CAXTON_MAILBOX_0"], found["CAXTON_MAILBOX_2"]
    assert {key for key in first if first[key] != last[key]} == {"name", "subjects"}


def test_advisories_of_every_shard_are_kept() -> None:
    """A shard that is left out would never be told of its exhausted deliveries."""
    advisory = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.CAXTON_MAILBOX_{}.*"
    found = by_name(Options(shards=12))["CAXTON_ADVISORIES"]["subjects"]
    assert found == [advisory.format(shard) for shard in range(12)]


def test_the_ingress_comes_last() -> None:
    """It carries what the deployment says of itself: where it is whole, everything is there."""
    names = [config["name"] for config in topology.streams(Options())]
    assert names[-1] == "CAXTON_INGRESS"
    assert len(set(names)) == len(names)


def test_what_a_deployment_chooses_is_laid_over_the_files() -> None:
    """Replicas everywhere; queue size and duplicate window on mailboxes; the rest on the ingress."""
    options = Options(
        platform="lab",
        shards=2,
        queue_size=7,
        replicas=3,
        duplicate_window=0.5,
        max_participants=9,
        conversation_retention=7200,
    )
    found = by_name(options)
    assert {config["num_replicas"] for config in found.values()} == {3}
    mailbox = found["CAXTON_MAILBOX_1"]
    assert (mailbox["max_msgs_per_subject"], mailbox["duplicate_window"]) == (7, 500_000_000)
    assert found["CAXTON_DLQ"]["duplicate_window"] == 120_000_000_000
    assert found["CAXTON_INGRESS"]["metadata"] == {
        "caxton": "1",
        "caxton-platform": "lab",
        "caxton-shards": "2",
        "caxton-max-participants": "9",
        "caxton-conversation-timeout": "1800.0",
        "caxton-conversation-lifetime": "604800.0",
        "caxton-rate-limit": "0",
    }
    assert found["KV_caxton-conversations-archive"]["max_age"] == 7_200_000_000_000


def test_bounds_compression_and_storage_are_laid_over_the_files() -> None:
    """The two bounds on their own streams, the rest on all of them."""
    found = by_name(
        Options(ingress_size=11, dead_letter_size=12, compression="s2", conversation_retention=7200)
    )
    assert found["KV_caxton-conversations-archive"]["max_age"] == 7200 * 10**9
    assert found["CAXTON_INGRESS"]["max_msgs"] == 11
    assert found["CAXTON_DLQ"]["max_msgs"] == 12
    kinds = {(config["compression"], config["storage"]) for config in found.values()}
    assert kinds == {("s2", "file")}
    in_memory = by_name(Options(compression="s2", storage="memory"))
    kinds = {(config["compression"], config["storage"]) for config in in_memory.values()}
    assert kinds == {("none", "memory")}


def test_every_stream_bears_the_mark() -> None:
    """A stream without it would count as somebody else's as soon as it exists."""
    assert all(topology.MARK in config["metadata"] for config in topology.streams(Options()))


def test_a_stream_that_is_as_its_file_says_is_no_difference() -> None:
    """Also when the server has keys of its own, and has added to the metadata."""
    actual = {
        **WANTED,
        "sealed": True,
        "metadata": {"caxton": "1", "_nats.level": "1", "_nats.ver": "2.15.1"},
    }
    assert compare(WANTED, actual) is None


def test_what_a_server_leaves_out_is_no_difference() -> None:
    """False, 0 and a missing key are the same to a server."""
    assert compare(WANTED, {k: v for k, v in WANTED.items() if k != "deny_purge"}) is None


def test_a_stream_that_is_not_there_is_missing() -> None:
    """The first of the three kinds of difference."""
    assert compare(WANTED, None) == Difference("CAXTON_DLQ", "missing")


def test_each_changed_key_is_told_with_both_values() -> None:
    """First what the server has, then what the file says."""
    actual = {**WANTED, "max_msgs": 9, "subjects": [], "deny_purge": True}
    assert compare(WANTED, actual) == Difference(
        "CAXTON_DLQ",
        "changed",
        {"max_msgs": (9, 5), "subjects": ([], ["caxton.dlq.>"]), "deny_purge": (True, False)},
    )


def test_metadata_of_ours_is_compared() -> None:
    """Only what the server adds by itself is left out, and left out of what is shown."""
    actual = {**WANTED, "metadata": {"caxton": "0", "_nats.level": "1"}}
    assert compare(WANTED, actual) == Difference(
        "CAXTON_DLQ", "changed", {"metadata": ({"caxton": "0"}, {"caxton": "1"})}
    )


@pytest.mark.parametrize("metadata", [{}, {"metadata": None}, {"metadata": {"_nats.level": "1"}}])
def test_a_stream_without_the_mark_is_foreign(metadata: dict[str, Any]) -> None:
    """Whatever else is the same: we did not make it, so we do not change it."""
    actual = {key: value for key, value in WANTED.items() if key != "metadata"} | metadata
    assert compare(WANTED, actual) == Difference("CAXTON_DLQ", "foreign")
