# files.sh - sourced by house tests: files TREE lists what belongs to the repository, path by path.
files() (
    cd "$1" || exit
    git ls-files --cached --others --exclude-standard 2>/dev/null ||
        find . \( -path ./build -o -path ./.git \) -prune -o -type f -print | sed 's|^\./||'
)
