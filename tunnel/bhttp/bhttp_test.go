package bhttp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// RFC 9292 §5.1, as printed: 10 bytes of padding at the end.
const rfcRequest = `
	02034745 54056874 74707300 0a2f6865 6c6c6f2e 7478740a 75736572 2d616765 6e743463 75726c2f 372e3136 2e33206c
	69626375 726c2f37 2e31362e 33204f70 656e5353 4c2f302e 392e376c 207a6c69 622f312e 322e3304 686f7374 0f777777
	2e657861 6d706c65 2e636f6d 0f616363 6570742d 6c616e67 75616765 06656e2c 206d6900 00000000 00000000 00000000`

// RFC 9292 §5.1, known length.
const rfcKnownRequest = `
	00034745 54056874 74707300 0a2f6865 6c6c6f2e 74787440 6c0a7573 65722d61 67656e74 34637572 6c2f372e 31362e33
	206c6962 6375726c 2f372e31 362e3320 4f70656e 53534c2f 302e392e 376c207a 6c69622f 312e322e 3304686f 73740f77
	77772e65 78616d70 6c652e63 6f6d0f61 63636570 742d6c61 6e677561 67650665 6e2c206d 690000`

// RFC 9292 §5.2: two informational heads, neither padded nor truncated.
const rfcResponse = `
	03406607 72756e6e 696e670a 22736c65 65702031 35220040 67046c69 6e6b233c 2f737479 6c652e63 73733e3b 2072656c
	3d707265 6c6f6164 3b206173 3d737479 6c65046c 696e6b24 3c2f7363 72697074 2e6a733e 3b207265 6c3d7072 656c6f61
	643b2061 733d7363 72697074 0040c804 64617465 1d4d6f6e 2c203237 204a756c 20323030 39203132 3a32383a 35332047
	4d540673 65727665 72064170 61636865 0d6c6173 742d6d6f 64696669 65641d57 65642c20 3232204a 756c2032 30303920
	31393a31 353a3536 20474d54 04657461 67142233 34616133 38372d64 2d313536 38656230 30220d61 63636570 742d7261
	6e676573 05627974 65730e63 6f6e7465 6e742d6c 656e6774 68023531 04766172 790f4163 63657074 2d456e63 6f64696e
	670c636f 6e74656e 742d7479 70650a74 6578742f 706c6169 6e003348 656c6c6f 20576f72 6c642120 4d792063 6f6e7465
	6e742069 6e636c75 64657320 61207472 61696c69 6e672043 524c462e 0d0a0000`

// RFC 9292 §5.2, known length, with a trailer.
const rfcKnownResponse = `
	0140c800 1d546869 7320636f 6e74656e 7420636f 6e746169 6e732043 524c462e 0d0a0d07 74726169 6c657204 74657874`

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// request and response are whole messages, as the tests compare them.
type request struct {
	Head    *RequestHead
	Content string
	Trailer http.Header
}

type response struct {
	Heads   []*ResponseHead
	Content string
	Trailer http.Header
}

func readRequest(r *Reader) (request, error) {
	h, err := r.ReadRequestHead()
	if err != nil {
		return request{}, err
	}
	content, err := io.ReadAll(r)
	return request{h, string(content), r.Trailer()}, err
}

func readResponse(r *Reader) (response, error) {
	var m response
	for {
		h, err := r.ReadResponseHead()
		if err != nil {
			return m, err
		}
		m.Heads = append(m.Heads, h)
		if h.Status == http.StatusSwitchingProtocols {
			rest, err := io.ReadAll(r.Raw())
			m.Content = string(rest)
			return m, err
		}
		if h.Status >= 200 {
			break
		}
	}
	content, err := io.ReadAll(r)
	m.Content, m.Trailer = string(content), r.Trailer()
	return m, err
}

func appendRequest(b []byte, m request) ([]byte, error) {
	b, err := AppendRequestHead(b, m.Head)
	if err != nil {
		return b, err
	}
	return AppendEnd(AppendContent(b, []byte(m.Content)), m.Trailer)
}

