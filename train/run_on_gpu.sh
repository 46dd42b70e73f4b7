#!/bin/bash
# The training run on a GPU machine that keeps nothing and takes commands of at most ten minutes.
#
#   setup PACK        unpack libraries, assets and tests; start the CPU engines and the trainer as daemons
#   stash FOLDER      keep a checkpoint that came with this command for a `setup` with RESUME=/tmp/tympan/resume
#   refit             start the trainer again from its last checkpoint, with other FIT arguments
#   voices FILE...    join the pieces of kokoro.onnx.xz and start Kokoro on the GPU for KOKORO_SECONDS; take *.shard as they are
#   wait SECONDS      watch; then leave checkpoint, log and metrics in $OUT
#
# With a second GPU, KOKORO_GPU=1 and a KOKORO_SECONDS as long as the training let Kokoro speak beside it all along.
# The daemons outlive a command as long as the machine is kept. A checkpoint folder given as RESUME continues its schedule.
set -e
base=${BASE:-/tmp/tympan} python=${PYTHON:-python3}
export LD_LIBRARY_PATH=$base/lib PYTHONPATH=$base:$base/site OMP_NUM_THREADS=2 PYTHONUNBUFFERED=1
step=$1
shift

daemon() { # name, command...
    local name=$1
    shift
    setsid nohup "$@" >"$base/$name.log" 2>&1 </dev/null &
    echo $! >"$base/$name.pid"
}

fit() { CUDA_VISIBLE_DEVICES=0 daemon fit "$python" -m train.fit "$base/data" "$base/assets" "$base/tests" "$base/work" ${FIT:---compile --minutes 22.5}; }

training() { kill -0 "$(cat "$base/fit.pid")" 2>/dev/null; }

synthesize() { # engine, processes, arguments...
    local engine=$1 count=$2
    shift 2
    mkdir -p "$base/data/$engine"
    daemon "$engine" env OMP_NUM_THREADS=1 "$python" -m train.synthesize "$engine" "$base/assets" "$base/data/$engine" \
        --processes "$count" "$@"
}

case $step in
stash)
    mkdir -p "$base"
    cp -r "$1" "$base/resume"
    ;;
setup)
    mkdir -p "$base/data" "$base/work"
    "$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$1" "$base"
    cp -r train "$base/"
    if [ -n "$RESUME" ]; then cp -r "$RESUME" "$base/work/checkpoint"; fi
    synthesize hibari "${HIBARI:-7}"
    synthesize flite "${FLITE:-2}"
    synthesize espeak "${ESPEAK:-1}"
    fit
    nproc
    free -g | head -2
    sleep "${SETTLE:-15}"
    tail -n 3 "$base"/*.log
    ;;
refit)
    if training; then kill "$(cat "$base/fit.pid")"; fi
    cp -r train "$base/"
    fit
    ;;
voices)
    cp -r train "$base/"
    mkdir -p "$base/data/piper" "$base/parts"
    for file in "$@"; do
        case $file in
        *.shard) cp "$file" "$base/data/piper/" ;;
        *) cp "$file" "$base/parts/" ;;
        esac
    done
    # Pieces may come in several commands; an unfinished archive fails the test and is tried again with the next.
    unpack='import lzma, sys; sys.stdout.buffer.write(lzma.decompress(sys.stdin.buffer.read()))'
    if cat "$base"/parts/* | "$python" -c "$unpack" >"$base/assets/kokoro.onnx" 2>"$base/xz.log"; then
        CUDA_VISIBLE_DEVICES=${KOKORO_GPU:-0} synthesize "${KOKORO_ENGINE:-kokoro}" "${KOKORO:-4}"
        daemon stop_kokoro sh -c "sleep ${KOKORO_SECONDS:-110}; touch $base/data/${KOKORO_ENGINE:-kokoro}/stop"
    else
        echo "kokoro.onnx is not complete yet"
    fi
    ls "$base/parts" "$base/data/piper" | wc -l
    tail -n 2 "$base/fit.log"
    ;;
wait)
    end=$((SECONDS + $1))
    while [ $SECONDS -lt $end ] && [ ! -e "$base/work/done" ] && training; do sleep 2; done
    if [ -d "$base/work/checkpoint" ]; then cp "$base"/work/checkpoint/* "$OUT/" || { sleep 2 && cp "$base"/work/checkpoint/* "$OUT/"; }; fi
    cp "$base/work/log.jsonl" "$OUT/" 2>/dev/null || true
    cp "$base/work/metrics.json" "$OUT/" 2>/dev/null || true
    tail -n 4 "$base"/*.log | cut -c1-300
    grep -h -E 'wer|final' "$base/work/log.jsonl" | tail -n 12 || true
    tail -n 12 "$base/work/log.jsonl"
    nvidia-smi --query-gpu=utilization.gpu,memory.used --format=csv,noheader 2>/dev/null || true
    if [ -e "$base/work/done" ]; then echo DONE; elif ! training; then echo "TRAINER IS NOT RUNNING"; fi
    ;;
esac
