"""How much each client may ask for: budgets that fill up with time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["Budget", "ClientLimits", "Quota"]

#: Clients that are remembered; beyond them the one that asked longest ago is forgotten, and begins with full budgets.
_MOST_CLIENTS = 1000


class Budget:
    """A bucket that fills at a rate and can be overdrawn once: who spent too much waits until it is paid back."""

    def __init__(self, per_s: float, burst: float, now_s: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = burst
        self._at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Give how long it takes until something may be spent again; 0 if it may be now."""
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return max(0.0, -self._left / self._per_s)

    def spend(self, amount: float) -> None:
        """Take something out."""
        self._left -= amount


@dataclass(frozen=True, slots=True)
class Quota:
    """What one client may have. Each number is a rate per second, and what may come at once is as much as of two."""

    requests_per_s: float = 100.0
    bytes_per_s: float = 16 << 20


class ClientLimits:
    """The budgets of all clients, and one over all of them, so that many connections are no way around."""

    def __init__(self, each: Quota, everybody: Quota) -> None:
        self._each = each
        self._everybody = _Purse(everybody, 0.0)
        self._clients: OrderedDict[bytes, _Purse] = OrderedDict()

    def __repr__(self) -> str:
        return f"<ClientLimits of {len(self._clients)} clients>"

    def wait_s(self, client: bytes, now_s: float) -> float:
        """Count a request, and give how long its sender has to wait; 0 if it may be answered."""
        purse = self._clients.pop(client, None) or _Purse(self._each, now_s)
        self._clients[client] = purse
        if len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)
        wait_s = max(purse.wait_s(now_s), self._everybody.wait_s(now_s))
        if not wait_s:
            purse.requests.spend(1)
            self._everybody.requests.spend(1)
        return wait_s

    def spend(self, client: bytes, size: int) -> None:
        """Count an answer's bytes."""
        self._everybody.bytes.spend(size)
        if client in self._clients:
            self._clients[client].bytes.spend(size)


class _Purse:
    def __init__(self, quota: Quota, now_s: float) -> None:
        self.requests = Budget(quota.requests_per_s, 2 * quota.requests_per_s, now_s)
        self.bytes = Budget(quota.bytes_per_s, 2 * quota.bytes_per_s, now_s)

    def wait_s(self, now_s: float) -> float:
        return max(self.requests.wait_s(now_s), self.bytes.wait_s(now_s))
