"""The delayed-streams transformer for training. Parameter names are the official ones; modules named
`train_*` are not exported.

Shapes: B batch, S frames at 12.5 Hz, K codebooks, d width.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .config import PAD_TOKEN, Config
from .layers import Attention, Transformer
from .mimi import Encoded, Mimi


class RmsNorm(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, 1, dim))

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        return (y * self.alpha * torch.rsqrt(1e-8 + y.square().mean(-1, keepdim=True))).to(x.dtype)


class Gating(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.linear_in, self.linear_out = nn.Linear(dim, 2 * hidden, bias=False), nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.linear_in(x).chunk(2, -1)
        return self.linear_out(F.silu(gate) * value)


class LmLayer(nn.Module):
    def __init__(self, c: Config, dropout: float):
        super().__init__()
        d = c.lm_dim
        self.self_attn = Attention(d, c.lm_heads, c.lm_max_period)
        self.norm1, self.norm2 = RmsNorm(d), RmsNorm(d)
        self.gating = Gating(d, 2 * int(c.lm_hidden_scale * d) // 3)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.dropout(self.self_attn(self.norm1(x), mask))
        return x + self.dropout(self.gating(self.norm2(x)))


class Lm(nn.Module):
    """The delayed-streams transformer. Step 0 reads the initial tokens, step s frame s - 1 and the token of step s - 1.

    While Mimi still learns, the audio embedding is a projection of Mimi's quantized vectors (`train_first`,
    `train_rest`), so that gradients reach the encoder; `freeze_audio` turns the projections into the official tables
    `emb.K`.
    """

    def __init__(self, c: Config, dropout: float = 0.1):
        super().__init__()
        d = c.lm_dim
        self.c, self.token_dropout = c, dropout
        self.emb = nn.ModuleList([nn.Embedding(c.codebook_size + 1, d) for _ in range(c.codebooks)])
        self.text_emb = nn.Embedding(c.text_card + 1, d)
        self.text_linear = nn.Linear(d, c.text_card, bias=False)
        self.transformer = Transformer([LmLayer(c, dropout) for _ in range(c.lm_layers)], c.lm_context, stride=1)
        self.out_norm = RmsNorm(d)
        self.train_first = nn.Linear(c.codebook_dim, d, bias=False)
        self.train_rest = nn.Linear(c.codebook_dim, d, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.trunc_normal_(module.weight, std=module.weight.shape[1] ** -0.5)
        for layer in self.transformer.layers:  # residual branches start small
            for weight in (layer.self_attn.out_proj.weight, layer.gating.linear_out.weight):
                weight.data *= (2 * c.lm_layers) ** -0.5
        for table in self.emb:
            nn.init.zeros_(table.weight)

    def forward(self, audio: Tensor, text: Tensor, heard: Tensor | None = None, share: float = 0.0) -> Tensor:
        """audio (B, S, d) embedded frames, text (B, S + 1) target tokens -> logits (B, S + 1, text_card).

        In training, part of the text input is replaced, because at run time the model reads its own mistakes: `share`
        of it by `heard` (B, S + 1), its own output, and some by random tokens and padding: 30 % in one clip of four,
        so that no text can be recalled from its beginning, and 5 % in the others.
        """
        initial = sum(t.weight[-1] for t in self.emb).expand(audio.shape[0], 1, -1)
        if self.training:
            chance = torch.rand(text.shape, device=text.device)
            noise = torch.where(torch.rand(len(text), 1, device=text.device) < 1 / 4, 0.15, 0.025)
            text = torch.where(chance < noise, torch.randint_like(text, self.c.text_card), text)
            text = torch.where((chance >= noise) & (chance < 2 * noise), PAD_TOKEN, text)
            if heard is not None:
                text = torch.where(chance > 1 - share, heard, text)
        previous = F.pad(text[:, :-1], (1, 0), value=self.c.text_card)
        x = torch.cat([initial, audio.to(initial.dtype)], 1) + self.text_emb(previous)
        return self.text_linear(self.out_norm(self.transformer(x)))

    def project(self, e: Encoded) -> Tensor:
        """Return the audio embedding while Mimi learns: (B, S, d)."""
        return self.train_first(e.first) + self.train_rest(e.rest)

    def look_up(self, codes: Tensor) -> Tensor:
        """Return the audio embedding by the official tables: codes (B, K, S) -> (B, S, d)."""
        return sum(table(codes[:, k]) for k, table in enumerate(self.emb))

    @torch.no_grad()
    def freeze_audio(self, mimi: Mimi) -> None:
        """Fill the tables so that `look_up(codes)` equals `project(encoded)`."""
        for k, (table, book) in enumerate(zip(self.emb, mimi.books, strict=True)):
            projection = self.train_first if k == 0 else self.train_rest
            table.weight[:-1] = projection(book.centroids)

    @torch.no_grad()
    def thaw_audio(self, mimi: Mimi) -> None:
        """Invert `freeze_audio` approximately, by least squares, as the tables may have been trained since."""
        parts = ((self.train_first, mimi.books[:1], self.emb[:1]), (self.train_rest, mimi.books[1:], self.emb[1:]))
        for projection, books, tables in parts:
            centroids = torch.cat([book.centroids for book in books])
            rows = torch.cat([table.weight[:-1] for table in tables])
            projection.weight.copy_(torch.linalg.lstsq(centroids, rows).solution.T)

    @torch.no_grad()
    def transcribe(self, audio: Tensor) -> Tensor:
        """Decode greedily with a KV cache, as a stream: audio (B, S, d) -> tokens (B, S + 1)."""
        batch, frames, d = audio.shape
        heads, context, period = self.c.lm_heads, self.c.lm_context, self.c.lm_max_period
        rates = torch.exp(torch.arange(d // heads // 2, device=audio.device) * (-2 * math.log(period) * heads / d))
        token = torch.full((batch,), self.c.text_card, device=audio.device)
        caches: list = [None] * len(self.transformer.layers)
        tokens = []

        def turn(x: Tensor, step: int) -> Tensor:
            real, imag = x.float().unflatten(-1, (-1, 2)).unbind(-1)
            cos, sin = (step * rates).cos(), (step * rates).sin()
            return torch.stack([real * cos - imag * sin, real * sin + imag * cos], -1).flatten(-2).to(x.dtype)

        for step in range(frames + 1):
            frame = audio[:, step - 1] if step else sum(t.weight[-1] for t in self.emb).expand(batch, -1)
            x = (frame + self.text_emb(token))[:, None]
            for i, layer in enumerate(self.transformer.layers):
                qkv = F.linear(layer.norm1(x), layer.self_attn.in_proj_weight)
                q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
                q, k = turn(q, step), turn(k, step)
                if caches[i] is not None:
                    k, v = (
                        torch.cat([old, new], 2)[:, :, -context:] for old, new in zip(caches[i], (k, v), strict=True)
                    )
                caches[i] = (k, v)
                y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
                x = x + layer.self_attn.out_proj(y)
                x = x + layer.gating(layer.norm2(x))
            token = self.text_linear(self.out_norm(x))[:, 0].argmax(-1)
            tokens.append(token)
        return torch.stack(tokens, 1)
