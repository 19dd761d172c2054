package fragment_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// shelf keeps fragments in memory and counts what is open.
type shelf struct {
	mu     sync.Mutex
	blobs  map[string][]byte
	opened int
	open   int
	most   int
}

type handle struct {
	*bytes.Reader
	s *shelf
}

func (h handle) Close() error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	h.s.open--
	return nil
}

func (s *shelf) get(sha string) (handle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.blobs[sha]
	if !ok {
		return handle{}, fault.New(fault.NotFound, "no fragment %s", sha)
	}
	s.opened++
	s.open++
	s.most = max(s.most, s.open)
	return handle{bytes.NewReader(b), s}, nil
}

func (s *shelf) file(sha string) (fragment.File, error)   { return s.get(sha) }
func (s *shelf) stream(sha string) (io.ReadCloser, error) { return s.get(sha) }
func (s *shelf) keep(f instruction.Fragment, b []byte) error {
	s.blobs[f.SHA256] = bytes.Clone(b)
	return nil
}

func cut(t testing.TB, data []byte, size int64) (instruction.Archive, *shelf) {
	t.Helper()
	s := &shelf{blobs: map[string][]byte{}}
	a, err := fragment.Cut(iotest.HalfReader(bytes.NewReader(data)), size, s.keep)
	require.NoError(t, err)
	return a, s
}

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestSizeFor(t *testing.T) {
	t.Parallel()
	cases := []struct{ total, want int64 }{
		{0, 1 << 20}, {1, 1 << 20}, {4 << 30, 1 << 20}, {4<<30 + 1, 2 << 20}, {8 << 30, 2 << 20},
		{8<<30 + 1, 4 << 20}, {instruction.MaxArchive, 16 << 20}, {1 << 60, protocol.MaxFragment},
	}
	for _, c := range cases {
		require.Equal(t, c.want, fragment.SizeFor(c.total), "total %d", c.total)
	}
}

func TestCut_describesTheWhole(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 9, 10, 11, 20, 1005} {
		data := random(n)
		a, s := cut(t, data, 10)
		sum := sha256.Sum256(data)
		require.Equal(t, hex.EncodeToString(sum[:]), a.SHA256)
		require.Equal(t, int64(n), a.Size)
		require.Len(t, a.Fragments, (n+9)/10)
		for _, f := range a.Fragments {
			require.NoError(t, fragment.Verify(f, s.blobs[f.SHA256]))
		}
		got, err := io.ReadAll(fragment.NewReader(a.Fragments, s.stream))
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
		require.Zero(t, s.open)
	}
}

func TestCut_errors(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	keep := func(instruction.Fragment, []byte) error { return nil }
	_, err := fragment.Cut(io.MultiReader(bytes.NewReader(random(25)), iotest.ErrReader(broken)), 10, keep)
	require.ErrorIs(t, err, broken)
	_, err = fragment.Cut(bytes.NewReader(random(25)), 10, func(instruction.Fragment, []byte) error { return broken })
	require.ErrorIs(t, err, broken)
	for _, size := range []int64{-1, 0, protocol.MaxFragment + 1} {
		_, err = fragment.Cut(bytes.NewReader(nil), size, keep)
		require.True(t, fault.Is(err, fault.Invalid))
	}
}

func TestReader_handsOutNothingUnverified(t *testing.T) {
	t.Parallel()
	data := random(30)
	cases := map[string]func(b []byte) []byte{
		"changed": func(b []byte) []byte { b[9] ^= 1; return b },
		"shorter": func(b []byte) []byte { return b[:9] },
		"longer":  func(b []byte) []byte { return append(b, 0) },
		"empty":   func([]byte) []byte { return nil },
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, s := cut(t, data, 10)
			second := a.Fragments[1].SHA256
			s.blobs[second] = damage(s.blobs[second])
			r := fragment.NewReader(a.Fragments, s.stream)
			got, err := io.ReadAll(r)
			require.True(t, fault.Is(err, fault.Untrusted), "%v", err)
			require.Equal(t, data[:10], got)
			_, again := r.Read(make([]byte, 1))
			require.Equal(t, err, again, "the error stays")
			require.Zero(t, s.open)
		})
	}
}

func TestReader_missingFragmentKeepsItsCode(t *testing.T) {
	t.Parallel()
	a, s := cut(t, random(30), 10)
	delete(s.blobs, a.Fragments[2].SHA256)
	_, err := io.ReadAll(fragment.NewReader(a.Fragments, s.stream))
	require.True(t, fault.Is(err, fault.NotFound), "%v", err)
}

