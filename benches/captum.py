#!/usr/bin/env python3
"""Explanations of cifar_cnn by benchdb on burn-flex and by Captum on PyTorch, in one go: the table of docs/explanations.md.

    cargo bench --bench explanations --no-run
    python3 benches/captum.py --bench-binary target/release/deps/explanations-... --threads 2

Both sides have the same network with the same weights (adapters/benchdb_adapter.py), the same pictures, classes and parameters:
benchdb's defaults, which are Captum's where it has any. First both must agree. Then they run in turns, method by method, for
several rounds; a ratio is taken within a round, so that other work on the machine meets both sides. Times are medians over
the explanations of a round, ratios medians over rounds with the smallest and the largest.

On a machine with other work `--processor-time --threads 1` compares what each side spends of the processor, from Linux's
account of each thread, instead of what passes on the clock: PyTorch's threads wait for each other, and suffer from others more than ours.

Occlusion is compared with Captum's default, one window at a time, and with the fastest `perturbations_per_eval`; methods with inner
samples with Captum's default, all of them at once, and with the fastest `internal_batch_size` where there is one.

Needs torch, captum and numpy.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import warnings

HERE = pathlib.Path(__file__).resolve().parent
# This file has the library's name: its own folder must not be looked into for it.
sys.path = [str(HERE.parent / "adapters")] + [path for path in sys.path if pathlib.Path(path).resolve() != HERE]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from captum import attr  # noqa: E402
from benchdb_adapter import signed, weight  # noqa: E402
from pytorch import CifarCnn  # noqa: E402

# Relative L2 error up to which both sides do the same; methods that draw are left out, because their draws differ. Rectifiers on
# a kink make 2e-3 of integrated gradients in any single precision (docs/explanations.md); tests/explain/golden.rs is strict.
AGREEMENT = 5e-3
WARMUP, FEWEST = 2, 5
# libgomp's threads spin for a while after their last work.
SETTLE_SECONDS = 0.05
SHAPE = [3, 32, 32]


def network():
    net = CifarCnn().eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(torch.from_numpy(weight(name, list(parameter.shape))))
            parameter.requires_grad_(False)  # as on the other side: gradients to the input alone
    return net


def images(name, count):
    return torch.from_numpy(signed(name, count * 3 * 32 * 32)).reshape([count, *SHAPE])


def settings(net, batch):
    """`{method: {setting: explanation}}`, the default first."""
    x = images("input.image", batch).requires_grad_()
    zero, noise = torch.zeros_like(x), 0.5 * images("baseline.image", 4)
    goal = torch.tensor([(3 + 4 * sample) % 10 for sample in range(batch)])
    tunnel = attr.NoiseTunnel(attr.Saliency(net))
    window, stride = (3, 8, 8), (3, 4, 4)
    both = {"target": goal}

    def path(rows):
        return lambda: attr.IntegratedGradients(net).attribute(x, zero, n_steps=50, internal_batch_size=rows, **both)

    def windows(count):
        return lambda: attr.Occlusion(net).attribute(x, window, strides=stride, perturbations_per_eval=count, **both)

    def shap(**more):
        return attr.GradientShap(net).attribute(x, baselines=zero[:1], stdevs=0.0, n_samples=5, **both, **more)

    one = {
        "saliency": lambda: attr.Saliency(net).attribute(x, **both),
        "input_x_gradient": lambda: attr.InputXGradient(net).attribute(x, **both),
        "gradient_shap": shap,
        "deeplift": lambda: attr.DeepLift(net).attribute(x, zero, **both),
        "deeplift_shap": lambda: attr.DeepLiftShap(net).attribute(x, noise, **both),
        "grad_cam": lambda: attr.LayerGradCam(net, net.conv6).attribute(x, relu_attributions=True, **both),
        "guided_grad_cam": lambda: attr.GuidedGradCam(net, net.conv6).attribute(x, interpolate_mode="nearest", **both),
        "guided_backpropagation": lambda: attr.GuidedBackprop(net).attribute(x, **both),
        "deconvolution": lambda: attr.Deconvolution(net).attribute(x, **both),
        "lrp": lambda: attr.LRP(net).attribute(x, **both),
        "smooth_grad": lambda: tunnel.attribute(x, nt_type="smoothgrad", nt_samples=5, stdevs=1.0, **both),
    }
    found = {name: {"default": call} for name, call in one.items()}
    rows = [("default", None)] + [(f"internal_batch_size={rows}", rows) for rows in (16, 64, 256) if rows >= batch]
    found["integrated_gradients"] = {name: path(rows) for name, rows in rows}
    found["occlusion"] = {"default": windows(1)} | {f"perturbations_per_eval={n}": windows(n) for n in (4, 8, 16, 49)}
    return found


DRAWN = {"gradient_shap", "smooth_grad"}


class Twin:
    """benchdb's side: `benches/explanations.rs --serve`."""

    def __init__(self, binary, threads):
        command = [binary, "--serve", "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"error": "it is gone"}')
        if "error" in answer:
            raise SystemExit(f"benchdb cannot answer {request}: {answer['error']}")
        return answer

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def timed(work, seconds):
    """Milliseconds of every call."""
    for _ in range(WARMUP):
        work()
    times, end = [], time.perf_counter() + seconds
    while len(times) < FEWEST or time.perf_counter() < end:
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1e3)
    time.sleep(SETTLE_SECONDS)
    return times


