#!/usr/bin/env bash
# Installs what is missing, builds protlm and runs all its tests.
# usage: tests/run.sh [options of ctest...]     for example: tests/run.sh -R data
set -euo pipefail
cd "$(dirname "$0")/.."

cmake/install-deps.sh --tests
if command -v nvcc >/dev/null; then
    cmake/install-deps.sh --cuda # once: the tests then also compile for CUDA
fi

# Ninja builds faster than make; a build folder that is there keeps what it was made with.
if [ -z "${CMAKE_GENERATOR:-}" ] && command -v ninja >/dev/null; then
    export CMAKE_GENERATOR=Ninja
fi
# A compiler takes up to 2 GB here.
memory=$(awk '/^MemAvailable/ { print int($2 / 2000000) }' /proc/meminfo)
jobs=$(nproc)
[ "$jobs" -le "$memory" ] || jobs=$((memory > 1 ? memory : 1))

cmake --preset release -DPROTLM_TESTS=ON -DPROTLM_EXAMPLES=ON -DPROTLM_BENCHMARKS=ON
cmake --build --preset release -j "$jobs"

log=build/release/tests/ctest.log
status=0
ctest --preset release --no-tests=error -j "$(nproc)" "$@" 2>&1 | tee "$log" || status=$?
grep -E 'tests passed' "$log" || echo "tests/run.sh: no test was run"
exit $status
