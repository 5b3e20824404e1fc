#!/usr/bin/env python3
"""Does ONNX Runtime take the same time through benchdb as when Python calls it?

Measures one ONNX file by both, in turns, each time in a process of its own, and prints the medians of every pair, the
median of their ratios (benchdb over Python) and its 95 % interval by order statistics. Take a quiet machine.

    pip install onnxruntime numpy
    python tools/compare_onnxruntime.py --benchdb target/release/benchdb --threads 2 resnet50.onnx

Symbolic extents other than the batch are named as for benchdb: --shape ids=1,128.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time


def measure_in_python(path, shapes, threads, samples):
    """Median milliseconds of `session.run`, after a warm-up of the same length as benchdb's."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    inputs = {}
    for given in session.get_inputs():
        shape = shapes.get(given.name) or [extent if isinstance(extent, int) else 1 for extent in given.shape]
        if given.type == "tensor(int64)":
            inputs[given.name] = random.integers(0, 2, shape)
        else:
            inputs[given.name] = random.uniform(-1, 1, shape).astype(np.float32)
    session.run(None, inputs)
    start, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() - start < 0.2:
        session.run(None, inputs)
        count += 1
    taken = []
    for _ in range(samples):
        start = time.perf_counter()
        session.run(None, inputs)
        taken.append(1e3 * (time.perf_counter() - start))
    return statistics.median(taken)


def measure_by_benchdb(program, path, shapes, threads, samples, folder):
    """Median milliseconds as `benchdb run` stores them."""
    command = [program, "--db", os.path.join(folder, "pairs.sqlite"), "--quiet", "run", "--engine", "onnxruntime"]
    command += ["--model", path, "--threads", str(threads), "--iterations", str(samples), "--min-time", "0"]
    for name, extents in shapes.items():
        command += ["--shape", f"{name}={','.join(map(str, extents))}"]
    answer = subprocess.run([*command, "--format", "json"], check=True, capture_output=True, text=True)
    return json.loads(answer.stdout)["rows"][0]["latency_p50_ms"]


def shape(text):
    name, extents = text.rsplit("=", 1)
    return name, [int(extent) for extent in extents.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="the ONNX file")
    parser.add_argument("--benchdb", default="benchdb", help="the program (default: the one on the path)")
    parser.add_argument("--pairs", type=int, default=20, help="pairs to take (default: 20)")
    parser.add_argument("--samples", type=int, default=50, help="samples of each run (default: 50)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads (default: all processors)")
    parser.add_argument("--shape", type=shape, action="append", default=[], metavar="NAME=1,128")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    shapes = dict(options.shape)
    if options.child:
        print(measure_in_python(options.file, shapes, options.threads, options.samples))
        return
    child = [sys.executable, os.path.abspath(__file__), *sys.argv[1:], "--child"]
    ratios, ours, theirs = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(options.pairs):
            def by_python():
                theirs.append(float(subprocess.run(child, check=True, capture_output=True, text=True).stdout))

            def by_benchdb():
                ours.append(
                    measure_by_benchdb(
                        options.benchdb, options.file, shapes, options.threads, options.samples, folder
                    )
                )

            # Each goes first every other time.
            for measure in (by_python, by_benchdb) if pair % 2 else (by_benchdb, by_python):
                measure()
            ratios.append(ours[-1] / theirs[-1])
            print(f"pair {pair + 1:2}: benchdb {ours[-1]:8.3f} ms, python {theirs[-1]:8.3f} ms, ratio {ratios[-1]:.4f}", flush=True)
    ratios.sort()
    # Ranks whose coverage of the median is at least 95 %: binomial with one half.
    count, low, tail = len(ratios), 0, 0.5 ** len(ratios)
    chance = tail
    while tail <= 0.025 and low < count // 2:
        low += 1
        chance = chance * (count - low + 1) / low
        tail += chance
    low = max(low - 1, 0)
    print(
        f"median of benchdb {statistics.median(ours):.3f} ms, of Python {statistics.median(theirs):.3f} ms, "
        f"ratio {statistics.median(ratios):.4f} [{ratios[low]:.4f}, {ratios[count - 1 - low]:.4f}] over {count} pairs"
    )


if __name__ == "__main__":
    main()
