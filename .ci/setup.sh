#!/bin/sh
# The steps of `make setup`, and what to say when one of them cannot be done.
#
#   setup.sh venv FOLDER [PYTHON]        make the virtual environment
#   setup.sh pip  FOLDER WHAT ARGUMENTS  pip install ARGUMENTS in it; its output goes to setup.log
#
# Every failure ends in one line: what is the matter, and what to install or do.
set -eu

fail() {
    printf 'Set-up stopped: %s\n' "$1" >&2
    exit 1
}

version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

fits() {
    case "$1" in 3.10 | 3.11 | 3.12 | 3.13) return 0 ;; *) return 1 ;; esac
}

# Prints the first Python that fits, or says which were found instead.
choose_python() {
    seen=
    for candidate in ${1:-python3.11 python3.12 python3.13 python3.10 python3}; do
        found=$(version "$candidate")
        [ -n "$found" ] || continue
        if fits "$found"; then
            echo "$candidate"
            return
        fi
        seen="${seen:+$seen, }$candidate is $found"
    done
    if [ -n "$seen" ]; then
        fail "Python 3.10 to 3.13 is needed, but $seen; install one and name it: make setup PYTHON=python3.11"
    elif [ -n "${1:-}" ]; then
        fail "$1 is not a Python that runs; name one of 3.10 to 3.13: make setup PYTHON=python3.11"
    fi
    fail "no Python was found; install one of 3.10 to 3.13: sudo apt install python3 python3-venv"
}

check_disk() {
    free_kb=$(df -Pk "$1" 2>/dev/null | awk 'NR == 2 { print $4 }')
    [ -n "$free_kb" ] || return 0
    if [ "$free_kb" -lt $((NEED_GB * 1000000)) ]; then
        free_gb=$(awk -v kb="$free_kb" 'BEGIN { printf "%.1f", kb / 1000000 }')
        fail "the set-up needs $NEED_GB GB of disk and $free_gb GB are free here; free some, or clone to a larger disk"
    fi
}

make_venv() {
    folder=$1
    if [ -x "$folder/bin/python" ] && fits "$(version "$folder/bin/python")" &&
        "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    if [ -e "$folder" ] && [ ! -e "$folder/pyvenv.cfg" ] && [ -n "$(ls -A "$folder")" ]; then
        fail "$folder is there and is not a virtual environment; move it away, or use make VENV=another-folder"
    fi
    python=$(choose_python "${2:-}") || exit 1
    name=$(version "$python")
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "Python $name has no venv module; install it: sudo apt install python$name-venv"
    parent=$(dirname "$folder")
    check_disk "$parent"
    echo "Set-up: $folder with Python $name"
    log=$(mktemp) || fail "no temporary file can be written; free some disk, or set TMPDIR"
    if ! "$python" -m venv --clear "$folder" >"$log" 2>&1; then
        reason=$(tail -n 1 "$log")
        rm -f "$log"
        fail "$python -m venv $folder failed (${reason:-no reason given}); check the folder's rights and the free disk"
    fi
    rm -f "$log"
}

pip_install() {
    folder=$1 what=$2
    shift 2
    log="$folder/setup.log"
    echo "Set-up: $what"
    if "$folder/bin/python" -m pip install --disable-pip-version-check --no-input "$@" >"$log" 2>&1; then
        return
    fi
    error=$(grep '^ *ERROR' "$log" | tail -n 1 | sed 's/^ *//' | cut -c 1-160 || true)
    if grep -qE 'No space left on device|Errno 28|Disk quota exceeded' "$log"; then
        fail "the disk is full (here, or where TMPDIR points); free $NEED_GB GB and run the same command again"
    elif grep -qE 'NewConnectionError|Name or service not known|Temporary failure in name resolution|Connection refused|Network is unreachable|ConnectTimeout|ReadTimeout|Read timed out|ProxyError|SSLError|Max retries exceeded|from versions: none' "$log"; then
        fail "the package index cannot be reached; check the network or the proxy and run the same command again"
    elif grep -qE 'requires a different Python' "$log"; then
        fail "this Python does not fit (3.10 to 3.13 does); run: make distclean setup PYTHON=python3.11"
    elif grep -qE 'No matching distribution|Could not find a version' "$log"; then
        fail "a pinned package is not offered for this Python and machine ($error); try make distclean setup PYTHON=python3.11"
    fi
    fail "pip failed (${error:-no reason given}); its whole output is in $log"
}

: "${NEED_GB:=5}"
action=$1
shift
case "$action" in
    venv) make_venv "$@" ;;
    pip) pip_install "$@" ;;
    *) fail "$action is not a step of the set-up" ;;
esac
