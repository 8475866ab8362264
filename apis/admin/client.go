package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/apis/control"
)

// maxResponseBytes bounds what a Client reads of one answer.
const maxResponseBytes = 64 << 20

// Client calls the admin API. Make it with New; it is safe for concurrent use.
//
// Every method returns an *Error for an answer that is not 2xx, an error that wraps ErrUnreachable when there was no
// answer, and the context's error when that was the reason.
type Client struct {
	http   *http.Client
	base   string // scheme and authority
	where  string // for errors
	remedy string // for errors that wrap ErrUnreachable
	token  Token
}

// RegisterCluster registers a cluster and returns what its first gateway joins with: a secret until it is used.
func (c *Client) RegisterCluster(ctx context.Context, req RegisterRequest) (control.Bundle, error) {
	return call[control.Bundle](ctx, c, OpClusterRegister, nil, req)
}

// Clusters lists all clusters by name.
func (c *Client) Clusters(ctx context.Context) (ClusterList, error) {
	return call[ClusterList](ctx, c, OpClusterList, nil, nil)
}

// Cluster returns one cluster.
func (c *Client) Cluster(ctx context.Context, name string) (Cluster, error) {
	return call[Cluster](ctx, c, OpClusterGet, params{ParamName: name}, nil)
}

// SuspendCluster cuts the cluster's tunnels and keeps it out until ResumeCluster.
func (c *Client) SuspendCluster(ctx context.Context, name string) (Cluster, error) {
	return call[Cluster](ctx, c, OpClusterSuspend, params{ParamName: name}, nil)
}

// ResumeCluster lets a suspended cluster in again.
func (c *Client) ResumeCluster(ctx context.Context, name string) (Cluster, error) {
	return call[Cluster](ctx, c, OpClusterResume, params{ParamName: name}, nil)
}

// RevokeCluster cuts the cluster's tunnels and revokes its certificates and tokens for good.
func (c *Client) RevokeCluster(ctx context.Context, name string) (Cluster, error) {
	return call[Cluster](ctx, c, OpClusterRevoke, params{ParamName: name}, nil)
}

// RecoverCluster makes a new join token for a cluster that is registered.
func (c *Client) RecoverCluster(ctx context.Context, name string, req RecoverRequest) (control.Bundle, error) {
	return call[control.Bundle](ctx, c, OpClusterRecover, params{ParamName: name}, req)
}

// Credentials lists the credentials of a namespace; empty: of all.
func (c *Client) Credentials(ctx context.Context, namespace string) (CredentialList, error) {
	return call[CredentialList](ctx, c, OpCredentialList, params{ParamNamespace: namespace}, nil)
}

// SetCredential sets the value of a credential, the first one or the next. The value is sent as it is, and kept nowhere.
func (c *Client) SetCredential(ctx context.Context, namespace, name string, value []byte) (Credential, error) {
	return call[Credential](ctx, c, OpCredentialSet, params{ParamNamespace: namespace, ParamName: name}, rawBody(value))
}

// RotateCredential is SetCredential for a credential that must have a value already.
func (c *Client) RotateCredential(ctx context.Context, namespace, name string, value []byte) (Credential, error) {
	return call[Credential](ctx, c, OpCredentialRotate, params{ParamNamespace: namespace, ParamName: name}, rawBody(value))
}

// Objects lists objects; an empty kind or namespace means all.
func (c *Client) Objects(ctx context.Context, kind, namespace string) (ObjectList, error) {
	return call[ObjectList](ctx, c, OpObjectList, params{ParamKind: kind, ParamNamespace: namespace}, nil)
}

// Object returns one object; an empty namespace means cluster-scoped.
func (c *Client) Object(ctx context.Context, kind, namespace, name string) (Object, error) {
	return call[Object](ctx, c, OpObjectGet, objectParams(kind, namespace, name), nil)
}

// DeleteObject deletes one object; an empty namespace means cluster-scoped.
func (c *Client) DeleteObject(ctx context.Context, kind, namespace, name string) (Change, error) {
	return call[Change](ctx, c, OpObjectDelete, objectParams(kind, namespace, name), nil)
}

// Apply writes the objects of the manifests, all or none.
func (c *Client) Apply(ctx context.Context, m Manifests) (ChangeList, error) {
	return call[ChangeList](ctx, c, OpObjectApply, nil, m)
}

// Diff says what Apply would do.
func (c *Client) Diff(ctx context.Context, m Manifests) (ChangeList, error) {
	return call[ChangeList](ctx, c, OpObjectDiff, nil, m)
}

// Validate says what Apply would refuse, seen together with the objects that are there.
func (c *Client) Validate(ctx context.Context, m Manifests) (FindingList, error) {
	return call[FindingList](ctx, c, OpObjectValidate, nil, m)
}

