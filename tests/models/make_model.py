"""A small model of random weights in a folder as Hugging Face has it; needs nothing but Python.

    python3 make_model.py llama DIR        a decoder that answers (nonsense), with a chat template
    python3 make_model.py reranker DIR     a cross-encoder that scores (at random)
"""

import json
import pathlib
import random
import struct
import sys

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role not in ['system', 'user', 'assistant', 'tool'] %}"
    "{{ raise_exception('the role ' ~ message.role ~ ' is not known') }}{% endif %}"
    "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_letters():
    """GPT-2's printable letter of each byte."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, hidden = {}, 256
    for byte in range(256):
        letters[byte] = chr(byte if byte in visible else hidden)
        hidden += byte not in visible
    return letters


def special(text, number):
    return {"id": number, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True}


def byte_tokenizer(specials):
    vocabulary = {letter: byte for byte, letter in byte_letters().items()}
    first = {"SpecialToken": {"id": specials[0], "type_id": 0}}
    return {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None,
        "added_tokens": [special(text, 256 + at) for at, text in enumerate(specials)],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {
            "type": "TemplateProcessing", "single": [first, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [first, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {specials[0]: {"id": specials[0], "ids": [256], "tokens": [specials[0]]}},
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocabulary, "merges": []},
    }


def letter_tokenizer():
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,?!-'"
    entries = names + list(letters) + ["##" + letter for letter in letters]
    of = lambda name, kind: {"SpecialToken": {"id": name, "type_id": kind}}
    text = lambda name, kind: {"Sequence": {"id": name, "type_id": kind}}
    ends = {name: {"id": name, "ids": [at], "tokens": [name]} for at, name in enumerate(names)}
    single = [of("[CLS]", 0), text("A", 0), of("[SEP]", 0)]
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [special(name, at) for at, name in enumerate(names)],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": single,
                           "pair": single + [text("B", 1), of("[SEP]", 1)], "special_tokens": ends},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {entry: at for at, entry in enumerate(entries)}},
    }, len(entries)


def write_weights(path, shapes, seed):
    """Safetensors: the length of a header, the header, then the numbers."""
    rng, header, body = random.Random(seed), {}, []
    end = 0
    for name, shape in shapes:
        count = 1
        for extent in shape:
            count *= extent
        if name.lower().endswith("norm.weight"):
            numbers = [1.0] * count
        elif name.endswith("bias"):
            numbers = [0.0] * count
        else:
            numbers = [rng.uniform(-0.14, 0.14) for _ in range(count)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + 4 * count]}
        end += 4 * count
        body.append(struct.pack(f"<{count}f", *numbers))
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(body))


def llama(folder):
    specials = ["<|begin|>", "<|im_start|>", "<|im_end|>"]
    width, inner, layers, heads, kv_heads, vocabulary = 64, 128, 2, 4, 2, 256 + len(specials)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "intermediate_size": inner,
        "vocab_size": vocabulary, "max_position_embeddings": 512, "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
        "hidden_act": "silu", "tie_word_embeddings": False, "torch_dtype": "float32", "bos_token_id": 256,
        "eos_token_id": 258,
    }
    shapes = [("model.embed_tokens.weight", [vocabulary, width])]
    for layer in range(layers):
        of = f"model.layers.{layer}."
        shapes += [
            (of + "input_layernorm.weight", [width]),
            (of + "self_attn.q_proj.weight", [width, width]),
            (of + "self_attn.k_proj.weight", [kv_heads * width // heads, width]),
            (of + "self_attn.v_proj.weight", [kv_heads * width // heads, width]),
            (of + "self_attn.o_proj.weight", [width, width]),
            (of + "post_attention_layernorm.weight", [width]),
            (of + "mlp.gate_proj.weight", [inner, width]),
            (of + "mlp.up_proj.weight", [inner, width]),
            (of + "mlp.down_proj.weight", [width, inner]),
        ]
    shapes += [("model.norm.weight", [width]), ("lm_head.weight", [vocabulary, width])]
    settings = {"chat_template": TEMPLATE, "bos_token": specials[0], "eos_token": specials[2]}
    return config, shapes, byte_tokenizer(specials), settings


def reranker(folder):
    tokenizer, vocabulary = letter_tokenizer()
    width, inner, layers, positions = 32, 64, 2, 128
    config = {
        "architectures": ["BertForSequenceClassification"], "model_type": "bert", "hidden_size": width,
        "num_hidden_layers": layers, "num_attention_heads": 4, "intermediate_size": inner, "vocab_size": vocabulary,
        "max_position_embeddings": positions, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
        "pad_token_id": 0, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0},
    }
    of = "bert.embeddings."
    shapes = [
        (of + "word_embeddings.weight", [vocabulary, width]),
        (of + "position_embeddings.weight", [positions, width]),
        (of + "token_type_embeddings.weight", [2, width]),
        (of + "LayerNorm.weight", [width]),
        (of + "LayerNorm.bias", [width]),
    ]
    dense = lambda name, rows, columns: [(name + ".weight", [rows, columns]), (name + ".bias", [rows])]
    norm = lambda name: [(name + ".LayerNorm.weight", [width]), (name + ".LayerNorm.bias", [width])]
    for layer in range(layers):
        of = f"bert.encoder.layer.{layer}."
        for part in ["query", "key", "value"]:
            shapes += dense(of + "attention.self." + part, width, width)
        shapes += dense(of + "attention.output.dense", width, width) + norm(of + "attention.output")
        shapes += dense(of + "intermediate.dense", inner, width)
        shapes += dense(of + "output.dense", width, inner) + norm(of + "output")
    shapes += dense("bert.pooler.dense", width, width) + dense("classifier", 1, width)
    settings = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]",
                "model_max_length": positions}
    return config, shapes, tokenizer, settings


def main():
    kind, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    config, shapes, tokenizer, settings = {"llama": llama, "reranker": reranker}[kind](folder)
    write_weights(folder / "model.safetensors", shapes, seed=7)
    for name, content in [("config", config), ("tokenizer", tokenizer), ("tokenizer_config", settings)]:
        (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
