#!/usr/bin/env bash
# Install everything DriveMIM needs into .venv; does nothing if it is already installed.
#
#   PYTHON=python3.10 tools/setup_env.sh   choose the interpreter (3.10, 3.11 or 3.12)
#   MAX_JOBS=4 tools/setup_env.sh          compile MMCV's operators with four processes
#
# The order matters: onedl-mmcv is only released as source, and its build looks at the torch that
# is installed. Under pip's build isolation it sees none and installs without mmcv._ext.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=.venv
STAMP=$VENV/drivemim-setup
LOGS=$VENV/setup-logs

key() {
    { pwd; "$VENV/bin/python" -V; cat pyproject.toml setup.py constraints.txt tools/setup_env.sh; } | cksum
}

fail() {
    echo "setup: $1" >&2
    exit 1
}

# Run an interpreter: version managers leave launchers for interpreters that are not installed.
works() {
    "$1" -c '
import os, sys, sysconfig
import ensurepip, venv
assert (3, 10) <= sys.version_info < (3, 13)
assert os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h"))
' 2>/dev/null
}

pick_python() {
    if [ -n "${PYTHON:-}" ]; then
        works "$PYTHON" || fail "PYTHON=$PYTHON does not run, is not 3.10-3.12, or lacks venv or Python.h (Debian: apt install python3-venv python3-dev)"
        echo "$PYTHON"
        return
    fi
    local candidate
    for candidate in python3.11 python3.12 python3.10 python3; do
        if works "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.10-3.12 with venv and Python.h found (Debian: apt install python3-venv python3-dev), or name one: make PYTHON=/path/to/python3.11"
}

running=
trap 'if [ -n "$running" ]; then kill "$running" 2>/dev/null || true; fi' EXIT
trap 'exit 130' INT TERM

# step NAME TEXT COMMAND...: run with output to a log; print a line every half minute.
step() {
    local name=$1 text=$2 began=$SECONDS slept=0
    shift 2
    echo "setup: $text"
    "$@" >"$LOGS/$name.log" 2>&1 &
    running=$!
    while kill -0 "$running" 2>/dev/null; do
        sleep 1
        slept=$((slept + 1))
        if [ $((slept % 30)) -eq 0 ]; then
            echo "setup:   still running after $((SECONDS - began)) s"
        fi
    done
    if ! wait "$running"; then
        running=
        tail -n 30 "$LOGS/$name.log" >&2
        fail "failed: $*
  whole log: $LOGS/$name.log"
    fi
    running=
}

# One compiler process takes up to 2 GB on torch's headers.
compile_jobs() {
    local cores memory_gb
    cores=$(getconf _NPROCESSORS_ONLN)
    memory_gb=$(awk '/MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo 2>/dev/null || true)
    memory_gb=${memory_gb:-4}
    local jobs=$((memory_gb / 2))
    if [ "$jobs" -gt "$cores" ]; then jobs=$cores; fi
    if [ "$jobs" -lt 1 ]; then jobs=1; fi
    echo "$jobs"
}

operators_load() {
    "$VENV/bin/python" -c 'import torch, mmcv._ext' 2>/dev/null
}

if [ -n "${PYTHON:-}" ] && [ -x "$VENV/bin/python" ] && works "$PYTHON" &&
    [ "$("$PYTHON" -V)" != "$("$VENV/bin/python" -V)" ]; then
    fail "$VENV was made with $("$VENV/bin/python" -V), but PYTHON is $("$PYTHON" -V); remove $VENV first"
fi
if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(key)" ]; then
    exit 0
fi
if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    chosen=$(pick_python)
    echo "setup: creating $VENV with $("$chosen" -V)"
    "$chosen" -m venv --clear "$VENV"
fi

if ! command -v "${CXX:-c++}" >/dev/null && ! command -v g++ >/dev/null; then
    fail "no C++ compiler found (Debian: apt install g++)"
fi
mkdir -p "$LOGS"
rm -f "$STAMP"
install=("$VENV/bin/python" -m pip install --disable-pip-version-check -c constraints.txt)

export CFLAGS="${CFLAGS:--g0}" MMCV_WITH_OPS=1 MAX_JOBS="${MAX_JOBS:-$(compile_jobs)}"
# CUDA operators are built where torch sees a GPU and there is a compiler for it, CPU ones elsewhere.
unset FORCE_CUDA MMCV_CUDA_ARGS
if ! command -v nvcc >/dev/null && [ -z "${CUDA_HOME:-}" ]; then
    export CUDA_VISIBLE_DEVICES=
fi
# ninja and the C++ build look their tools up in PATH.
export PATH="$PWD/$VENV/bin:$PATH"

step torch "installing torch" "${install[@]}" torch
step build "installing the build tools" "${install[@]}" "setuptools>=80,<82" wheel ninja packaging
step mmcv "installing onedl-mmcv; it is compiled here, 6 to 20 minutes unless pip kept a build of it" \
    "${install[@]}" --no-build-isolation onedl-mmcv
step mmdet "installing onedl-mmdetection" "${install[@]}" --no-build-isolation onedl-mmdetection
step drivemim "installing DriveMIM and what else it needs" \
    "${install[@]}" --no-build-isolation -e ".[dev]"
if ! operators_load; then
    step mmcv-again "MMCV's operators do not load with this torch; compiling them again, 6 to 20 minutes" \
        "${install[@]}" --no-build-isolation --no-cache-dir --force-reinstall --no-deps onedl-mmcv
fi

"$VENV/bin/python" tools/check_env.py
key >"$STAMP.part"
mv "$STAMP.part" "$STAMP"
