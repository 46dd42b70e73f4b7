#!/bin/bash
# The training run on a GPU machine that keeps nothing and takes commands of at most ten minutes.
#
#   setup PACK...     unpack libraries and assets
#   import MODEL      turn a model directory into the checkpoint start
#   speak             start the fast synthesizers as daemons, for each GPU its own
#   label ZIP...      transcribe recordings without text in the background, then align the results like those of `align`;
#                     needs stash/whisper-*, the pieces of whisper-base's model.bin, and stash/vocabulary.json
#   align ZIP...      align recordings of people in the background and decode them; after setup and import, as it needs
#                     pocketsphinx, and leaves out the test sets' text
#   people SHARD...   decode aligned recordings of people to where the trainer finds them
#   kept SHARD...     synthetic speech made before
#   stash FILE...     keep pieces of a checkpoint, of the compiler's cache, or of kokoro.onnx
#   kokoro N          start N processes of Kokoro on each GPU; `touch data/kept/stop` ends them
#   fit [ARGUMENT...] start the trainer, again from its last checkpoint if it runs already
#   wait SECONDS      until then, until the trainer has finished, or until it has crashed; leave checkpoint and log in $OUT
#   evaluate          test the finished checkpoint; leave metrics.json in $OUT
#   cache             leave the compiler's cache in $OUT
#
# The daemons outlive a command as long as the machine is kept.
set -e
base=${BASE:-/tmp/tympan} python=${PYTHON:-python3}
repository=$PWD
export LD_LIBRARY_PATH=$base/lib PYTHONPATH=$base:$base/site OMP_NUM_THREADS=2 PYTHONUNBUFFERED=1
export ESPEAK_DATA_PATH=$base/assets  # for pronounce.py
export TORCHINDUCTOR_CACHE_DIR=$base/inductor TORCHINDUCTOR_FX_GRAPH_CACHE=1 TRITON_CACHE_DIR=$base/inductor/triton
step=$1
shift
mkdir -p "$base"/{data/kept,work,people,tests,stash,train}
cp -r "$(dirname "$0")"/* "$base/train/"

daemon() { # name, command...
    local name=$1
    shift
    setsid nohup env -C "$base" "$@" >"$base/$name.log" 2>&1 </dev/null &
    echo $! >"$base/$name.pid"
}

training() { kill -0 "$(cat "$base/fit.pid")" 2>/dev/null; }

synthesize() { # engine, processes, folder, first seed, GPU if it uses one
    mkdir -p "$base/data/$3"
    daemon "$1-$3-$4" env OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES="${5:-}" "$python" -m train.synthesize "$1" "$base/assets" \
        "$base/data/$3" --processes "$2" --first "$4"
}

case $step in
setup)
    for pack in "$@"; do
        "$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$pack" "$base"
    done
    ;;
import)
    env -C "$base" PYTHONPATH="$PYTHONPATH:$repository/app" "$python" -m train.import_model "$repository/$1" start
    cp "$1/tokenizer.model" "$base/assets/"
    cp "$repository"/bench/speech/{human,people,unseen}_*.zip "$base/tests/"
    ;;
speak)
    for gpu in $(seq 0 $(($(nvidia-smi -L | wc -l) - 1))); do
        synthesize hibari "${HIBARI:-4}" "stream$gpu" $((100 * gpu))
        synthesize flite "${FLITE:-1}" "stream$gpu" $((100 * gpu))
        synthesize espeak "${ESPEAK:-1}" "stream$gpu" $((100 * gpu))
    done
    ;;
label)
    mkdir -p "$base/unlabelled"
    cp "$@" "$base/unlabelled/"
    cat "$base"/stash/whisper-* >"$base/whisper.bin"
    {
        echo "$python -m train.label whisper.bin stash/vocabulary.json labelled unlabelled/*.zip"
        echo "cd $repository && bash train/run_on_gpu.sh align $base/labelled/*.zip"
    } >"$base/label.sh"
    daemon label bash -e "$base/label.sh"
    ;;
align)
    cp "$@" "$base/stash/"
    script=$(mktemp "$base/align-XXXX")
    for zip in "$@"; do
        name=$(basename "$zip" .zip)
        echo "python -m train.align people/$name stash/$name.zip --processes ${PROCESSES:-14} --tests \$(ls tests/*.zip)"
        echo "python -m train.unpack people/$name data/kept --processes ${PROCESSES:-14}"
    done | sed "s#^python#nice -n 10 $python#" >"$script"
    OMP_NUM_THREADS=1 daemon "$(basename "$script")" bash -e "$script"
    ;;
people)
    folder=$(mktemp -d "$base/people/XXXX")
    cp "$@" "$folder/"
    env -C "$base" OMP_NUM_THREADS=1 "$python" -m train.unpack "$folder" "$base/data/kept" --processes "${PROCESSES:-14}"
    du -sh "$base/data/kept"
    ;;
kept) cp "$@" "$base/data/kept/" ;;
stash) cp -r "$@" "$base/stash/" ;;
kokoro)
    cat "$base"/stash/kokoro-* >"$base/assets/kokoro.onnx"
    for gpu in $(seq 0 $(($(nvidia-smi -L | wc -l) - 1))); do
        synthesize kokoro "$1" kept $((100 * gpu)) "$gpu"
    done
    ;;
fit)
    if [ -e "$base/fit.pid" ] && training; then kill "$(cat "$base/fit.pid")"; fi
    rm -f "$base"/data/stream*/*.shard  # what waited for a trainer that crashed; reading it would delay the first steps
    if [ -e "$base/stash/inductor.tar.xz" ] && [ ! -e "$base/inductor" ]; then
        "$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$base/stash/inductor.tar.xz" "$base"
    fi
    daemon fit "$python" -m train.fit "$base/data" "$base/assets" "$base/tests" "$base/work" --compile "$@"
    ;;
wait)
    end=$((SECONDS + $1))
    while [ $SECONDS -lt $end ] && [ ! -e "$base/work/done" ] && training; do sleep 1; done
    if [ -d "$base/work/checkpoint" ]; then cp "$base"/work/checkpoint/* "$OUT/" || { sleep 2 && cp "$base"/work/checkpoint/* "$OUT/"; }; fi
    cp "$base/work/log.jsonl" "$OUT/" 2>/dev/null || true
    grep -h wer "$base/work/log.jsonl" | tail -n 5 || true
    tail -n 6 "$base/work/log.jsonl" || true
    if [ -e "$base/work/done" ]; then echo DONE; elif ! training; then echo "TRAINER IS NOT RUNNING" && tail -n 30 "$base/fit.log"; fi
    ;;
evaluate)
    env -C "$base" "$python" -m train.evaluate work/checkpoint assets tests --json "$OUT/metrics.json"
    ;;
cache) (cd "$base" && "$python" -c 'import tarfile; tarfile.open("/tmp/inductor.tar.xz", "w:xz", preset=2).add("inductor")' && cp /tmp/inductor.tar.xz "$OUT/" && ls -la /tmp/inductor.tar.xz) ;;
esac
nvidia-smi --query-gpu=utilization.gpu,memory.used --format=csv,noheader 2>/dev/null || true
