"""Writes training.json: 50 steps of a tiny decoder in PyTorch (CPU, f32), which tests/training.rs must follow.

Run with PyTorch 2.x:  python make_golden.py > training.json
Weights and batches come from integer hashes, so that Rust makes the same bits without a file of them.
"""

import json
import math

import torch

LAYERS, WIDTH, HEADS, INNER, VOCABULARY, CONTEXT = 2, 32, 2, 48, 64, 24
ROWS, LENGTH, STEPS = 3, 20, 50
PEAK, FLOOR, WARMUP = 2e-2, 2e-3, 8
BETAS, EPS, DECAY, CLIP = (0.9, 0.95), 1e-8, 0.1, 1.25
THETA, NORM_EPS = 10_000.0, 1e-5
IGNORE = -100
MASK64 = (1 << 64) - 1


def mix(stream, index):
    """SplitMix64 of (stream, index)."""
    z = ((stream << 32 | index) + 0x9E3779B97F4A7C15) & MASK64
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK64
    return z ^ z >> 31


def shapes():
    yield "model.embed_tokens.weight", (VOCABULARY, WIDTH)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (WIDTH,)
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            yield prefix + f"self_attn.{name}.weight", (WIDTH, WIDTH)
        yield prefix + "post_attention_layernorm.weight", (WIDTH,)
        yield prefix + "mlp.gate_proj.weight", (INNER, WIDTH)
        yield prefix + "mlp.up_proj.weight", (INNER, WIDTH)
        yield prefix + "mlp.down_proj.weight", (WIDTH, INNER)
    yield "model.norm.weight", (WIDTH,)


def initial(stream, shape):
    """Multiples of 2^-18 in [-1/8, 1/8), plus 1 for norms: exact in f32."""
    count = math.prod(shape)
    values = [(mix(stream, i) % 65536 - 32768) / 262144 for i in range(count)]
    offset = 1.0 if len(shape) == 1 else 0.0
    return torch.tensor([offset + value for value in values], dtype=torch.float32).reshape(shape)


def batch(step):
    """Rows of two documents and padding; every fifth target is ignored, and the last of each document."""
    tokens, targets, positions, segments = [], [], [], []
    for row in range(ROWS):
        stream = 1000 + step * ROWS + row
        first = 5 + mix(stream, 0) % 6
        second = 4 + mix(stream, 1) % 5
        for at in range(LENGTH):
            if at >= first + second:
                values = (0, IGNORE, 0, 0)
            else:
                start, end, segment = (0, first, 1) if at < first else (first, first + second, 2)
                # A skewed choice: low ids are frequent and repeat.
                token = min(mix(stream, 100 + at) % VOCABULARY, mix(stream, 200 + at) % VOCABULARY)
                after = min(mix(stream, 101 + at) % VOCABULARY, mix(stream, 201 + at) % VOCABULARY)
                ignored = at + 1 == end or mix(stream, 300 + at) % 5 == 0
                values = (token, IGNORE if ignored else after, at - start, segment)
            for out, value in zip((tokens, targets, positions, segments), values):
                out.append(value)
    return [torch.tensor(values).reshape(ROWS, LENGTH) for values in (tokens, targets, positions, segments)]


def norm(x, weight):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + NORM_EPS) * weight


def rotate(x, positions):
    """x: [rows, heads, length, size], halves rotated as in Hugging Face's Llama."""
    half = x.shape[-1] // 2
    frequencies = THETA ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = (positions.double()[:, None, :, None] * frequencies)
    cosines, sines = angles.cos().float(), angles.sin().float()
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cosines - b * sines, b * cosines + a * sines], -1)


def loss_sum(weights, tokens, targets, positions, segments):
    x = weights["model.embed_tokens.weight"][tokens]
    visible = (segments[:, :, None] == segments[:, None, :]) & torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    size = WIDTH // HEADS

    def heads(y):
        return y.reshape(ROWS, LENGTH, HEADS, size).transpose(1, 2)

    for layer in range(LAYERS):
        def parameter(name):
            return weights[f"model.layers.{layer}.{name}.weight"]

        h = norm(x, parameter("input_layernorm"))
        q, k, v = (heads(h @ parameter(f"self_attn.{name}_proj").T) for name in "qkv")
        q, k = rotate(q, positions), rotate(k, positions)
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(size)
        scores = scores.masked_fill(~visible[:, None], -1e9)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(ROWS, LENGTH, WIDTH)
        x = x + mixed @ parameter("self_attn.o_proj").T
        h = norm(x, parameter("post_attention_layernorm"))
        gate = torch.nn.functional.silu(h @ parameter("mlp.gate_proj").T)
        x = x + (gate * (h @ parameter("mlp.up_proj").T)) @ parameter("mlp.down_proj").T
    logits = norm(x, weights["model.norm.weight"]) @ weights["model.embed_tokens.weight"].T
    return torch.nn.functional.cross_entropy(
        logits.reshape(-1, VOCABULARY), targets.reshape(-1), ignore_index=IGNORE, reduction="sum"
    )


def rate(step):
    if step < WARMUP:
        return PEAK * (step + 1) / WARMUP
    progress = (step - WARMUP) / (STEPS - WARMUP)
    return FLOOR + (PEAK - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))


def main():
    torch.set_num_threads(1)
    weights = {name: initial(i, shape).requires_grad_() for i, (name, shape) in enumerate(shapes())}
    groups = [
        {"params": [w for w in weights.values() if w.dim() > 1], "weight_decay": DECAY},
        {"params": [w for w in weights.values() if w.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=BETAS, eps=EPS)
    losses, norms = [], []
    for step in range(STEPS):
        tokens, targets, positions, segments = batch(step)
        optimizer.zero_grad()
        loss = loss_sum(weights, tokens, targets, positions, segments) / (targets != IGNORE).sum()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(weights.values(), CLIP).item())
        losses.append(loss.item())
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.step()
    print(json.dumps({
        "torch": torch.__version__.split("+")[0],
        "config": {
            "layers": LAYERS, "width": WIDTH, "heads": HEADS, "feed_forward": INNER, "vocabulary": VOCABULARY,
            "context": CONTEXT, "rope_theta": THETA, "norm_eps": NORM_EPS, "tied_embeddings": True,
        },
        "options": {
            "rows_per_micro_batch": ROWS, "micro_batches": 1, "sequence_length": LENGTH, "betas": BETAS, "eps": EPS,
            "weight_decay": DECAY, "clip_norm": CLIP,
        },
        "schedule": {
            "peak": PEAK, "floor": FLOOR, "warmup_steps": WARMUP, "total_steps": STEPS, "decay": "cosine",
        },
        "losses": losses,
        "norms": norms,
        "weights": {name: {"l2": w.norm().item(), "first": w.flatten()[:4].tolist()} for name, w in weights.items()},
    }, indent=1))


if __name__ == "__main__":
    main()
