"""Runs an exported folder with onnxruntime alone and compares with what transformers gave.

python run_onnx.py FOLDER GOLDEN.json   prints the largest difference, as a share of the largest expected number
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime


def share(found, expected):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape, (found.shape, expected.shape)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def decoder(session, golden):
    caches = [port for port in session.get_inputs() if port.name.startswith("past_key_values.")]
    learned = any(port.name == "position_ids" for port in session.get_inputs())
    names = [port.name for port in session.get_outputs()]

    def run(rows, lengths, start, past):
        feed = dict(past, input_ids=np.array(rows, np.int64))
        total = start + feed["input_ids"].shape[1]
        feed["attention_mask"] = (np.arange(total) < np.array(lengths)[:, None]).astype(np.int64)
        if learned:
            feed["position_ids"] = np.tile(np.arange(start, total), (len(rows), 1))
        outputs = dict(zip(names, session.run(None, feed)))
        past = {port.name: outputs[port.name.replace("past_key_values", "present")] for port in caches}
        return outputs["logits"], past

    def empty(count):
        return {port.name: np.zeros((count, port.shape[1], 0, port.shape[3]), np.float32) for port in caches}

    tokens, columns = golden["tokens"], golden["columns"]
    whole = len(tokens[0])
    logits, _ = run(tokens, [whole, whole], 0, empty(2))
    worst = [share(logits[:, :, columns], golden["at_columns"]), share(logits[:, -1], golden["last"])]
    # A shorter row, filled up at its end.
    short = 9
    logits, _ = run([tokens[0], tokens[1][:short] + [0] * (whole - short)], [whole, short], 0, empty(2))
    worst.append(share(logits[1, :short, columns].T, golden["at_columns"][1][:short]))
    # With a cache: a prompt, then token by token.
    for row in range(2):
        logits, past = run([tokens[row][:short]], [short], 0, empty(1))
        for at in range(short, whole):
            logits, past = run([[tokens[row][at]]], [at + 1], at, past)
            worst.append(share(logits[0, -1, columns], golden["at_columns"][row][at]))
        worst.append(share(logits[0, -1], golden["last"][row]))
    return max(worst)


def encoder(session, golden):
    lengths = np.array([len(row) for row in golden["tokens"]])
    mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    feed = dict(attention_mask=mask, input_ids=np.zeros_like(mask), token_type_ids=np.zeros_like(mask))
    for row, length in enumerate(lengths):
        feed["input_ids"][row, :length] = golden["tokens"][row]
        feed["token_type_ids"][row, :length] = golden["types"][row]
    outputs = dict(zip([port.name for port in session.get_outputs()], session.run(None, feed)))
    if "logits" in outputs:
        return share(outputs["logits"], golden["scores"])
    return max(share(outputs["last_hidden_state"][:, 0], golden["cls"]),
               share(outputs["sentence_embedding"], golden["mean"]))


def main():
    folder, golden = pathlib.Path(sys.argv[1]), json.loads(pathlib.Path(sys.argv[2]).read_text())
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    print((encoder if "types" in golden else decoder)(session, golden))


main()
