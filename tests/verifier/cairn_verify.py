#!/usr/bin/env python3
"""Verifies a Cairn ledger or an exported bundle. Written from docs/format.md alone; shares no code with Cairn.

Python 3.11 or later, `blake3` and `cryptography`. Usage: cairn_verify.py DIR; prints JSON. Exit codes: 0 intact or
erased with authority, 3 no such folder, 4 neither ledger nor bundle, 5 damaged. Register, vault, witnesses, second
signatures and artifacts that are not stored are passed over; a last frame is cut short only where the file ends in it.
"""
import base64, collections, contextlib, functools, hashlib, itertools, json, re, struct, sys
from pathlib import Path
from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

class Wrong(Exception):
    """A finding: what should hold, where (log and file), and the position that it concerns."""
def need(holds, expected, place=None, position=None):
    if not holds: raise Wrong(expected, place, position)
@contextlib.contextmanager
def found_at(place, position=None):
    """What does not hold in here, or cannot be read, is a finding at this place, unless it names its own."""
    try:
        yield
    except (struct.error, LookupError, ValueError, OSError, InvalidSignature) as e:
        raise Wrong(f"what can be read, which ends with {e!r}", place, position) from None
    except Wrong as wrong:
        raise wrong if wrong.args[1] else Wrong(wrong.args[0], place, position) from None
@contextlib.contextmanager
def noted(damage):
    try: yield
    except Wrong as wrong: damage.append(wrong)

CRC_TABLE = list(range(256))
for _ in range(8): CRC_TABLE = [n >> 1 ^ (0x82F63B78 if n & 1 else 0) for n in CRC_TABLE]
def crc(data):
    ones = 0xFFFFFFFF
    return ones ^ functools.reduce(lambda value, byte: CRC_TABLE[(value ^ byte) & 255] ^ value >> 8, data, ones)

class Reader:
    """Reads bincode 2, `standard`, from front to back. Parts go by their names, or lengths."""
    REFS = "text text text", "text text number", "16", "32", "text", "text", "text", "32"
    def __init__(self, data): self.data, self.at = data, 0
    def take(self, length):
        self.at += length
        need(self.at <= len(self.data), f"{length} bytes more")
        return self.data[self.at - length:self.at]
    def number(self):
        first = self.take(1)[0]
        return first if first < 251 else int.from_bytes(self.take(2 << first - 251), "little")
    def blob(self): return self.take(self.number())
    def text(self): return self.blob().decode()
    def ref(self): return self.fields(self.REFS[self.number()])
    def field(self, name): return self.take(int(name)) if name.isdigit() else getattr(self, name)()
    def fields(self, names): return [self.field(name) for name in names.split()]
    def many(self, names): return [self.fields(names) for _ in range(self.number())]
    def texts(self): return self.many("text")
    def pairs(self): return self.many("text text")
    def refs(self): return self.many("ref")

Entry = collections.namedtuple("Entry", "form flags position time code version stream nth length commitment mac chain")
Record = collections.namedtuple("Record", "kind salt payload")
STORED, REPLACED = b"\0", b"\1"

def entry_of(raw, position):
    entry = Entry(*struct.unpack(">BBQqHHQQI32s16s", raw[:90]), raw[90:])
    need(entry.form == 1 and entry.flags < 4 and entry.position == position, f"entry version 1 of position {position}")
    need(len(entry.chain) == 32 * (entry.flags & 1) and entry.stream and entry.nth, "a whole entry, its stream from 1")
    need(-62135596800 <= entry.time / 1e6 <= 253402207200, "a time within the years 1 to 9999")
    return entry
def payload_of(record, entry):
    """Source, id, stream and project together, extensions, data."""
    read = Reader(record.payload)
    *names, _, _, extensions, _, _, _, data = read.fields("text text text text number texts pairs refs refs 32 blob")
    is_whole = record.kind == REPLACED or not entry.flags & 2 or read.many("text 16 24 blob")
    need(is_whole and read.at == len(record.payload), "sealed fields where the entry says so, and the end")
    return names, dict(extensions), data
def commitment(record): return blake3(b"cairn/v1/payload-commitment\0" + record.salt + record.payload).digest()
def check_record(record, entry):
    need(record.kind in (STORED, REPLACED), "a whole payload record")
    is_first = record.kind == REPLACED or len(record.payload) == entry.length and commitment(record) == entry.commitment
    need(is_first, f"{entry.length} payload bytes of commitment {entry.commitment.hex()}")

