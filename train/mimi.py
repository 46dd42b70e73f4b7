"""Mimi's encoder and quantizer for training. Parameter names are the official ones; modules named `train_*`
are not exported.

Shapes: B batch, L samples at 24 kHz, S frames at 12.5 Hz, K codebooks.

The SEANet encoder computes its causal convolutions as matrix products over *folded* time. A (B, n, C) signal is
viewed as (B, n/f, f*C); a convolution of kernel k and stride r then multiplies each row, behind the last k - r
samples of the row before it, by a banded matrix made from the official (out, in, k) weight. So the 24-channel layers
at 24 kHz become 192 wide, which tensor cores like, and refolding between layers is a view.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .config import CTC_CLASSES, MEL_BANDS, TEACHER_WIDTH, Config
from .layers import Attention, Transformer, holder

LAYER_SCALE = 0.3  # initial value; with the usual 0.01 the first minutes are spent on its growth


def folded_conv(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, fold: int) -> Tensor:
    """Causal convolution of (B, n, C) with (O, C, k) -> (B, n / stride, O), as one product over rows of `fold`
    outputs."""
    batch, n, channels = x.shape
    out, _, kernel = weight.shape
    history, row = kernel - stride, fold * stride
    rows = x.reshape(batch, n // row, row * channels)
    if history:
        back = -(-history // row)  # rows that the history reaches back
        tails = []
        for i in range(back, 0, -1):  # of each row before this one, the columns that belong to the history
            columns = min(row, history - (i - 1) * row) * channels
            tails.append(F.pad(rows[:, :-i, -columns:], (0, 0, i, 0)))
        rows = torch.cat([*tails, rows], -1)
    taps = weight.permute(0, 2, 1).flatten(1)  # (O, k*C)
    shifted = [F.pad(taps, (i * stride * channels, (fold - 1 - i) * stride * channels)) for i in range(fold)]
    matrix = torch.cat(shifted)  # (fold*O, (history+row)*C)
    y = F.linear(rows, matrix, None if bias is None else bias.repeat(fold))
    return y.reshape(batch, n // stride, out)


class Conv(nn.Module):
    """Causal convolution with the official nesting `conv.conv.{weight,bias}`; input and output (B, n, C)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, fold: int = 1):
        super().__init__()
        self.stride, self.fold = stride, fold
        self.conv = holder(conv=nn.Conv1d(inputs, outputs, kernel, stride))

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv.conv
        return folded_conv(x, conv.weight, conv.bias, self.stride, self.fold)


