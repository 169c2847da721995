#!/usr/bin/env python3
"""Inference beside transformers: the same weights, prompts and numbers of tokens, in turns, on the same threads.

A folder with the shape of a small Llama and random weights is made once. Every pair measures our engine (a process that
waits for a line between its turns) and the peer, in an order that changes; medians and spreads are printed. Sizes:
CAIRN_BENCH_PAIRS (7), CAIRN_BENCH_LAYERS (30), CAIRN_BENCH_PROMPT (256), CAIRN_BENCH_NEW (128), CAIRN_BENCH_THREADS (2),
CAIRN_BENCH_ROWS (all, separated by commas).

The rows `embed` and `single` embed paragraphs with the real all-MiniLM-L6-v2 beside sentence-transformers and beside
onnxruntime's Python on a graph that PyTorch exports, all three with the same texts, cut at the same length:
CAIRN_BENCH_TEXTS names a file of XQuAD (paragraphs of this repository's documentation otherwise).
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
THREADS = int(os.environ.get("CAIRN_BENCH_THREADS", "2"))
os.environ["OMP_NUM_THREADS"] = str(THREADS)

import torch  # noqa: E402
import transformers  # noqa: E402

PAIRS = int(os.environ.get("CAIRN_BENCH_PAIRS", "7"))
LAYERS = int(os.environ.get("CAIRN_BENCH_LAYERS", "30"))
PROMPT = int(os.environ.get("CAIRN_BENCH_PROMPT", "256"))
NEW = int(os.environ.get("CAIRN_BENCH_NEW", "128"))
VOCABULARY = 49152
CONCURRENT = 16
ROWS = ["load", "one", "many", "arrivals", "bits", "embed", "single"]
TOKENS_MAX = 256


def model_folder(work: pathlib.Path) -> pathlib.Path:
    """The shape of a small Llama of 135 million numbers, all of them random."""
    folder = work / f"llama-{LAYERS}"
    if not (folder / "model.safetensors").exists():
        config = transformers.LlamaConfig(
            hidden_size=576, num_hidden_layers=LAYERS, num_attention_heads=9, num_key_value_heads=3,
            intermediate_size=1536, vocab_size=VOCABULARY, max_position_embeddings=2048, tie_word_embeddings=True,
        )
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(config)
        model.generation_config.eos_token_id = None
        model.save_pretrained(folder)
    return folder


class Ours:
    """Our engine in a process of its own."""

    def __init__(self, binary: str, folder: pathlib.Path, bits: int = 32):
        arguments = [binary, str(folder), str(THREADS), str(bits), str(CONCURRENT)]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.opened = json.loads(self.process.stdout.readline())

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def generate(self, prompts, new, arrivals=None, batch=None):
        arrivals = arrivals or [0.0] * len(prompts)
        return self.ask(op="generate", prompts=prompts, new=new, arrivals_s=arrivals, batch=batch)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Peer:
    """transformers, batches padded on the left as its documentation has it."""

    def __init__(self, folder: pathlib.Path):
        torch.set_num_threads(THREADS)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.model.generation_config.eos_token_id = None
        self.model.generation_config.pad_token_id = 0

    @torch.inference_mode()
    def generate(self, prompts, new, cache=None):
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        started = time.perf_counter()
        found = self.model.generate(
            ids, attention_mask=mask, max_new_tokens=new, min_new_tokens=new, do_sample=False,
            cache_implementation=cache,
        )
        return time.perf_counter() - started, found[:, longest:].tolist()

    def in_batches(self, prompts, new, arrivals, most):
        """Requests that have come are answered together, to the longest of them, before others begin."""
        started, at = time.perf_counter(), 0
        while at < len(prompts):
            time.sleep(max(0.0, arrivals[at] - (time.perf_counter() - started)))
            here = time.perf_counter() - started
            end = at
            while end < len(prompts) and end - at < most and arrivals[end] <= here:
                end += 1
            self.generate(prompts[at:end], max(new[at:end]))
            at = end
        return time.perf_counter() - started


def requests(seed: int, count: int):
    """Prompts of PROMPT tokens for one, ragged around it for many."""
    rng = random.Random(seed)
    lengths = [PROMPT if count == 1 else rng.randint(PROMPT * 3 // 4, PROMPT * 5 // 4) for _ in range(count)]
    return [[rng.randrange(VOCABULARY) for _ in range(length)] for length in lengths]


def spread(values):
    return f"{statistics.median(values):8.2f} ({min(values):.2f} to {max(values):.2f})"


def pairs(row, measures):
    """Each measure in turn, in an order that rotates; seconds by name."""
    found = {name: [] for name in measures}
    names = list(measures)
    for number in range(PAIRS):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(measures[name](number))
            print(f"  {row} {number + 1}/{PAIRS} {name}: {found[name][-1]:.3f}", file=sys.stderr)
    return found


def compare(row, tokens, found, ours="cairn", unit="tokens/s"):
    """Tokens a second of each, and of ours in proportion to each peer, pair by pair."""
    for name, seconds in found.items():
        rates = [count / second for count, second in zip(tokens, seconds)]
        ratios = [theirs / own for theirs, own in zip(seconds, found[ours])]
        beside = "" if name == ours else f"   ours is {spread(ratios)} times as fast"
        print(f"{row:10} {name:28} {spread(rates)} {unit}{beside}")


def agreement(ours, theirs):
    """The share of tokens before the first difference: rounding makes random weights part sooner or later."""
    same = 0
    for own, their in zip(ours, theirs):
        same += next((at for at, (a, b) in enumerate(zip(own, their)) if a != b), len(own))
    return same / sum(map(len, theirs))


def decode(row, count, ours, peer, quantised):
    agreed = []

    def own(engine):
        def measure(number):
            prompts = requests(number, count)
            answer = engine.generate(prompts, [NEW] * count)
            assert [len(tokens) for tokens in answer["tokens"]] == [NEW] * count
            own.tokens = answer["tokens"]
            own.step = (max(answer["end_s"]) - max(answer["first_s"])) / (NEW - 1)
            steps.setdefault(id(engine), []).append(own.step)
            return answer["seconds"]
        return measure

    def their(cache):
        def measure(number):
            prompts = requests(number, count)
            seconds, tokens = peer.generate(prompts, NEW, cache)
            if cache is None:
                agreed.append(agreement(ours.generate(prompts, [NEW] * count)["tokens"], tokens))
            return seconds
        return measure

    steps = {}
    measures = {"cairn": own(ours), "transformers": their(None), "transformers, static cache": their("static")}
    for bits, engine in quantised.items():
        measures[f"cairn, {bits} bits"] = own(engine)
    for measure in measures.values():
        measure(1000)  # a first time, for what is made once
    steps.clear()
    found = pairs(row, measures)
    compare(row, [NEW * count] * PAIRS, found)
    print(f"{row:10} tokens alike until rounding parts them: {statistics.median(agreed):.0%}")
    return statistics.median(steps[id(ours)])


def arrivals(ours, peer):
    """Requests of ragged lengths that come at random times, faster than they can be answered."""
    def load(number):
        rng = random.Random(5000 + number)
        prompts = requests(6000 + number, CONCURRENT)
        new = [rng.randint(NEW // 8, NEW) for _ in prompts]
        times, now = [], 0.0
        for _ in prompts:
            times.append(now)
            now += rng.expovariate(8.0)
        return prompts, new, times

    def run(number, batch):
        prompts, new, times = load(number)
        answer = ours.generate(prompts, new, times, batch)
        assert [len(tokens) for tokens in answer["tokens"]] == new
        return answer["seconds"]

    def their(number):
        prompts, new, times = load(number)
        return peer.in_batches(prompts, new, times, CONCURRENT)

    measures = {
        "cairn": lambda number: run(number, None),
        "cairn, one batch at a time": lambda number: run(number, CONCURRENT),
        "transformers, static batches": their,
    }
    found = pairs("arrivals", measures)
    compare("arrivals", [sum(load(number)[1]) for number in range(PAIRS)], found)


class SentenceTransformers:
    def __init__(self, folder: pathlib.Path):
        import sentence_transformers
        self.model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
        assert self.model.max_seq_length == TOKENS_MAX
        self.tokenizer = self.model.tokenizer

    def embed(self, texts):
        """Sorted by length and in batches of 32: what it does by itself."""
        return self.model.encode(texts, batch_size=32, show_progress_bar=False)


class OnnxRuntime:
    """The same model exported by PyTorch, batches of 32 sorted by length."""

    def __init__(self, folder: pathlib.Path, work: pathlib.Path, tokenizer):
        import onnxruntime
        path = work / "minilm.onnx"
        if not path.exists():
            self.export(folder, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.tokenizer = tokenizer

    @staticmethod
    def export(folder, path):
        class Embedding(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

            def forward(self, ids, mask, types):
                states = self.inner(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state
                weights = mask.unsqueeze(-1).to(states.dtype)
                return torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1), dim=-1)

        names = ["input_ids", "attention_mask", "token_type_ids"]
        ones = torch.ones(2, 8, dtype=torch.int64)
        torch.onnx.export(
            Embedding(), (ones, ones, 0 * ones), str(path), input_names=names, output_names=["embedding"],
            dynamic_axes={name: {0: "rows", 1: "length"} for name in names}, opset_version=17, dynamo=False,
        )

    def embed(self, texts):
        found = [None] * len(texts)
        order = sorted(range(len(texts)), key=lambda at: -len(texts[at]))
        for start in range(0, len(order), 32):
            batch = order[start:start + 32]
            encoded = self.tokenizer(
                [texts[at] for at in batch], padding=True, truncation=True, max_length=TOKENS_MAX, return_tensors="np",
            )
            names = ["input_ids", "attention_mask", "token_type_ids"]
            vectors = self.session.run(None, {name: encoded[name].astype("int64") for name in names})[0]
            for at, vector in zip(batch, vectors):
                found[at] = vector
        return found


def paragraphs():
    """Paragraphs of XQuAD, or of our documentation."""
    named = os.environ.get("CAIRN_BENCH_TEXTS")
    if named:
        data = json.loads(pathlib.Path(named).read_text())["data"]
        return [paragraph["context"] for article in data for paragraph in article["paragraphs"]]
    root = pathlib.Path(__file__).resolve().parents[2]
    files = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    return [text for file in files for text in file.read_text().split("\n\n") if len(text) > 200]


def embedding(binary, folder, work, rows):
    ours, sentence = Ours(binary, folder), SentenceTransformers(folder)
    runtime = OnnxRuntime(folder, work, sentence.tokenizer)
    texts = paragraphs()
    found = ours.ask(texts=texts, vectors=True)["vectors"]
    for name, peer in [("sentence-transformers", sentence), ("onnxruntime", runtime)]:
        cosines = [sum(a * float(b) for a, b in zip(own, their)) for own, their in zip(found, peer.embed(texts))]
        print(f"embed      {len(texts)} texts: least cosine with {name} {min(cosines):.7f}")

    def timed(embed):
        def measure(texts):
            started = time.perf_counter()
            embed(texts)
            return time.perf_counter() - started
        return measure

    each = {
        # Taken in our process, around tokenising and embedding: the line between the two is of the bench.
        "cairn": lambda texts: ours.ask(texts=texts)["seconds"],
        "sentence-transformers": timed(sentence.embed),
        "onnxruntime": timed(runtime.embed),
    }
    if "embed" in rows:
        measures = {name: lambda _, measure=measure: measure(texts) for name, measure in each.items()}
        measured = pairs("embed", measures)
        compare("embed", [len(texts)] * PAIRS, measured, unit="texts/s")
    if "single" in rows:
        some = texts[:: max(1, len(texts) // 40)]
        middle = {
            name: lambda _, measure=measure: statistics.median(measure([text]) for text in some)
            for name, measure in each.items()
        }
        measured = pairs("single", middle)
        for name, seconds in measured.items():
            ratios = [theirs / own for theirs, own in zip(seconds, measured["cairn"])]
            beside = "" if name == "cairn" else f"   ours is {spread(ratios)} times as fast"
            print(f"single     {name:28} p50 {spread([1e3 * second for second in seconds])} ms{beside}")
    ours.close()


def generation(binary, folder, rows):
    ours = Ours(binary, folder)
    if "load" in rows:
        opened = [ours.opened]
        for _ in range(PAIRS - 1):
            again = Ours(binary, folder)
            opened.append(again.opened)
            again.close()
        size = opened[0]["file_bytes"]
        print(f"load       {size / 1e6:.0f} MB in {spread([one['opened_s'] for one in opened])} s, "
              f"at its peak {spread([one['peak_bytes'] / size for one in opened])} times its bytes, "
              f"then {spread([one['resident_bytes'] / size for one in opened])} times")
    peer = Peer(folder)
    quantised = {bits: Ours(binary, folder, bits) for bits in (8, 4)} if "bits" in rows else {}
    if "one" in rows:
        step = decode("one", 1, ours, peer, quantised)
        read = [ours.ask(op="bandwidth")["bytes_per_s"] for _ in range(3)]
        used = ours.opened["file_bytes"] / step
        print(f"one        {1e3 * step:.2f} ms a token: {used / 1e9:.1f} GB/s of weights, "
              f"{used / max(read):.0%} of the {max(read) / 1e9:.1f} GB/s at which as many bytes are read")
    if "many" in rows:
        decode("many", CONCURRENT, ours, peer, quantised)
    if "arrivals" in rows:
        arrivals(ours, peer)
    for engine in [ours, *quantised.values()]:
        engine.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, help="the example inference_speed, built for release")
    parser.add_argument("--work", default=".cache/bench/models", type=pathlib.Path)
    parser.add_argument("--minilm", default=".cache/models/all-MiniLM-L6-v2", type=pathlib.Path)
    arguments = parser.parse_args()
    rows = os.environ.get("CAIRN_BENCH_ROWS", ",".join(ROWS)).split(",")
    arguments.work.mkdir(parents=True, exist_ok=True)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {THREADS} threads, {PAIRS} pairs")
    torch.set_num_threads(THREADS)
    if {"embed", "single"} & set(rows):
        embedding(arguments.binary, arguments.minilm, arguments.work, rows)
    if {"load", "one", "many", "arrivals"} & set(rows):
        generation(arguments.binary, model_folder(arguments.work), rows)


if __name__ == "__main__":
    main()
