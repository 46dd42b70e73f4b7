#!/bin/bash
# The training run on a GPU machine that keeps nothing and takes commands of at most ten minutes.
#
#   setup PACK        unpack libraries and assets
#   speak             start the CPU engines as daemons
#   people SHARD...   decode recordings of people to where the trainer finds them
#   stash FILE...     keep pieces of a checkpoint, or of the compiler's cache, or of kokoro.onnx
#   kokoro SECONDS    let Kokoro speak on the GPU for so long
#   fit [ARGUMENT...] start the trainer, again from its last checkpoint if it runs already
#   wait SECONDS      watch; then leave checkpoint, log and metrics in $OUT
#   cache             leave the compiler's cache in $OUT
#
# The daemons outlive a command as long as the machine is kept.
set -e
base=${BASE:-/tmp/tympan} python=${PYTHON:-python3}
export LD_LIBRARY_PATH=$base/lib PYTHONPATH=$base:$base/site OMP_NUM_THREADS=2 PYTHONUNBUFFERED=1
export TORCHINDUCTOR_CACHE_DIR=$base/inductor TORCHINDUCTOR_FX_GRAPH_CACHE=1
step=$1
shift
mkdir -p "$base"/{data,work,people,tests,stash,train}
cp -r "$(dirname "$0")"/* "$base/train/"

daemon() { # name, command...
    local name=$1
    shift
    setsid nohup env -C "$base" "$@" >"$base/$name.log" 2>&1 </dev/null &
    echo $! >"$base/$name.pid"
}

training() { kill -0 "$(cat "$base/fit.pid")" 2>/dev/null; }

synthesize() { # engine, processes
    mkdir -p "$base/data/$1"
    daemon "$1" env OMP_NUM_THREADS=1 "$python" -m train.synthesize "$1" "$base/assets" "$base/data/$1" --processes "$2" \
        --first "${FIRST:-0}"
}

case $step in
setup)
    "$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$1" "$base"
    ;;
speak)
    synthesize hibari "${HIBARI:-6}"
    synthesize flite "${FLITE:-2}"
    synthesize espeak "${ESPEAK:-1}"
    ;;
people)
    for file in "$@"; do
        mkdir "$base/people/$(basename "$file" .shard)"
        cp "$file" "$base/people/$(basename "$file" .shard)/"
        env -C "$base" "$python" -m train.unpack "$base/people/$(basename "$file" .shard)" "$base/data/human" --processes "${PROCESSES:-14}"
    done
    du -sh "$base/data/human"
    ;;
stash) cp -r "$@" "$base/stash/" ;;
kokoro)
    cat "$base"/stash/kokoro-* >"$base/assets/kokoro.onnx"
    synthesize kokoro "${KOKORO:-5}"
    daemon stop_kokoro sh -c "sleep $1; touch $base/data/kokoro/stop"
    ;;
fit)
    if [ -e "$base/fit.pid" ] && training; then kill "$(cat "$base/fit.pid")"; fi
    if [ -e "$base/stash/state.json" ] && [ ! -e "$base/work/checkpoint" ]; then
        mkdir "$base/work/checkpoint"
        cp "$base"/stash/{state.json,piece-*} "$base/work/checkpoint/"
    fi
    if [ -e "$base/stash/inductor.tar" ] && [ ! -e "$base/inductor" ]; then
        "$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$base/stash/inductor.tar" "$base"
    fi
    daemon fit "$python" -m train.fit "$base/data" "$base/assets" "$base/tests" "$base/work" --compile "$@"
    ;;
wait)
    end=$((SECONDS + $1))
    while [ $SECONDS -lt $end ] && [ ! -e "$base/work/done" ] && training; do sleep 1; done
    if [ -d "$base/work/checkpoint" ]; then cp "$base"/work/checkpoint/* "$OUT/" || { sleep 2 && cp "$base"/work/checkpoint/* "$OUT/"; }; fi
    cp "$base/work/log.jsonl" "$OUT/" 2>/dev/null || true
    cp "$base/work/metrics.json" "$OUT/" 2>/dev/null || true
    tail -qn 2 "$base"/*.log | cut -c1-250
    grep -h -E 'wer|final' "$base/work/log.jsonl" | tail -n 5 || true
    tail -n 8 "$base/work/log.jsonl"
    if [ -e "$base/work/done" ]; then echo DONE; elif ! training; then echo "TRAINER IS NOT RUNNING" && tail -n 30 "$base/fit.log"; fi
    ;;
cache) (cd "$base" && "$python" -c 'import tarfile; tarfile.open("/tmp/inductor.tar", "w:gz").add("inductor")' && cp /tmp/inductor.tar "$OUT/" && ls -la /tmp/inductor.tar) ;;
esac
nvidia-smi --query-gpu=utilization.gpu,memory.used --format=csv,noheader 2>/dev/null || true
