"""What a new process waits for: the import, and the first step with and without the disk cache."""

FIRST_STEP = "gnumba.Adam(w).step(w)"
PREPARE = """
import os, tempfile
os.environ["GNUMBA_CACHE_DIR"] = {folder}
import numpy, gnumba
w = numpy.zeros(1000, numpy.float32)
"""


class Startup:
    repeat, rounds, number, warmup_time = 3, 1, 1, 0.0
    version = "1"

    def timeraw_import_numba(self):
        return "import numba"

    def timeraw_import_gnumba(self):
        return "import gnumba"

    def timeraw_first_step_cold(self):
        return FIRST_STEP, PREPARE.format(folder="tempfile.mkdtemp()")

    def timeraw_first_step_cached(self):
        setup = PREPARE.format(folder="os.path.join(tempfile.gettempdir(), f'gnumba-asv-{os.getuid()}')")
        warm = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import numpy, gnumba; "
        warm += "w = numpy.zeros(1000, numpy.float32); gnumba.Adam(w).step(w)'], check=True)"
        return FIRST_STEP, setup + warm
