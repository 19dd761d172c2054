package software

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// Bounds of what is read.
const (
	maxFile    = 256 << 20 // bytes of a database that is streamed
	maxSmall   = 1 << 20   // bytes of a file that is read whole
	maxLine    = 64 << 10  // bytes of a line; the rest of a longer one is skipped
	maxEntries = 2 * protocol.MaxSectionRows
)

// tree reads below one folder. Names are as below a root, with slashes, without the first one.
type tree struct {
	dir string
	// root holds the reader below dir; nil for the computer's own root, where every link is the system's.
	root *os.Root
}

func openTree(dir string) (*tree, error) {
	if dir == "" || dir == "/" {
		return &tree{dir: "/"}, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &tree{dir: dir, root: root}, nil
}

// below is the part of the tree under a folder that belongs to somebody else: no link there leads out.
func (t *tree) below(name string) (*tree, error) {
	if t.root == nil {
		return openTree(filepath.Join(t.dir, name))
	}
	root, err := t.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &tree{dir: filepath.Join(t.dir, name), root: root}, nil
}

func (t *tree) close() {
	if t.root != nil {
		t.root.Close()
	}
}

// open opens a regular file. Whatever else bears its name, a pipe say, is refused without waiting for it.
func (t *tree) open(name string) (*os.File, fs.FileInfo, error) {
	flags := os.O_RDONLY | syscall.O_NONBLOCK
	var file *os.File
	var err error
	if t.root != nil {
		file, err = t.root.OpenFile(name, flags, 0)
	} else {
		file, err = os.OpenFile(filepath.Join(t.dir, name), flags, 0)
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fault.New(fault.Invalid, "%s is not a regular file", path.Join("/", name))
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// read returns a small file whole.
func (t *tree) read(name string) ([]byte, error) {
	file, _, err := t.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSmall+1))
	if err == nil && len(data) > maxSmall {
		err = fault.New(fault.TooLarge, "%s is larger than %d bytes", path.Join("/", name), maxSmall)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

func (t *tree) stat(name string) (fs.FileInfo, error) {
	if t.root != nil {
		return t.root.Stat(name)
	}
	return os.Stat(filepath.Join(t.dir, name))
}

// target is the last element of what a symbolic link names; empty when it is no link.
func (t *tree) target(name string) string {
	var to string
	var err error
	if t.root != nil {
		to, err = t.root.Readlink(name)
	} else {
		to, err = os.Readlink(filepath.Join(t.dir, name))
	}
	if err != nil || to == "" {
		return ""
	}
	return filepath.Base(to)
}

func (t *tree) exists(name string) bool {
	_, err := t.stat(name)
	return err == nil
}

func (t *tree) isDir(name string) bool {
	info, err := t.stat(name)
	return err == nil && info.IsDir()
}

// names lists a folder, sorted; a folder that does not exist has none. More than maxEntries are an error
// beside the first of them.
func (t *tree) names(dir string) ([]string, error) {
	var folder *os.File
	var err error
	if t.root != nil {
		folder, err = t.root.OpenFile(dir, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	} else {
		folder, err = os.OpenFile(filepath.Join(t.dir, dir), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	}
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	names, err := folder.Readdirnames(maxEntries + 1)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ENOTDIR) {
		err = nil
	}
	if len(names) > maxEntries {
		names = names[:maxEntries]
		err = fault.New(fault.TooLarge, "%s has more than %d entries", path.Join("/", dir), maxEntries)
	}
	slices.Sort(names)
	return names, err
}

// missing reports that a file is not there: what is not installed is no error.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// lines calls yield with each line of r, without its end; yield must not keep it. Of a line longer than
// maxLine it gets the beginning. What is beyond maxFile is an error, and so is a failing r.
func lines(r io.Reader, yield func(line []byte)) error {
	limited := &io.LimitedReader{R: r, N: maxFile + 1}
	buffered := bufio.NewReaderSize(limited, maxLine)
	for {
		line, err := buffered.ReadSlice('\n')
		whole := line
		for errors.Is(err, bufio.ErrBufferFull) {
			if &whole[0] == &line[0] { // kept before the buffer is filled anew
				whole = bytes.Clone(line)
			}
			line, err = buffered.ReadSlice('\n')
		}
		if len(whole) > 0 {
			yield(bytes.TrimSuffix(bytes.TrimSuffix(whole, []byte("\n")), []byte("\r")))
		}
		switch {
		case limited.N <= 0:
			return fault.New(fault.TooLarge, "it is larger than %d bytes; the rest was not read", maxFile)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read: %w", err)
		}
	}
}

// clean makes a text of a database fit for everybody: valid UTF-8 without control characters and line
// ends, spaces trimmed, at most limit bytes.
func clean(s string, limit int) string {
	if len(s) <= limit && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) { // as most are
		return strings.TrimSpace(s)
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r' || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r): // also what changes the direction of text
			return -1
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	for cut := limit; len(s) > limit; cut-- {
		if utf8.RuneStart(s[cut]) {
			s = strings.TrimSpace(s[:cut])
		}
	}
	return s
}
