"""dipy_contestant - what contestants that are DIPY share: the BLAS they run on, the clock, the line.

One process, one thread of BLAS. What is missing is named on stderr, and nothing is reported: nobody
has to install DIPY.
"""
import json
import os
import resource
import sys
import time
import warnings

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
LAPACK = {"openblas-pthread": "openblas-pthread", "blas": "lapack"}
NAMES = {"openblas-pthread": "OpenBLAS", "blas": "reference BLAS"}
AT_LEAST_S = 0.3


def leave_out(why):
    print(f"{os.path.basename(sys.argv[0])}: left out: {why}", file=sys.stderr)
    sys.exit(0)


def read_options():
    """--data, --blas and --only; others are for other contestants."""
    options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    return options["--data"], options["--blas"], options.get("--only")


def with_blas(blas):
    """Starts again with this BLAS in front of the one that Debian chose; then DIPY is there."""
    if not os.path.isdir(f"{LIBRARIES}/{blas}"):
        leave_out(f"{LIBRARIES}/{blas} is not there")
    path = f"{LIBRARIES}/{blas}:{LIBRARIES}/{LAPACK[blas]}"
    if os.environ.get("LD_LIBRARY_PATH") != path:
        os.environ.update(LD_LIBRARY_PATH=path, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
        os.execv(sys.argv[0], sys.argv)
    try:
        import dipy  # noqa: F401
        import nibabel  # noqa: F401
    except ImportError as missing:
        leave_out(f"{missing.name} is not installed (Debian: python3-dipy, python3-nibabel)")
    warnings.simplefilter("ignore")


def loaded_blas():
    with open("/proc/self/maps") as maps:
        return sorted({line.split()[-1] for line in maps if "blas" in line.rsplit("/", 1)[-1]})


def read_gradients(folder, volumes=slice(None)):
    import numpy
    from dipy.core.gradients import gradient_table
    bvals = numpy.loadtxt(f"{folder}/dwi.bval").ravel()[volumes]
    bvecs = numpy.loadtxt(f"{folder}/dwi.bvec")
    bvecs = (bvecs.T if bvecs.shape[0] == 3 else bvecs)[volumes]
    return gradient_table(bvals, bvecs, b0_threshold=50, atol=1e-2)


def time_fits(model, data, mask):
    """How many fits, their time and CPU time in seconds, and the last one."""
    fits, wall, cpu = 0, 0.0, 0.0
    stderr = os.dup(2)  # DIPY draws progress bars
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    model.fit(data[:2], mask=mask[:2])
    while wall < AT_LEAST_S:
        start, cpu_start = time.perf_counter(), time.process_time()
        fit = model.fit(data, mask=mask)
        wall += time.perf_counter() - start
        cpu += time.process_time() - cpu_start
        fits += 1
    os.dup2(stderr, 2)
    return fits, wall, cpu, fit


def report(question, case, blas, n, fits, wall, cpu, answer, **params):
    import dipy

    def line(case, unit, value, n, **params):
        print(json.dumps({
            "question": question, "case": case, "contestant": f"DIPY, {NAMES[blas]}", "unit": unit,
            "median": value, "min": value, "max": value, "runs": 1, "n": n,
            "params": {"workers": 1, **params},
            "commit": os.environ.get("BENCH_COMMIT", "unknown"),
            "cpus": len(os.sched_getaffinity(0))}), flush=True)

    line(case, "ns", 1e9 * wall / (fits * n), n, answer=answer, dipy=dipy.__version__,
         blas=loaded_blas(), fits=fits, cpu_ns=1e9 * cpu / (fits * n), **params)
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line(f"{case}, peak memory", "MiB", kib / 1024, 1, answer=None)
