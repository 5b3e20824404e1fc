#!/usr/bin/env python3
"""Does PyTorch take longer through benchdb than by itself? Interleaved pairs, with the interval of their ratio.

    python3 tools/adapter_overhead.py --benchdb target/release/benchdb --python venv/bin/python --model resnet18

One half of a pair is `benchdb run` with adapters/pytorch.py, the other a bare timing loop in a process of its own: the same
network, random input, as many threads, 200 ms to warm up, then at least 50 iterations and a second. Which half comes first
alternates. The ratio is that of the medians (benchdb / bare); the interval is Student's over the logarithms of the pairs' ratios.

Needs a quiet machine (with --quiet it waits before each half until nobody else has used the processors for two seconds, on
Linux); Python without packages to run it, and a Python with torch and torchvision to measure.
"""
import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time

BARE = """
import sys, time, statistics, torch, torchvision
model, batch, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
net = getattr(torchvision.models, model)().eval()
x = torch.rand(batch, 3, 224, 224) * 2 - 1
with torch.inference_mode():
    net(x)
    start = time.perf_counter()
    while time.perf_counter() - start < 0.2:
        net(x)
    times, start = [], time.perf_counter()
    while len(times) < 50 or time.perf_counter() - start < 1:
        began = time.perf_counter_ns()
        y = net(x)
        times.append(time.perf_counter_ns() - began)
        del y
print(statistics.median(times) / 1e6)
"""

# Two-sided 95 % quantiles of Student's distribution, by degrees of freedom (NIST/SEMATECH e-Handbook, section 1.3.6.7.2).
STUDENT = {4: 2.776, 9: 2.262, 14: 2.145, 19: 2.093, 24: 2.064, 29: 2.045, 39: 2.023, 59: 2.001}


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchdb", default="benchdb", help="the program")
    parser.add_argument("--python", default=sys.executable, help="a Python with torch and torchvision")
    parser.add_argument("--model", default="resnet18", help="a network of torchvision and of benchdb's zoo")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--pairs", type=int, default=20, choices=[count + 1 for count in STUDENT])
    parser.add_argument("--quiet", action="store_true", help="wait for idle processors before each half")
    options = parser.parse_args()
    adapter = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "adapters", "pytorch.py")
    benchdb, python = [os.path.abspath(path) if os.sep in path else path for path in (options.benchdb, options.python)]

    def through_benchdb():
        with tempfile.TemporaryDirectory() as folder:
            command = [benchdb, "run", "--hardware", "cpu", "--model", options.model, "--threads", str(options.threads)]
            command += ["--batch-sizes", str(options.batch_size), "--external", f"'{python}' '{adapter}'", "--format", "json"]
            run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
            return json.loads(run.stdout)["rows"][0]["latency_p50_ms"]

    def bare():
        words = [python, "-c", BARE, options.model, str(options.batch_size), str(options.threads)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        return float(subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout)

    ratios, ours, theirs = [], [], []
    for pair in range(options.pairs):
        first, second = (through_benchdb, bare) if pair % 2 else (bare, through_benchdb)
        times = {}
        for half in (first, second):
            if options.quiet:
                wait_for_quiet()
            times[half] = half()
        ours.append(times[through_benchdb])
        theirs.append(times[bare])
        ratios.append(math.log(ours[-1] / theirs[-1]))
        told = f"benchdb {ours[-1]:9.3f} ms   bare {theirs[-1]:9.3f} ms   ratio {math.exp(ratios[-1]):.4f}"
        print(f"{pair + 1:3}  {told}", flush=True)
    mean = statistics.mean(ratios)
    half = STUDENT[len(ratios) - 1] * statistics.stdev(ratios) / math.sqrt(len(ratios))
    low, high = math.exp(mean - half), math.exp(mean + half)
    print(f"medians: benchdb {statistics.median(ours):.3f} ms, bare {statistics.median(theirs):.3f} ms")
    print(f"ratio {math.exp(mean):.4f}, 95 % interval {low:.4f} to {high:.4f}")


if __name__ == "__main__":
    main()