func TestReaders_refuseBadLengths(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{-1, 0, protocol.MaxFragment + 1} {
		frags := []instruction.Fragment{{SHA256: "x", Length: n}}
		_, err := fragment.NewReaderAt(frags, nil)
		require.True(t, fault.Is(err, fault.Invalid))
		_, err = fragment.NewReader(frags, nil).Read(make([]byte, 1))
		require.True(t, fault.Is(err, fault.Invalid))
	}
}

func TestReaderAt_behavesLikeOneFile(t *testing.T) {
	t.Parallel()
	data := random(1005)
	a, s := cut(t, data, 10)
	r, err := fragment.NewReaderAt(a.Fragments, s.file)
	require.NoError(t, err)
	require.Equal(t, int64(len(data)), r.Size())
	whole := bytes.NewReader(data)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		off, n := rnd.Int64N(1100), rnd.IntN(60)
		want, got := make([]byte, n), make([]byte, n)
		wantN, wantErr := whole.ReadAt(want, off)
		gotN, gotErr := r.ReadAt(got, off)
		if n > 0 {
			require.Equal(t, wantErr, gotErr, "offset %d, %d bytes", off, n)
		}
		require.Equal(t, wantN, gotN)
		require.Equal(t, want, got)
	}
	_, err = r.ReadAt(make([]byte, 1), -1)
	require.Error(t, err)
	require.LessOrEqual(t, s.most, 9, "few fragments are open at a time")
	require.NoError(t, r.Close())
	require.Zero(t, s.open)
	_, err = r.ReadAt(make([]byte, 1), 0)
	require.Error(t, err, "closed")
}

func TestReaderAt_readsForwardOpeningEachOnce(t *testing.T) {
	t.Parallel()
	a, s := cut(t, random(1000), 10)
	r, err := fragment.NewReaderAt(a.Fragments, s.file)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, iotest.OneByteReader(io.NewSectionReader(r, 0, r.Size())))
	require.NoError(t, err)
	require.Equal(t, 100, s.opened)
	require.NoError(t, r.Close())
}

func TestReaderAt_concurrent(t *testing.T) {
	t.Parallel()
	data := random(5000)
	a, s := cut(t, data, 10)
	r, err := fragment.NewReaderAt(a.Fragments, s.file)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 0))
			buf := make([]byte, 35)
			for range 500 {
				off := rnd.Int64N(4900)
				if _, err := r.ReadAt(buf, off); err != nil || !bytes.Equal(buf, data[off:off+35]) {
					t.Errorf("offset %d: %v", off, err)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, r.Close())
	require.Zero(t, s.open, "every fragment is closed in the end")
}

func TestReaderAt_shortFragment(t *testing.T) {
	t.Parallel()
	a, s := cut(t, random(30), 10)
	s.blobs[a.Fragments[1].SHA256] = []byte("123")
	r, err := fragment.NewReaderAt(a.Fragments, s.file)
	require.NoError(t, err)
	_, err = r.ReadAt(make([]byte, 30), 0)
	require.True(t, fault.Is(err, fault.Untrusted), "%v", err)
	delete(s.blobs, a.Fragments[2].SHA256)
	_, err = r.ReadAt(make([]byte, 1), 25)
	require.True(t, fault.Is(err, fault.NotFound), "%v", err)
	require.NoError(t, r.Close())
}

func FuzzCutAndJoin(f *testing.F) {
	f.Add([]byte("hello, fragments"), uint16(5), int64(3))
	f.Add([]byte{}, uint16(1), int64(0))
	f.Fuzz(func(t *testing.T, data []byte, size uint16, off int64) {
		if size == 0 {
			return
		}
		a, s := cut(t, data, int64(size))
		got, err := io.ReadAll(fragment.NewReader(a.Fragments, s.stream))
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
		r, err := fragment.NewReaderAt(a.Fragments, s.file)
		require.NoError(t, err)
		want, have := make([]byte, 7), make([]byte, 7)
		if off >= 0 {
			wantN, wantErr := bytes.NewReader(data).ReadAt(want, off)
			haveN, haveErr := r.ReadAt(have, off)
			require.Equal(t, wantErr, haveErr)
			require.Equal(t, want[:wantN], have[:haveN])
		}
		require.NoError(t, r.Close())
	})
}
