"""Runs the verifier on many directories in one process: a directory a line in, a report a line out."""
import json, sys
from pathlib import Path
import cairn_verify

for line in sys.stdin:
    code, report = cairn_verify.main(Path(line.rstrip("\n")))
    print(json.dumps({"code": code, **report}), flush=True)
