"""Kokoro-82M on the GPU: a small interpreter of its ONNX graph in PyTorch.

Only an int8 export of the weights was available, and onnxruntime runs it at about real time on one core. The same graph
with dequantized weights runs hundreds of times faster on the training GPU without a loss of accuracy: dynamic
quantization is undone (activations stay float), constants are folded once, and small integer tensors (shapes) stay
on the CPU.

`GraphRunner` is a `voices.Kokoro.run`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

_DTYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}


class GraphRunner:
    """Runs the graph of `model` on `device`; call it with (tokens, style, speed) -> (wave, durations)."""

    def __init__(self, model: Path, device: str = "cuda"):
        graph = onnx.load(model).graph
        self.audio_name = graph.output[0].name
        self.device = torch.device(device)
        self.constants: dict[str, Any] = {"": None}  # tensors; None is an omitted input
        for tensor in graph.initializer:
            self.constants[tensor.name] = torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
        self.lstms: dict[str, torch.nn.LSTM] = {}
        self.nodes = []
        self.durations_name = next(n for n in graph.node if n.op_type == "Clip").output[0]
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            self.nodes.append((node.op_type, attributes, list(node.input), list(node.output)))
        self._fold()

    def __call__(self, tokens: list[int], style: np.ndarray, speed: float) -> tuple[np.ndarray, np.ndarray]:
        wave, durations = self.synthesize(tokens, style, speed)
        return wave.float().cpu().numpy(), durations.cpu().numpy().reshape(-1)

    @torch.inference_mode()
    def synthesize(self, tokens: list[int], style: np.ndarray, speed: float) -> tuple[Tensor, Tensor]:
        """`tokens` with the zero pads, `style` (256,) -> wave (n,) at 24 kHz, durations (len(tokens),) of 600
        samples."""
        values = dict(self.constants)
        values["tokens"] = torch.tensor([tokens], device=self.device)
        values["style"] = torch.as_tensor(style, dtype=torch.float32, device=self.device)[None]
        values["speed"] = torch.tensor([speed], dtype=torch.float32, device=self.device)
        for (op, attributes, inputs, outputs), dead in zip(self.nodes, self.dead, strict=True):
            results = self._run(op, attributes, [values[i] for i in inputs], outputs)
            values.update(zip(outputs, results, strict=False))
            for name in dead:
                values.pop(name, None)
        return values[self.audio_name].reshape(-1), values[self.durations_name]

    def _fold(self) -> None:
        """Undo the quantization and evaluate every node that depends on constants only; the others stay in `nodes`."""
        kept: list[tuple] = []
        for op, attributes, inputs, outputs in self.nodes:
            if op == "DynamicQuantizeLinear":  # x -> (x, 1, 0): activations are left as they are
                self.constants[outputs[1]], self.constants[outputs[2]] = torch.ones(()), torch.zeros(())
                kept.append(("Identity", {}, inputs, outputs[:1]))
                continue
            if op in ("ConvInteger", "MatMulInteger"):
                weight, zero = self.constants[inputs[1]].float(), self.constants[inputs[3]].float()
                if op == "ConvInteger" and zero.dim() == 1:
                    zero = zero[:, None, None]
                self.constants[inputs[1] + ".float"] = (weight - zero).to(self.device)
                op, inputs = op.removesuffix("Integer"), [inputs[0], inputs[1] + ".float"]
            if "bias_quant" in outputs[0] and op in ("Floor", "Cast"):
                op, attributes = "Identity", {}  # the bias was rounded to the product of the two scales
            if op == "DynamicQuantizeLSTM":
                self.lstms[outputs[0]] = self._lstm(attributes, [self.constants.get(i) for i in inputs])
                op, inputs = "LSTM", inputs[:1]
            node = (op, attributes, inputs, outputs)
            if op != "LSTM" and all(i in self.constants for i in inputs):
                results = self._run(op, attributes, [self.constants[i] for i in inputs], outputs)
                self.constants.update(zip(outputs, results, strict=False))
            else:
                kept.append(node)
        self.nodes = kept
        last_use = {name: n for n, (_, _, inputs, _) in enumerate(kept) for name in inputs}
        for name in (self.audio_name, self.durations_name, *self.constants):
            last_use.pop(name, None)
        self.dead: list[list[str]] = [[] for _ in kept]  # tensors that no later node reads, by node
        for name, n in last_use.items():
            self.dead[n].append(name)
        used = {i for _, _, inputs, _ in kept for i in inputs}
        for name in list(self.constants):
            value = self.constants[name]
            if name and name not in used:
                del self.constants[name]
            elif value is not None and (value.is_floating_point() or value.dtype in (torch.uint8, torch.int8)):
                self.constants[name] = value.to(self.device)

    def _lstm(self, attributes: dict, inputs: list) -> torch.nn.LSTM:
        """Create a torch LSTM with the dequantized weights. ONNX orders the gates i o f c, torch i f c o."""
        hidden = attributes["hidden_size"]

        def dequantize(weight: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
            """(directions, inputs, 4 hidden) -> (directions, 4 hidden, inputs)"""
            shape = (scale.shape[0], 1, -1) if scale.dim() else ()
            return ((weight.float() - zero.float().reshape(shape)) * scale.reshape(shape)).transpose(1, 2)

        def order(x: Tensor) -> Tensor:
            i, o, f, c = x.chunk(4)
            return torch.cat([i, f, c, o])

        w, r = dequantize(inputs[1], inputs[8], inputs[9]), dequantize(inputs[2], inputs[10], inputs[11])
        lstm = torch.nn.LSTM(w.shape[2], hidden, bidirectional=True)
        for d, suffix in enumerate(("", "_reverse")):
            bias_input, bias_recurrent = inputs[3][d].chunk(2)
            parts = {"weight_ih_l0": w[d], "weight_hh_l0": r[d], "bias_ih_l0": bias_input, "bias_hh_l0": bias_recurrent}
            for name, value in parts.items():
                getattr(lstm, name + suffix).data = order(value).contiguous()
        return lstm.to(self.device).requires_grad_(False)

    def _run(self, op: str, attributes: dict, x: list, outputs: list[str]) -> tuple[Tensor, ...]:
        if op == "LSTM":
            y = self.lstms[outputs[0]](x[0])[0]  # (time, 1, 2 hidden)
            time, batch, width = y.shape
            return (y.reshape(time, batch, 2, width // 2).transpose(1, 2),)
        if op in _ELEMENTWISE:
            return (_ELEMENTWISE[op](*_same_device(x)),)
        result = _OPS[op](attributes, *x)
        return result if isinstance(result, tuple) else (result,)


def _same_device(tensors: list) -> list:
    """Move CPU tensors to the GPU if another operand is there."""
    device = next((t.device for t in tensors if t is not None and t.device.type != "cpu"), None)
    return tensors if device is None else [t if t is None else t.to(device) for t in tensors]


_ELEMENTWISE: dict[str, Callable] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": lambda a, b: a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc"),
    "Pow": torch.pow,
    "Sqrt": torch.sqrt,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Exp": torch.exp,
    "Tanh": torch.tanh,
    "Atan": lambda a: torch.atan(torch.nan_to_num(a)),  # the phase of an empty bin, 0 / 0
    "Sigmoid": torch.sigmoid,
    "Floor": torch.floor,
    "Round": torch.round,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "Less": torch.lt,
    "GreaterOrEqual": torch.ge,
    "And": torch.logical_and,
    "Where": torch.where,
    "MatMul": torch.matmul,
    "Identity": lambda a: a,
    "FastGelu": lambda a, b: F.gelu(a + b, approximate="tanh"),
}


def _ints(t: Tensor) -> list[int]:
    return [int(v) for v in t.reshape(-1).tolist()]


def _reshape(attributes: dict, x: Tensor, shape: Tensor) -> Tensor:
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(_ints(shape))])


def _gather(attributes: dict, x: Tensor, index: Tensor) -> Tensor:
    axis = attributes.get("axis", 0) % x.dim()
    if index.dim() == 0:
        return x.select(axis, int(index))
    index = index.to(x.device)
    flat = x.index_select(axis, torch.where(index < 0, index + x.shape[axis], index).reshape(-1))
    return flat.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _slice(
    attributes: dict, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, *rest: Tensor
) -> Tensor:
    axes_list = _ints(axes) if axes is not None else list(range(starts.numel()))
    for axis, start, end in zip(axes_list, _ints(starts), _ints(ends), strict=True):
        size = x.shape[axis]
        start, end = (max(0, min(size, n + size if n < 0 else n)) for n in (start, end))
        x = x.narrow(axis, start, max(0, end - start))
    return x


def _conv(attributes: dict, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    left, right = attributes.get("pads", [0, 0])
    if left != right:
        x, left = F.pad(x, (left, right)), 0
    stride, dilation = attributes.get("strides", [1])[0], attributes.get("dilations", [1])[0]
    return F.conv1d(x, weight, bias, stride, left, dilation, attributes.get("group", 1))


def _conv_transpose(attributes: dict, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    extra = attributes.get("output_padding", [0])[0]
    stride, pad = attributes["strides"][0], attributes["pads"][0]
    return F.conv_transpose1d(x, weight, bias, stride, pad, extra, attributes["group"], attributes["dilations"][0])


def _resize(attributes: dict, x: Tensor, roi: Tensor | None, scales: Tensor) -> Tensor:
    factor = float(scales.reshape(-1)[-1])
    if attributes["mode"] == b"nearest":
        return F.interpolate(x, scale_factor=factor, mode="nearest")
    return F.interpolate(x, scale_factor=factor, mode="linear", align_corners=False, recompute_scale_factor=False)


def _stft(attributes: dict, x: Tensor, step: Tensor, window: Tensor, length: Tensor | None = None) -> Tensor:
    """(batch, n, 1) -> (batch, frames, bins, 2)

    Where the voice source is silent, the generator expects a random phase, not the zero that an exact transform
    gives: hence the inaudible noise.
    """
    size = window.numel()
    x = x + 3e-3 * torch.randn_like(x)
    spectrum = torch.fft.rfft(x.squeeze(-1).unfold(-1, size, int(step)) * window.to(x.device))
    return torch.view_as_real(spectrum)


def _pad(attributes: dict, x: Tensor, pads: Tensor, *rest: Tensor | None) -> Tensor:
    amounts = _ints(pads)
    rank = len(amounts) // 2
    if x.dim() == 2 and any(amounts):
        return F.pad(x, (amounts[rank - 1], amounts[-1]), mode=attributes["mode"].decode())
    flat = [n for axis in reversed(range(rank)) for n in (amounts[axis], amounts[axis + rank])]
    while len(flat) > 2 and flat[-1] == flat[-2] == 0:
        flat = flat[:-2]
    return F.pad(x, flat, mode=attributes["mode"].decode())


def _scatter_nd(attributes: dict, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    x, index, updates = _same_device([x, index, updates])
    y = x.clone()
    y[tuple(index.unbind(-1))] = updates
    return y


def _unsqueeze(attributes: dict, x: Tensor, axes: Tensor) -> Tensor:
    for axis in sorted(_ints(axes)):
        x = x.unsqueeze(axis)
    return x


def _fused_matmul(attributes: dict, a: Tensor, b: Tensor) -> Tensor:
    a, b = _same_device([a, b])
    a = a.transpose(-1, -2) if attributes.get("transA") else a
    b = b.transpose(-1, -2) if attributes.get("transB") else b
    return attributes.get("alpha", 1.0) * (a @ b)


def _skip_layer_norm(attributes: dict, x: Tensor, skip: Tensor, gamma: Tensor, beta: Tensor | None = None) -> Tensor:
    return F.layer_norm(x + skip, gamma.shape, gamma, beta, attributes["epsilon"])


def _expand(attributes: dict, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, _ints(shape)))


def _constant_of_shape(attributes: dict, shape: Tensor) -> Tensor:
    value = numpy_helper.to_array(attributes["value"]).reshape(-1)[0] if "value" in attributes else np.float32(0)
    return torch.full(_ints(shape), value.item(), dtype=torch.from_numpy(np.array(value)).dtype)


_OPS: dict[str, Callable] = {
    "Cast": lambda a, x: x.to(_DTYPES[a["to"]]),
    "Shape": lambda a, x: torch.tensor(x.shape),
    "Reshape": _reshape,
    "Gather": _gather,
    "Slice": _slice,
    "Split": lambda a, x, sizes: x.split(_ints(sizes), a.get("axis", 0)),
    "Concat": lambda a, *x: torch.cat(_same_device(list(x)), a["axis"]),
    "Unsqueeze": _unsqueeze,
    "Squeeze": lambda a, x, axes: x.squeeze(tuple(_ints(axes))),
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Expand": _expand,
    "ConstantOfShape": _constant_of_shape,
    "Range": lambda a, start, end, step: torch.arange(int(start), int(end), int(step)),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "LayerNormalization": lambda a, x, g, b: F.layer_norm(x, g.shape, g, b, a["epsilon"]),
    "SkipLayerNormalization": _skip_layer_norm,
    "Softmax": lambda a, x: x.softmax(a["axis"]),
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a["alpha"]),
    "ReduceMean": lambda a, x, axes: x.mean(_ints(axes), keepdim=bool(a["keepdims"])),
    "ReduceSum": lambda a, x, axes: x.sum(_ints(axes), keepdim=bool(a["keepdims"])),
    "Clip": lambda a, x, low, high=None: x.clamp(min=float(low)),
    "CumSum": lambda a, x, axis: x.cumsum(int(axis)),
    "FusedMatMul": _fused_matmul,
    "DequantizeLinear": lambda a, x, scale, zero: (x.float() - zero.float()) * scale,
    "Resize": _resize,
    "Pad": _pad,
    "STFT": _stft,
    "NonZero": lambda a, x: x.nonzero().transpose(0, 1),
    "ScatterND": _scatter_nd,
}
