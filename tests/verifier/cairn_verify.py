#!/usr/bin/env python3
"""Verifies a Cairn ledger or an exported bundle. Written from docs/format.md alone; shares no code with Cairn.

Python 3.11 or later, `blake3` and `cryptography`. Usage: cairn_verify.py DIR; prints JSON. Exit codes: 0 intact or
erased with authority, 3 no such folder, 4 neither ledger nor bundle, 5 damaged, or an artifact of Cairn's is gone.
"""
import base64, collections, contextlib, hashlib, itertools, json, re, struct, sys
from pathlib import Path
from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

class Wrong(Exception):
    """A finding. Whoever knows its place (log and file) and its position fills them in: see `found_at`."""
    def __init__(self, at, expected, found="another", place=None, position=None):
        self.at, self.expected, self.found, self.place, self.position = at, expected, found, place, position
    def json(self):
        names = ("log", "file", "position", "offset", "expected", "found")
        return dict(zip(names, (self.place[0], str(self.place[1]), self.position, self.at, str(self.expected), str(self.found))))

@contextlib.contextmanager
def found_at(place, base=0, position=None):
    try:
        yield
    except (struct.error, IndexError, ValueError, OSError, InvalidSignature) as e:
        raise Wrong(base, "bytes that can be read", repr(e), place, position) from None
    except Wrong as wrong:
        if not wrong.place: wrong.place, wrong.position, wrong.at = place, position, base + wrong.at
        raise

def need(holds, at, expected, found="another", place=None, position=None):
    if not holds: raise Wrong(at, expected, found, place, position)

CRC_TABLE = list(range(256))
for _ in range(8): CRC_TABLE = [n >> 1 ^ (0x82F63B78 if n & 1 else 0) for n in CRC_TABLE]
def crc(data, value=0xFFFFFFFF):
    for byte in data: value = CRC_TABLE[(value ^ byte) & 255] ^ value >> 8
    return value ^ 0xFFFFFFFF

def bincode(data, at, shape, whole=False):
    """bincode 2, `standard`: `n` integer, `s` bytes, `r` ref, a number so many bytes, a list that many of its parts."""
    values = []
    for part in shape:
        number = part
        if not isinstance(part, int):
            wide = 2 << data[at] - 251 if data[at] > 250 else 0
            number, at = int.from_bytes(data[at + 1:at + 1 + wide], "little") if wide else data[at], at + 1 + wide
        value, end = number, at + (number if part == "s" or part is number else 0)
        if part == "r":
            (*value,), end = bincode(data, at, ("sss", "ssn", [16], [32], "s", "s", "s", [32])[number])
            value = number, *value
        elif isinstance(part, list):
            value, end = bincode(data, at, part * number)
            value = list(zip(*[iter(value)] * len(part)))
        elif part != "n": value = data[at:end]
        values, at = values + [value], end
    need(at == len(data) or at < len(data) and not whole, at, "the end of the value", f"the end at {len(data)}")
    return values, at

PAYLOAD = ["s", "s", "s", "s", "n", ["s"], ["s", "s"], ["r"], ["r"], 32, "s"]
SEALED = [["s", 16, 24, "s"]]
Entry = collections.namedtuple("Entry", "form flags position time code version stream nth length commitment mac chain")

def entry_of(raw, position):
    entry = Entry(*struct.unpack(">BBQqHHQQI32s16s", raw[:90]), raw[90:])
    need(entry.form == 1 and entry.flags < 4, 0, "entry version 1 with known flags", raw[:2].hex())
    need(entry.position == position, 2, f"position {position}", entry.position)
    need(-62135596800 <= entry.time / 1e6 <= 253402207200, 10, "a time within the years 1 to 9999", entry.time)
    need(entry.stream and entry.nth, 22, "a stream number and version from 1", 0)
    need(len(entry.chain) == 32 * (entry.flags & 1), 90, "the end of the entry", f"{len(raw)} bytes")
    return entry

def laid_out(data, place, at):
    """Entries as bundles lay them out, each with place and offset; one that is cut off comes empty."""
    while data:
        end = 2 + int.from_bytes(data[:2])
        yield data[2:end] if end <= len(data) else b"", place, at + 2
        data, at = data[end:], at + end

