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

WORD = np.uint64


# --- The rule: numbers from names (src/zoo/rule.rs has the same in Rust) -----------------------------------------------


def hash_of(name):
    """FNV-1a of the UTF-8 bytes, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def words(name, count):
    """The first `count` outputs of SplitMix64, counted up from the hash of a name."""
    with np.errstate(over="ignore"):
        mixed = WORD(hash_of(name)) + np.arange(count, dtype=WORD) + WORD(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> WORD(30))) * WORD(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> WORD(27))) * WORD(0x94D049BB133111EB)
        return mixed ^ (mixed >> WORD(31))


def unit(name, count):
    """Floats in [0, 1), exact in single precision."""
    return (words(name, count) >> WORD(40)).astype(np.float32) / np.float32(2**24)


def signed(name, count):
    """Floats in [-1, 1)."""
    return np.float32(2) * unit(name, count) - np.float32(1)


def weight(name, shape):
    """A parameter or buffer, by its name in the state dict and its shape."""
    count = math.prod(shape)
    if name.endswith("running_var"):
        values = np.float32(1) + np.float32(0.25) * unit(name, count)
    elif name.endswith("num_batches_tracked"):
        values = np.zeros(count, np.float32)
    elif len(shape) >= 2:
        gain = 6.0 if len(shape) == 4 else 3.0
        values = signed(name, count) * np.float32(math.sqrt(gain / math.prod(shape[1:])))
    elif name.endswith("weight"):
        values = np.float32(1) + np.float32(0.1) * signed(name, count)
    else:
        values = np.float32(0.1) * signed(name, count)
    return torch.from_numpy(values.reshape(shape))


def fill(network):
    """Overwrites all floats of a network by the rule; tied weights have the values of their first name."""
    seen = set()
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            tensor.copy_(weight(name, tuple(tensor.shape)))


# --- The networks ------------------------------------------------------------------------------------------------------


class CifarCnn(torch.nn.Module):
    """Six convolutions and two linear layers for pictures of 32 x 32."""

    def __init__(self):
        super().__init__()
        widths = [3, 32, 32, 64, 64, 128, 128]
        for layer, (narrow, wide) in enumerate(zip(widths, widths[1:]), 1):
            setattr(self, f"conv{layer}", torch.nn.Conv2d(narrow, wide, 3, padding=1))
        self.fc1, self.fc2 = torch.nn.Linear(128 * 4 * 4, 256), torch.nn.Linear(256, 10)

    def forward(self, image):
        hidden = image
        for layer in range(1, 7):
            hidden = torch.relu(getattr(self, f"conv{layer}")(hidden))
            if layer % 2 == 0:
                hidden = torch.nn.functional.max_pool2d(hidden, 2)
        return self.fc2(torch.relu(self.fc1(hidden.flatten(1))))


class Whole(torch.nn.Module):
    """A network with benchdb's inputs and outputs."""

    def __init__(self, network, forward):
        super().__init__()
        self.network, self.answer = network, forward

    def forward(self, *inputs):
        return self.answer(self.network, *inputs)


def image(size):
    return "image", (3, size, size), None


def ids(length, vocabulary, name="ids"):
    return name, (length,), vocabulary


