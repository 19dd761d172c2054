package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

// fetchCommand reads files from any https server, so that two servers can be compared by one program.
func fetchCommand(o *options) *cobra.Command {
	var base, caFile, list string
	c := &cobra.Command{
		Use: "fetch", Short: "Fetch the same files from any https server over and over, and tell what it costs", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := fetch(c.Context(), *o, base, caFile, list)
			if err == nil {
				show(*o, []result{r})
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&base, "server", "", "https `address`")
	f.StringVar(&caFile, "ca-file", "", "`file` with the CA, PEM")
	f.StringVar(&list, "paths", "", "`file` with one path on each line")
	for _, name := range []string{"server", "ca-file", "paths"} {
		_ = c.MarkFlagRequired(name) // it exists
	}
	return c
}

// fetch keeps --parallel connections busy for --duration.
func fetch(ctx context.Context, o options, base, caFile, list string) (result, error) {
	r := result{Scenario: "fetch from " + base}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return r, err
	}
	text, err := os.ReadFile(list)
	if err != nil {
		return r, err
	}
	u, err := url.Parse(base)
	if err != nil {
		return r, err
	}
	paths := strings.Fields(string(text))
	w := &wire{base: strings.TrimSuffix(base, "/"), host: u.Host, ca: x509.NewCertPool()}
	if !w.ca.AppendCertsFromPEM(pem) || len(paths) == 0 {
		return r, fmt.Errorf("%s or %s holds nothing", caFile, list)
	}
	t, before := newTally(), measure(o.pids)
	var next, bytes atomic.Int64
	var workers sync.WaitGroup
	for range o.parallel {
		workers.Go(func() { fetcher(ctx, w, o, paths, &next, &bytes, t, before.at) })
	}
	workers.Wait()
	after, seconds := measure(o.pids), time.Since(before.at).Seconds()
	gb := float64(bytes.Load()) / 1e9
	r.since(o.pids, before, 0, "")
	r.add("fetched", gb, "GB")
	r.add("rate", float64(t.served())/seconds, "files/s")
	if gb > 0 && after.cpu > before.cpu {
		r.add("server CPU per GB", (after.cpu-before.cpu).Seconds()/gb, "s")
	}
	t.into(&r, "file")
	r.Errors = t.failed()
	if t.served() == 0 {
		return r, fmt.Errorf("nothing could be fetched: %v", r.Errors)
	}
	return r, ctx.Err()
}

// fetcher fetches one path after another over one connection.
func fetcher(ctx context.Context, w *wire, o options, paths []string, next, bytes *atomic.Int64, t *tally, begin time.Time) {
	var l *link
	defer func() {
		if l != nil {
			l.close()
		}
	}()
	buf := make([]byte, 256<<10)
	for ctx.Err() == nil && time.Since(begin) < o.duration {
		if l == nil {
			var err error
			if l, err = openLarge(ctx, w); err != nil {
				t.note(0, err)
				continue
			}
		}
		at := time.Now()
		n, err := l.download(w, paths[int(next.Add(1))%len(paths)], buf)
		t.note(time.Since(at), err)
		bytes.Add(n)
		if err != nil {
			l.close()
			l = nil
		}
	}
}

// openLarge is open with a buffer for files.
func openLarge(ctx context.Context, w *wire) (*link, error) {
	conn, err := (&tls.Dialer{NetDialer: &net.Dialer{Timeout: requestLimit}, Config: w.tls(false)}).DialContext(ctx, "tcp", w.host)
	if err != nil {
		return nil, err
	}
	c, ok := conn.(*tls.Conn)
	if !ok {
		return nil, errors.New("the connection is not TLS")
	}
	return &link{conn: c, r: bufio.NewReaderSize(conn, 64<<10), w: bufio.NewWriter(conn)}, nil
}

// download reads one file and forgets it.
func (l *link) download(w *wire, path string, buf []byte) (int64, error) {
	req, err := w.request(http.MethodGet, path, "", nil)
	if err != nil {
		return 0, err
	}
	if err := l.conn.SetDeadline(time.Now().Add(requestLimit)); err != nil {
		return 0, err
	}
	if err := req.Write(l.w); err != nil {
		return 0, err
	}
	if err := l.w.Flush(); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(l.r, req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buf)
	if err != nil {
		return n, err
	}
	if resp.StatusCode != http.StatusOK {
		return n, &statusError{status: resp.StatusCode}
	}
	if resp.Close {
		return n, io.EOF
	}
	return n, nil
}
