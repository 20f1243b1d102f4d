"""A cluster of three peers, as the first of them answers: where shards lie, and what a dead peer does to a request.

The words are recorded ones. Which points share a shard, and where a shard lies, is this module's own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from tests.qdrant_double.refusals import Refused

PEERS = {
    945744708333800: "127.0.0.11:6335",
    5579767169079080: "127.0.0.12:6335",
    6770537468012924: "127.0.0.13:6335",
}
IDS = list(PEERS)


def unreachable(address: str) -> str:
    """Return what the transport says of a peer that is not there."""
    refused = 'Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }'
    cause = f'ConnectError("tcp connect error", {address}, {refused})'
    source = f"tonic::transport::Error(Transport, ConnectError({cause}))"
    text = "code: 'The service is currently unavailable', message: \"tcp connect error\""
    return f"Service internal error: Tonic status error: {text}, source: {source}"


class Cluster:
    """The peers, which of them are dead, and which replicas missed a write."""

    def __init__(self) -> None:
        self._dead: set[int] = set()
        self._behind: set[tuple[str, int, int]] = set()

    def kill(self, peer: int) -> None:
        """Let a peer (1 or 2; 0 is the one that answers) be dead."""
        self._dead.add(IDS[peer])

    def revive(self, peer: int) -> None:
        """Let a peer be there again, with what it missed."""
        self._dead.discard(IDS[peer])
        self._behind = {replica for replica in self._behind if replica[2] != IDS[peer]}

    def about(self) -> dict[str, Any]:
        """Return what `GET /cluster` answers."""
        now = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.%f}000Z"
        return {
            "status": "enabled",
            "peer_id": IDS[0],
            "peers": {str(peer): {"uri": f"http://{address}/"} for peer, address in PEERS.items()},
            "raft_info": {
                "term": 1,
                "commit": 9,
                "pending_operations": 0,
                "leader": IDS[0],
                "role": "Leader",
                "is_voter": True,
            },
            "consensus_thread_status": {"consensus_thread_status": "working", "last_update": now},
            "message_send_failures": {f"http://{PEERS[peer]}/": failure(PEERS[peer], now) for peer in self._dead},
        }

    def shards(self, name: str, settings: dict[str, Any], ids: Iterable[Any]) -> dict[str, Any]:
        """Return what `GET /collections/NAME/cluster` answers. `ids` are those of all points."""
        count = settings["shard_number"]
        points = [shard_of(each, count) for each in ids]
        local, remote = [], []
        for shard in range(count):
            for peer in replicas(shard, settings):
                state = "Dead" if (name, shard, peer) in self._behind else "Active"
                if peer == IDS[0]:
                    local.append({"shard_id": shard, "points_count": points.count(shard), "state": state})
                else:
                    remote.append({"shard_id": shard, "peer_id": peer, "state": state})
        return {
            "peer_id": IDS[0],
            "shard_count": count,
            "local_shards": local,
            "remote_shards": remote,
            "shard_transfers": [],
        }

    def refuse_read(self, settings: dict[str, Any]) -> None:
        """Refuse to read where a shard has no replica that is there."""
        lost = self._lost(settings)
        if lost:
            text = f"Service internal error: 1 of 1 read operations failed:\n  {unreachable(PEERS[lost[min(lost)]])}"
            raise Refused(500, text)

    def reachable(
        self, name: str, settings: dict[str, Any], points: list[dict[str, Any]]
    ) -> tuple[list[dict[str, Any]], Refused | None]:
        """Return the points that can be written, and the refusal that is told when they are, if others cannot."""
        count, lost = settings["shard_number"], self._lost(settings)
        touched = {shard_of(point["id"], count) for point in points}
        for shard in touched - lost.keys():
            self._behind |= {(name, shard, peer) for peer in replicas(shard, settings) if peer in self._dead}
        failed = sorted(touched & lost.keys())
        if not failed:
            return points, None
        first = f"First error captured: {unreachable(PEERS[lost[failed[0]]])}"
        told = f"{len(failed)} out of {len(touched)} shards failed to apply operation. {first}"
        written = [point for point in points if shard_of(point["id"], count) not in lost]
        return written, Refused(500, f"Service internal error: {told}")

    def _lost(self, settings: dict[str, Any]) -> dict[int, int]:
        """The shards all of whose replicas are dead, each with a peer that had it."""
        lying = {shard: replicas(shard, settings) for shard in range(settings["shard_number"])}
        return {shard: peers[0] for shard, peers in lying.items() if self._dead.issuperset(peers)}


def shard_of(point_id: Any, count: int) -> int:
    """Return the shard of a point."""
    return zlib.crc32(str(point_id).encode()) % count


def replicas(shard: int, settings: dict[str, Any]) -> list[int]:
    """Return the peers that hold a shard."""
    return [IDS[(shard + 1 + copy) % len(IDS)] for copy in range(settings.get("replication_factor") or 1)]


def failure(address: str, now: str) -> dict[str, Any]:
    """Return what the consensus says of a dead peer."""
    to = f'"Failed to connect to http://{address}/, error: transport error"'
    text = f"code: 'The service is currently unavailable', message: {to}"
    told = f"Error in closure supplied to transport channel pool: {text}"
    return {"count": 87, "latest_error": told, "latest_error_timestamp": now}