func appendResponse0(b []byte, m response) (_ []byte, err error) {
	for i, h := range m.Heads {
		appendHead := AppendInformational
		if h.Status >= 200 {
			appendHead = AppendResponseHead
		}
		if b, err = appendHead(b, h, i == 0); err != nil {
			return b, err
		}
		if h.Status == http.StatusSwitchingProtocols {
			return append(b, m.Content...), nil
		}
	}
	return AppendEnd(AppendContent(b, []byte(m.Content)), m.Trailer)
}

func TestRFCRequest(t *testing.T) {
	b := unhex(t, rfcRequest)
	got, err := readRequest(NewReader(bytes.NewReader(b[:len(b)-10]), Limits{}))
	if err != nil {
		t.Fatal(err)
	}
	want := request{Head: &RequestHead{
		Method: "GET", Scheme: "https", Authority: "www.example.com", Path: "/hello.txt",
		Header: http.Header{
			"User-Agent":      {"curl/7.16.3 libcurl/7.16.3 OpenSSL/0.9.7l zlib/1.2.3"},
			"Accept-Language": {"en, mi"},
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRFCResponse(t *testing.T) {
	got, err := readResponse(NewReader(bytes.NewReader(unhex(t, rfcResponse)), Limits{}))
	if err != nil {
		t.Fatal(err)
	}
	want := response{
		Heads: []*ResponseHead{
			{Status: 102, Header: http.Header{"Running": {`"sleep 15"`}}},
			{Status: 103, Header: http.Header{"Link": {
				"</style.css>; rel=preload; as=style", "</script.js>; rel=preload; as=script",
			}}},
			{Status: 200, Header: http.Header{
				"Date": {"Mon, 27 Jul 2009 12:28:53 GMT"}, "Server": {"Apache"},
				"Last-Modified": {"Wed, 22 Jul 2009 19:15:56 GMT"}, "Etag": {`"34aa387-d-1568eb00"`},
				"Accept-Ranges": {"bytes"}, "Content-Length": {"51"}, "Vary": {"Accept-Encoding"},
				"Content-Type": {"text/plain"},
			}},
		},
		Content: "Hello World! My content includes a trailing CRLF.\r\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestRFCOtherForms reads the forms that a stream of exchanges has no place for.
func TestRFCOtherForms(t *testing.T) {
	t.Run("padding is the start of a message that is none of ours", func(t *testing.T) {
		r := NewReader(bytes.NewReader(unhex(t, rfcRequest)), Limits{})
		if _, err := readRequest(r); err != nil {
			t.Fatalf("the message before the padding: %v", err)
		}
		_, err := r.ReadRequestHead()
		wantFault(t, err, "framing indicator is 0, not 2")
	})
	t.Run("a request without trailer section is truncated", func(t *testing.T) {
		b := unhex(t, rfcRequest)
		if _, err := readRequest(NewReader(bytes.NewReader(b[:len(b)-11]), Limits{})); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("error = %v, want io.ErrUnexpectedEOF", err)
		}
	})
	t.Run("a request without content is truncated", func(t *testing.T) {
		b := unhex(t, rfcRequest)
		if _, err := readRequest(NewReader(bytes.NewReader(b[:len(b)-12]), Limits{})); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("error = %v, want io.ErrUnexpectedEOF", err)
		}
	})
	t.Run("a request of known length", func(t *testing.T) {
		_, err := NewReader(bytes.NewReader(unhex(t, rfcKnownRequest)), Limits{}).ReadRequestHead()
		wantFault(t, err, "framing indicator is 0, not 2")
	})
	t.Run("a response of known length", func(t *testing.T) {
		_, err := NewReader(bytes.NewReader(unhex(t, rfcKnownResponse)), Limits{}).ReadResponseHead()
		wantFault(t, err, "framing indicator is 1, not 3")
	})
	t.Run("a response where a request is due", func(t *testing.T) {
		_, err := NewReader(bytes.NewReader(unhex(t, rfcResponse)), Limits{}).ReadRequestHead()
		wantFault(t, err, "framing indicator is 3, not 2")
	})
}

func wantFault(t *testing.T, err error, what string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.What, what) {
		t.Errorf("error = %v, want an *Error with %q", err, what)
	}
}
