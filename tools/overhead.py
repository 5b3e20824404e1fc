#!/usr/bin/env python3
"""Does a library take longer through benchdb than by itself? Interleaved pairs, with the interval of their ratio.

    python3 tools/overhead.py --benchdb target/release/benchdb onnxruntime resnet50.onnx
    python3 tools/overhead.py --benchdb target/release/benchdb openvino resnet50.onnx
    python3 tools/overhead.py --benchdb target/release/benchdb --python venv/bin/python pytorch resnet50

One half of a pair is `benchdb run` (with its engine onnxruntime or openvino, or with adapters/pytorch.py), the other a bare timing loop
in a Python of its own: the same network, random input, as many threads, a first call, 200 ms to warm up, then at least
`--samples` iterations and a second. Which half comes first alternates. Printed are the medians of each half, and the median of
the pairs' ratios (benchdb / bare) with its 95 % interval by order statistics.

Take a quiet machine; with --quiet the script waits before each half until nobody else has used the processors for two
seconds (Linux). It runs in any Python; `--python` names one with the library (and numpy, or torchvision).
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

LOOP = """
import statistics, sys, time

def loop(step, samples):
    step()
    start = time.perf_counter()
    while time.perf_counter() - start < 0.2:
        step()
    times, start = [], time.perf_counter()
    while len(times) < samples or time.perf_counter() - start < 1:
        began = time.perf_counter_ns()
        result = step()
        times.append(time.perf_counter_ns() - began)
        del result
    print(statistics.median(times) / 1e6)

network, batch, threads, samples = sys.argv[1], *map(int, sys.argv[2:5])
shapes = {name: [int(extent) for extent in extents.split(",")] for name, extents in (word.rsplit("=", 1) for word in sys.argv[5:])}
"""

ONNXRUNTIME = """
import numpy as np, onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
random = np.random.default_rng(0)
inputs = {}
for given in session.get_inputs():
    shape = shapes.get(given.name) or [extent if isinstance(extent, int) else batch for extent in given.shape]
    if given.type == "tensor(int64)":
        inputs[given.name] = random.integers(0, 2, shape)
    else:
        inputs[given.name] = random.uniform(-1, 1, shape).astype(np.float32)
loop(lambda: session.run(None, inputs), samples)
"""

OPENVINO = """
import numpy as np, openvino

core = openvino.Core()
model = core.read_model(network)
model.reshape({given.any_name: shapes.get(given.any_name) or [extent.get_length() if extent.is_static else batch
               for extent in given.partial_shape] for given in model.inputs})
settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads)}
request = core.compile_model(model, "CPU", settings).create_infer_request()
random = np.random.default_rng(0)
for at, given in enumerate(model.inputs):
    if given.element_type == openvino.Type.i64:
        values = random.integers(0, 2, list(given.shape))
    else:
        values = random.uniform(-1, 1, list(given.shape)).astype(np.float32)
    request.set_input_tensor(at, openvino.Tensor(values))
loop(request.infer, samples)
"""

PYTORCH = """
import torch, torchvision

torch.set_num_threads(threads)
net = getattr(torchvision.models, network)().eval()
x = torch.rand(batch, 3, 224, 224) * 2 - 1
with torch.inference_mode():
    loop(lambda: net(x), samples)
"""


def wait_for_quiet():
    """Until the processors were idle for 98 % of two seconds."""

    def counters():
        with open("/proc/stat") as file:
            times = [int(word) for word in file.readline().split()[1:9]]
        return times[3] + times[4], sum(times)

    while True:
        idle, total = counters()
        time.sleep(2)
        idle_then, total_then = counters()
        if idle_then - idle >= 0.98 * (total_then - total):
            return


def interval_of_median(ordered):
    """The ranks whose coverage of the median is at least 95 %: binomial with one half."""
    count, rank = len(ordered), 0
    chance = below = 0.5**count
    while below <= 0.025 and rank < count // 2:
        rank += 1
        chance *= (count - rank + 1) / rank
        below += chance
    rank = max(rank - 1, 0)
    return ordered[rank], ordered[count - 1 - rank]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=["onnxruntime", "openvino", "pytorch"])
    parser.add_argument("network", help="an ONNX file, or a network of torchvision that benchdb has, too")
    parser.add_argument("--benchdb", default="benchdb", help="the program (default: the one on the path)")
    parser.add_argument("--python", default=sys.executable, help="a Python with the library (default: this one)")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all processors")
    parser.add_argument("--pairs", type=int, default=20, help="at least six, or there is no interval (default: 20)")
    parser.add_argument("--samples", type=int, default=50, help="samples of each half at least (default: 50)")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=1,128", help="open extents of an ONNX file")
    parser.add_argument("--quiet", action="store_true", help="wait for idle processors before each half")
    options = parser.parse_args()
    # Paths stay what they are: a Python of an environment is a link.
    benchdb, python = [os.path.abspath(path) if os.sep in path else path for path in (options.benchdb, options.python)]
    command = [benchdb, "--quiet", "run", "--threads", str(options.threads), "--iterations", str(options.samples)]
    command += ["--batch-sizes", str(options.batch_size), "--format", "json"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    if options.library != "pytorch":
        network, script = os.path.abspath(options.network), LOOP + {"onnxruntime": ONNXRUNTIME, "openvino": OPENVINO}[options.library]
        command += ["--model", network, "--engine", options.library]
        for shape in options.shape:
            command += ["--shape", shape]
        # benchdb takes the library that the other half takes.
        environment["VIRTUAL_ENV"] = os.path.dirname(os.path.dirname(python))
    else:
        network, script = options.network, LOOP + PYTORCH
        command += ["--hardware", "cpu"]
        adapter = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "adapters", "pytorch.py")
        command += ["--model", network, "--external", f"'{python}' '{adapter}'"]

    def through_benchdb():
        with tempfile.TemporaryDirectory() as folder:
            run = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True, env=environment)
            return json.loads(run.stdout)["rows"][0]["latency_p50_ms"]

    def bare():
        words = [python, "-c", script, network, str(options.batch_size), str(options.threads), str(options.samples)]
        run = subprocess.run([*words, *options.shape], stdout=subprocess.PIPE, text=True, check=True, env=environment)
        return float(run.stdout)

    taken = {through_benchdb: [], bare: []}
    for pair in range(options.pairs):
        for half in (through_benchdb, bare) if pair % 2 else (bare, through_benchdb):
            if options.quiet:
                wait_for_quiet()
            taken[half].append(half())
        ours, theirs = (times[-1] for times in taken.values())
        print(f"{pair + 1:3}  benchdb {ours:9.3f} ms   bare {theirs:9.3f} ms   ratio {ours / theirs:.4f}", flush=True)
    ratios = sorted(ours / theirs for ours, theirs in zip(*taken.values()))
    low, high = interval_of_median(ratios)
    medians = [statistics.median(times) for times in taken.values()]
    print(f"medians: benchdb {medians[0]:.3f} ms, bare {medians[1]:.3f} ms")
    print(f"ratio {statistics.median(ratios):.4f}, 95 % interval {low:.4f} to {high:.4f} ({options.pairs} pairs)")


if __name__ == "__main__":
    main()
