#!/usr/bin/env bash
# Makes the pictures of docs/gallery.md, in a checkout of the repository:
#
#     tools/gallery.sh measure FOLDER          # a quarter of an hour of measurements, into FOLDER/benchdb.sqlite and nightly.sqlite
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

# What runs beside the script ends with it.
started=()
trap 'kill "${started[@]}" 2>/dev/null || true' EXIT

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
    # A history, in a record of its own: twelve runs, then eight beside a process that keeps one processor busy.
    export BENCHDB_PATH="$folder/nightly.sqlite"
    for _ in $(seq 12); do
        "$benchdb" run --model cifar_cnn --hardware cpu --engine burn-flex --batch-sizes 4 "${quick[@]}" --label nightly
    done
    (while :; do :; done) &
    local busy=$!
    started+=("$busy")
    for _ in $(seq 8); do
        "$benchdb" run --model cifar_cnn --hardware cpu --engine burn-flex --batch-sizes 4 "${quick[@]}" --label nightly
    done
    kill "$busy"
    export BENCHDB_PATH="$folder/benchdb.sqlite"
    # One longer run, looked at iteration by iteration; after two thirds something else begins to work.
    (sleep 14 && timeout 8 sh -c 'while :; do :; done') &
    "$benchdb" run --model resnet18 --hardware cpu --engine burn-flex --min-time 20 --max-time 30 --label long
    wait
    # Where the time goes.
    "$benchdb" profile --model resnet18 --top 8 --output profile
    # What explanations cost.
    "$benchdb" run --model cifar_cnn --mode explanation --methods all --hardware cpu --engine burn-flex --min-time 0.2 --max-time 10 --iterations 12 --label explanations
    # Versions of a network with their accuracy on pictures that they were not trained on.
    "$benchdb" optimize train --model cifar_cnn --data "$pictures/train" --epochs 20 --to original.safetensors
    "$benchdb" optimize channels --model cifar_cnn --weights original.safetensors --amount 0.5 --to narrow.safetensors
    "$benchdb" optimize train --model cifar_cnn --weights narrow.safetensors --data "$pictures/train" --epochs 10 --to tuned.safetensors
    "$benchdb" optimize prune --model cifar_cnn --weights original.safetensors --amount 0.6 --to sparse.safetensors
    "$benchdb" run --model original=cifar_cnn:original.safetensors,narrow=cifar_cnn:narrow.safetensors,tuned=cifar_cnn:tuned.safetensors,sparse=cifar_cnn:sparse.safetensors \
        --data "$pictures/test" --hardware cpu --engine burn-flex --batch-sizes 1,8 "${quick[@]}" --repeat 2 --label variants
}

import_tables() {
    "$benchdb" import --db "$folder/timm.sqlite" "${1:?the folder of the tables}"/benchmark-*.csv
}

to="$here/docs/gallery"

photograph() { # PICTURE light|dark ADDRESS [WIDTH,HEIGHT]
    local scheme=1
    [ "$2" = light ] || scheme=0
    "$chromium" --headless=new --no-sandbox --hide-scrollbars --virtual-time-budget=3000 --window-size="${4:-1200,1200}" \
        --blink-settings=preferredColorScheme="$scheme" --screenshot="$to/$1.png" "$3" 2>/dev/null
}

serve() { # DATABASE: its pages are at $address
    rm -f "$folder/address"
    "$benchdb" serve --quiet --port 0 --db "$1" >"$folder/address" &
    started+=($!)
    until [ -s "$folder/address" ]; do sleep 0.1; done
    address=$(cat "$folder/address")
    address=${address%/}
}

draw() {
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
    draw_chart training_inference --model cifar_cnn --hardware cpu --precision fp32 --parameter data=
    draw_chart precision --hardware cpu --mode inference --parameter data=
    draw_chart accuracy --label variants
    draw_chart cold_start --label larger --precision fp32
    draw_chart explanations --label explanations
    draw_chart telemetry --label long
    draw_chart samples --label long
    export BENCHDB_PATH="$folder/nightly.sqlite"
    draw_chart history
    export BENCHDB_PATH="$folder/timm.sqlite"
    PICTURE=throughput-timm draw_chart throughput --model resnet50,vit_base_patch16_224,convnext_base --mode inference
    draw_chart speedup --framework 2.4.0 --parameter compiled= --relative-to device=3090 \
        --model resnet18,resnet50,resnet101,mobilenetv3_large_100,efficientnet_b0,convnext_base,vit_base_patch16_224,swin_base_patch4_window7_224
    draw_chart predicted --mode inference
    # The report, as a browser shows it.
    "$benchdb" report --db "$folder/benchdb.sqlite" --label matrix --quiet --output "$folder/report.html"
    local section
    for section in summary comparison charts; do
        # A browser without a head photographs the top of a page; of a frame it shows the section that the address names.
        echo "<style>* { margin: 0; border: 0 }</style><iframe src='report.html#$section' width=1200 height=1200></iframe>" >"$folder/$section.html"
    done
    photograph report-light light "file://$folder/summary.html"
    photograph report-charts light "file://$folder/charts.html"
    photograph report-dark dark "file://$folder/comparison.html"
    photograph profile light "file://$folder/profile/operators.svg" 1200,300
    # Live pages: the one configuration of the history, and two engines beside each other.
    serve "$folder/nightly.sqlite"
    photograph serve-history light "$address/configurations/1" 1200,1500
    serve "$folder/benchdb.sqlite"
    photograph serve-compare light "$address/compare?model=cifar_cnn&mode=inference&precision=fp32&a.engine=burn-ndarray&b.engine=burn-flex" 1200,1500
}

case "$step" in
measure) measure ;;
import) import_tables "${3:-}" ;;
draw) draw ;;
*) echo "unknown step \`$step\`: measure, import or draw" >&2; exit 2 ;;
esac