def spent(process):
    """Milliseconds of processor time of all threads of a process."""
    tasks = pathlib.Path(f"/proc/{process}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def spent_on(process, work):
    """What each iteration of a `timed` took of the processor, warm-up included."""
    before = spent(process)
    times = work()
    return [(spent(process) - before) / (len(times) + WARMUP)]


def error(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


def disagreements(twin, net, methods):
    """What both sides answer for two pictures, compared; the names of methods that differ."""
    wrong = []
    for method, calls in settings(net, 2).items():
        if method not in methods or method in DRAWN:
            continue
        expected = calls["default"]().detach()
        parameters = {"layer": "conv6"} if "grad_cam" in method else {}
        answer = twin.ask(type="values", method=method, parameters=parameters, batch=2)
        found = torch.tensor(answer["values"]).reshape(answer["shape"])
        off = error(found, expected) if found.shape == expected.shape else float("inf")
        print(f"agreement: {method}: relative L2 error {off:.1e}", file=sys.stderr)
        if not off <= AGREEMENT:
            wrong.append(method)
    return wrong


class Ratio:
    """Times of both sides by rounds."""

    def __init__(self):
        self.ours, self.theirs = [], []

    def add(self, ours, theirs):
        self.ours.append(statistics.median(ours))
        self.theirs.append(statistics.median(theirs))

    def ratios(self):
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs)]

    def row(self, method, batch, setting):
        ratios = self.ratios()
        middle = [statistics.median(times) / batch for times in (self.ours, self.theirs)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        cells = [f"`{method}`", str(batch), f"{middle[0]:.3f}", f"{middle[1]:.3f}", setting]
        return cells + [f"**{statistics.median(ratios):.2f}**", spread]


def fastest(calls, seconds):
    """The setting that is not the default and takes the least time."""
    others = {name: statistics.median(timed(call, seconds / 2)) for name, call in calls.items() if name != "default"}
    return min(others, key=others.get) if others else None


def compare(twin, net, options):
    rows, behind = [], set()
    measure = spent_on if options.processor_time else lambda _, work: work()
    for batch in options.batch_sizes:
        every = settings(net, batch)
        for method in options.methods or every:
            calls = every[method]
            compared = ["default"] + [name for name in [fastest(calls, options.seconds)] if name]
            ratios = {setting: Ratio() for setting in compared}
            parameters = {"layer": "conv6"} if "grad_cam" in method else {}
            request = {"method": method, "parameters": parameters, "batch": batch, "seconds": options.seconds}

            def our_side(request=request):
                return twin.ask(type="time", **request)["ms"]

            for round_number in range(options.rounds):
                # Who begins changes from round to round.
                ours, theirs = None, {}
                if round_number % 2 == 0:
                    ours = measure(twin.process.pid, our_side)
                for setting in compared:
                    theirs[setting] = measure(os.getpid(), lambda: timed(calls[setting], options.seconds))
                if ours is None:
                    ours = measure(twin.process.pid, our_side)
                for setting in compared:
                    ratios[setting].add(ours, theirs[setting])
            for setting in compared:
                rows.append(ratios[setting].row(method, batch, setting))
                print(" | ".join(rows[-1]), file=sys.stderr)
                if statistics.median(ratios[setting].ratios()) < 1:
                    behind.add((method, batch))
    return rows, behind


def operations(batch):
    """The operations of the network on PyTorch: `{name: (shape, forward)}`."""
    found = {}
    convolutions = [(3, 32, 32), (32, 32, 32), (32, 64, 16), (64, 64, 16), (64, 128, 8), (128, 128, 8)]
    for number, (narrow, wide, size) in enumerate(convolutions, 1):
        layer = torch.nn.Conv2d(narrow, wide, 3, padding=1).requires_grad_(False)
        found[f"conv{number}"] = ([batch, narrow, size, size], layer)
    for number, (narrow, wide) in enumerate([(2048, 256), (256, 10)], 1):
        found[f"fc{number}"] = ([batch, narrow], torch.nn.Linear(narrow, wide).requires_grad_(False))
    for channels, size in [(32, 32), (64, 16), (128, 8)]:
        found[f"pool{size}"] = ([batch, channels, size, size], lambda x: F.max_pool2d(x, 2))
        found[f"relu{size}"] = ([batch, channels, size, size], torch.relu)
    return found


def operation(shape, forward, seconds):
    """Medians forward, and forward and backward to the input."""
    x = torch.randn(shape)

    def both():
        leaf = x.detach().requires_grad_()
        answer = forward(leaf)
        torch.autograd.grad(answer, leaf, torch.ones_like(answer))

    return [statistics.median(timed(work, seconds)) for work in (lambda: forward(x), both)]


def compare_operations(twin, options):
    rows = []
    for batch in options.batch_sizes:
        rounds = []
        for _ in range(options.rounds):
            ours = twin.ask(type="operations", batch=batch, seconds=options.seconds / 4)
            theirs = {name: operation(*work, options.seconds / 4) for name, work in operations(batch).items()}
            rounds.append((ours, theirs))
        totals = [0.0] * 6
        for name in rounds[0][1]:
            kinds = ["burn", "own", "torch"]
            middle = []
            for kind in kinds:
                for place in (0, 1):
                    values = [(theirs[name] if kind == "torch" else ours[name][kind])[place] for ours, theirs in rounds]
                    middle.append(statistics.median(values))
            totals = [total + value for total, value in zip(totals, middle)]
            rows.append([str(batch), name] + [f"{value:.3f}" for value in middle])
        rows.append([str(batch), "sum"] + [f"{value:.3f}" for value in totals])
    return rows


def table(head, rows):
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head)] + rows]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench-binary", required=True, help="the bench `explanations`, compiled")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch-sizes", type=lambda text: [int(part) for part in text.split(",")], default=[1, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each side in a round")
    parser.add_argument("--methods", type=lambda text: text.split(","), default=None)
    parser.add_argument("--processor-time", action="store_true", help="processor time instead of the clock's")
    parser.add_argument("--operations", action="store_true", help="the table of operations, too, whoever is behind")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # Captum's about the hooks it sets
    torch.set_num_threads(options.threads)
    net, twin = network(), Twin(options.bench_binary, options.threads)
    wrong = disagreements(twin, net, options.methods or list(settings(net, 2)))
    if wrong:
        raise SystemExit(f"the sides disagree about {', '.join(wrong)}; times would not compare")
    rows, behind = compare(twin, net, options)
    versions = f"PyTorch {torch.__version__}, Captum {__import__('captum').__version__}"
    kind = "processor time" if options.processor_time else "wall time"
    print(f"{processor()}, {options.threads} threads, {kind}, {time.strftime('%Y-%m-%d')}; {versions}; "
          f"{options.rounds} rounds of {options.seconds} s.\n")
    print(table(["method", "batch", "benchdb, ms", "Captum, ms", "Captum's setting", "faster by", "over rounds"], rows))
    if behind or options.operations:
        names = ", ".join(f"{method} at {batch}" for method, batch in sorted(behind)) or "none"
        print(f"\nBehind: {names}. The operations, ms for a batch, forward and forward with backward:\n")
        head = ["batch", "operation", "Burn", "Burn, both", "own", "own, both", "PyTorch", "PyTorch, both"]
        print(table(head, compare_operations(twin, options)))
    twin.end()


def processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        import platform

        return platform.processor() or "unknown processor"


if __name__ == "__main__":
    main()
