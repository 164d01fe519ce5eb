#!/bin/sh
# Runs each libFuzzer target: tests/fuzz/run.sh BUILD SECONDS [target...]. Stops with an error at the first finding.
# Seeds are the fixtures of tests/fixtures/io and tests/fuzz/seeds; what a run discovers stays in BUILD/corpus.
set -eu
build=$1 seconds=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
fixtures=$here/../fixtures/io
[ $# -gt 0 ] || set -- $(cd "$here" && ls fuzz_*.cpp | sed 's/^fuzz_//; s/\.cpp$//')
for name; do
  corpus=$build/corpus/$name
  mkdir -p "$corpus"
  for seed in "$here/seeds/$name"/* ; do [ -f "$seed" ] && cp "$seed" "$corpus"; done
  case $name in
    npy) cp "$fixtures"/npy/*.npy "$corpus" ;;
    npz) cp "$fixtures"/npy/*.npz "$corpus" ;;
    safetensors) cp "$fixtures"/safetensors/* "$corpus" ;;
    tokenizer) cp "$fixtures/wordpiece/tokenizer.json" "$corpus" ;;
    vocab) cp "$fixtures/wordpiece/vocab.txt" "$corpus" ;;
  esac
  echo "== $name"
  quiet=0 && [ $name = command_line ] && quiet=3  # it prints help
  "$build/tests/fuzz/fuzz_$name" -close_fd_mask=$quiet -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=256 \
    -max_len=20000 -use_value_profile=1 -print_final_stats=1 -artifact_prefix="$build/corpus/$name-" "$corpus" 2>&1 |
    tee "$build/corpus/$name.log" | grep -E 'ERROR|SUMMARY|stat::number_of_executed_units|stat::peak_rss_mb|Test unit written' || true
  if ! grep -q 'stat::number_of_executed_units' "$build/corpus/$name.log"; then
    echo "$name did not run: see $build/corpus/$name.log" >&2
    exit 1
  fi
  if grep -qE '^==[0-9]+==.*ERROR|SUMMARY: ' "$build/corpus/$name.log"; then
    echo "finding in $name: see $build/corpus/$name.log" >&2
    exit 1
  fi
done
