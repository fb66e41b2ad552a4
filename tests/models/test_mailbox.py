from __future__ import annotations

import os
import select
import threading

import pytest

from posestream.models.engines import mailbox as module
from posestream.models.engines.mailbox import Mailbox


@pytest.fixture(params=["eventfd", "socketpair"])
def mailbox(request, monkeypatch):
    """A mailbox of either kind."""
    if request.param == "socketpair":
        monkeypatch.delattr(os, "eventfd", raising=False)
    elif not hasattr(os, "eventfd"):
        pytest.skip("this system has no eventfd")
    mailbox = Mailbox()
    yield mailbox
    mailbox.close()


def is_readable(mailbox):
    """Poll the descriptor without waiting."""
    return bool(select.select([mailbox.fileno()], [], [], 0)[0])


def test_readable_while_something_is_inside(mailbox):
    """The descriptor is readable from the first item until they are taken, however many there are."""
    assert not is_readable(mailbox)
    for number in range(10_000):
        mailbox.put(number)
    assert is_readable(mailbox)
    assert mailbox.take() == list(range(10_000))
    while is_readable(mailbox):  # a socket may need some empty wake-ups to forget so many
        assert mailbox.take() == []


def test_items_of_another_thread_wake_the_owner(mailbox):
    """An item that another thread puts in ends the owner's wait."""
    thread = threading.Thread(target=mailbox.put, args=("item",))
    thread.start()
    assert select.select([mailbox.fileno()], [], [], 60)[0]
    assert mailbox.take() == ["item"]
    thread.join()


def test_wake_without_an_item(mailbox):
    """A wake-up alone makes the descriptor readable once."""
    mailbox.wake()
    assert is_readable(mailbox)
    assert mailbox.take() == []
    assert not is_readable(mailbox)


def test_nothing_touches_the_descriptor_after_close(mailbox):
    """After closing, late items are dropped, what was inside can be taken, and closing again does nothing."""
    mailbox.put(1)
    mailbox.close()
    mailbox.put(2)
    mailbox.wake()
    mailbox.close()
    assert mailbox.take() == [1]
    assert repr(mailbox) == "Mailbox(0 waiting, closed)"


def test_both_kinds_exist():
    """The choice follows what the system has."""
    assert module._wakeup().__class__.__name__ == ("_EventWakeup" if hasattr(os, "eventfd") else "_SocketWakeup")
