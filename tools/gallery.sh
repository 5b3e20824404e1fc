#!/usr/bin/env bash
# Makes the pictures of docs/gallery.md, in a checkout of the repository:
#
#     tools/gallery.sh measure FOLDER          # a quarter of an hour of measurements, into FOLDER/benchdb.sqlite
#     tools/gallery.sh import FOLDER TABLES    # timm's published tables (benchmark-*.csv in TABLES), into FOLDER/timm.sqlite
#     tools/gallery.sh draw FOLDER             # pictures of both, into docs/gallery
#
# BENCHDB is the command (default: benchdb), CHROMIUM the browser that photographs the report (default: chromium).
set -euo pipefail
benchdb=${BENCHDB:-benchdb}
chromium=${CHROMIUM:-chromium}
here=$(cd "$(dirname "$0")/.." && pwd)
step=${1:?measure, import or draw}
mkdir -p "${2:?a folder}"
folder=$(cd "$2" && pwd)

measure() {
    export BENCHDB_PATH="$folder/benchdb.sqlite"
    cd "$folder"
    local pictures="$here/fixtures/data/shapes10"
    local quick=(--min-time 0.3 --max-time 12 --iterations 15)
    # Every configuration twice, in turns.
    "$benchdb" run --model cifar_cnn --hardware cpu --engine burn-flex,burn-ndarray --batch-sizes 1,2,4,8,16 "${quick[@]}" --repeat 2 --label matrix
    "$benchdb" run --model cifar_cnn --hardware cpu --engine burn-flex,burn-ndarray --batch-sizes 1,2,4,8,16 --training-mode "${quick[@]}" --repeat 2 --label training
    "$benchdb" run --model cifar_cnn --hardware vulkan --include-software --batch-sizes 1,8 "${quick[@]}" --label lavapipe
    "$benchdb" run --model cifar_cnn --hardware cpu --engine burn-flex --precision fp16,bf16,int8w --batch-sizes 1,8 "${quick[@]}" --repeat 2 --label precisions
    "$benchdb" run --model mobilenet_v2,resnet18,distilbert --hardware cpu --engine burn-flex,burn-ndarray --batch-sizes 1,4 --min-time 0.3 --max-time 20 --iterations 12 --repeat 2 --label larger
    "$benchdb" run --model mobilenet_v2,resnet18,distilbert --hardware cpu --engine burn-flex,burn-ndarray --precision int8w --batch-sizes 1 --min-time 0.3 --max-time 20 --iterations 12 --repeat 2 --label larger
    "$benchdb" run --model mobilenet_v2,resnet18 --hardware cpu --engine burn-flex --batch-sizes 1 --training-mode --min-time 0.3 --max-time 30 --iterations 10 --repeat 2 --label training
    # A history: twelve runs, then eight beside a process that keeps one processor busy.
    for _ in $(seq 12); do
        "$benchdb" run --model cifar_cnn --hardware cpu --engine burn-flex --batch-sizes 4 "${quick[@]}" --label nightly
    done
    (while :; do :; done) &
    local busy=$!
    # shellcheck disable=SC2064  # the number of now, not of then
    trap "kill $busy 2>/dev/null || true" EXIT
    for _ in $(seq 8); do
        "$benchdb" run --model cifar_cnn --hardware cpu --engine burn-flex --batch-sizes 4 "${quick[@]}" --label nightly
    done
    kill "$busy"
    # What explanations cost.
    "$benchdb" run --model cifar_cnn --mode explanation --methods all --hardware cpu --engine burn-flex --min-time 0.2 --max-time 10 --iterations 12 --label explanations
    # Versions of a network with their accuracy on pictures that they were not trained on.
    "$benchdb" optimize train --model cifar_cnn --data "$pictures/train" --epochs 6 --to original.safetensors
    "$benchdb" optimize channels --model cifar_cnn --weights original.safetensors --amount 0.5 --to narrow.safetensors
    "$benchdb" optimize train --model cifar_cnn --weights narrow.safetensors --data "$pictures/train" --epochs 3 --to tuned.safetensors
    "$benchdb" optimize prune --model cifar_cnn --weights original.safetensors --amount 0.6 --to sparse.safetensors
    "$benchdb" run --model original=cifar_cnn:original.safetensors,narrow=cifar_cnn:narrow.safetensors,tuned=cifar_cnn:tuned.safetensors,sparse=cifar_cnn:sparse.safetensors \
        --data "$pictures/test" --hardware cpu --engine burn-flex --batch-sizes 1,8 "${quick[@]}" --repeat 2 --label variants
}

import_tables() {
    "$benchdb" import --db "$folder/timm.sqlite" "${1:?the folder of the tables}"/benchmark-*.csv
}

draw() {
    local to="$here/docs/gallery"
    mkdir -p "$to"
    draw_chart() { # NAME OPTIONS...: the chart NAME as docs/gallery/NAME.png, or as PICTURE=NAME says
        local name=$1 files
        shift
        files=$(mktemp -d)
        "$benchdb" visualize "$name" --format png --scale 1.5 --quiet --output "$files" "$@"
        mv "$files/$name.png" "$to/${PICTURE:-$name}.png"
        rmdir "$files"
    }
    export BENCHDB_PATH="$folder/benchdb.sqlite"
    draw_chart throughput --label matrix
    draw_chart latency --label larger --precision fp32
    draw_chart memory --label larger --precision fp32
    draw_chart batch_scaling --label matrix
    draw_chart training_inference --label matrix --label training --model cifar_cnn
    draw_chart precision --hardware cpu --engine burn-flex --mode inference --label matrix --label precisions --label larger
    draw_chart accuracy --label variants
    draw_chart cold_start --label larger --precision fp32
    draw_chart telemetry --label nightly
    draw_chart samples --label nightly
    draw_chart history --label nightly
    draw_chart explanations --label explanations
    export BENCHDB_PATH="$folder/timm.sqlite"
    PICTURE=throughput-timm draw_chart throughput --model resnet50,vit_base_patch16_224,convnext_base --mode inference
    draw_chart speedup --framework 2.4.0 --parameter compiled= --model resnet --relative-to device=3090
    draw_chart predicted --mode inference
    # The report, as a browser shows it.
    "$benchdb" report --db "$folder/benchdb.sqlite" --quiet --output "$folder/report.html"
    "$benchdb" report --db "$folder/timm.sqlite" --quiet --output "$folder/report-timm.html"
    local theme
    for theme in light dark; do
        "$chromium" --headless=new --no-sandbox --hide-scrollbars --window-size=1200,1500 \
            $([ "$theme" = dark ] && echo --blink-settings=preferredColorScheme=0) \
            --screenshot="$to/report-$theme.png" "file://$folder/report.html" 2>/dev/null
    done
}

case "$step" in
measure) measure ;;
import) import_tables "${3:-}" ;;
draw) draw ;;
*) echo "unknown step \`$step\`: measure, import or draw" >&2; exit 2 ;;
esac
