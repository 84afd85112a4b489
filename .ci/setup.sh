#!/bin/sh
# The steps of the set-up, for the Makefile:
#
#   setup.sh venv FOLDER [PYTHON]       make the virtual environment, unless one that fits is there
#   setup.sh install FOLDER ARGUMENTS   pip install ARGUMENTS in it
set -eu

fail() {
    printf 'Set-up stopped: %s\n' "$1" >&2
    exit 1
}

version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

fits() {
    case "$(version "$1")" in 3.11 | 3.12 | 3.13) return 0 ;; *) return 1 ;; esac
}

make_venv() {
    folder=$1 asked=${2:-}
    if fits "$folder/bin/python" && "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    found=
    for python in ${asked:-python3.11 python3.12 python3.13 python3}; do
        if fits "$python"; then break; fi
        found="$found; $python is $(version "$python" | grep . || echo not there)"
        python=
    done
    [ -n "$python" ] ||
        fail "Python 3.11 to 3.13 is needed$found. Install one and name it: sudo apt install python3.11-venv; make PYTHON=python3.11"
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "$python has no venv module; install it: sudo apt install python$(version "$python")-venv"
    free=$(df -Pk "$(dirname "$folder")" | awk 'NR == 2 { printf "%d", $4 / 1000000 }')
    [ "$free" -ge "$NEED_GB" ] ||
        fail "$NEED_GB GB of disk are needed and $free GB are free here; free some, or clone to a larger disk"
    echo "Set-up: $folder with Python $(version "$python")"
    # Only what is an environment already is emptied.
    if [ -e "$folder/pyvenv.cfg" ]; then clear=--clear; else clear=; fi
    "$python" -m venv $clear "$folder"
}

# With uv, which takes a fraction of pip's time; where it cannot be had or fails, with pip.
install() {
    python=$1/bin/python
    shift
    "$python" -m uv --version >/dev/null 2>&1 ||
        "$python" -m pip install --quiet --only-binary uv -c constraints.txt uv >/dev/null 2>&1 || true
    "$python" -m uv pip install --quiet --python "$python" "$@" ||
        "$python" -m pip install --quiet --disable-pip-version-check "$@"
}

action=$1
shift
case "$action" in
    venv) make_venv "$@" ;;
    install) install "$@" ;;
esac