// Explain decides about a request without sending it.
func (c *Client) Explain(ctx context.Context, req ExplainRequest) (Explanation, error) {
	return call[Explanation](ctx, c, OpExplain, nil, req)
}

// Why returns the refusals that are remembered of a request id.
func (c *Client) Why(ctx context.Context, requestID string) (RefusalList, error) {
	return call[RefusalList](ctx, c, OpWhy, params{ParamRequestID: requestID}, nil)
}

// Status of the replica that answers.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, OpStatus, nil, nil)
}

// Audit returns the last records of the replica that answers, oldest first: at most limit (0: 100), none before since.
func (c *Client) Audit(ctx context.Context, since time.Time, limit int) (AuditList, error) {
	p := params{}
	if !since.IsZero() {
		p[ParamSince] = since.UTC().Format(time.RFC3339Nano)
	}
	if limit > 0 {
		p[ParamLimit] = strconv.Itoa(limit)
	}
	return call[AuditList](ctx, c, OpAudit, p, nil)
}

// Version of the replica that answers.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return call[Version](ctx, c, OpVersion, nil, nil)
}

// params fill the path of an operation; what the path has no place for becomes a query parameter, unless it is empty.
type params map[string]string

func objectParams(kind, namespace, name string) params {
	if namespace == "" {
		namespace = NoNamespace
	}
	return params{ParamKind: kind, ParamNamespace: namespace, ParamName: name}
}

// rawBody is a body that is sent as it is.
type rawBody []byte

// call makes one request of operation op. A write is never repeated: only the caller knows whether it may be.
func call[T any](ctx context.Context, c *Client, op string, p params, body any) (T, error) {
	var out T
	req, err := c.request(ctx, op, p, body)
	if err != nil {
		return out, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return out, c.unanswered(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // what matters was read
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes+1))
	if err != nil {
		return out, c.unanswered(ctx, err)
	}
	if len(data) > maxResponseBytes {
		return out, fmt.Errorf("admin API of %s: %s: the answer is larger than %d bytes; ask for one kind or namespace", c.where, op, maxResponseBytes)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return out, c.failure(op, resp.StatusCode, data)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return out, fmt.Errorf("admin API of %s: %s: the answer is not what this version expects; is this the admin address of a hub? %w", c.where, op, err)
	}
	return out, nil
}

func (c *Client) request(ctx context.Context, op string, p params, body any) (*http.Request, error) {
	method, target, err := resolve(op, p)
	if err != nil {
		return nil, err
	}
	var (
		reader      io.Reader
		contentType string
	)
	switch b := body.(type) {
	case nil:
	case rawBody:
		reader, contentType = bytes.NewReader(b), "application/octet-stream"
	default:
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false) // manifests are full of < and &, which would become six bytes each
		if err := enc.Encode(b); err != nil {
			return nil, fmt.Errorf("admin API: %s: encode the request: %w", op, err)
		}
		reader, contentType = bytes.NewReader(bytes.TrimSuffix(buf.Bytes(), []byte("\n"))), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+target, reader)
	if err != nil {
		return nil, fmt.Errorf("admin API: %s: %w", op, err)
	}
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+string(c.token))
	}
	return req, nil
}

// resolve turns an operation into a method and a path with query.
func resolve(op string, p params) (method, target string, err error) {
	method, path, ok := strings.Cut(op, " ")
	if !ok {
		return "", "", fmt.Errorf("admin API: %q is no operation", op)
	}
	query := url.Values{}
	for name, value := range p {
		place := "{" + name + "}"
		switch {
		case !strings.Contains(path, place):
			if value != "" {
				query.Set(name, value)
			}
		case value == "" || value == "." || value == ".." || strings.Contains(value, "/"):
			// Such a segment would address another operation, or be cleaned away by the server's mux.
			return "", "", fmt.Errorf("admin API: %s: %q is no %s", op, value, name)
		default:
			path = strings.Replace(path, place, url.PathEscape(value), 1)
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return method, path, nil
}

// unanswered is the error of a call without an answer.
func (c *Client) unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("admin API of %s: %w", c.where, context.Cause(ctx))
	}
	// *url.Error repeats method and URL; the cause says what matters.
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("admin API of %s: %w (%w); %s", c.where, ErrUnreachable, err, c.remedy)
}

// failure is the error of an answer that is not 2xx.
func (c *Client) failure(op string, status int, data []byte) error {
	var e Error
	if err := json.Unmarshal(data, &e); err == nil && e.Message != "" {
		e.Status = status // the wire decides: a proxy in between may have changed it
		return &e
	}
	return &Error{
		Status:  status,
		Code:    codeOf(status),
		Message: fmt.Sprintf("admin API of %s: %s: status %d without an explanation", c.where, op, status),
		Remedy:  "check that this is the admin address of a hub and that its version is not older than this client's",
	}
}