def parts_of(data, head, length):
    """Parts one after another, each as long as a length in its head says; one that is cut off comes empty."""
    while data:
        end = head + int.from_bytes(data[length])
        yield data[:end] if end <= len(data) else b""
        data = data[end:]
def laid_out(data): return [part[2:] for part in parts_of(data, 2, slice(2))]
def records(data): return [Record(part[:1], part[5:37], part[37:]) for part in parts_of(data, 37, slice(1, 5))]

def unpacked(data, length):
    """What a block in the LZ4 block format holds; nothing where that is not of this length."""
    out, read = b"", Reader(data)
    def size(nibble):
        parts = [nibble]
        while parts[-1] == (255 if parts[1:] else 15): parts.append(read.take(1)[0])
        return sum(parts)
    with contextlib.suppress(Wrong):
        while len(out) <= length:
            [token] = read.take(1)
            out += read.take(size(token >> 4))
            if read.at == len(data): return out if len(out) == length else b""
            back, count = int.from_bytes(read.take(2), "little"), size(token & 15) + 4
            need(0 < back <= len(out) and count <= length, "a match with what stands before")
            out += (out[-back:] * (count // back + 1))[:count]
    return b""

def explain(place, first, entries, found):
    """Raises at the event that is wrong, where a checksum only says that one is. `None` in `found` says nothing."""
    for position, (raw, record) in enumerate(zip(entries, found), first):
        with found_at(place, position):
            entry = entry_of(raw, position)
            if record: check_record(record, entry)
            if record and record.kind == REPLACED: need("redactedby" in payload_of(record, entry)[1], "a replacement")

class Log:
    """State of a log after the entries seen so far."""
    def __init__(self, root, folder, name, origin=None, mac_key=None):
        self.root, self.folder, self.name = root, folder, name
        self.key = read_key(root, folder / "verifier.key", origin)
        self.size, self.signed_root = read_checkpoint(self.place("checkpoint"), folder / "checkpoint", *self.key)
        self.head, self.time, self.versions, self.names, self.tree, self.files = 0, -1 << 63, [], {}, [], []
        self.chain = blake3(b"cairn/v1/chain-genesis\0" + self.key[0].encode()).digest()
        self.mac_key = mac_key and blake3(mac_key, derive_key_context="cairn v1 identity mac key").digest()
        self.replaced, self.listed, self.authority = {}, {}, []
        self.read()
    def place(self, *path): return self.name, self.folder.relative_to(self.root).joinpath(*path)
    def root_hash(self):
        root = self.tree[-1] if self.tree else hashlib.sha256().digest()
        for left in self.tree[-2::-1]: root = hashlib.sha256(b"\1" + left + root).digest()
        return root
    def frame(self, raws, place, found, within):
        """Takes one whole frame: entries and records, with the file of each."""
        laid, entries = b"".join(len(raw).to_bytes(2) + raw for raw in raws), []
        for raw in raws:
            with found_at(place, self.head + 1): entries.append(self.entry(raw, b"" if entries else self.chain))
        self.chain = blake3(b"cairn/v1/chain-frame\0" + self.chain + laid).digest()
        self.files.append((entries[0].position, within))
        for entry, record in zip(entries, found):
            with found_at(within, entry.position):
                check_record(record, entry)
                self.payload(entry, record, *payload_of(record, entry))
    def entry(self, raw, chain):
        entry = entry_of(raw, self.head + 1)
        self.versions += [0] * (entry.stream == len(self.versions) + 1)
        need(entry.time >= self.time and entry.chain == chain, f"a time from {self.time} µs, chain head {chain.hex()}")
        need(self.versions[entry.stream - 1] + 1 == entry.nth, "the next version of a known stream or the next one")
        self.time, self.versions[entry.stream - 1], node, size = entry.time, entry.nth, b"\0" + raw, self.head
        while size & 1: node, size = b"\1" + self.tree.pop() + hashlib.sha256(node).digest(), size >> 1
        self.tree, self.head = self.tree + [hashlib.sha256(node).digest()], self.head + 1
        need(self.head != self.size or self.root_hash() == self.signed_root, f"tree root {self.signed_root.hex()}")
        return entry
    def payload(self, entry, record, names, _, data):
        source, event_id, stream, project = (name.encode() for name in names)
        laid = b"".join(len(name).to_bytes(8) + name for name in (project, source, event_id))
        need(not self.mac_key or entry.mac == blake3(laid, key=self.mac_key).digest()[:16], "its identity MAC")
        need(self.names.setdefault(entry.stream, stream) == stream, f"the name of stream {entry.stream}")
        if record.kind == REPLACED:
            self.replaced[entry.position] = commitment(record)
        elif entry.code in (0x0807, 0x080A): # subject_erased, payloads_redacted
            read = Reader(data)
            if entry.code == 0x080A and read.fields("text text text number number")[2] != self.key[0]: return
            self.authority.append(entry.position)
            self.listed.update(read.many("number 32") if entry.code == 0x080A else [])
    def read(self):
        """Reads every segment in order."""
        segments, end = collections.defaultdict(lambda: collections.defaultdict(list)), self.place("segments")
        for path in sorted(self.folder.glob("segments/*")):
            match = re.fullmatch(r"(\d{20})\.(?:frames|entries|g(0|[1-9]\d{0,9})\.payloads)", path.name)
            need(match or path.suffix == ".tmp", "the name of a segment", self.place("segments", path.name))
            if match: segments[int(match[1])][path.suffix].append((int(match[2] or 0), path))
        for first, parts in sorted(segments.items()):
            entries, payloads = parts[".entries"], sorted(parts[".payloads"])
            missing = ".g0.payloads" * (not payloads) if entries else ".entries" * (not parts[".frames"])
            need(not missing, "a file beside others", self.place("segments", f"{first:020}{missing}"), first)
            [(_, path)] = entries or parts[".frames"]
            end = self.place("segments", path.name)
            need(first == self.head + 1, "the next segment", end, self.head + 1)
            if entries: self.sealed(path, *payloads[-1])
            else: self.frames(path, first == max(segments))
            for _, old in payloads[:-1]: need(not entries, "no older one", self.place("segments", old.name), first)
        need(self.head >= self.size, f"{self.size} entries, as signed", end, self.head + 1)
        for position in sorted(self.replaced.keys() | self.listed.keys()):
            place = [place for first, place in self.files if first <= position][-1]
            need(self.replaced.get(position) == self.listed.get(position), "what an event lists", place, position)
    def frames(self, path, is_last):
        data, at, place = path.read_bytes(), 0, self.place("segments", path.name)
        while at < len(data):
            magic, count, first, _, s, e, p, check = struct.unpack(">12sIQQIIII", data[at:at + 48].ljust(48, b"\0"))
            is_header = magic == b"CAIRNFRM\1\0\0\0" and check == crc(data[at:at + 44])
            end = at + (60 + s + e + p if is_header else 48)
            laid, stored = data[at + 48 + s:at + 48 + s + e], data[at + 48 + s + e:end - 12]
            entries, found = (laid_out(laid), records(stored)) if is_header else ([], [])
            if data[end - 12:end] != crc(data[at:end - 12]).to_bytes(4) + b"ENDFRAME":
                # Only an incomplete last frame that no checkpoint covers may be passed over.
                if is_last and (not data[at:].strip(b"\0") or end > len(data) and self.head >= self.size): return
                if end <= len(data): explain(place, self.head + 1, entries, found)
                raise Wrong("a whole frame with its checksums", place, self.head + 1)
            need(first == self.head + 1 and len(entries) == len(found) == count > 0, "the next", place, self.head + 1)
            for n, record in enumerate(found, first): need(record.kind == STORED, "the payload first stored", place, n)
            self.frame(entries, place, found, place)
            at = end
    def sealed(self, path, generation, beside):
        place, within = self.place("segments", path.name), self.place("segments", beside.name)
        (body, foot), (stored, index) = footer(place, path, b"CAIRNENT"), footer(within, beside, b"CAIRNPAY")
        first, before, end, entries, found = self.head + 1, self.chain, 0, {}, {}
        with found_at(place):
            count, parts, s = struct.unpack_from(">Q80xI4xI", foot, 16)
            stretches = [*struct.iter_unpack(">QI", foot[116:116 + 12 * parts]), (len(body), 0)]
            stretches = [(checksum, body[at:end]) for (at, checksum), (end, _) in itertools.pairwise(stretches)]
            bundle = first - (first - 1) % 256
            pieces = [(max(first, bundle + 256 * k), entries, crc(stretch) == checksum, laid_out(stretch))
                      for k, (checksum, stretch) in enumerate(stretches)]
        with found_at(within, first):
            for p, at, length, plain, checksum, codec in struct.iter_unpack(">QQIIII", index[36:]):
                fits, block = length == plain if codec == 0 else length < plain, stored[at:at + length]
                need(at == end and fits and codec in (0, 1 << 24), "blocks one after another, of known codecs")
                pieces.append((p, found, crc(block) == checksum, records(unpacked(block, plain) if codec else block)))
                end += length
            head = struct.pack(">IIQQQI", 1 << 24, generation, first, count, len(stored), len(index[36:]) // 32)
            need(end == len(stored) and index[:36] == head, f"generation {generation} of {count} from {first}")
        for p, held, is_sound, items in pieces: held.update(enumerate(items, p) if is_sound else ())
        for p, held, _, items in sorted((piece for piece in pieces if not piece[2]), key=lambda piece: piece[0]):
            if held is entries: explain(place, p, items, map(found.get, itertools.count(p)))
            else: explain(within, p, itertools.takewhile(bool, map(entries.get, itertools.count(p))), items)
            raise Wrong("the checksum of these bytes", place if held is entries else within, p)
        last = first + count - 1
        for p in range(first, last + 1):
            need(p in entries and p in found, "an entry and its payload record", within if p in entries else place, p)
        starts = [p for p in entries if entries[p][1] & 1 or p == first] + [last + 1]
        for a, b in itertools.pairwise(starts):
            self.frame([entries[p] for p in range(a, b)], place, [found[p] for p in range(a, b)], within)
        fields = 1 << 56, first, count, len(body), before, self.chain, self.time, parts, len(self.tree), s
        expected = struct.pack(">QQQQ32s32sqIII", *fields) + foot[116:116 + 12 * parts] + b"".join(self.tree)
        need(foot[:len(foot) - s] == expected, f"a footer like {expected.hex()}", place, last)

def footer(place, path, magic):
    """Body and footer of a sealed object."""
    with found_at(place):
        data = path.read_bytes()
        length, checksum, found = struct.unpack(">II8s", data[-16:])
        body, foot = data[:-16 - length], data[-16 - length:-16]
        need(found == magic and len(foot) == length and crc(foot) == checksum, f"a tail of {magic}, and its footer")
        return body, foot
def encoded(data): return base64.b64encode(data).decode()
def check_text(root, path, text, before):
    """A file that ends in its own check."""
    text += f"{before}{blake3(text.encode()).hexdigest()[:16]}\n"
    with found_at(("-", path)): need((root / path).read_bytes() == text.encode(), f"the text {text}")

def read_key(root, path, origin, prefix=""):
    """Origin, key id and public key."""
    with found_at(("-", path.relative_to(root))):
        text = path.read_bytes().decode()
        named, _, key = text.removeprefix(prefix).split("+", 2)
        raw = base64.b64decode(key)[1:]
        public = Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw() if prefix else raw
        key_id = hashlib.sha256(named.encode() + b"\n\1" + public).digest()[:4]
        expected = "+".join([prefix + (origin or named), key_id.hex(), encoded(b"\1" + raw)])
        need(text == f"{expected}\n", f"a key of {origin or named}, and its id")
        return named, key_id, public
def read_checkpoint(place, path, origin, key_id, public):
    """Size and root, which the log's own key must have signed."""
    with found_at(place):
        body, signatures = path.read_bytes().decode().split("\n\n")
        _, size, root = body.split("\n")
        lines = [line.split(" ") for line in signatures.removesuffix("\n").split("\n")]
        blobs = [(name, base64.b64decode(blob)) for _, name, blob in lines]
        again = "".join(f"— {name} {encoded(blob)}\n" for name, blob in blobs)
        is_note = body == f"{origin}\n{int(size)}\n{encoded(base64.b64decode(root))}" and signatures == again
        mine = [blob[4:] for name, blob in blobs if (name, blob[:4]) == (origin, key_id)]
        need(is_note and len(blobs) <= 100 and mine, f"a note of {origin} with its signature")
        for signature in mine: Ed25519PublicKey.from_public_bytes(public).verify(signature, f"{body}\n".encode())
        return int(size), base64.b64decode(root)

def artifacts(root, folder, damage):
    """Of each sound artifact below a folder its digests and length."""
    for path in sorted(folder.glob("*/*")):
        name, suffix = path.name[:64], path.name[64:]
        with noted(damage), found_at(("-", path.relative_to(root))):
            known = re.fullmatch("[0-9a-f]{64}", name) and name[:2] == path.parent.name and suffix in ("", ".sha256")
            need(known or path.suffix == ".tmp", "a name that is a BLAKE3 digest")
            if not known or suffix: continue
            data, beside = path.read_bytes(), path.with_name(f"{name}.sha256")
            need(blake3(data).hexdigest() == name, f"content with BLAKE3 {name}")
            line = f"{hashlib.sha256(data).hexdigest()}  {name}\n"
            with found_at(("-", beside.relative_to(root))): need(beside.read_bytes() == line.encode(), line)
            yield name, line[:64], len(data)

def verify_bundle(root, logs, damage):
    log = Log(root, root / "log", "bundle")
    listed = "".join("artifact %s %s %d\n" % item for item in artifacts(root, root / "artifacts", damage))
    text = f"cairn bundle 1\norigin {log.key[0]}\nsize {log.size}\nroot {log.signed_root.hex()}\n{listed}"
    check_text(root, Path("bundle"), text, "check ")
    signed = log.size, log.signed_root
    need((log.head, log.root_hash()) == signed, "exactly what is signed", log.place("segments"), log.head)
    known = r"bundle|log|artifacts|log/(verifier\.key|checkpoint|segments|segments/\d+\.(entries|g0\.payloads))"
    for path in [path for glob in ("*", "log/*", "log/segments/*") for path in sorted(root.glob(glob))]:
        name = path.relative_to(root)
        need(re.fullmatch(known, str(name)), "what the list names", ("-", name))
    logs.append(log)
def verify_ledger(root, logs, damage):
    with found_at(("-", Path("ledger"))): _, origin, *_ = (root / "ledger").read_text().split("\n")
    check_text(root, Path("ledger"), f"cairn ledger 1\n{origin}\n", "check ")
    ids = {path.relative_to(root / "logs").parts for path in root.glob("logs/*/*/*")}
    ids |= {(path.parent.name, *path.name[:-12].rsplit("-", 1)) for path in root.glob("keys/*/*.signing.key")}
    for tenant, kind, shard in sorted(ids):
        name, keys, digits = f"{tenant}/{kind}/{shard}", Path("keys", tenant), ""
        secret, folder = keys / f"{kind}-{shard}.signing.key", root / "logs" / name
        begun = [path for path in folder.glob("segments/*") if path.stat().st_size]
        begun += [path for path in folder.glob("checkpoint") if path.read_bytes().split(b"\n")[1:2] != [b"0"]]
        if not begun and not (root / secret).exists(): continue
        with noted(damage):
            if (root / "keys").is_dir():
                with found_at(("-", keys / "mac.key")): digits = (root / keys / "mac.key").read_text()[16:80]
                check_text(root, keys / "mac.key", f"cairn-mac-key-1+{digits}", "+")
            log = Log(root, folder, name, f"{origin[7:]}/{name}", bytes.fromhex(digits))
            own = read_key(root, root / secret, log.key[0], "PRIVATE+KEY+") if digits else log.key
            need(own == log.key, "the secret half of the log's key", ("-", secret))
            logs.append(log)
    for folder in sorted(root.glob("artifacts/*")): list(artifacts(root, folder, damage))

def main(root):
    has = lambda *names: [name for name in names if (root / name).exists()]
    is_bundle, logs, damage = has("bundle", "log/verifier.key", "log/checkpoint"), [], []
    if not root.is_dir(): return 3, {"error": f"{root} is no folder"}
    if not is_bundle and not has("ledger") and len(has("keys", "logs")) < 2: return 4, {"error": f"{root} is no ledger"}
    with noted(damage): (verify_bundle if is_bundle else verify_ledger)(root, logs, damage)
    shown = [{"log": log.name, "events": log.head, "root": log.root_hash().hex(), "by": log.authority} for log in logs]
    found = [{"log": place[0], "file": str(place[1]), "position": position, "expected": expected}
             for expected, place, position in (wrong.args for wrong in damage)]
    is_erased = any(log.replaced or log.authority for log in logs)
    verdict = "tampered" if damage else "erased with authority" if is_erased else "intact"
    return 5 if damage else 0, {"verdict": verdict, "logs": shown, "damage": found}

if __name__ == "__main__":
    code, report = main(Path(sys.argv[1]))
    print(json.dumps(report, indent=1, ensure_ascii=False))
    sys.exit(code)
