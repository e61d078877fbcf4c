#!/bin/sh
# The golden data are what they were when their sums were taken, and no file among them lacks a sum.
set -eu
root=${DMRT_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}

cd "$root/tests/data"
sha256sum --quiet --strict -c SHA256SUMS

without=$(find . -type f ! -name SHA256SUMS ! -name '*.md' | sed 's|^\./||' | sort |
    while read -r path; do
        awk -v path="$path" '{ sub(/^[^ ]+ [ *](\.\/)?/, "") } $0 == path { found = 1 }
                             END { exit found }' SHA256SUMS && echo "$path"
    done) || :
if [ -n "$without" ]; then
    echo 'in tests/data, but not in its SHA256SUMS:'
    echo "$without"
    exit 1
fi
