"""Builds the compiled part of grouping where there is a C compiler; pyproject.toml has everything else of the build."""

import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FOLDER = "stages/group/native"
PARTS = ("module", "decode", "zoom", "peaks", "limbs", "pair", "assemble", "people", "sort")
#: Both decoders give the same bits only if nothing is fused or reordered.
OPTIONS = {
    "unix": ["-std=c99", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"],
    "msvc": ["/O2", "/fp:precise"],
}
#: Python's stable interface is not there for builds without the GIL.
IS_STABLE = not sysconfig.get_config_var("Py_GIL_DISABLED") and sys.implementation.name == "cpython"


class BuildIfPossible(build_ext):
    """Compiles with the options of whichever compiler there is, and forgets what could not be compiled."""

    def build_extensions(self) -> None:
        """Compile."""
        for extension in self.extensions:
            extension.extra_compile_args += OPTIONS.get(self.compiler.compiler_type, OPTIONS["unix"])
        super().build_extensions()
        # An editable install in strict mode would look for it in vain.
        self.extensions = [each for each in self.extensions if Path(self.get_ext_fullpath(each.name)).exists()]


setup(
    cmdclass={"build_ext": BuildIfPossible},
    ext_modules=[
        Extension(
            "posestream.stages.group._compiled",
            [f"{FOLDER}/{part}.c" for part in PARTS],
            depends=[f"{FOLDER}/decode.h", f"{FOLDER}/zoom.h"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")] if IS_STABLE else [],
            libraries=[] if sys.platform == "win32" else ["m"],
            optional=True,  # without it the decoder in NumPy serves
            py_limited_api=IS_STABLE,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if IS_STABLE else {},
)
