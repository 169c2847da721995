"""Reads every table of a server in every format, as people read them: pyarrow, pandas, polars, DuckDB. Prints one JSON
object a reading: what was read by what, and a summary that must be the same for all."""

import io
import json
import math
import sys
import tempfile
import urllib.request

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.feather
import pyarrow.parquet

BASE = sys.argv[1]


def get(path):
    with urllib.request.urlopen(BASE + path) as answer:
        return answer.read()


def real(value):
    """The number as its bits, so that a NaN equals a NaN."""
    if value is None:
        return None
    value = float(value)
    return "nan" if math.isnan(value) else value.hex()


def summary(columns):
    """Of lists by name: the rows, sorted, with times as nanoseconds."""
    names = list(columns)
    rows = []
    for cells in zip(*columns.values()):
        row = []
        for name, cell in zip(names, cells):
            missing = cell is None or cell is pandas.NaT or cell is pandas.NA
            if name in ("value", "standard_error"):
                row.append(None if missing or (name != "value" and math.isnan(cell)) else real(cell))
            elif missing or (isinstance(cell, float) and math.isnan(cell)):
                row.append(None)
            elif name == "time" or name.endswith("_at"):
                stamp = pandas.Timestamp(cell)
                stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
                row.append(stamp.as_unit("ns").value)
            elif isinstance(cell, (dict, list)):
                row.append(json.dumps(cell, sort_keys=True))
            elif isinstance(cell, str) and name in ("config", "metrics"):
                row.append(json.dumps(json.loads(cell), sort_keys=True))
            elif isinstance(cell, float) and cell.is_integer():
                row.append(int(cell))
            else:
                row.append(cell if isinstance(cell, (str, bool)) else int(cell))
        rows.append(row)
    return sorted(rows, key=lambda row: json.dumps(row))


def of_arrow(table):
    return {name: table[name].to_pylist() for name in table.column_names}


def of_polars(frame):
    return {name: frame[name].to_list() for name in frame.columns}


def of_pandas(frame):
    return {name: frame[name].astype(object).tolist() for name in frame.columns}


def of_duckdb(relation):
    return of_arrow(relation.to_arrow_table())


def readings(table):
    file, stream = get(f"/v1/{table}.arrow"), get(f"/v1/{table}.arrows")
    parquet, csv, lines = get(f"/v1/{table}.parquet"), get(f"/v1/{table}.csv"), get(f"/v1/{table}.jsonl")
    with tempfile.NamedTemporaryFile(suffix=".parquet") as kept:
        kept.write(parquet)
        kept.flush()
        duck = duckdb.connect()
        duck.execute("set timezone = 'UTC'")
        yield "duckdb parquet", of_duckdb(duck.sql(f"select * from read_parquet('{kept.name}')"))
    held = pyarrow.ipc.open_stream(stream).read_all()  # noqa: F841, DuckDB finds it by its name
    yield "duckdb arrow", of_duckdb(duckdb.connect().sql("select * from held"))
    yield "pyarrow file", of_arrow(pyarrow.ipc.open_file(file).read_all())
    yield "pyarrow feather", of_arrow(pyarrow.feather.read_table(io.BytesIO(file)))
    yield "pyarrow stream", of_arrow(pyarrow.ipc.open_stream(stream).read_all())
    yield "pyarrow parquet", of_arrow(pyarrow.parquet.read_table(io.BytesIO(parquet)))
    yield "pandas feather", of_pandas(pandas.read_feather(io.BytesIO(file)))
    yield "pandas parquet", of_pandas(pandas.read_parquet(io.BytesIO(parquet)))
    yield "pandas csv", of_pandas(pandas.read_csv(io.BytesIO(csv)))
    yield "polars file", of_polars(polars.read_ipc(io.BytesIO(file)))
    yield "polars stream", of_polars(polars.read_ipc_stream(io.BytesIO(stream)))
    yield "polars parquet", of_polars(polars.read_parquet(io.BytesIO(parquet)))
    yield "polars csv", of_polars(polars.read_csv(io.BytesIO(csv)))
    # polars asks for the length of what a URL names, and for parts of it.
    url = f"{BASE}/v1/{table}"
    yield "polars URL parquet", of_polars(polars.read_parquet(f"{url}.parquet"))
    yield "polars URL parquet scanned", of_polars(polars.scan_parquet(f"{url}.parquet").collect())
    yield "polars URL file", of_polars(polars.read_ipc(f"{url}.arrow"))
    yield "polars URL csv", of_polars(polars.read_csv(f"{url}.csv"))
    yield "pandas URL parquet", of_pandas(pandas.read_parquet(f"{url}.parquet"))
    yield "json lines", {
        name: [json.loads(line)[name] for line in lines.splitlines()] for name in json.loads(lines.splitlines()[0])
    }


for table in sys.argv[2:]:
    for reader, columns in readings(table):
        print(json.dumps({"table": table, "reader": reader, "rows": summary(columns)}))