def networks():
    """By name: how the network is built, what one sample of its inputs is, its outputs, and how they are computed."""
    import torchvision.models as vision
    import transformers as text

    eager = {"attn_implementation": "eager"}

    def bert(network, tokens):
        answer = network(input_ids=tokens, attention_mask=torch.ones_like(tokens))
        return answer.last_hidden_state, answer.pooler_output

    def clip(network, pixels, tokens):
        answer = network(pixel_values=pixels, input_ids=tokens)
        return answer.image_embeds, answer.text_embeds, answer.logits_per_image

    def detr(network, pixels):
        mask = torch.ones_like(pixels[:, 0], dtype=torch.long)
        answer = network(pixel_values=pixels, pixel_mask=mask)
        return answer.logits, answer.pred_boxes

    def of_pictures(build, size=224):
        return build, [image(size)], ["logits"], lambda network, pixels: network(pixels)

    return {
        "cifar_cnn": of_pictures(CifarCnn, 32),
        "resnet18": of_pictures(vision.resnet18),
        "resnet50": of_pictures(vision.resnet50),
        "mobilenet_v2": of_pictures(vision.mobilenet_v2),
        "vit_b_16": of_pictures(vision.vit_b_16),
        "bert-base-uncased": (
            lambda: text.BertModel(text.BertConfig(**eager)),
            [ids(128, 30522)],
            ["last_hidden_state", "pooler_output"],
            bert,
        ),
        "distilbert-base-uncased": (
            lambda: text.DistilBertModel(text.DistilBertConfig(**eager)),
            [ids(128, 30522)],
            ["last_hidden_state"],
            lambda network, tokens: network(tokens, torch.ones_like(tokens)).last_hidden_state,
        ),
        "gpt2": (
            lambda: text.GPT2LMHeadModel(text.GPT2Config(use_cache=False, **eager)),
            [ids(128, 50257)],
            ["logits"],
            lambda network, tokens: network(tokens).logits,
        ),
        "smollm2-135m": (
            lambda: text.LlamaForCausalLM(
                text.LlamaConfig(
                    vocab_size=49152,
                    hidden_size=576,
                    intermediate_size=1536,
                    num_hidden_layers=30,
                    num_attention_heads=9,
                    num_key_value_heads=3,
                    max_position_embeddings=8192,
                    rms_norm_eps=1e-5,
                    tie_word_embeddings=True,
                    rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
                    use_cache=False,
                    **eager,
                )
            ),
            [ids(128, 49152)],
            ["logits"],
            lambda network, tokens: network(tokens).logits,
        ),
        "t5-small": (
            lambda: text.T5ForConditionalGeneration(
                text.T5Config(
                    vocab_size=32128,
                    d_model=512,
                    d_kv=64,
                    d_ff=2048,
                    num_layers=6,
                    num_heads=8,
                    decoder_start_token_id=0,
                    use_cache=False,
                )
            ),
            [ids(128, 32128), ids(32, 32128, "decoder_ids")],
            ["logits"],
            lambda network, tokens, written: network(input_ids=tokens, decoder_input_ids=written).logits,
        ),
        "whisper-tiny": (
            lambda: text.WhisperForConditionalGeneration(
                text.WhisperConfig(
                    vocab_size=51865,
                    d_model=384,
                    encoder_layers=4,
                    decoder_layers=4,
                    encoder_attention_heads=6,
                    decoder_attention_heads=6,
                    encoder_ffn_dim=1536,
                    decoder_ffn_dim=1536,
                    use_cache=False,
                    **eager,
                )
            ),
            [("mel", (80, 3000), None), ids(8, 50257, "decoder_ids")],
            ["logits"],
            lambda network, sound, written: network(input_features=sound, decoder_input_ids=written).logits,
        ),
        "detr-resnet-50": (
            lambda: text.DetrForObjectDetection(
                text.DetrConfig(
                    use_timm_backbone=False,
                    use_pretrained_backbone=False,
                    backbone=None,
                    backbone_config=text.ResNetConfig(out_features=["stage4"]),
                    num_labels=91,
                    **eager,
                )
            ),
            [image(320)],
            ["logits", "pred_boxes"],
            detr,
        ),
        "clip-vit-base-patch32": (
            lambda: text.CLIPModel(text.CLIPConfig(**eager)),
            [image(224), ids(77, 49406)],
            ["image_embeds", "text_embeds", "logits_per_image"],
            clip,
        ),
    }


