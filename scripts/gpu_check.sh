#!/usr/bin/env bash
# Check hamcv on a machine with a GPU and no network, within ten minutes: the GPU tests, a full cross-validation of real
# images, the benchmark. Each part has its own time limit and leaves what it has, whatever becomes of the others.
#
#   scripts/gpu_check.sh OUT DATA [WEIGHTS]
#
# OUT      gets tests.log, run.log, bench.log, bench.json, timings.csv and run-NN.tar.gz, each below 16 MB
# DATA     folder of HAM10000
# WEIGHTS  folder with BACKBONE.safetensors; without it, training is from scratch
#
# docs/benchmarks.md lists the environment variables. Elsewhere, without a GPU:
#
#   for archive in OUT/run-*.tar.gz; do tar -xzf "$archive" -C .; done
#   hamcv ensemble run && hamcv report run
set -euo pipefail

if [[ $# -lt 2 || $# -gt 3 ]]; then
    sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
repository=$(cd "$(dirname "$0")/.." && pwd)
out=$(mkdir -p "$1" && cd "$1" && pwd)
data=$(cd "$2" && pwd)
weights=none
[[ $# -eq 3 ]] && weights=$(cd "$3" && pwd)

device=${HAMCV_CHECK_DEVICE:-cuda}
parts=${HAMCV_CHECK_PARTS:-tests run bench}
backbones=${HAMCV_CHECK_BACKBONES:-}
if [[ -z $backbones && $weights != none ]]; then
    backbones=$(find "$weights" -maxdepth 1 -name '*.safetensors' -exec basename {} .safetensors \; | sort | paste -sd, -)
fi
scratch=${HAMCV_CHECK_SCRATCH:-}
if [[ -z $scratch ]]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
fi
mkdir -p "$scratch"
python=${PYTHON:-python3}
export PYTHONPATH=$repository HAMCV_CACHE=${HAMCV_CACHE:-$scratch/cache} PYTHONUNBUFFERED=1

install() {
    # The machine's own packages stay visible and untouched; only what they lack is installed.
    "$python" -m venv --system-site-packages "$scratch/venv"
    python=$scratch/venv/bin/python
    "$python" - "$repository/pyproject.toml" <<'PYTHON' | while read -r requirement; do
import sys, tomllib
with open(sys.argv[1], "rb") as stream:
    print(*tomllib.load(stream)["project"]["dependencies"], "pytest", sep="\n")
PYTHON
        "$python" -m pip install --quiet --no-index --find-links "$1" "$requirement" </dev/null ||
            echo "not installed: $requirement"
    done
}

part() { # NAME SECONDS COMMAND...: run a part under its time limit, log it, go on whatever happens
    local name=$1 limit=$2 start=$SECONDS status=0
    shift 2
    [[ " $parts " == *" $name "* ]] || return 0
    echo "== $name (at most $limit s): $*"
    timeout --signal=TERM --kill-after=20 "$limit" "$@" >"$out/$name.log" 2>&1 || status=$?
    tail -n 25 "$out/$name.log"
    echo "$name,$((SECONDS - start)),$status" >>"$out/timings.csv"
    [[ $status -eq 0 ]] || failed="$failed $name"
}

run_options() {
    local options=(--data "$data" --out "$scratch/run" --device "$device" --weights "$weights")
    options+=(--folds "${HAMCV_CHECK_FOLDS:-5}" --recipe "${HAMCV_CHECK_RECIPE:-default}")
    options+=(--epochs "${HAMCV_CHECK_EPOCHS:-6}" --image-size "${HAMCV_CHECK_IMAGE_SIZE:-224}")
    [[ -n $backbones ]] && options+=(--backbones "$backbones")
    [[ -n ${HAMCV_CHECK_LIMIT_LESIONS:-} ]] && options+=(--limit-lesions "$HAMCV_CHECK_LIMIT_LESIONS")
    printf '%s\n' "${options[@]}"
}

failed=""
echo "part,seconds,exit" >"$out/timings.csv"
[[ -z ${HAMCV_CHECK_WHEELS:-} ]] || install "$HAMCV_CHECK_WHEELS"
cd "$repository"

part tests "${HAMCV_CHECK_TEST_SECONDS:-90}" "$python" -m pytest -m gpu -q -p no:cacheprovider -o addopts=-ra

mapfile -t options < <(run_options)
# Unquoted on purpose: several options in one variable.
# shellcheck disable=SC2086
part run "${HAMCV_CHECK_RUN_SECONDS:-330}" "$python" -m hamcv run "${options[@]}" ${HAMCV_CHECK_RUN_OPTIONS:-}
if [[ -d $scratch/run ]]; then
    "$python" scripts/pack_run.py "$scratch/run" "$out" ${HAMCV_CHECK_PACK_WEIGHTS:+--weights} || failed="$failed pack"
fi

# shellcheck disable=SC2086
part bench "${HAMCV_CHECK_BENCH_SECONDS:-130}" "$python" scripts/bench_train.py --device "$device" \
    --json "$out/bench.json" ${HAMCV_CHECK_BENCH_OPTIONS:---rounds 3 --seconds 1}

cat "$out/timings.csv"
if [[ -n $failed ]]; then
    echo "failed, or not done in time:$failed" >&2
    exit 1
fi
