from __future__ import annotations

import ctypes
import importlib
import logging
import types

import pytest

from posestream.models.engines import nvidia_packages
from posestream.models.engines.nvidia_packages import Needed, load_tensorrt, needed_by, why_not_loaded
from posestream.models.engines.providers import load_libraries, load_onnxruntime, provider_fault, runtime_errors

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra is not installed: pip install -e '.[onnxruntime]'")
pytest.importorskip("onnx", reason="the extra is not installed: pip install -e '.[onnxruntime]'")

#: What the module does where NVIDIA's libraries are not there.
SOURCE = """
calls = []

def preload_dlls():
    calls.append("preload")
    print("Failed to load", "libcublas.so.13")

def get_available_providers():
    return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

def InferenceSession(model, options, providers, enable_fallback):
    calls.append(providers[0][0])
    raise RuntimeError("Please install TensorRT libraries")
"""


@pytest.fixture
def fake(tmp_path):
    """Give a module like an ONNX Runtime for GPUs, built with TensorRT 10 and CUDA 13."""
    module = types.ModuleType("onnxruntime")
    module.__file__ = str(tmp_path / "onnxruntime" / "__init__.py")
    module.SessionOptions = onnxruntime.SessionOptions
    exec(SOURCE, vars(module))  # noqa: S102 - its names must be the module's own
    capi = tmp_path / "onnxruntime" / "capi"
    capi.mkdir(parents=True)
    linked = b"\0libcublas.so.13\0libnvinfer.so.10\0libnvonnxparser.so.10\0libcudart.so.13\0"
    (capi / "libonnxruntime_providers_tensorrt.so").write_bytes(b"\x7fELF" + linked)
    return module


def test_what_it_prints_is_logged(fake, capsys, caplog):
    """What ONNX Runtime prints of libraries that it misses is in the log, once, and never on standard output."""
    caplog.set_level(logging.DEBUG)
    for family in ("ort-cpu", "cuda", "cuda", "tensorrt"):
        load_libraries(fake, family)
    assert fake.calls == ["preload"]
    assert capsys.readouterr() == ("", "")
    assert [record.getMessage() for record in caplog.records] == ["Failed to load libcublas.so.13"]
    assert "print" not in vars(fake)


def test_versions_are_those_it_was_linked_with(fake, tmp_path):
    """The versions of TensorRT and CUDA are read out of the provider's file; without one there is nothing to say."""
    assert needed_by(fake) == Needed(10, 13)
    (tmp_path / "onnxruntime" / "capi" / "libonnxruntime_providers_tensorrt.so").unlink()
    assert needed_by(fake) is None


def test_libraries_of_tensorrts_package_are_loaded_in_order(fake, tmp_path, monkeypatch, caplog):
    """Those of the version that is needed are loaded for everybody, each after what it needs; what fails is logged."""
    caplog.set_level(logging.DEBUG)
    folder = tmp_path / "site" / "tensorrt_libs"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    for name in ("libnvonnxparser.so.10", "libnvinfer.so.10", "libnvinfer.so.11"):
        (folder / name).write_bytes(b"")
    monkeypatch.syspath_prepend(tmp_path / "site")
    loaded = []

    def load(path, mode):
        loaded.append((path.removeprefix(f"{folder}/"), mode))
        if "parser" in path:
            raise OSError("no room")

    monkeypatch.setattr(nvidia_packages.ctypes, "CDLL", load)
    load_tensorrt(fake)
    load_tensorrt(fake)
    assert loaded == [("libnvinfer.so.10", ctypes.RTLD_GLOBAL), ("libnvonnxparser.so.10", ctypes.RTLD_GLOBAL)]
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder}/libnvonnxparser.so.10 cannot be loaded: no room"
    ]


def test_without_tensorrts_package_nothing_is_loaded(fake, monkeypatch):
    """Where TensorRT does not come as a package, it is left to the system to find it."""
    monkeypatch.setattr(nvidia_packages.ctypes, "CDLL", lambda *_, **__: pytest.fail("it loaded something"))
    load_tensorrt(fake)


def test_provider_is_tried_once(fake):
    """A provider that cannot be loaded is tried once in a process, and the system's reason is told in one line."""
    told = {provider_fault(fake, "tensorrt") for _ in range(3)}
    assert fake.calls == ["preload", "TensorrtExecutionProvider"]
    assert len(told) == 1
    (fault,) = told
    assert fault.startswith("ONNX Runtime's TensorrtExecutionProvider cannot be loaded: ")
    assert "libonnxruntime_providers_shared.so: cannot open shared object file" in fault
    assert "\n" not in fault


def test_reason_is_that_of_the_system(fake, monkeypatch):
    """Where the provider's own file can be loaded, it is not the libraries that are missing."""
    monkeypatch.setattr(nvidia_packages.ctypes, "CDLL", lambda *_, **__: None)
    assert why_not_loaded(fake, "cuda") == "its libraries are here, and it refuses them or the driver"


def test_provider_that_loads_has_no_fault():
    """The processor's provider runs the network of one operation."""
    assert provider_fault(onnxruntime, "ort-cpu") == ""


def test_it_writes_nothing_by_itself(monkeypatch):
    """ONNX Runtime's own logger is told to write what ends the process, and nothing less."""
    told = []
    monkeypatch.setattr(onnxruntime, "set_default_logger_severity", told.append)
    assert load_onnxruntime() is onnxruntime
    assert told == [4]


def test_its_own_errors_are_known():
    """What its bindings raise has no common base: every class of it is known, and a bug of ours is not among them."""
    bindings = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    assert {bindings.Fail, bindings.InvalidGraph, bindings.EPFail} <= set(runtime_errors())
    assert not issubclass(TypeError, runtime_errors())
    assert not issubclass(AttributeError, runtime_errors())
