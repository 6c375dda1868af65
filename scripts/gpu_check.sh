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
scratch=$(mkdir -p "$scratch" && cd "$scratch" && pwd)
whole=${HAMCV_CHECK_SECONDS:-585}
grace=15
python=${PYTHON:-python3}
export PYTHONPATH=$repository HAMCV_CACHE=${HAMCV_CACHE:-$scratch/cache} PYTHONUNBUFFERED=1

install() { # FOLDER: put its wheels in sight, before the machine's own packages, which stay untouched
    local pip=(timeout 120 "$python" -m pip install --quiet --no-index --no-deps --no-compile --upgrade)
    pip+=(--target "$scratch/site")
    # One bad wheel shall not keep the others away.
    "${pip[@]}" "$1"/*.whl || for wheel in "$1"/*.whl; do "${pip[@]}" "$wheel" || echo "not installed: $wheel"; done
    export PYTHONPATH=$scratch/site:$PYTHONPATH
}

part() { # NAME SECONDS COMMAND...: run a part under its time limit, log it, go on whatever happens
    local name=$1 limit=$2 start=$SECONDS status=0
    local left=$((whole - grace - SECONDS))
    shift 2
    [[ " $parts " == *" $name "* ]] || return 0
    ((limit <= left)) || limit=$left
    if ((limit <= 0)); then
        echo "== $name: no time left"
        echo "$name,0,124" >>"$out/timings.csv"
        failed="$failed $name"
        return
    fi
    echo "== $name (at most $limit s): $*"
    # As by Ctrl-C, at which all of them say what they have; who does not end then is killed.
    timeout --signal=INT --kill-after="$grace" "$limit" "$@" >"$out/$name.log" 2>&1 || status=$?
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

# Their files alone: collecting all the others takes longer. Warnings of other versions than ours are no failures here.
mapfile -t tests < <(grep -rl --include='*.py' 'mark\.gpu' tests | sort)
part tests "${HAMCV_CHECK_TEST_SECONDS:-90}" "$python" -m pytest -m gpu -v -p no:cacheprovider -o addopts=-ra \
    -W default "${tests[@]}"

mapfile -t options < <(run_options)
# Unquoted on purpose: several options in one variable.
# shellcheck disable=SC2086
part run "${HAMCV_CHECK_RUN_SECONDS:-330}" "$python" -m hamcv run "${options[@]}" ${HAMCV_CHECK_RUN_OPTIONS:-}
if [[ -d $scratch/run ]]; then
    left=$((SECONDS < whole ? whole - SECONDS : 1))
    timeout "$left" "$python" scripts/pack_run.py "$scratch/run" "$out" ${HAMCV_CHECK_PACK_WEIGHTS:+--weights} ||
        failed="$failed pack"
fi

# shellcheck disable=SC2086
part bench "${HAMCV_CHECK_BENCH_SECONDS:-130}" "$python" scripts/bench_train.py --device "$device" \
    --data "$data" --json "$out/bench.json" ${HAMCV_CHECK_BENCH_OPTIONS:---parts training,limits --rounds 3 --seconds 1}

cat "$out/timings.csv"
if [[ -n $failed ]]; then
    echo "failed, or not done in time:$failed" >&2
    exit 1
fi
