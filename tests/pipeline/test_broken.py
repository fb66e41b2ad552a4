from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

#: What the command line meets where OpenCV is not installed, or lacks a library of the system's.
SAYS = {
    "absent": "raise ModuleNotFoundError(\"No module named 'cv2'\", name='cv2')",
    "without libGL": "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')",
}


def run(tmp_path, fault, *words):
    """Run the command line where OpenCV cannot be imported; give the exit code, standard output and error."""
    (tmp_path / "cv2.py").write_text(SAYS[fault] + "\n", "utf-8")
    code = "import sys; from posestream.pipeline.commands import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(  # noqa: S603 - the arguments are ours
        [sys.executable, "-c", code, *words],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("fault", "said"),
    [("absent", "No module named 'cv2'"), ("without libGL", "libGL.so.1: cannot open shared object file")],
)
def test_doctor_names_what_cannot_be_loaded(tmp_path, fault, said):
    """Without OpenCV, or one that cannot load libGL, `doctor` says so and what to install instead of a traceback."""
    code, told, errors = run(tmp_path, fault, "doctor")
    assert (code, errors) == (4, "")
    (line,) = (line for line in told.splitlines() if line.startswith("error "))
    assert said in line
    assert "opencv-python-headless" in line
    code, told, errors = run(tmp_path, fault, "doctor", "--json")
    assert (code, errors) == (4, "")
    found = json.loads(told)
    assert found["usable"] is False
    (wrong,) = (each for each in found["findings"] if each["state"] == "error")
    assert (wrong["name"], wrong["text"]) == (
        "opencv-python",
        f"cannot be loaded: {said}{wrong['text'].partition(said)[2]}",
    )


def test_other_commands_say_it_in_one_line(tmp_path):
    """Every other command ends with 4 and one line that names the package, unless --debug asks for the traceback."""
    code, told, errors = run(tmp_path, "without libGL", "models", "list")
    assert (code, told, errors.count("\n")) == (4, "", 1)
    assert errors.startswith("posestream: error: ")
    assert "libGL.so.1" in errors
    assert "Traceback" in run(tmp_path, "without libGL", "--debug", "models", "list")[2]
