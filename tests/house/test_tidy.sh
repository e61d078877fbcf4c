#!/bin/sh
# Nothing unfinished and nothing of the machine that wrote it in any text file of the repository.
set -eu
house=$(cd "$(dirname "$0")" && pwd)
root=$(cd "${DMRT_SOURCE_DIR:-$house/../..}" && pwd)
. "$house/files.sh"

# Split, so that this file does not find itself.
unfinished='TO''DO|FIX''ME|XX''X'
paths="/ro""ot/|/ho""me/[a-z]|/Us""ers/[A-Za-z]"

# marks TREE: FILE:LINE: of each.
marks() (
    files "$1" | (cd "$1" && tr '\n' '\0' | xargs -0 -r grep -InE "(^|[^A-Za-z0-9_])($unfinished)([^A-Za-z0-9_]|\$)|$paths" /dev/null) || :
    files "$1" | (cd "$1" && tr '\n' '\0' | xargs -0 -r grep -InF -e "$root/" /dev/null) || :
)

found=$(marks "$root")
if [ -n "$found" ]; then
    echo 'marks of something unfinished, or paths of one machine:'
    echo "$found"
    exit 1
fi

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
for line in "/* TO""DO */" "x = 1; // FIX""ME" "open(\"/ho""me/ann/dwi.nii\")" "$root/build"; do
    printf 'fine\n%s\n' "$line" >"$copy/zz.c"
    marks "$copy" | grep -q '^zz.c:2:' || { echo "not caught: $line"; exit 1; }
done
