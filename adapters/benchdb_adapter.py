"""What the adapters share: the conversation with benchdb (docs/external.md), and numbers by benchdb's rule.

An adapter is a class with `hello()`, `prepare(request)`, `steps(count)` and `outputs(input, output)`, each of which returns
the fields of its answer as a dict. `Refused` says that something cannot be done, and why. Needs NumPy.
"""
import json
import math
import os
import sys

import numpy as np

WORD = np.uint64
GAMMA = 0x9E3779B97F4A7C15


class Refused(Exception):
    """The framework cannot really do this: a reason, and the nearest thing that works."""

    def __init__(self, reason, nearest=None):
        super().__init__(reason)
        self.nearest = nearest


def serve(adapter):
    """Answers every request until `bye`, or until benchdb is gone."""
    # What libraries print belongs on standard error; only answers leave by the old standard output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields):
        answers.write(json.dumps(fields, allow_nan=False) + "\n")
        answers.flush()

    for line in sys.stdin:
        request = json.loads(line)
        kind = request.pop("type")
        try:
            if kind == "hello":
                answer(type=kind, protocol=1, **adapter.hello())
            elif kind == "prepare":
                answer(type=kind, **adapter.prepare(request))
            elif kind == "steps":
                answer(type=kind, **adapter.steps(request["count"]))
            elif kind == "outputs":
                adapter.outputs(request["input"], request["output"])
                answer(type=kind)
            elif kind == "bye":
                answer(type=kind)
                return
            else:
                answer(type="unsupported", reason=f"there is no `{kind}` in this adapter")
        except Refused as refused:
            answer(type="unsupported", reason=str(refused), nearest=refused.nearest)
        except MemoryError as error:
            answer(type="error", message=f"out of memory: {error}")
        except Exception as error:  # benchdb stores what went wrong, whatever it was
            if os.environ.get("BENCHDB_ADAPTER_TRACE"):
                raise
            words = " ".join(str(error).split())[:500]
            answer(type="error", message=f"{type(error).__name__}: {words}")


# --- Numbers by the rule (src/zoo/rule.rs has the same in Rust) --------------------------------------------------------


def words(name, count, seed=0):
    """Whole numbers of 64 bits: SplitMix64, counted up from the FNV-1a hash of a name and a seed."""
    base = 0xCBF29CE484222325
    for byte in name.encode():
        base = (base ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        mixed = WORD((base + seed * GAMMA) % 2**64) + np.arange(count, dtype=WORD) + WORD(GAMMA)
        mixed = (mixed ^ (mixed >> WORD(30))) * WORD(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> WORD(27))) * WORD(0x94D049BB133111EB)
        return mixed ^ (mixed >> WORD(31))


def unit(name, count, seed=0):
    """Floats in [0, 1), exact in single precision."""
    return (words(name, count, seed) >> WORD(40)).astype(np.float32) / np.float32(2**24)


def signed(name, count, seed=0):
    """Floats in [-1, 1)."""
    return np.float32(2) * unit(name, count, seed) - np.float32(1)


def weight(name, shape, seed=0):
    """A parameter or buffer by its name in the reference's state dict, its shape and a seed, in single precision."""
    count = math.prod(shape)
    if name.endswith("running_var"):
        values = np.float32(1) + np.float32(0.25) * unit(name, count, seed)
    elif name.endswith("num_batches_tracked"):
        values = np.zeros(count, np.float32)
    elif len(shape) >= 2:
        gain = 6.0 if len(shape) == 4 else 3.0
        values = signed(name, count, seed) * np.float32(math.sqrt(gain / math.prod(shape[1:])))
    elif name.endswith("weight"):
        values = np.float32(1) + np.float32(0.1) * signed(name, count, seed)
    else:
        values = np.float32(0.1) * signed(name, count, seed)
    return values.reshape(shape)


def read_npz(path):
    """The tensors of an .npz by name; none without a path."""
    if path is None:
        return {}
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def sorted_by_name(names, tensors):
    """Tensors in this order of names; all must be there."""
    missing = [name for name in names if name not in tensors]
    if missing:
        raise ValueError(f"benchdb did not send the input {', '.join(missing)}")
    return [tensors[name] for name in names]
