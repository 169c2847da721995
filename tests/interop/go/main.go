// Checks a published log with golang.org/x/mod/sumdb/{note,tlog}. Usage: interop FOLDER, as tests/interop/fixture is laid out.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if err := check(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(folder string) error {
	key, err := os.ReadFile(filepath.Join(folder, "verifier.key"))
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(strings.TrimSuffix(string(key), "\n"))
	if err != nil {
		return err
	}
	tree, err := signedFile(verifier, filepath.Join(folder, "log", "checkpoint"))
	if err != nil {
		return err
	}
	older, err := signedFile(verifier, filepath.Join(folder, "older"))
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, tiles(filepath.Join(folder, "log")))
	root, err := tlog.TreeHash(tree.N, reader)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return fmt.Errorf("the tiles lead to root %v, the checkpoint has %v", root, tree.Hash)
	}
	if err := checkEntries(filepath.Join(folder, "log"), tree, reader); err != nil {
		return err
	}
	if err := checkConsistency(filepath.Join(folder, "consistency"), tree, older, reader); err != nil {
		return err
	}
	proofs, err := filepath.Glob(filepath.Join(folder, "proofs", "*.tlog-proof"))
	if err != nil {
		return err
	}
	for _, path := range proofs {
		if err := checkProof(verifier, path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	fmt.Printf("%d entries, %d proofs\n", tree.N, len(proofs))
	return nil
}

// signed opens a note that the log's key has signed, and reads the checkpoint in it.
func signed(verifier note.Verifier, text []byte) (tlog.Tree, error) {
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("not a checkpoint of %s: %q", verifier.Name(), opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

func signedFile(verifier note.Verifier, path string) (tlog.Tree, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return tlog.Tree{}, err
	}
	return signed(verifier, text)
}

// tiles is a folder of tiles of height 8, where C2SP's paths leave the height out.
type tiles string

func (t tiles) Height() int                                { return 8 }
func (t tiles) SaveTiles(tiles []tlog.Tile, data [][]byte) {}
func (t tiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		path := strings.TrimPrefix(tile.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(string(t), "tile", path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// checkEntries checks each entry of each bundle against a proof made from the tiles.
func checkEntries(log string, tree tlog.Tree, reader tlog.HashReader) error {
	for first := int64(0); first < tree.N; first += 256 {
		width := min(tree.N-first, 256)
		path := fmt.Sprintf("tile/entries/%03d", first/256)
		if width < 256 {
			path += fmt.Sprintf(".p/%d", width)
		}
		data, err := os.ReadFile(filepath.Join(log, path))
		if err != nil {
			return err
		}
		for index := first; index < first+width; index++ {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return fmt.Errorf("%s ends before entry %d", path, index)
			}
			length := 2 + int(binary.BigEndian.Uint16(data))
			proof, err := tlog.ProveRecord(tree.N, index, reader)
			if err != nil {
				return err
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(data[2:length])); err != nil {
				return fmt.Errorf("entry %d: %w", index, err)
			}
			data = data[length:]
		}
		if len(data) > 0 {
			return fmt.Errorf("%s goes on after its %d entries", path, width)
		}
	}
	return nil
}

func checkConsistency(path string, tree, older tlog.Tree, reader tlog.HashReader) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	given, err := hashes(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"))
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(given, tree.N, tree.Hash, older.N, older.Hash); err != nil {
		return err
	}
	made, err := tlog.ProveTree(tree.N, older.N, reader)
	if err != nil {
		return err
	}
	return tlog.CheckTree(made, tree.N, tree.Hash, older.N, older.Hash)
}

func hashes(lines []string) (all []tlog.Hash, err error) {
	for _, line := range lines {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, err
		}
		all = append(all, hash)
	}
	return all, nil
}

// checkProof reads a c2sp.org/tlog-proof, which carries its entry, and checks it offline.
func checkProof(verifier note.Verifier, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, checkpoint, _ := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return fmt.Errorf("not a tlog-proof: %q", head)
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	climb, err := hashes(lines[3:])
	if err != nil {
		return err
	}
	tree, err := signed(verifier, []byte(checkpoint))
	if err != nil {
		return err
	}
	return tlog.CheckRecord(climb, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}
