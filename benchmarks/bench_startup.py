"""Start-up time of a new process: the import, and the first step with and without the disk cache."""

from .common import TARGETS, arrays_on

MAKE = "import numpy, gnumba; w = numpy.zeros(1000, numpy.float32)"
STEP = "held = gnumba.use_target('{target}'); held.__enter__(); gnumba.Adam(w).step(w)"
# {again} are run in a process before, so that the kernels are on the disk. One line each: asv quotes them.
PREPARE = """
import os, subprocess, sys, tempfile
os.environ["GNUMBA_CACHE_DIR"] = {folder}
for script in {again}:
    subprocess.run([sys.executable, "-c", script], check=True)
"""


class Import:
    """Seconds to import; gnumba's share is the difference."""

    repeat, rounds, number, warmup_time = 5, 1, 1, 0.0
    version = "2"

    def timeraw_import_numba(self):
        return "import numba"

    def timeraw_import_gnumba(self):
        return "import gnumba"


class FirstStep:
    """Seconds from the making of an Adam to the end of its first step, in a new process."""

    params = (TARGETS,)
    param_names = ("target",)
    repeat, rounds, number, warmup_time = 3, 1, 1, 0.0
    version = "2"

    def setup(self, target):
        arrays_on(target)

    def timeraw_cold(self, target):
        return STEP.format(target=target), PREPARE.format(folder="tempfile.mkdtemp()", again=[]) + MAKE

    def timeraw_cached(self, target):
        step, folder = (
            STEP.format(target=target),
            "os.path.join(tempfile.gettempdir(), f'gnumba-{os.getuid()}')",
        )
        return step, PREPARE.format(folder=folder, again=[f"{MAKE}; {step}"]) + MAKE