def samples(inputs, count):
    """The inputs that benchdb makes by the rule, too: `count` samples of each."""
    made = []
    for name, shape, vocabulary in inputs:
        total = count * math.prod(shape)
        if vocabulary is None:
            values = signed(f"input.{name}", total)
        else:
            values = ((words(f"input.{name}", total) >> WORD(33)) % WORD(vocabulary)).astype(np.int64)
        made.append(values.reshape(count, *shape))
    return made


# --- Files -------------------------------------------------------------------------------------------------------------


def write_safetensors(network, path):
    """The state dict by its own names, tied weights once."""
    from safetensors.torch import save_file

    seen, kept = set(), {}
    for name, tensor in network.state_dict().items():
        if tensor.data_ptr() not in seen or not tensor.numel():
            seen.add(tensor.data_ptr())
            kept[name] = tensor.contiguous()
    save_file(kept, path)


def write_onnx(network, path, inputs, outputs, forward, opset, half=False):
    """The network as a graph whose batch dimension is open, everything in one file."""
    whole = Whole(network, forward).eval()
    arguments = [torch.from_numpy(values) for values in samples(inputs, 2)]
    if half:
        whole = whole.half()
        arguments = [values.half() if values.is_floating_point() else values for values in arguments]
    torch.onnx.export(
        whole,
        tuple(arguments),
        path,
        input_names=[name for name, _, _ in inputs],
        output_names=outputs,
        # One entry for the list of inputs, with one for each of them.
        dynamic_shapes=(tuple({0: "batch"} for _ in inputs),),
        opset_version=opset,
        external_data=False,
        dynamo=True,
        verbose=False,
    )


def write_quantized(source, path, inputs, calibration):
    """The file with 8-bit weights and activations, by ONNX Runtime's static quantisation."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Samples(CalibrationDataReader):
        def __init__(self):
            made = samples(inputs, calibration)
            names = [name for name, _, _ in inputs]
            self.rows = iter({name: values[row : row + 1] for name, values in zip(names, made)} for row in range(calibration))

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
    parser.add_argument("--weights", metavar="FILE", help="a .safetensors of one model, instead of weights by the rule")
    parser.add_argument("--opset", type=int, default=18, help="version of the operators (default: 18, which tract takes)")
    parser.add_argument("--half", action="store_true", help="write MODEL-fp16.onnx, too")
    parser.add_argument("--quantize", action="store_true", help="write MODEL-int8.onnx (QDQ), too")
    parser.add_argument("--calibration", type=int, default=8, metavar="N", help="samples for --quantize (default: 8)")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    known = networks()
    unknown = [name for name in options.models if name not in known]
    if unknown:
        parser.error(f"no model {', '.join(unknown)}; there are {', '.join(known)}")
    if options.weights and len(options.models) != 1:
        parser.error("--weights belongs to one model")
    os.makedirs(options.output, exist_ok=True)
    for name in options.models or known:
        build, inputs, outputs, forward = known[name]
        network = build().eval()
        if options.weights:
            from safetensors.torch import load_file

            missing, extra = network.load_state_dict(load_file(options.weights), strict=False)
            tied = getattr(network, "_tied_weights_keys", None) or []
            missing = [key for key in missing if key not in tied and not key.endswith("num_batches_tracked")]
            if missing or extra:
                sys.exit(f"error: {options.weights} does not fit {name}: missing {missing[:3]}, unknown {list(extra)[:3]}")
        else:
            fill(network)
        stem = os.path.join(options.output, name)
        write_safetensors(network, stem + ".safetensors")
        write_onnx(network, stem + ".onnx", inputs, outputs, forward, options.opset)
        if options.quantize:
            write_quantized(stem + ".onnx", stem + "-int8.onnx", inputs, options.calibration)
        if options.half:
            write_onnx(network, stem + "-fp16.onnx", inputs, outputs, forward, options.opset, half=True)
        print(f"{name}: wrote {stem}.onnx and {stem}.safetensors", flush=True)


if __name__ == "__main__":
    main()
