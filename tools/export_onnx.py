#!/usr/bin/env python3
"""Write networks of benchdb as ONNX files and as safetensors, with equal weights.

One network can then be measured on every engine: the ONNX file by tract, ONNX Runtime and OpenVINO, the safetensors by
Burn's engines and by PyTorch. Architectures come from torchvision and transformers; weights follow the rule of benchdb's
own seeded weights (seed 0), so that nothing has to be downloaded, or are read from a file.

    python tools/export_onnx.py --output files resnet50 bert-base-uncased
    benchdb run --engine burn-flex,onnxruntime,openvino,tract \\
        --model resnet50 --weights files/resnet50.safetensors --model resnet50=files/resnet50.onnx

It writes MODEL.onnx (the batch dimension is called `batch`, inputs and outputs have benchdb's names) and
MODEL.safetensors; with --half MODEL-fp16.onnx besides, with --quantize MODEL-int8.onnx: quantised to 8 bits, weights and
activations, with QuantizeLinear and DequantizeLinear operators (QDQ), calibrated on inputs by the same rule.

Needs torch, torchvision, transformers, onnx, onnxscript and safetensors; --quantize needs onnxruntime, too:

    pip install torch torchvision transformers onnx onnxscript safetensors onnxruntime
"""
import argparse
import math
import os
import sys

import numpy as np
import torch

# The networks, and the rule by which numbers are made, are those of the adapters.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "adapters"))
from benchdb_adapter import WORD, signed, words  # noqa: E402
from pytorch import MODELS, load  # noqa: E402


def image(size):
    return (3, size, size), None


def ids(length, vocabulary):
    return (length,), vocabulary


# One sample of each input of a network: its shape, and how many tokens there are where it is tokens.
INPUTS = {
    "cifar_cnn": [image(32)],
    "resnet18": [image(224)],
    "resnet50": [image(224)],
    "mobilenet_v2": [image(224)],
    "vit_b_16": [image(224)],
    "detr-resnet-50": [image(320)],
    "bert-base-uncased": [ids(128, 30522)],
    "distilbert-base-uncased": [ids(128, 30522)],
    "gpt2": [ids(128, 50257)],
    "smollm2-135m": [ids(128, 49152)],
    "t5-small": [ids(128, 32128), ids(32, 32128)],
    "whisper-tiny": [((80, 3000), None), ids(8, 50257)],
    "clip-vit-base-patch32": [image(224), ids(77, 49406)],
}


class Whole(torch.nn.Module):
    """A network with benchdb's inputs and outputs."""

    def __init__(self, network, model):
        super().__init__()
        self.network, self.model = network, model

    def forward(self, *inputs):
        return tuple(answers(self.model, self.network, inputs).values())


def answers(model, network, inputs):
    """The outputs by name; the last position of the logits is a part of them."""
    found = model.outputs(model.call(network, *inputs))
    return {name: tensor for name, tensor in found.items() if name != "logits_last"}


def samples(name, count):
    """The inputs that benchdb makes by the rule, too: `count` samples of each, by name."""
    made = {}
    for own, (shape, vocabulary) in zip(MODELS[name].inputs, INPUTS[name]):
        total = count * math.prod(shape)
        if vocabulary is None:
            values = signed(f"input.{own}", total)
        else:
            values = ((words(f"input.{own}", total) >> WORD(33)) % WORD(vocabulary)).astype(np.int64)
        made[own] = values.reshape(count, *shape)
    return made


def write_safetensors(network, path):
    """The state dict by its own names, tied weights once."""
    from safetensors.torch import save_file

    seen, kept = set(), {}
    for name, tensor in network.state_dict().items():
        if tensor.data_ptr() not in seen or not tensor.numel():
            seen.add(tensor.data_ptr())
            kept[name] = tensor.contiguous()
    save_file(kept, path)


def write_onnx(name, network, path, opset, half=False):
    """The network as a graph whose batch dimension is open, everything in one file."""
    model = MODELS[name]
    whole = Whole(network, model).eval()
    arguments = [torch.from_numpy(values) for values in samples(name, 2).values()]
    outputs = list(answers(model, network, arguments))
    if half:
        whole = whole.half()
        arguments = [values.half() if values.is_floating_point() else values for values in arguments]
    torch.onnx.export(
        whole,
        tuple(arguments),
        path,
        input_names=model.inputs,
        output_names=outputs,
        # One entry for the list of inputs, with one for each of them.
        dynamic_shapes=(tuple({0: "batch"} for _ in arguments),),
        opset_version=opset,
        external_data=False,
        dynamo=True,
        verbose=False,
    )


def write_quantized(name, source, path, calibration):
    """The file with 8-bit weights and activations, by ONNX Runtime's static quantisation."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Samples(CalibrationDataReader):
        def __init__(self):
            made = samples(name, calibration)
            self.rows = iter({own: values[row : row + 1] for own, values in made.items()} for row in range(calibration))

        def get_next(self):
            return next(self.rows, None)

    prepared = path + ".prepared"
    try:
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            path,
            Samples(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            # Products of 8-bit numbers are added in 16 bits on processors without VNNI: 7 bits cannot overflow there.
            reduce_range=True,
        )
    finally:
        if os.path.exists(prepared):
            os.remove(prepared)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="models by benchdb's names (all without)")
    parser.add_argument("--output", default=".", metavar="FOLDER", help="where the files go")
    parser.add_argument("--weights", metavar="FILE", help="a .safetensors, .pt or .pth of one model, instead of weights by the rule")
    parser.add_argument("--opset", type=int, default=18, help="version of the operators (default: 18, which tract takes)")
    parser.add_argument("--half", action="store_true", help="write MODEL-fp16.onnx, too")
    parser.add_argument("--quantize", action="store_true", help="write MODEL-int8.onnx (QDQ), too")
    parser.add_argument("--calibration", type=int, default=8, metavar="N", help="samples for --quantize (default: 8)")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    unknown = [name for name in options.models if name not in INPUTS]
    if unknown:
        parser.error(f"no model {', '.join(unknown)}; there are {', '.join(INPUTS)}")
    if options.weights and len(options.models) != 1:
        parser.error("--weights belongs to one model")
    os.makedirs(options.output, exist_ok=True)
    weights = {"rule": 0}
    if options.weights:
        form = "safetensors" if options.weights.endswith(".safetensors") else "pytorch"
        weights = {"file": {"path": options.weights, "format": form}}
    for name in options.models or INPUTS:
        # Fused attention is no operator of ONNX.
        network = MODELS[name].build(attn_implementation="eager").eval()
        try:
            load(network, MODELS[name], weights)
        except (OSError, ValueError) as error:
            sys.exit(f"error: {error}")
        stem = os.path.join(options.output, name)
        write_safetensors(network, stem + ".safetensors")
        write_onnx(name, network, stem + ".onnx", options.opset)
        if options.quantize:
            write_quantized(name, stem + ".onnx", stem + "-int8.onnx", options.calibration)
        if options.half:
            write_onnx(name, network, stem + "-fp16.onnx", options.opset, half=True)
        print(f"{name}: wrote {stem}.onnx and {stem}.safetensors", flush=True)


if __name__ == "__main__":
    main()