def records(data, place, at):
    """Payload records, each with place and offset; one that is cut off has no kind."""
    while data:
        end = 37 + int.from_bytes(data[1:5])
        yield (data[0] if end <= len(data) else None, data[5:37], data[37:end]), place, at
        data, at = data[end:], at + end

def unpacked(data, length):
    """The records of a block in the LZ4 block format; nothing if it does not come to this length."""
    out, at = bytearray(), 0
    def more(n):
        nonlocal at
        while n >= 15 and (at := at + 1) and data[at - 1] == 255: n += 255
        return n + data[at - 1] if n >= 15 else n
    with contextlib.suppress(IndexError):
        while len(out) <= length:
            at += 1
            token = data[at - 1]
            n = more(token >> 4)
            if n > len(data) - at: break
            out, at = out + data[at:at + n], at + n
            if at == len(data): return bytes(out) if len(out) == length else None
            back, at = data[at] + 256 * data[at + 1], at + 2
            n = more(token & 15) + 4
            if not 0 < back <= len(out) or len(out) + n > length: break
            out += (out[-back:] * (n // back + 1))[:n]

def check_record(record, entry):
    kind, salt, payload = record
    need(kind == 0, 0, "a whole record of the payload first stored", kind)
    need(len(payload) == entry.length, 1, f"{entry.length} payload bytes", len(payload))
    found = blake3(b"cairn/v1/payload-commitment\0" + salt + payload).hexdigest()
    need(found == entry.commitment.hex(), 0, f"payload commitment {entry.commitment.hex()}", found)

def explain(first, entries, found, blame_entry=False):
    """Raises at the event that is wrong, where a checksum only says that one is. `None` in `found` says nothing."""
    for position, ((raw, *spot), item) in enumerate(zip(entries, found), first):
        with found_at(*spot, position): entry = entry_of(raw, position)
        with found_at(*(spot if blame_entry or not item else item[1:]), position): item and check_record(item[0], entry)

class Log:
    """State of a log after the entries seen so far."""
    def __init__(self, root, folder, name, origin, size, signed_root, mac_key):
        self.root, self.folder, self.name, self.size, self.signed_root = root, folder, name, size, signed_root
        self.head, self.time, self.versions, self.names, self.tree, self.artifacts = 0, -1 << 63, [], [], [], {}
        self.chain = blake3(b"cairn/v1/chain-genesis\0" + origin.encode()).digest()
        self.mac_key = mac_key and blake3(mac_key, derive_key_context="cairn v1 identity mac key").digest()
        self.durable, self.unfinished, self.leftover = size, 0, False
    def place(self, path): return self.name, path.relative_to(self.root)
    def root_hash(self):
        root = self.tree[-1] if self.tree else hashlib.sha256().digest()
        for left in self.tree[-2::-1]: root = hashlib.sha256(b"\1" + left + root).digest()
        return root
    def frame(self, entries, found):
        """Takes one whole frame: entries and records, each with place and offset."""
        decoded = []
        for raw, place, at in entries:
            with found_at(place, at, self.head + 1):
                decoded.append(entry_of(raw, self.head + 1))
                self.entry(decoded[-1], b"" if len(decoded) > 1 else self.chain, raw)
        laid = b"".join(len(raw).to_bytes(2) + raw for raw, *_ in entries)
        self.chain = blake3(b"cairn/v1/chain-frame\0" + self.chain + laid).digest()
        for entry, (record, *spot) in zip(decoded, found):
            with found_at(*spot, entry.position):
                check_record(record, entry)
                self.payload(entry, *bincode(record[2], 0, PAYLOAD + SEALED * (entry.flags >> 1), True)[0])
    def entry(self, entry, chain, raw):
        need(entry.time >= self.time, 10, f"a time from {self.time} µs", f"{entry.time} µs")
        need(entry.stream <= len(self.versions) + 1, 22, "a known stream number or the next", entry.stream)
        self.versions += [0] * (entry.stream - len(self.versions))
        need(entry.nth == self.versions[entry.stream - 1] + 1, 30, "the stream's next version", entry.nth)
        need(entry.chain == chain, 90, f"chain head {chain.hex()}", entry.chain.hex())
        self.time, self.versions[entry.stream - 1], node, size = entry.time, entry.nth, b"\0" + raw, self.head
        while size & 1: node, size = b"\1" + self.tree.pop() + hashlib.sha256(node).digest(), size >> 1
        self.tree, self.head = self.tree + [hashlib.sha256(node).digest()], self.head + 1
        holds = self.head != self.size or self.root_hash() == self.signed_root
        need(holds, -2, f"tree root {self.signed_root.hex()}, as the checkpoint has it", self.root_hash().hex())
    def payload(self, entry, source, event_id, stream, project, _time, _causation, _extensions, used, produced, *_):
        laid = b"".join(len(field).to_bytes(8) + field for field in (project, source, event_id))
        mac = self.mac_key and blake3(laid, key=self.mac_key).digest()[:16]
        need(mac in (None, entry.mac), 0, f"identity MAC {mac and mac.hex()}", entry.mac.hex())
        self.names += [stream] * (entry.stream - len(self.names))
        need(self.names[entry.stream - 1] == stream, 37, f"the name of stream {entry.stream}")
        for ref in (ref for [ref] in used + produced if ref[0] == 7): self.artifacts.setdefault(ref[1].hex(), source)
    def read(self):
        """Reads every segment in order."""
        folder, segments = self.folder / "segments", collections.defaultdict(dict)
        for path in children(self.root, folder, self.name):
            match = re.fullmatch(r"(\d{20})\.(?:(frames|entries)|g(0|[1-9]\d{0,9})\.(payloads))", path.name)
            need(match or path.name.endswith(".tmp"), 0, "the name of a segment", path.name, self.place(path))
            if match:
                parts, part, mine = segments[int(match[1])], match[2] or match[4], (int(match[3] or 0), path)
                self.leftover |= part in parts
                parts[part] = max(parts.get(part, mine), mine)
            self.leftover |= not match
        end = self.place(folder), 0
        for first, parts in sorted(segments.items()):
            is_sealed = parts.keys() >= {"entries", "payloads"}
            missing = None if is_sealed else "g0.payloads" if "entries" in parts else "frames" not in parts and "entries"
            need(not missing, 0, "a file beside others", "none", self.place(folder / f"{first:020}.{missing}"), first)
            self.leftover |= len(parts) > 1 + is_sealed
            path = parts["entries" if is_sealed else "frames"][1]
            need(first == self.head + 1, 0, "the next segment", first, self.place(path), self.head + 1)
            read = self.sealed(path, *parts["payloads"]) if is_sealed else self.frames(path, first == max(segments))
            end = self.place(path), read
        need(self.head >= self.size, end[1], f"{self.size} entries, as signed", self.head, end[0], self.head + 1)
    def frames(self, path, is_last):
        data, at, place = path.read_bytes(), 0, self.place(path)
        while at < len(data):
            try:
                count, first, durable, e, p, end = frame_header(data, at)
                ending = crc(data[at:end - 12]).to_bytes(4) + b"ENDFRAME"
                need(data[end - 12:end] == ending, end - 12 - at, "the frame's checksum and end mark")
            except Wrong as wrong:
                self.judge(data, at, place, is_last, wrong)
                return at
            with found_at(place, at, self.head + 1):
                need(first == self.head + 1, 16, f"a frame from position {self.head + 1}", first)
                entries, found = list(laid_out(data[e:p], place, e)), list(records(data[p:end - 12], place, p))
                need(len(entries) == len(found) == count, 12, f"{count} entries and records", len(found))
            self.frame(entries, found)
            self.durable, at = max(self.durable, durable), end
        return at
    def judge(self, data, at, place, is_last, wrong):
        """Only an incomplete last frame that nothing says was ever durable may be passed over."""
        heads = {}
        for match in re.finditer(b"(?=CAIRNFRM)", data[at:]):
            with contextlib.suppress(Wrong): heads[at + match.start()] = frame_header(data, at + match.start())
        _, _, _, e, p, end = heads.pop(at, (0, 0, 0, at, at, at + 48))
        edges = [at, *range(at // 512 * 512 + 512, min(end, len(data)), 512), min(end, len(data))]
        missing = end > len(data) or any(not data[a:b].strip(b"\0") for a, b in zip(edges, edges[1:]))
        durable = max([self.durable] + [head[2] for head in heads.values()])
        if is_last and (not data[at:].strip(b"\0") or missing and durable <= self.head):
            self.unfinished = len(data) - at
            return
        if e > at and end <= len(data):
            explain(self.head + 1, laid_out(data[e:p], place, e), records(data[p:end - 12], place, p))
        raise Wrong(at + wrong.at, wrong.expected, wrong.found, place, self.head + 1)
    def sealed(self, path, generation, beside):
        place, within, first, before = self.place(path), self.place(beside), int(path.name[:20]), self.chain
        data, base, foot = footer(place, path, b"CAIRNENT")
        stored, stored_base, index = footer(within, beside, b"CAIRNPAY")
        with found_at(place, base):
            count, _, _, _, _, b, _, s = struct.unpack_from(">QQ32s32sqIII", foot, 16)
            stretches, last, page = list(struct.iter_unpack(">QI", foot[116:116 + 12 * b])), first + count - 1, (first - 1) // 256
            ends = [at for at, _ in stretches[1:]] + [base]
            pieces = [(max(first, (page + k) * 256 + 1), at, end, checksum, 0, data, laid_out, place)
                      for k, ((at, checksum), end) in enumerate(zip(stretches, ends))]
        with found_at(within, stored_base, first):
            blocks = list(struct.iter_unpack(">QQIIII", index[36:]))
            pieces += [(p, at, at + n, checksum, codec and plain, stored, records, within)
                       for p, at, n, plain, checksum, codec in blocks]
            edges = [at for _, at, *_ in blocks] + [stored_base], [0] + [at + n for _, at, n, *_ in blocks]
            head = struct.pack(">IIQQQI", 1 << 24, generation, first, count, stored_base, len(blocks))
            need(edges[0] == edges[1] and index[:36] == head, 0, f"generation {generation} of {count} from {first}")
            need(all((n == plain, n < plain)[codec >> 24] if codec in (0, 1 << 24) else False
                     for _, _, n, plain, _, codec in blocks), 0, "known codecs")
        held, faults = {laid_out: {}, records: {}}, []
        for p, at, end, checksum, plain, whole, split, where in pieces:
            with found_at(where, at, p):
                laid, sound = split(whole[at:end], where, at), crc(whole[at:end]) == checksum
                if plain:
                    block = unpacked(whole[at:end], plain)
                    need(block is not None or not sound, 0, f"an LZ4 block of {plain} bytes")
                    laid = ((record, where, at) for record, *_ in split(block or b"", where, at))
                held[split].update(enumerate(laid, p)) if sound else faults.append((p, at, where, split, laid))
        for p, at, where, split, laid in sorted(faults, key=lambda fault: fault[0]):
            entries = laid if split == laid_out else itertools.takewhile(bool, map(held[laid_out].get, itertools.count(p)))
            explain(p, entries, laid if split == records else map(held[records].get, itertools.count(p)), split == laid_out)
            raise Wrong(at, "the checksum of these bytes", "another", where, p)
        entries, found = held.values()
        is_whole = entries.keys() == found.keys() == set(range(first, last + 1))
        need(is_whole, base, f"{count} entries and records", "others", place, last)
        starts = [p for p in entries if entries[p][0][1:2] == b"\1" or p == first] + [last + 1]
        for a, b in zip(starts, starts[1:]): self.frame([entries[p] for p in range(a, b)], [found[p] for p in range(a, b)])
        fields = 1 << 56, first, count, base, before, self.chain, self.time, len(stretches), len(self.tree), s
        edges = [struct.pack(">QI", entries[p][2] - 2, checksum) for p, _, _, checksum, *_ in pieces[:len(stretches)]]
        expected = struct.pack(">QQQQ32s32sqIII", *fields) + b"".join(edges + self.tree)
        need(foot[:len(foot) - s] == expected, base, f"a footer like {expected.hex()}", foot.hex(), place, last)
        return base

def frame_header(data, at):
    need(len(data) >= at + 48, 0, "48 bytes of a frame header", len(data) - at)
    magic, count, first, durable, s, e, p, check = struct.unpack_from(">12sIQQIIII", data, at)
    need(magic == b"CAIRNFRM\1\0\0\0" and check == crc(data[at:at + 44]), 0, "a frame header and its checksum")
    need(count and first and s + e + p <= (16 << 20) - 60, 12, "a frame of at most 16 MiB", s + e + p)
    return count, first, durable, at + 48 + s, at + 48 + s + e, at + 60 + s + e + p

def footer(place, path, magic):
    data = path.read_bytes()
    with found_at(place, max(len(data) - 16, 0)):
        length, checksum = struct.unpack(">II", data[-16:-8])
        need(data[-8:] == magic and length <= len(data) - 16, 8, f"object magic {magic}", data[-8:])
        need(crc(foot := data[len(data) - 16 - length:-16]) == checksum, 4, "the footer's checksum", checksum)
    return data, len(data) - 16 - length, foot

def with_check(text, before): return f"{text}{before}{blake3(text.encode()).hexdigest()[:16]}\n"

def children(root, folder, log="-"):
    with found_at((log, folder.relative_to(root))): return sorted(folder.iterdir())

def read_key(root, path, origin, prefix=""):
    """Origin, key id and public key."""
    with found_at(("-", path.relative_to(root))):
        text = path.read_bytes().decode()
        named, _, key = text.removeprefix(prefix).split("+", 2)
        raw = base64.b64decode(key)
        public = Ed25519PrivateKey.from_private_bytes(raw[1:]).public_key().public_bytes_raw() if prefix else raw[1:]
        key_id = hashlib.sha256(named.encode() + b"\n\1" + public).digest()[:4]
        key = base64.b64encode(b"\1" + raw[1:]).decode()
        need(text == f"{prefix}{origin or named}+{key_id.hex()}+{key}\n", 0, f"a key of {origin or named}, and its id")
    return named, key_id, public

def read_checkpoint(place, path, origin, key_id, public):
    """Size and root, which the log's own key must have signed."""
    with found_at(place):
        body, _, signatures = path.read_bytes().decode().rpartition("\n\n")
        named, size, root = body.split("\n")
        expected = f"{origin}\n{int(size)}\n{base64.b64encode(base64.b64decode(root)).decode()}"
        need(body == expected and signatures[-1:] == "\n" and signatures.count("\n") <= 100, 0, f"a note of {origin}", body)
        mine = 0
        for dash, name, blob in (line.split(" ") for line in signatures[:-1].split("\n")):
            raw = base64.b64decode(blob, validate=True)
            need(dash == "—" and len(raw) > 3 and base64.b64encode(raw).decode() == blob, 0, "a signature line", blob)
            if (name, raw[:4]) == (origin, key_id):
                Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], body.encode() + b"\n")
                mine += 1
        need(mine, 0, f"a signature by {origin}", "none")
        return int(size), base64.b64decode(root)

def verify_log(root, folder, name, origin=None, mac_key=None):
    identity = read_key(root, folder / "verifier.key", origin)
    signed = read_checkpoint((name, (folder / "checkpoint").relative_to(root)), folder / "checkpoint", *identity)
    log = Log(root, folder, name, identity[0], *signed, mac_key)
    log.read()
    return log, identity

def artifacts(root, folder):
    """Of each artifact its digests and length, or a finding."""
    for path in [path for below in folder.is_dir() and children(root, folder) or [] for path in children(root, below)]:
        name, suffix, place, sha = path.name[:64], path.name[64:], ("-", path.relative_to(root)), hashlib.sha256()
        known = re.fullmatch("[0-9a-f]{64}", name) and name[:2] == path.parent.name and suffix in ("", ".sha256")
        try:
            need(known or path.name.endswith(".tmp"), 0, "a name that is a BLAKE3 digest", path.name, place)
            if not known or suffix: continue
            data, beside = path.read_bytes(), path.with_name(name + ".sha256")
            need(blake3(data).hexdigest() == name, 0, f"content with BLAKE3 {name}", blake3(data).hexdigest(), place)
            line = f"{hashlib.sha256(data).hexdigest()}  {name}\n"
            with found_at(("-", beside.relative_to(root))): need(beside.read_bytes() == line.encode(), 0, line)
            yield name, line[:64], len(data)
        except Wrong as wrong: yield wrong

def verify_bundle(root):
    log, (origin, _, _) = verify_log(root, root / "log", "bundle")
    stored = list(artifacts(root, root / "artifacts"))
    for wrong in (item for item in stored if isinstance(item, Wrong)): raise wrong
    lines = "".join("artifact %s %s %d\n" % item for item in stored)
    text = with_check(f"cairn bundle 1\norigin {origin}\nsize {log.size}\nroot {log.signed_root.hex()}\n{lines}", "check ")
    with found_at(("-", Path("bundle"))): need((root / "bundle").read_bytes() == text.encode(), 0, "the list of what is here")
    exact = (log.head, log.root_hash()) == (log.size, log.signed_root) and not log.leftover and not log.unfinished
    need(exact, 0, f"{log.size} entries and nothing more", log.head, log.place(log.folder / "segments"), log.head)
    known = {f"log/{name}" for name in ("verifier.key", "checkpoint", "segments")} | {"bundle", "log", "artifacts"}
    for name in (path.relative_to(root) for folder in (root, root / "log") for path in children(root, folder)):
        need(str(name) in known, 0, "what the list names", "something besides", ("-", name))
    return [log], []

def verify_ledger(root):
    keys, logs, damage = root / "keys", [], []
    with found_at(("-", Path("ledger"))):
        text = (root / "ledger").read_bytes().decode()
        origin = text.split("\n")[1].removeprefix("origin ")
        need(text == with_check(f"cairn ledger 1\norigin {origin}\n", "check "), 0, "a marker and its check digits", text)
    ids = {path.relative_to(root / "logs").parts for path in root.glob("logs/*/*/*")}
    ids |= {(path.parent.name, *path.name[:-12].rsplit("-", 1)) for path in keys.glob("*/*.signing.key")}
    for tenant, kind, shard in sorted(ids):
        folder, key = root.joinpath("logs", tenant, kind, shard), keys / tenant / f"{kind}-{shard}.signing.key"
        begun = key.exists() or any(path.stat().st_size for path in folder.glob("segments/*"))
        try:
            if not begun and (folder / "checkpoint").read_bytes().split(b"\n")[1:2] in ([], [b"0"]): continue
            with found_at(("-", Path("keys", tenant, "mac.key"))):
                text = (keys / tenant / "mac.key").read_text() if keys.is_dir() else None
                need(not text or text == with_check(f"cairn-mac-key-1+{text[16:80]}", "+"), 0, "a MAC key and its check")
                mac_key = text and bytes.fromhex(text[16:80])
            name = f"{tenant}/{kind}/{shard}"
            log, identity = verify_log(root, folder, name, f"{origin}/{name}", mac_key)
            own = read_key(root, key, identity[0], "PRIVATE+KEY+") if text else identity
            need(own == identity, 0, "the secret half of the log's key", "another", ("-", key.relative_to(root)))
            logs.append(log)
        except FileNotFoundError: continue
        except Wrong as wrong: damage.append(wrong)
    found = [item for folder in sorted(root.glob("artifacts/*")) for item in artifacts(root, folder)]
    return logs, damage + [item for item in found if isinstance(item, Wrong)]

def main(root):
    has = lambda *names: [name for name in names if (root / name).exists()]
    if not root.is_dir(): return 3, {"error": f"{root} is no folder"}
    is_bundle = has("bundle", "log/verifier.key", "log/checkpoint")
    if not is_bundle and not has("ledger") and len(has("keys", "logs")) < 2: return 4, {"error": f"{root} is no ledger"}
    try: logs, damage = (verify_bundle if is_bundle else verify_ledger)(root)
    except Wrong as wrong: logs, damage = [], [wrong]
    named = [(f"artifacts/{log.name.split('/')[0]}/{name[:2]}/{name}", source) for log in logs for name, source in log.artifacts.items()]
    lost = [path for path, source in named if not is_bundle and source.startswith(b"cairn://") and not has(path)]
    shown = [{"log": log.name, "events": log.head, "root": log.root_hash().hex(), "chain_head": log.chain.hex()} for log in logs]
    verdict = "tampered" if damage else "incomplete" if lost else "intact"
    return 5 if damage or lost else 0, {"verdict": verdict, "logs": shown, "damage": [w.json() for w in damage], "lost": lost}

if __name__ == "__main__":
    code, report = main(Path(sys.argv[1]))
    print(json.dumps(report, indent=1, ensure_ascii=False))
    sys.exit(code)
