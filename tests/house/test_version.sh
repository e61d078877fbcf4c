#!/bin/sh
# One version in three places: CMakeLists.txt, dm.h, and the top of CHANGELOG.md.
set -eu
root=${DMRT_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}

built=$(sed -n 's/^project(dmrt VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt")
header=$(sed -n 's/^#define DM_VERSION_STRING "\(.*\)"$/\1/p' "$root/include/dm/dm.h")
logged=$(sed -n 's/^## \[\([0-9.]*\)\].*/\1/p' "$root/CHANGELOG.md" | head -n 1)

if [ -z "$built" ] || [ "$built" != "$header" ] || [ "$built" != "$logged" ]; then
    echo "CMakeLists.txt says '$built', dm.h '$header', the top of CHANGELOG.md '$logged'"
    exit 1
fi
