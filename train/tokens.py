"""The tokenizer, and the text stream that the transformer learns to write."""

from pathlib import Path

from .config import FRAME, PAD_TOKEN, SAMPLE_RATE, WORD_TOKEN


class Pieces:
    """The word pieces of a SentencePiece model, cached by word."""

    def __init__(self, path: Path):
        import sentencepiece

        self.model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.cache: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return self.model.get_piece_size()

    def encode(self, word: str) -> list[int]:
        """Return the token ids of one word."""
        if word not in self.cache:
            self.cache[word] = self.model.encode(word)
        return self.cache[word]

    def decode(self, tokens: list[int]) -> tuple[str, list[float]]:
        """Decode a token stream to its text and word starts (seconds).

        Token i announces a word that began at frame i + 1 - delay; the caller subtracts the delay.
        """
        words, starts = [], []
        for index, token in enumerate(tokens):
            if token == WORD_TOKEN:
                words.append("")
                starts.append((index + 1) * FRAME / SAMPLE_RATE)
            elif token > PAD_TOKEN:
                piece = self.model.id_to_piece(token)
                if not words or (piece.startswith("\u2581") and words[-1]):
                    words.append("")
                    starts.append((index + 1) * FRAME / SAMPLE_RATE)
                words[-1] += piece.replace("\u2581", "")
        kept = [(w, s) for w, s in zip(words, starts, strict=True) if w]
        return " ".join(w for w, _ in kept), [s for _, s in kept]


def text_stream(words: list[tuple[float, list[int]]], steps: int, delay: int) -> list[int]:
    """Return the target token of every step.

    A word that starts in frame f gets WORD_TOKEN at step f + delay - 1 and its pieces after it; later if the previous
    word still occupies that step.

    Args:
        words: (start in seconds, token ids) of each word, in order.
        steps: length of the stream.
        delay: text delay in frames.
    """
    stream, free = [PAD_TOKEN] * steps, 0
    for start, pieces in words:
        step = max(free, int(start * SAMPLE_RATE / FRAME) + delay - 1)
        for token in (WORD_TOKEN, *pieces):
            if step < steps:
                stream[step] = token
            step += 1
        free = step
    return stream
