"""python_contestant - what contestants in Python share: options, and the line that they report."""
import json
import os
import sys


def read_options(argv, **more):
    """--workers N, --only CASE, --scale F, and what the contestant adds: a dict of name -> value."""
    options = {"workers": str(len(os.sched_getaffinity(0))), "only": None, "scale": "1", **more}
    words = argv[1:]
    while words:
        name = words[0][2:]
        if not words[0].startswith("--") or name not in options or len(words) < 2:
            known = " ".join(f"[--{o} VALUE]" for o in options)
            sys.exit(f"usage: {os.path.basename(argv[0])} {known}")
        options[name] = words[1]
        words = words[2:]
    options["workers"] = int(options["workers"])
    options["scale"] = float(options["scale"])
    return options


def report(question, contestant, case, unit, value, n, workers, **more):
    """One line. The answer was checked by who reports; the n is not that of others, so it is null."""
    print(json.dumps({
        "question": question, "case": case, "contestant": contestant, "unit": unit,
        "median": value, "min": value, "max": value, "runs": 1, "n": n,
        "params": {"workers": workers, "answer": None, **more},
        "commit": os.environ.get("BENCH_COMMIT", "unknown"),
        "cpus": len(os.sched_getaffinity(0))}), flush=True)


def expect(expected, found, of):
    if expected != found:
        sys.exit(f"{of}: expected {expected}, found {found}")
