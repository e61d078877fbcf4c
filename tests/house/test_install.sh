#!/bin/sh
# What README promises to someone who has just installed dmrt: its first program, copied out of it,
# compiles against the installed tree and prints what README says, by pkg-config and by CMake,
# with the shared and with the static library, and with libdmrt_models.
#
# README's first ```c block is the program, the ```text block after it the output.
set -eu
root=${DMRT_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
release=${DMRT_RELEASE_DIR:-$root/build/release}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# block KIND AFTER: the first such block of README below line AFTER.
block() {
    awk -v fence="\`\`\`$1" -v after="$2" '
        !inside && NR > after && $0 == fence { inside = 1; next }
        inside && $0 == "```" { exit }
        inside { print }' "$root/README.md"
}
program_at=$(grep -nx '```c' "$root/README.md" | head -n 1 | cut -d: -f1)
[ -n "$program_at" ] || { echo 'README.md has no ```c block'; exit 1; }
block c 0 >square.c
block text "$program_at" >expected
[ -s expected ] || { echo 'README.md has no ```text block after its first program'; exit 1; }

# prints PROGRAM: it runs, and prints what README says.
prints() {
    "$@" >output || { echo "$*: status $?"; exit 1; }
    diff expected output || { echo "$*: prints something else than README says"; exit 1; }
}

cmake --install "$release" --prefix "$work/prefix" >install.log
export PKG_CONFIG_PATH="$work/prefix/lib/pkgconfig"

# by_pkg_config MODULE: with the shared libraries, then with the static ones.
# shellcheck disable=SC2046 # flags are words
by_pkg_config() {
    cc -o shared square.c $(pkg-config --cflags --libs "$1")
    prints ./shared
    cc -o static square.c $(pkg-config --static --cflags --libs "$1" |
        sed 's/-l\(dmrt[a-z_]*\)/-l:lib\1.a/g')
    ! ldd static | grep libdmrt || { echo "the static program of $1 needs a libdmrt.so"; exit 1; }
    prints ./static
}
by_pkg_config dmrt
by_pkg_config dmrt_models

mkdir project
cp square.c project
cat >project/CMakeLists.txt <<'EOF'
cmake_minimum_required(VERSION 3.22)
project(square C)
find_package(dmrt 0.1 REQUIRED COMPONENTS dmrt models OPTIONAL_COMPONENTS nonsense)
if(dmrt_nonsense_FOUND)
    message(FATAL_ERROR "a component that does not exist was found")
endif()
add_executable(square square.c)
target_link_libraries(square PRIVATE dmrt::dmrt)
add_executable(square_static square.c)
target_link_libraries(square_static PRIVATE dmrt::dmrt_static)
add_executable(square_models square.c)
target_link_libraries(square_models PRIVATE dmrt::models)
EOF
cmake -S project -B built -DCMAKE_PREFIX_PATH="$work/prefix" >cmake.log 2>&1 || { cat cmake.log; exit 1; }
cmake --build built >cmake.log 2>&1 || { cat cmake.log; exit 1; }
prints built/square
prints built/square_static
prints built/square_models

sed -i 's/OPTIONAL_COMPONENTS nonsense/nonsense/' project/CMakeLists.txt
! cmake -S project -B refused -DCMAKE_PREFIX_PATH="$work/prefix" >cmake.log 2>&1 ||
    { echo 'a component that does not exist was required, and nothing was said'; exit 1; }
grep -q nonsense cmake.log || { cat cmake.log; exit 1; }

for header in "$work"/prefix/include/dm/*.h; do
    echo "#include <dm/$(basename "$header")>" >header.c
    cc -std=gnu11 -Wall -Wextra -Werror -fsyntax-only -I "$work/prefix/include" header.c
done

prefix/bin/dm version >/dev/null || { echo 'the installed dm does not run'; exit 1; }
