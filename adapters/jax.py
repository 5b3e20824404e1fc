#!/usr/bin/env python3
"""JAX as an engine of benchdb: some networks of its zoo, written as plain functions over arrays.

    benchdb run --model resnet50,bert --external 'python3 adapters/jax.py'

Models: cifar_cnn, resnet18, resnet50, distilbert-base-uncased, bert-base-uncased. Devices: cpu, cuda, rocm and tpu, whatever
this JAX offers. Inference, and training by Adam or SGD as benchdb's own engines train. A training step is one compiled program,
so it has no phases. Precisions: fp32 (products in full precision), tf32 (NVIDIA), fp16, bf16. Weights by benchdb's rule or from
safetensors, in PyTorch's naming.

Everything is compiled ahead of time while preparing; compile_ms is what that took, and no iteration is in it.

Needs jax and numpy.
"""
import functools
import math
import os
import sys
import time

import numpy as np

from benchdb_adapter import Refused, read_npz, serve, sorted_by_name, weight

# This file would be found in place of the framework of the same name.
sys.path = [folder for folder in sys.path if os.path.abspath(folder or ".") != os.path.dirname(os.path.abspath(__file__))]

# XLA has one thread for every processor that it may use; benchdb says how many by this variable.
if os.environ.get("OMP_NUM_THREADS", "").isdigit() and hasattr(os, "sched_setaffinity"):
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[: max(1, int(os.environ["OMP_NUM_THREADS"]))])

import jax  # noqa: E402  (after the folder of this file is out of the way)
import jax.numpy as jnp  # noqa: E402

ELEMENTS = {"fp32": jnp.float32, "tf32": jnp.float32, "fp16": jnp.float16, "bf16": jnp.bfloat16}


# --- Layers over weights `w` in PyTorch's naming -----------------------------------------------------------------------


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def convolve(w, name, x, stride=1, padding=0):
    """[batch, channels, height, width] by a kernel [out, in, height, width]."""
    y = jax.lax.conv_general_dilated(
        x, w[f"{name}.weight"], (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NCHW", "OIHW", "NCHW")
    )
    bias = w.get(f"{name}.bias")
    return y if bias is None else y + bias[:, None, None]


def batch_norm(w, name, x, running):
    """By running statistics; in training by those of the batch, and `running` takes what becomes of the running ones."""
    if running is None:
        mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    else:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
        count = x.size // x.shape[1]
        unbiased = variance * (count / max(count - 1, 1))
        for part, new in (("running_mean", mean), ("running_var", unbiased)):
            running[f"{name}.{part}"] = (0.9 * w[f"{name}.{part}"] + 0.1 * new).astype(x.dtype)
    scale = w[f"{name}.weight"] / jnp.sqrt(variance + 1e-5)
    return (x - mean[:, None, None]) * scale[:, None, None] + w[f"{name}.bias"][:, None, None]


def layer_norm(w, name, x, epsilon=1e-12):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + epsilon) * w[f"{name}.weight"] + w[f"{name}.bias"]


def max_pool(x, size, stride, padding=0):
    pads = [(0, 0), (0, 0), (padding, padding), (padding, padding)]
    # A constant of the host: with a traced one the window has no gradient.
    lowest = np.array(-np.inf, x.dtype)
    return jax.lax.reduce_window(x, lowest, jax.lax.max, (1, 1, size, size), (1, 1, stride, stride), pads)


