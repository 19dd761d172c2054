package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/muster/muster/packages/certificate"
	"github.com/muster/muster/packages/protocol"
)

// admin is an admin's session at the server.
type admin struct {
	base string
	http *http.Client
}

// login opens a session. An https address is trusted by the fingerprint of the server's CA.
func login(ctx context.Context, o options) (*admin, error) {
	password, err := os.ReadFile(o.passwordFile)
	if err != nil {
		return nil, fmt.Errorf("read the admin's password (--password-file): %w", err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	if strings.HasPrefix(o.admin, "https://") {
		pool, err := learn(ctx, o.admin, o.caFingerprint)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	}
	a := &admin{base: strings.TrimSuffix(o.admin, "/") + "/api/v1", http: &http.Client{Transport: transport, Jar: jar, Timeout: 5 * time.Minute}}
	body := map[string]string{"username": o.username, "password": strings.TrimSpace(string(password))}
	return a, a.call(ctx, http.MethodPost, "/login", body, nil)
}

// learn finds the CA with the fingerprint among the certificates that a server shows.
func learn(ctx context.Context, address, fingerprint string) (*x509.CertPool, error) {
	chain, err := certificate.Presented(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("learn the CA of %s: %w", address, err)
	}
	ca := certificate.Find(chain, fingerprint)
	if ca == nil || !ca.IsCA {
		return nil, fmt.Errorf("%s shows no CA with the fingerprint %q", address, fingerprint)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return pool, nil
}

// call makes one request that must succeed.
func (a *admin) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %w", method, path, refusal(resp.StatusCode, resp.Header, b))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// enrollment makes a string with which the fleet joins.
func (a *admin) enrollment(ctx context.Context) (protocol.Enrollment, error) {
	var made struct {
		Enrollment string `json:"enrollment"`
	}
	if err := a.call(ctx, http.MethodPost, "/enrollment-tokens", map[string]any{"name": "loadgen"}, &made); err != nil {
		return protocol.Enrollment{}, err
	}
	return protocol.ParseEnrollment(made.Enrollment)
}

// offer makes a package whose command nobody runs, signed and active. It is tried once.
func (a *admin) offer(ctx context.Context, name string) (id string, err error) {
	var made struct {
		ID string `json:"id"`
	}
	spec := map[string]any{
		"name": name, "version": time.Now().UTC().Format("20060102.150405.000"), "action": "execute", "command": []string{"true"},
		"retry": map[string]any{"attempts": 1, "delay_seconds": 60},
	}
	if err := a.call(ctx, http.MethodPost, "/packages", spec, &made); err != nil {
		return "", err
	}
	if err := a.call(ctx, http.MethodPost, "/packages/"+made.ID+"/sign", map[string]any{}, nil); err != nil {
		return "", err
	}
	return made.ID, a.call(ctx, http.MethodPost, "/packages/"+made.ID+"/activate", nil, nil)
}

// assign gives a package to devices.
func (a *admin) assign(ctx context.Context, packageID string, deviceIDs []string) error {
	return a.call(ctx, http.MethodPost, "/assignments", map[string]any{"package_id": packageID, "device_ids": deviceIDs}, nil)
}

// deployment is a row with its timeline.
type deployment struct {
	ID        string         `json:"id"`
	PackageID string         `json:"package_id"`
	DeviceID  string         `json:"device_id"`
	State     protocol.State `json:"state"`
	Timeline  []struct {
		Source  string         `json:"source"`
		State   protocol.State `json:"state"`
		Message string         `json:"message"`
	} `json:"timeline"`
}

func (a *admin) deployment(ctx context.Context, id string) (deployment, error) {
	var d deployment
	err := a.call(ctx, http.MethodGet, "/deployments/"+url.PathEscape(id), nil, &d)
	return d, err
}

// deployments lists the deployments of a package, without timelines.
func (a *admin) deployments(ctx context.Context, packageID string) ([]deployment, error) {
	var all []deployment
	cursor := ""
	for {
		var page struct {
			Items []deployment `json:"items"`
			Next  string       `json:"next"`
		}
		query := url.Values{"package_id": {packageID}, "limit": {"200"}}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		if err := a.call(ctx, http.MethodGet, "/deployments?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if cursor = page.Next; cursor == "" {
			return all, nil
		}
	}
}
