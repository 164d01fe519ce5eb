#!/bin/sh
# The same bits from every compiler: tests/same_bits.sh COMPILER|PROGRAM COMPILER|PROGRAM [...]
# Builds the program with each compiler (or takes one that is built), trains a small CNN and a small Transformer with it at
# every level of instructions that this machine has, and compares the hashes of all states.
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 2 ] || { echo "usage: tests/same_bits.sh COMPILER|PROGRAM COMPILER|PROGRAM [...]" >&2; exit 2; }
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
i=0
while [ $i -lt 400 ]; do
  echo "line $i: the quick brown fox counts $((i * 7919 % 1009)) sheep, and $((i * i % 97)) more"
  i=$((i + 1))
done >"$room/text"

hashes() {  # of the program $1
  for level in baseline v3 v4; do  # test_reference holds the plain loops against hashes of their own
    LOUPE_CPU=$level "$1" --version >/dev/null 2>&1 || continue
    for work in "cnn --steps 12 --batch-size 64" \
                "gpt --steps 20 --layers 2 --heads 2 --width 64 --context 32 --dropout 0.1 --text $room/text"; do
      hash=$(LOUPE_CPU=$level "$1" train $work --json 2>"$room/said" | sed -n 's/.*"state_hash": *"\([0-9a-f]*\)".*/\1/p' | tail -1)
      [ ${#hash} = 64 ] || { cat "$room/said" >&2; exit 1; }
      echo "$level ${work%% *} $hash"
    done
  done
}

first=
for one in "$@"; do
  if [ "$(basename "$one")" = loupe ]; then
    program=$one
  else
    build=build/same_bits/$(basename "$one")
    cmake -G Ninja -S . -B "$build" -DCMAKE_CXX_COMPILER="$one" -DLOUPE_TESTS=OFF -DLOUPE_EXAMPLES=OFF -DLOUPE_PCH=OFF >/dev/null
    cmake --build "$build" --target loupe_cli >/dev/null
    program=$build/loupe
  fi
  hashes "$program" >"$room/now"
  if [ -z "$first" ]; then
    first=$one
    mv "$room/now" "$room/first"
    cat "$room/first"
  elif ! diff "$room/first" "$room/now"; then
    echo "$one gives other bits than $first" >&2
    exit 1
  fi
done
echo "the same bits from $*"
