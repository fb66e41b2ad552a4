"""NVIDIA's GPUs on this machine, as their driver tells of them: no library but the driver's own is needed."""

from __future__ import annotations

import ctypes
from typing import Any

__all__ = ["gpu_names"]

#: The driver's library on Linux and on Windows.
_LIBRARIES = ("libcuda.so.1", "nvcuda.dll")
#: Longest name that is asked for, in bytes.
_NAME_BYTES = 256


def gpu_names() -> tuple[str, ...]:
    """Give the GPUs' names in the driver's order; none where there is no driver, or no GPU that it can use."""
    driver = _load_driver()
    count = ctypes.c_int()
    if driver is None or driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    return tuple(_name(driver, number) for number in range(count.value))


def _load_driver() -> Any | None:
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _name(driver: Any, number: int) -> str:
    device, text = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    if driver.cuDeviceGet(ctypes.byref(device), number) or driver.cuDeviceGetName(text, _NAME_BYTES, device):
        return f"GPU {number}"
    return text.value.decode(errors="replace")
