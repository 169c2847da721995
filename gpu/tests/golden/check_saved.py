"""Loads what `cargo run -p cairn-gpu --example save_models FOLDER` wrote with transformers, and compares.

Run with torch and transformers:  HF_HUB_OFFLINE=1 python check_saved.py FOLDER models
"""

import json
import pathlib
import sys

import torch
import transformers


def main():
    saved, goldens = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    for path in sorted(goldens.glob("*.json")):
        golden, folder = json.loads(path.read_text()), saved / path.stem
        config = transformers.AutoConfig.from_pretrained(folder)
        kind = getattr(transformers, config.architectures[0])
        # BertModel's pooler is no part of an embedding and is not kept.
        strict = {"missing_keys", "unexpected_keys", "mismatched_keys"}
        model, report = kind.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
        wrong = {key: sorted(report[key]) for key in strict if report[key]}
        pooler = [name for name in wrong.get("missing_keys", []) if name.startswith("pooler.")]
        if pooler and wrong["missing_keys"] == pooler:
            del wrong["missing_keys"]
        assert not wrong, (path.stem, wrong)
        with torch.no_grad():
            if "last" in golden:
                found = model.eval()(torch.tensor(golden["tokens"])).logits[:, -1]
                expected = golden["last"]
            else:
                row, types = torch.tensor(golden["tokens"][:1]), torch.tensor(golden["types"][:1])
                out = model.eval()(input_ids=row, token_type_ids=types)
                found = out.logits if "logits" in out else out.last_hidden_state[:, 0]
                expected = (golden["scores"] if "logits" in out else golden["cls"])[:1]
        expected = torch.tensor(expected)
        furthest = float((found - expected).abs().max() / expected.abs().max())
        print(f"{path.stem}: {kind.__name__}, furthest {furthest:.1e} of the largest number")
        assert furthest < 1e-5, path.stem


main()