def attend(query, key, value, heads):
    """Attention of [batch, sequence, width], without a mask."""
    batch, sequence, width = query.shape

    def split(x):
        return x.reshape(batch, sequence, heads, width // heads).transpose(0, 2, 1, 3)

    scores = split(query) @ split(key).transpose(0, 1, 3, 2) / math.sqrt(width // heads)
    mixed = jax.nn.softmax(scores, axis=-1) @ split(value)
    return mixed.transpose(0, 2, 1, 3).reshape(batch, sequence, width)


# --- Networks: weights and inputs to outputs ---------------------------------------------------------------------------


def cifar_cnn(w, image, running=None):
    x = image
    for layer in range(1, 7):
        x = jax.nn.relu(convolve(w, f"conv{layer}", x, padding=1))
        if layer % 2 == 0:
            x = max_pool(x, 2, 2)
    x = jax.nn.relu(linear(w, "fc1", x.reshape(x.shape[0], -1)))
    return {"logits": linear(w, "fc2", x)}


def cifar_shapes():
    widths = [3, 32, 32, 64, 64, 128, 128]
    shapes = {}
    for layer, (narrow, wide) in enumerate(zip(widths, widths[1:]), 1):
        shapes |= {f"conv{layer}.weight": (wide, narrow, 3, 3), f"conv{layer}.bias": (wide,)}
    return shapes | dense("fc1", 2048, 256) | dense("fc2", 256, 10)


def resnet(w, image, running=None, depths=(2, 2, 2, 2), bottleneck=False):
    x = jax.nn.relu(batch_norm(w, "bn1", convolve(w, "conv1", image, 2, 3), running))
    x = max_pool(x, 3, 2, 1)
    for stage, depth in enumerate(depths, 1):
        for block in range(depth):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            short = x
            if f"{name}.downsample.0.weight" in w:
                short = batch_norm(w, f"{name}.downsample.1", convolve(w, f"{name}.downsample.0", x, stride), running)
            # Version 1.5 of the bottleneck has its stride in the middle convolution.
            plan = [(1, 0), (stride, 1), (1, 0)] if bottleneck else [(stride, 1), (1, 1)]
            for layer, (step, padding) in enumerate(plan, 1):
                x = batch_norm(w, f"{name}.bn{layer}", convolve(w, f"{name}.conv{layer}", x, step, padding), running)
                x = jax.nn.relu(x) if layer < len(plan) else jax.nn.relu(x + short)
    return {"logits": linear(w, "fc", x.mean((2, 3)))}


def resnet_shapes(depths=(2, 2, 2, 2), bottleneck=False):
    def normed(name, width):
        return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}

    shapes = {"conv1.weight": (64, 3, 7, 7)} | normed("bn1", 64)
    narrow, expansion = 64, 4 if bottleneck else 1
    for stage, depth in enumerate(depths, 1):
        width = 64 * 2 ** (stage - 1)
        for block in range(depth):
            name = f"layer{stage}.{block}"
            kernels = [(narrow, width, 3), (width, width, 3)]
            if bottleneck:
                kernels = [(narrow, width, 1), (width, width, 3), (width, 4 * width, 1)]
            for layer, (into, out, size) in enumerate(kernels, 1):
                shapes |= {f"{name}.conv{layer}.weight": (out, into, size, size)} | normed(f"{name}.bn{layer}", out)
            if block == 0 and (stage > 1 or bottleneck):
                shapes |= {f"{name}.downsample.0.weight": (expansion * width, narrow, 1, 1)}
                shapes |= normed(f"{name}.downsample.1", expansion * width)
            narrow = expansion * width
    return shapes | dense("fc", narrow, 1000)


# The parts of an encoder layer, by BERT's names and by DistilBERT's: query, key, value, projection, normalisation; wide and
# narrow linear layer, normalisation.
BERT_PARTS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
DISTILBERT_PARTS = (
    "attention.q_lin",
    "attention.k_lin",
    "attention.v_lin",
    "attention.out_lin",
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
)


def encoder_layer(w, layer, parts, x):
    """[batch, length, 768]: attention and two linear layers, each normalised with what came in."""
    query, key, value, projected, first_norm, wide, narrow, last_norm = (f"{layer}.{part}" for part in parts)
    mixed = attend(*(linear(w, name, x) for name in (query, key, value)), 12)
    x = layer_norm(w, first_norm, linear(w, projected, mixed) + x)
    hidden = jax.nn.gelu(linear(w, wide, x), approximate=False)
    return layer_norm(w, last_norm, linear(w, narrow, hidden) + x)


def encoder_shapes(layers, parts):
    """The embeddings that both networks have, and these layers."""
    shapes = {
        "embeddings.word_embeddings.weight": (30522, 768),
        "embeddings.position_embeddings.weight": (512, 768),
    } | normal("embeddings.LayerNorm", 768)
    for layer in layers:
        *attention, first_norm, wide, narrow, last_norm = (f"{layer}.{part}" for part in parts)
        for name in attention:
            shapes |= dense(name, 768, 768)
        shapes |= normal(first_norm, 768) | normal(last_norm, 768)
        shapes |= dense(wide, 768, 3072) | dense(narrow, 3072, 768)
    return shapes


BERT_LAYERS = [f"encoder.layer.{layer}" for layer in range(12)]
DISTILBERT_LAYERS = [f"transformer.layer.{layer}" for layer in range(6)]


def bert(w, ids, running=None):
    embedded = w["embeddings.word_embeddings.weight"][ids]
    positions = w["embeddings.position_embeddings.weight"][: ids.shape[1]]
    x = layer_norm(w, "embeddings.LayerNorm", embedded + positions + w["embeddings.token_type_embeddings.weight"][0])
    for layer in BERT_LAYERS:
        x = encoder_layer(w, layer, BERT_PARTS, x)
    return {"last_hidden_state": x, "pooler_output": jnp.tanh(linear(w, "pooler.dense", x[:, 0]))}


def bert_shapes():
    own = {"embeddings.token_type_embeddings.weight": (2, 768)} | dense("pooler.dense", 768, 768)
    return encoder_shapes(BERT_LAYERS, BERT_PARTS) | own


def distilbert(w, ids, running=None):
    embedded = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
    x = layer_norm(w, "embeddings.LayerNorm", embedded)
    for layer in DISTILBERT_LAYERS:
        x = encoder_layer(w, layer, DISTILBERT_PARTS, x)
    return {"last_hidden_state": x}


def distilbert_shapes():
    return encoder_shapes(DISTILBERT_LAYERS, DISTILBERT_PARTS)


def dense(name, into, out):
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def normal(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


# --- Losses ------------------------------------------------------------------------------------------------------------


def cross_entropy(logits, wanted):
    logs = jax.nn.log_softmax(logits, axis=-1)
    return -jnp.take_along_axis(logs, wanted[:, None], axis=-1).mean()


def class_loss(w, outputs, targets):
    return cross_entropy(outputs["logits"], targets["classes"])


def masked_loss(w, outputs, targets):
    """The masked tokens through the tied input embedding."""
    hidden = outputs["last_hidden_state"]
    hidden = hidden.reshape(-1, hidden.shape[-1])[targets["positions"]]
    return cross_entropy(hidden @ w["embeddings.word_embeddings.weight"].T, targets["tokens"])


MODELS = {
    # name: forward pass, shapes of its weights, inputs, loss, prefix of published files
    "cifar_cnn": (cifar_cnn, cifar_shapes, ["image"], class_loss, None),
    "resnet18": (resnet, resnet_shapes, ["image"], class_loss, None),
    "resnet50": (
        functools.partial(resnet, depths=(3, 4, 6, 3), bottleneck=True),
        functools.partial(resnet_shapes, (3, 4, 6, 3), True),
        ["image"],
        class_loss,
        None,
    ),
    "distilbert-base-uncased": (distilbert, distilbert_shapes, ["ids"], masked_loss, "distilbert."),
    "bert-base-uncased": (bert, bert_shapes, ["ids"], masked_loss, "bert."),
}
STATISTICS = ("running_mean", "running_var")


def read_safetensors(path):
    """The tensors of a file, in single precision."""
    import json

    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    kinds = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "BF16": jnp.bfloat16, "I64": np.int64}
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            values = np.frombuffer(data[start:end], kinds[entry["dtype"]]).reshape(entry["shape"])
            found[name] = values.astype(np.float32)
    return found


def load(shapes, weights, prefix):
    """Weights by name, in single precision on the host."""
    if "rule" in weights:
        return {name: weight(name, shape, weights["rule"]) for name, shape in shapes.items()}
    path = weights["file"]["path"]
    found = {name.removeprefix(prefix or "\0"): values for name, values in read_safetensors(path).items()}
    wrong = [name for name, shape in shapes.items() if name not in found or found[name].shape != shape]
    if wrong:
        raise ValueError(f"{path} does not fit: {', '.join(wrong[:3])} missing or of another shape")
    return {name: found[name] for name in shapes}


# --- The engine --------------------------------------------------------------------------------------------------------


def platform_of(device):
    if device.platform == "gpu":
        return "rocm" if "rocm" in device.client.platform_version.lower() else "cuda"
    return device.platform


class Jax:
    def __init__(self):
        self.devices = []
        for backend in ("cpu", "gpu", "tpu"):
            try:
                self.devices += [(platform_of(device), device) for device in jax.devices(backend)]
            except RuntimeError:
                pass  # this JAX has none

    def hello(self):
        devices = []
        for where, device in self.devices:
            precisions = ["fp32", "fp16", "bf16"] + (["tf32"] if where == "cuda" else [])
            vendor = {"cuda": "NVIDIA", "rocm": "AMD", "tpu": "Google"}.get(where, "")
            devices.append({"platform": where, "name": device.device_kind, "vendor": vendor, "precisions": precisions})
        return {
            "engine": "jax",
            "version": jax.__version__,
            "framework": f"jax {jax.__version__}",
            "devices": devices,
            "modes": ["inference", "training"],
            "models": list(MODELS),
            "weights": ["rule", "safetensors"],
            "batches_in_flight": True,
        }

    def prepare(self, request):
        self.network, shapes, self.names, self.loss, prefix = MODELS[request["model"]]
        self.precision, self.in_flight = request["precision"], request["batches_in_flight"]
        self.training = request["mode"] == "training"
        if self.training and self.precision == "fp16" and request["optimizer"] == "adam":
            raise Refused("Adam's epsilon of 1e-8 is 0 in fp16", "`--precision bf16`, or `--optimizer sgd`")
        here = [device for where, device in self.devices if where == request["platform"]]
        jax.config.update("jax_default_device", here[request["device_index"]])
        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if self.precision == "tf32" else "highest")
        element = ELEMENTS[self.precision]
        loaded = load(shapes(), request["weights"], prefix)
        self.weights = {name: jnp.asarray(values, element) for name, values in loaded.items()}
        self.inputs = self.moved(read_npz(request["input"]))
        self.targets = {name: jnp.asarray(value) for name, value in read_npz(request["targets"]).items()}
        start = time.perf_counter_ns()
        if self.training:
            self.set_training(request["optimizer"], request["learning_rate"])
        else:
            self.program = jax.jit(lambda w, *inputs: self.network(w, *inputs)).lower(self.weights, *self.inputs).compile()
        taken = time.perf_counter_ns() - start
        return {
            "precision": self.precision,
            "model_size_bytes": sum(values.nbytes for values in self.weights.values()),
            "compile_ns": taken,
        }

    def moved(self, tensors):
        values = sorted_by_name(self.names, tensors)
        return [jnp.asarray(value, ELEMENTS[self.precision] if value.dtype.kind == "f" else None) for value in values]

    def set_training(self, optimizer, rate):
        learning = {name: values for name, values in self.weights.items() if not name.endswith(STATISTICS)}
        self.statistics = {name: values for name, values in self.weights.items() if name.endswith(STATISTICS)}
        zeros = {name: jnp.zeros_like(values) for name, values in learning.items()}
        self.state = (learning, zeros, zeros, jnp.zeros((), jnp.float32))

        def loss(w, statistics, inputs, targets):
            running = {}
            outputs = self.network({**w, **statistics}, *inputs, running=running)
            return self.loss(w, outputs, targets).astype(jnp.float32), {**statistics, **running}

        def adam(w, first, second, gradient, step):
            first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
            second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
            one, two = 1 - 0.9**step, 1 - 0.999**step

            def moved(w, m, v):
                return (w - rate * (m / one) / (jnp.sqrt(v / two) + 1e-8)).astype(w.dtype)

            return jax.tree.map(moved, w, first, second), first, second

        def sgd(w, first, second, gradient, step):
            first = jax.tree.map(lambda m, g: 0.9 * m + g, first, gradient)
            return jax.tree.map(lambda w, m: (w - rate * m).astype(w.dtype), w, first), first, second

        move = adam if optimizer == "adam" else sgd

        def step(state, statistics, inputs, targets):
            w, first, second, count = state
            (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(w, statistics, inputs, targets)
            return (*move(w, first, second, gradient, count + 1), count + 1), statistics, value

        lowered = jax.jit(step).lower(self.state, self.statistics, self.inputs, self.targets)
        self.program = lowered.compile()

    def steps(self, count):
        times, loss = [], None
        for _ in range(count):
            start = time.perf_counter_ns()
            if self.training:
                for _ in range(self.in_flight):
                    self.state, self.statistics, loss = self.program(self.state, self.statistics, self.inputs, self.targets)
                jax.block_until_ready((self.state, self.statistics, loss))
            else:
                answers = [self.program(self.weights, *self.inputs) for _ in range(self.in_flight)]
                jax.block_until_ready(answers)
            times.append(time.perf_counter_ns() - start)
            # Given back outside of the timed region.
            answers = None
        told = {}
        if loss is not None:
            if np.isfinite(float(loss)):
                told["loss"] = float(loss)
            elif self.precision != "fp32":
                raise Refused("the loss is not a number any more", "`--precision fp32`")
        return {"nanoseconds": times, "memory": self.memory(), **told}

    def memory(self):
        statistics = next(iter(self.inputs[0].devices())).memory_stats() or {}
        known = {
            "device_peak_bytes": "peak_bytes_in_use",
            "device_allocated_bytes": "bytes_in_use",
            "device_reserved_bytes": "bytes_reserved",
        }
        return {name: statistics[key] for name, key in known.items() if key in statistics}

    def outputs(self, source, target):
        answer = jax.jit(lambda w, *inputs: self.network(w, *inputs))(self.weights, *self.moved(read_npz(source)))
        np.savez(target, **{name: np.asarray(values, np.float32) for name, values in answer.items()})


if __name__ == "__main__":
    if sys.stdin.isatty():
        sys.exit(__doc__)
    serve(Jax())
