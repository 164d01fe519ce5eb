#!/bin/sh
# clang-tidy with the settings of .clang-tidy over the sources: tests/tidy.sh BUILD [--latest N | file ...]
# Without files: every source of the library, the lesson and the program; --latest N: the N of them that changed last (CI).
# What it finds fails; long functions and long lists of parameters are only printed.
set -eu
build=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/.."
command -v clang-tidy >/dev/null || {
  echo "skipped: no clang-tidy"
  exit 77
}
sources() { git ls-files '*.cpp' | grep -E '^(core|autograd|layers|optim|models|io|lesson|view|cli)/'; }
if [ $# = 0 ]; then
  # shellcheck disable=SC2046
  set -- $(sources)
elif [ "$1" = --latest ]; then
  sources > "$build/tidy_sources"
  # shellcheck disable=SC2046
  set -- $(git log --format= --name-only -- '*.cpp' | awk '!seen[$0]++' | grep -xFf "$build/tidy_sources" | sed "$2q")
fi
found=$(mktemp)
trap 'rm -f "$found"' EXIT
status=0
# micro/ is compiled once for each level of instructions: here for one.
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} clang-tidy --quiet {} -- -std=c++20 -fopenmp-simd -DLOUPE_LEVEL=v3 \
  -DLOUPE_LEVEL_v3 -march=x86-64-v3 -I "$build/include" -I /usr/include/x86_64-linux-gnu/openblas-pthread \
  >"$found" 2>/dev/null || status=1
grep -E 'warning:.*readability-function-size' "$found" | sed 's|.*/loupe/||' | sort -u || true
if grep -A 3 -E '(warning|error):' "$found" | grep -v readability-function-size | grep -E 'error:'; then status=1; fi
exit $status