class ResidualBlock(nn.Module):
    def __init__(self, dim: int, fold: int):
        super().__init__()
        half = dim // 2
        self.block = nn.Sequential(nn.ELU(), Conv(dim, half, 3, fold=fold), nn.ELU(), Conv(half, dim, 1, fold=fold))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class Seanet(nn.Module):
    """(B, L) waveform -> (B, L / 960, mimi_dim)."""

    def __init__(self, c: Config):
        super().__init__()
        dim, layers = c.filters, [Conv(1, c.filters, 7, fold=8)]
        for ratio in c.ratios:
            fold = max(1, 192 // dim)
            layers += [ResidualBlock(dim, fold=1 << (fold.bit_length() - 1)), nn.ELU()]
            layers += [Conv(dim, 2 * dim, 2 * ratio, ratio, fold=2 if dim < 32 else 1)]
            dim *= 2
        layers += [nn.ELU(), Conv(dim, c.mimi_dim, 3)]
        self.model = nn.Sequential(*layers)
        self._initialize()

    def _initialize(self) -> None:
        """Keep the variance through the stack: PyTorch's default shrinks the signal at every layer until nothing is
        left."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv1d):
                fan_in = module.weight.shape[1] * module.weight.shape[2]
                gain = 0.6 if ".block.3." in name else 1.15
                nn.init.normal_(module.weight, std=gain * fan_in**-0.5)
                nn.init.zeros_(module.bias)
        self.model[0].conv.conv.weight.data *= 8  # speech is quiet: about 0.1 of full scale

    def forward(self, wave: Tensor) -> Tensor:
        return self.model(wave[..., None])


class LayerScale(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.scale = nn.Parameter(torch.full((dim,), LAYER_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


class MimiLayer(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        d = c.mimi_dim
        self.self_attn = Attention(d, c.mimi_heads, 10_000)
        self.norm1, self.norm2 = nn.LayerNorm(d, 1e-5), nn.LayerNorm(d, 1e-5)
        self.linear1, self.linear2 = nn.Linear(d, c.mimi_ff, bias=False), nn.Linear(c.mimi_ff, d, bias=False)
        self.layer_scale_1, self.layer_scale_2 = LayerScale(d), LayerScale(d)
        self.dropout = nn.Dropout(c.mimi_dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.dropout(self.layer_scale_1(self.self_attn(self.norm1(x), mask)))
        return x + self.dropout(self.layer_scale_2(self.linear2(F.gelu(self.linear1(self.norm2(x))))))


class Codebook(nn.Module):
    """Centroids as sums and usage, kept by an exponential moving average."""

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.register_buffer("_initialized", torch.zeros(1))
        self.register_buffer("cluster_usage", torch.ones(size))
        self.register_buffer("embedding_sum", torch.zeros(size, dim))

    @property
    def centroids(self) -> Tensor:
        return self.embedding_sum / self.cluster_usage.clamp(min=1e-5)[:, None]

    def nearest(self, x: Tensor) -> Tensor:
        """(n, dim) float32 -> (n,) codes."""
        centroids = self.centroids
        return (0.5 * centroids.square().sum(1) - x @ centroids.T).argmin(1)

    @torch.no_grad()
    def start(self, x: Tensor, rounds: int = 10) -> None:
        """k-means over a first batch."""
        size = len(self.cluster_usage)
        centroids = x[torch.randint(len(x), (size,), device=x.device)].clone()
        for _ in range(rounds):
            codes = (0.5 * centroids.square().sum(1) - x @ centroids.T).argmin(1)
            count = torch.bincount(codes, minlength=size).float()
            mean = torch.zeros_like(centroids).index_add_(0, codes, x) / count.clamp(min=1)[:, None]
            random = x[torch.randint(len(x), (size,), device=x.device)]
            centroids = torch.where(count[:, None] > 0, mean, random)
        self.cluster_usage.copy_(count.clamp(min=1))
        self.embedding_sum.copy_(centroids * self.cluster_usage[:, None])
        self._initialized.fill_(1)

    @torch.no_grad()
    def follow(self, statistics: Tensor, spare: Tensor | None, decay: float = 0.99) -> None:
        """One averaging step.

        Args:
            statistics: (size, 1 + dim), how many vectors of the batch each centroid got, and their sum.
            spare: (size, dim) random vectors of the batch that replace hardly used centroids, or None.
        """
        self.cluster_usage.lerp_(statistics[:, 0], 1 - decay)
        self.embedding_sum.lerp_(statistics[:, 1:], 1 - decay)
        if spare is not None:
            fair = self.cluster_usage.mean()
            dead = self.cluster_usage < 0.1 * fair
            self.embedding_sum.copy_(torch.where(dead[:, None], fair * spare, self.embedding_sum))
            self.cluster_usage.copy_(torch.where(dead, fair, self.cluster_usage))


class ResidualQuantizer(nn.Module):
    def __init__(self, c: Config, levels: int):
        super().__init__()
        self.input_proj = nn.Conv1d(c.mimi_dim, c.codebook_dim, 1, bias=False)
        self.output_proj = nn.Conv1d(c.codebook_dim, c.mimi_dim, 1, bias=False)
        books = [holder(_codebook=Codebook(c.codebook_size, c.codebook_dim)) for _ in range(levels)]
        self.vq = holder(layers=nn.ModuleList(books))

    @property
    def books(self) -> list[Codebook]:
        return [layer._codebook for layer in self.vq.layers]

    def project(self, latent: Tensor) -> Tensor:
        """(B, S, mimi_dim) float32 -> (B, S, codebook_dim), what is quantized."""
        return F.linear(latent, self.input_proj.weight[..., 0])

    @torch.no_grad()
    def start(self, latent: Tensor) -> None:
        """Initialize the codebooks by k-means, each on what the ones before it leave."""
        rest = self.project(latent).flatten(0, 1)
        for book in self.books:
            book.start(rest)
            rest = rest - book.centroids[book.nearest(rest)]

    def forward(self, latent: Tensor, train: bool) -> tuple[Tensor, Tensor, Tensor, list[Tensor], list[Tensor]]:
        """Quantize (B, S, mimi_dim) float32.

        Returns:
            quantized (B, S, codebook_dim) with a straight-through gradient; codes (B, levels, S); the commitment loss;
            and if `train`, what each codebook's `follow` takes: statistics and spare vectors.
        """
        x = self.project(latent)
        flat = x.flatten(0, 1)
        rest, total, codes, commitment = flat.detach(), torch.zeros_like(flat), [], x.new_zeros(())
        statistics, spares = [], []
        for book in self.books:
            code = book.nearest(rest)
            chosen = book.centroids[code]
            if train:
                commitment = commitment + F.mse_loss(flat - total, chosen)
                counted = torch.cat([torch.ones_like(rest[:, :1]), rest], 1)
                size = len(book.cluster_usage)
                statistics.append(counted.new_zeros(size, counted.shape[1]).index_add_(0, code, counted))
                spares.append(rest[torch.randint(len(rest), (size,), device=rest.device)])
            total, rest = total + chosen, rest - chosen
            codes.append(code.view(x.shape[:2]))
        quantized = (flat + (total - flat).detach()).view_as(x)
        return quantized, torch.stack(codes, 1), commitment / len(self.books), statistics, spares


def time_mask(x: Tensor, spans: int = 5, longest: int = 9) -> Tensor:
    """SpecAugment along time: (B, n, d) -> (B, n, 1), zero in `spans` random spans of up to `longest` frames."""
    batch, n = x.shape[:2]
    begin = torch.rand(batch, spans, 1, device=x.device) * n
    length = torch.rand(batch, spans, 1, device=x.device) * longest * (torch.rand(batch, 1, 1, device=x.device) < 0.8)
    at = torch.arange(n, device=x.device)
    return 1 - ((at >= begin) & (at < begin + length)).any(1)[..., None].to(x.dtype)


@dataclass
class Encoded:
    """The quantized output of Mimi for a batch. `first` and `rest` (B, S, codebook_dim) are the two quantized parts."""

    first: Tensor
    rest: Tensor
    codes: Tensor | None  # (B, K, S)
    commitment: Tensor
    statistics: Tensor | None = None  # (K, size, 1 + codebook_dim), see Codebook.follow
    spares: Tensor | None = None  # (K, size, codebook_dim)


class Mimi(nn.Module):
    """The encoder half of Mimi; training heads predict characters (CTC, 50 Hz), log-mel and a teacher's features."""

    def __init__(self, c: Config):
        super().__init__()
        self.c, d = c, c.mimi_dim
        self.encoder = Seanet(c)
        layers = [MimiLayer(c) for _ in range(c.mimi_layers)]
        self.encoder_transformer = holder(transformer=Transformer(layers, c.mimi_context, stride=2))
        down = nn.Conv1d(d, d, 4, 2, bias=False)
        nn.init.normal_(down.weight, std=1.15 * (4 * d) ** -0.5)
        self.downsample = holder(conv=holder(conv=holder(conv=down)))
        first, rest = ResidualQuantizer(c, 1), ResidualQuantizer(c, c.codebooks - 1)
        self.quantizer = holder(rvq_first=first, rvq_rest=rest)
        h = c.head
        self.train_in = nn.Conv1d(d, h, 5, padding=2)
        block = [nn.Sequential(nn.GroupNorm(1, h), nn.Conv1d(h, h, 5, padding=2), nn.GELU(), nn.Conv1d(h, h, 1))]
        self.train_blocks = nn.ModuleList(block)
        self.train_ctc, self.train_mel = nn.Conv1d(h, 4 * CTC_CLASSES, 1), nn.Conv1d(h, 8 * MEL_BANDS, 1)
        self.train_teach = nn.Conv1d(h, 2 * TEACHER_WIDTH, 1)

    def latent(self, wave: Tensor) -> Tensor:
        """(B, L) -> (B, S, mimi_dim) before quantization."""
        x = self.encoder(wave)
        if self.training:
            x = x * time_mask(x)
        x = self.encoder_transformer.transformer(x)
        x = torch.cat([x[:, :1], x[:, :1], x], 1)  # the official left padding here repeats the first vector
        x = torch.cat([x[:, :-2].unflatten(1, (-1, 2)), x[:, 2:].unflatten(1, (-1, 2))], 2).flatten(2)
        return F.linear(x, self.downsample.conv.conv.conv.weight.permute(0, 2, 1).flatten(1))

    @property
    def books(self) -> list[Codebook]:
        """The K codebooks."""
        return [*self.quantizer.rvq_first.books, *self.quantizer.rvq_rest.books]

    def start_codebooks(self, latent: Tensor) -> None:
        """Initialize the codebooks from the latents (B, S, mimi_dim) of a batch."""
        for part in (self.quantizer.rvq_first, self.quantizer.rvq_rest):
            part.start(latent.float())

    def quantize(self, latent: Tensor, mode: str) -> Encoded:
        """`mode`: "off" (nothing is quantized), "train" or "eval".

        Always in float32: a rounded distance would choose other codes than inference does.
        """
        first, rest = self.quantizer.rvq_first, self.quantizer.rvq_rest
        with torch.autocast(latent.device.type, enabled=False):
            latent = latent.float()
            if mode == "off":
                return Encoded(first.project(latent), rest.project(latent), None, latent.new_zeros(()))
            x, code, loss, statistics, spares = first(latent, mode == "train")
            y, codes, losses, more, others = rest(latent, mode == "train")
            both = torch.cat([code, codes], 1)
            if mode == "eval":
                return Encoded(x, y, both, loss + losses)
            return Encoded(x, y, both, loss + losses, torch.stack(statistics + more), torch.stack(spares + others))

    def heads(self, e: Encoded) -> tuple[Tensor, Tensor, Tensor]:
        """CTC log-probabilities (B, 4 S, classes), log-mel (B, 8 S, bands) and the teacher's features (B, 2 S, 512)."""
        q = self.quantizer
        x = F.linear(e.first, q.rvq_first.output_proj.weight[..., 0])
        x = (x + F.linear(e.rest, q.rvq_rest.output_proj.weight[..., 0])).transpose(1, 2)
        h = F.gelu(self.train_in(x))
        for block in self.train_blocks:
            h = h + block(h)
        ctc = self.train_ctc(h).transpose(1, 2).unflatten(-1, (4, CTC_CLASSES)).flatten(1, 2)
        mel = self.train_mel(h).transpose(1, 2).unflatten(-1, (8, MEL_BANDS)).flatten(1, 2)
        taught = self.train_teach(h).transpose(1, 2).unflatten(-1, (2, TEACHER_WIDTH)).flatten(1, 2)
        return ctc.float().log_softmax(-1), mel.float(), taught.float()
