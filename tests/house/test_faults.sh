#!/bin/sh
# The table of faults (tests/faults/README.md) is true: rows 1 to 68 and S1 to S6 are there once, each case that it
# names is in the file that it names, a row without tests says so, and what lies in tests/faults is named.
# That what it names carries the label `faults` follows from tests/CMakeLists.txt, which reads the table.
# Then the proof that this test can fail.
set -eu
house=$(cd "$(dirname "$0")" && pwd)
root=${DMRT_SOURCE_DIR:-$house/../..}
table=$root/tests/faults/README.md

# violations TABLE: one line each.
violations() {
    # shellcheck disable=SC2046 # names of tests have no blanks
    awk -f "$house/faults.awk" $(find "$root/tests" -maxdepth 2 -name '*_*.c') "$1"
}

wrong=$(violations "$table")
if [ -n "$wrong" ]; then
    echo "$wrong"
    exit 1
fi

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

# caught WORDS SCRIPT: after this change to the table there is a violation with these words.
caught() {
    sed "$2" "$table" >"$copy/README.md"
    if ! violations "$copy/README.md" | grep -q "$1"; then
        echo "not caught: $2 (\"$1\")"
        exit 1
    fi
}

name=idle_workers_are_replaced
caught 'row 7 is there 0 times' '/^| 7 |/d'
caught 'row 8 is there 2 times' 's/^| 7 |/| 8 |/'
caught 'row 70 is known to nobody' 's/^| 7 |/| 70 |/'
caught 'no row begins like this' 's/^| 7 |/| 7a |/'
caught 'row 1 names test_nothing.c' '/^| 1 |/s/test_worker_death/test_nothing/'
caught 'row 1 names the case idle, which is not in test_worker_death.c' "/^| 1 |/s/$name/idle/"
caught "row 1 names the case $name of no file" '/^| 1 |/s/.test_worker_death.c.: //'
caught 'row 1 is "none yet" and names tests' '/^| 1 |/s/tested/none yet/'
caught 'row 1 is "tested" and names no test' "/^| 1 |/s/.test_worker_death.c.: .$name./none/"
caught 'row 1 has the status "fine"' '/^| 1 |/s/tested/fine/'
