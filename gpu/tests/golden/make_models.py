"""Writes models/*.json: small random models of each family and what transformers computes with them.

Run with torch, transformers 5 and safetensors:  HF_HUB_OFFLINE=1 python make_models.py models
Weights come from integer hashes, so that Rust makes the same bits without a file of them.
"""

import json
import math
import pathlib
import sys
import tempfile

import numpy as np
import safetensors.numpy
import torch
import transformers as t

VOCABULARY, LENGTH = 53, 24
COMMON = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
              max_position_embeddings=32, bos_token_id=None, eos_token_id=None, pad_token_id=None)
ENCODER = dict(COMMON, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pad_token_id=0)


def rope(kind, **keys):
    return dict(rope_parameters=dict(rope_type=kind, rope_theta=keys.pop("theta", 10_000.0), **keys))


DECODERS = {
    "llama2": t.LlamaConfig(**COMMON, rms_norm_eps=1e-5, **rope("default")),
    "llama3": t.LlamaConfig(**COMMON, num_key_value_heads=2, tie_word_embeddings=True, **rope(
        "llama3", theta=500_000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=16)),
    "llama_linear_biased": t.LlamaConfig(**COMMON, num_key_value_heads=1, head_dim=12, attention_bias=True,
                                         mlp_bias=True, hidden_act="gelu", **rope("linear", factor=2.0)),
    "llama_dynamic": t.LlamaConfig(**COMMON, **rope("dynamic", factor=2.0)),
    "llama_yarn": t.LlamaConfig(**COMMON, **rope("yarn", theta=100.0, factor=4.0,
                                                 original_max_position_embeddings=16)),
    "mistral": t.MistralConfig(**COMMON, num_key_value_heads=2, sliding_window=7, **rope("default")),
    "qwen2": t.Qwen2Config(**COMMON, num_key_value_heads=2, tie_word_embeddings=True, use_sliding_window=True,
                           sliding_window=5, max_window_layers=1, **rope("default", theta=1e6)),
    "qwen3": t.Qwen3Config(**COMMON, num_key_value_heads=2, head_dim=24, **rope("default", theta=1e6)),
    "gpt2": t.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=32, bos_token_id=None,
                         eos_token_id=None, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0),
}
ENCODERS = {
    "bert": (t.BertModel, t.BertConfig(**ENCODER)),
    "bert_reranker": (t.BertForSequenceClassification, t.BertConfig(**ENCODER, num_labels=1)),
    "roberta": (t.RobertaModel, t.RobertaConfig(**{**ENCODER, "pad_token_id": 1}, type_vocab_size=1)),
    "xlm_roberta_classifier": (t.XLMRobertaForSequenceClassification,
                               t.XLMRobertaConfig(**{**ENCODER, "pad_token_id": 1}, type_vocab_size=1, num_labels=3)),
}


def mix(stream, count):
    """SplitMix64 of (stream, 0..count)."""
    z = (np.uint64(stream << 32) | np.arange(count, dtype=np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def values(stream, name, shape):
    """Multiples of 2^-18 within 1/2 for matrices, within 1/8 for vectors, plus 1 for norms: exact in f32."""
    drawn = (mix(stream, math.prod(shape)) % np.uint64(65536)).astype(np.float64) - 32768
    if len(shape) > 1:
        return (drawn / 65536).astype(np.float32).reshape(shape)
    return ((drawn / 262144) + (1.0 if name.endswith("weight") else 0.0)).astype(np.float32)


def saved(model, folder):
    """The model with hashed weights, as saved by transformers, and the tensors of its file in order of name."""
    model.save_pretrained(folder)
    path = f"{folder}/model.safetensors"
    shapes = {name: list(tensor.shape) for name, tensor in sorted(safetensors.numpy.load_file(path).items())}
    tensors = {name: values(stream, name, shape) for stream, (name, shape) in enumerate(shapes.items())}
    safetensors.numpy.save_file(tensors, path, metadata={"format": "pt"})
    loaded = type(model).from_pretrained(folder, attn_implementation="eager").eval()
    return loaded, shapes, json.loads(pathlib.Path(folder, "config.json").read_text())


def numbers(array):
    return [float(f"{x:.7g}") for x in np.asarray(array, dtype=np.float64).ravel()]


def decoder(config):
    with tempfile.TemporaryDirectory() as folder:
        kind = t.GPT2LMHeadModel if isinstance(config, t.GPT2Config) else t.AutoModelForCausalLM._model_mapping[type(config)]
        model, shapes, keys = saved(kind(config), folder)
    tokens = [[int(x) for x in mix(1000 + row, LENGTH) % np.uint64(VOCABULARY)] for row in range(2)]
    ids = torch.tensor(tokens)
    logits = model(ids).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    logits = logits.detach().numpy()
    columns = [int(x) for x in mix(2000, 3) % np.uint64(VOCABULARY)]
    return dict(config=keys, tensors=shapes, tokens=tokens, columns=columns,
                at_columns=[[numbers(position[columns]) for position in row] for row in logits],
                last=[numbers(row[-1]) for row in logits], loss_and_gradient_norm=numbers([loss.item(), norm.item()]))


def encoder(kind, config):
    with tempfile.TemporaryDirectory() as folder:
        model, shapes, keys = saved(kind(config), folder)
    lengths = [20, 7, 1]
    tokens = [[int(x) for x in mix(3000 + row, n) % np.uint64(VOCABULARY - 2) + np.uint64(2)] for row, n in enumerate(lengths)]
    types = [[int(at * config.type_vocab_size // n) for at in range(n)] for n in lengths]
    ids, segments, mask = (torch.zeros(len(lengths), max(lengths), dtype=torch.long) for _ in range(3))
    ids += config.pad_token_id
    for row, n in enumerate(lengths):
        ids[row, :n], segments[row, :n], mask[row, :n] = torch.tensor(tokens[row]), torch.tensor(types[row]), 1
    with torch.no_grad():
        out = model(input_ids=ids, token_type_ids=segments, attention_mask=mask)
    golden = dict(config=keys, tensors=shapes, tokens=tokens, types=types)
    if "logits" in out:
        return dict(golden, scores=[numbers(row) for row in out.logits])
    states = [out.last_hidden_state[row, :n] for row, n in enumerate(lengths)]
    unit = torch.nn.functional.normalize
    return dict(golden, cls=[numbers(s[0]) for s in states], mean=[numbers(s.mean(0)) for s in states],
                max=[numbers(s.max(0).values) for s in states],
                mean_sqrt_length=[numbers(s.sum(0) / len(s) ** 0.5) for s in states],
                mean_normalised=[numbers(unit(s.mean(0), dim=0)) for s in states])


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    goldens = {name: decoder(config) for name, config in DECODERS.items()}
    goldens |= {name: encoder(*parts) for name, parts in ENCODERS.items()}
    for name, golden in goldens.items():
        golden = dict(made_with=f"torch {torch.__version__}, transformers {t.__version__}", **golden)
        lines = [f'"{key}": {json.dumps(value, separators=(",", ":"))}' for key, value in golden.items()]
        (folder / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()
