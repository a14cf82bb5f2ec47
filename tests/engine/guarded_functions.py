"""Functions for a guarded process; what they do is in the data."""

import ctypes
import os
import time

_ready: list[bytes] = []


def prepare(data: bytes, options: dict[str, object]) -> bytes:
    """Use a second of processor time on the first call, or fail on it if the options say so."""
    if options.get("fail"):
        raise ModuleNotFoundError("No module named 'parser'")
    end = time.process_time() + (0 if _ready else 1)
    while time.process_time() < end:
        pass
    _ready.append(data)
    return b" ".join(_ready)


def behave(data: bytes, options: dict[str, object]) -> bytes:
    """Behave as the data says: spin, raise, die, crash, eat memory, sleep, or answer."""
    match data.split(b":"):
        case [b"spin"]:
            while True:
                pass
        case [b"spin in C"]:  # holds the interpreter's lock and never comes back
            ctypes.pythonapi.PyLong_FromLong  # noqa: B018
            return str(pow(3, 10**9)).encode()
        case [b"sleep", seconds]:
            time.sleep(float(seconds))
        case [b"raise"]:
            raise ValueError("no such page")
        case [b"die"]:
            os._exit(3)
        case [b"crash"]:
            os.abort()
        case [b"eat"]:
            return bytes(1 << 34)
        case [b"pid"]:
            return str(os.getpid()).encode()
    return data.upper() + str(options.get("end", "")).encode()
