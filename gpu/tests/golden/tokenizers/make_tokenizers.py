"""Small tokenizers of the kinds that models' folders hold, and what transformers makes of texts with them.

    python make_tokenizers.py        (transformers and tokenizers; writes <kind>.json and goldens.json beside itself)
"""

import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
WORDS = (
    "the cairn of stones on the hill was built by hands that carried one stone each and said nothing of it "
    "models are trained on text and the text was written by people who did not know where it would go "
    "Natürlich können Wörter auch andere Buchstaben haben 你好世界 これは石です camiño naïve café "
    "def main(args): return 12345 + 67890 if x <= 3 else None don't we're I'll it's"
)
TEXTS = [
    "the stones on the hill",
    "  two leading spaces, and a tail  ",
    "",
    " ",
    "naïve café 你好世界 🦀🇫🇷 e\u0301",
    "x = 12345;\n\n\tif x <= 3:\n        return don't we're",
    "<s>the</s> <|im_start|>user\nhi<|im_end|> <think>x</think> [SEP] [MASK] <|endoftext|> <|eot_id|>",
    "zero\u200bwidth \u00a0nbsp \ufffd \U0010fffd",
    "a" * 40,
    "THE Hill WAS Built",
]
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CORPUS = [WORDS, WORDS.lower(), " ".join(reversed(WORDS.split()))] * 4


def special(*texts):
    return [AddedToken(text, special=True, normalized=False) for text in texts]


def byte_level(split, specials, first=None):
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    tokenizer.pre_tokenizer = (
        level if split is None else pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated"), level])
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=[], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(special(*specials))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if first:
        template = processors.TemplateProcessing(
            single=f"{first} $A", pair=f"{first} $A {first} $B:1", special_tokens=[(first, tokenizer.token_to_id(first))]
        )
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return tokenizer


def gpt2():
    return byte_level(None, ["<|endoftext|>"]), {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}


def llama3():
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    return byte_level(SPLIT, specials, specials[0]), {"bos_token": specials[0], "eos_token": specials[2]}


def qwen():
    tokenizer = byte_level(SPLIT, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in ["<think>", "</think>", "a b"]])
    return tokenizer, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


def llama2():
    """As the sentence-piece models of Llama 2 and the first Mistral were turned into `tokenizer.json`."""
    base = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    base.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)],
        limit_alphabet=60, show_progress=False,
    )
    # Pieces of a word, as there; without this a whole text would be one.
    base.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
    base.train_from_iterator(CORPUS, trainer)
    stored = json.loads(base.to_str())
    stored["pre_tokenizer"] = None
    stored["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(stored))
    tokenizer.add_special_tokens(special("<unk>", "<s>", "</s>"))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def bert():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=names, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # As the files of sentence encoders have it; what is asked for by the caller counts.
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    return tokenizer, {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def metaspace():
    """As XLM-RoBERTa and T5: unigram pieces, a space before the first word."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    names = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=names, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def goldens(tokenizer, names):
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    plain = {"clean_up_tokenization_spaces": False, "skip_special_tokens": True}
    rng = random.Random(7)
    highest = max(fast.get_vocab().values())
    rows = []
    for text in TEXTS:
        ids = fast(text, add_special_tokens=False)["input_ids"]
        whole = fast(text)["input_ids"]
        rows.append({"text": text, "ids": ids, "prompt": whole, "decoded": fast.decode(ids, **plain)})
    said = []
    for _ in range(12):
        ids = [rng.randrange(highest + 1) for _ in range(rng.randrange(1, 30))]
        said.append({"ids": ids, "decoded": fast.decode(ids, **plain)})
    pairs = []
    for first, second, most in [(TEXTS[0], TEXTS[5], 64), (TEXTS[5], TEXTS[0], 14), (TEXTS[8] * 3, TEXTS[5] * 3, 21)]:
        row = fast(first, second, truncation="longest_first", max_length=most, return_token_type_ids=True, padding=False)
        alone = fast(first, truncation=True, max_length=most // 2, padding=False)["input_ids"]
        pairs.append({"first": first, "second": second, "most": most, "ids": row["input_ids"],
                      "types": row["token_type_ids"], "alone": alone})
    return {"config": names, "texts": rows, "said": said, "pairs": pairs}


def main():
    found = {}
    for make in [gpt2, llama2, llama3, qwen, bert, metaspace]:
        tokenizer, names = make()
        stored = json.loads(tokenizer.to_str())
        text = json.dumps(stored, ensure_ascii=False, separators=(",", ":"))
        (HERE / f"{make.__name__}.json").write_text(text + "\n")
        tokenizer.no_padding()
        tokenizer.no_truncation()
        found[make.__name__] = goldens(tokenizer, names)
    (HERE / "goldens.json").write_text(json.dumps(found, ensure_ascii=True, indent=None, separators=(",", ":")) + "\n")


main()
