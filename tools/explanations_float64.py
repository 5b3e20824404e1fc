#!/usr/bin/env python3
"""Captum's attributions of the golden cases in double precision: fixtures/golden/explanations-cifar_cnn-float64.json.

Weights, pictures and baselines are those of the golden file, which Captum computed in single precision; only the arithmetic is of
64 bits. The file holds what tests/explain/golden.rs compares with: 64 listed values and the length of each attribution. Printed
beside them is how far the single-precision reference itself is from them.

Usage: explanations_float64.py GOLDEN_FILE OUT_FILE     (needs torch, captum and numpy)
"""
import json
import pathlib
import sys
import warnings

import torch
from captum import attr
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule

HERE = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE / "adapters"))
from benchdb_adapter import signed, weight  # noqa: E402
from pytorch import CifarCnn  # noqa: E402


def network():
    net = CifarCnn().eval().double()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(torch.from_numpy(weight(name, list(parameter.shape))).double())
    return net


def lrp(net, rule, x, target):
    layers = [module for module in net.modules() if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear))]
    for layer in layers:
        layer.rule = rule()
    try:
        return attr.LRP(net).attribute(x, target=target)
    finally:
        for layer in layers:
            layer.__dict__.pop("rule", None)


def pictures(name, count):
    return torch.from_numpy(signed(name, count * 3 * 32 * 32)).reshape(count, 3, 32, 32).double()


def main():
    warnings.simplefilter("ignore")
    golden = json.loads(pathlib.Path(sys.argv[1]).read_text())
    net, x, to = network(), pictures("input.image", 2), {"target": torch.tensor(golden["targets"])}
    zero, noise = torch.zeros_like(x), 0.5 * pictures("baseline.image", 4)
    x.requires_grad_()
    grad_cam = attr.LayerGradCam(net, net.conv6)
    guided = attr.GuidedGradCam(net, net.conv6)
    found = {
        "saliency": attr.Saliency(net).attribute(x, **to),
        "input_x_gradient": attr.InputXGradient(net).attribute(x, **to),
        "integrated_gradients": attr.IntegratedGradients(net).attribute(x, zero, n_steps=50, **to),
        "deeplift": attr.DeepLift(net).attribute(x, zero, **to),
        "deeplift_shap": attr.DeepLiftShap(net).attribute(x, noise, **to),
        "grad_cam": grad_cam.attribute(x, relu_attributions=True, **to),
        "guided_grad_cam": guided.attribute(x, interpolate_mode="nearest", **to),
        "guided_backpropagation": attr.GuidedBackprop(net).attribute(x, **to),
        "deconvolution": attr.Deconvolution(net).attribute(x, **to),
        "occlusion": attr.Occlusion(net).attribute(x, (3, 8, 8), strides=(3, 4, 4), baselines=0.0, **to),
        "lrp": attr.LRP(net).attribute(x, **to),
        "lrp@epsilon=0.25": lrp(net, lambda: EpsilonRule(0.25), x, to["target"]),
        "lrp@gamma=0.25": lrp(net, lambda: GammaRule(0.25), x, to["target"]),
        "lrp@alpha1_beta0": lrp(net, Alpha1_Beta0_Rule, x, to["target"]),
    }
    methods = {}
    for name, values in found.items():
        single = golden["methods"][name]["attribution"]
        values = values.detach().flatten()
        listed, length = values[:: single["stride"]][:64], values.norm().item()
        expected = torch.tensor(single["values"], dtype=torch.float64)
        off = ((expected - listed).norm() / listed.norm()).item()
        print(f"{name}: single precision is {off:.1e} off in its listed values, {abs(single['l2'] - length) / length:.1e} in length")
        methods[name] = {"values": listed.tolist(), "l2": length}
    with open(sys.argv[2], "w") as file:
        json.dump({"model": "cifar_cnn", "reference": golden["reference"] + ", float64", "methods": methods}, file)
        file.write("\n")


if __name__ == "__main__":
    main()
