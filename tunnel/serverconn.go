package tunnel

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"penstock.dev/penstock/tunnel/bhttp"
)

// serverConn is one connection at the hub.
type serverConn struct {
	srv    *Server
	conn   *quic.Conn
	peer   Peer
	remote string
}

// serveConn serves one connection until it dies or ctx ends, and returns after its last handler.
func (s *Server) serveConn(ctx context.Context, conn *quic.Conn) {
	log := s.cfg.Log.With("remote", conn.RemoteAddr().String())
	peer, err := peerOf(conn.ConnectionState().TLS.PeerCertificates[0]) // verified by the handshake
	if err != nil {
		conn.CloseWithError(closeCut, "")
		return
	}
	c := &serverConn{srv: s, conn: conn, peer: peer, remote: conn.RemoteAddr().String()}
	s.add(c)
	defer s.remove(c)
	// From here on Cut finds the connection. A revocation between the handshake and here did not.
	if err := s.cfg.Identity.Admit(peer); err != nil {
		log.Warn("tunnel refused after its handshake", "peer", peer.String(), "err", err)
		conn.CloseWithError(closeCut, "not admitted any more")
		return
	}
	select {
	case <-s.draining: // begun during the handshake
		conn.CloseWithError(closeDraining, "draining")
		return
	default:
	}
	s.cfg.Connected(peer, true)
	defer s.cfg.Connected(peer, false)
	log.Debug("tunnel up", "peer", peer.String(), "instance", peer.Instance)
	defer context.AfterFunc(ctx, func() { conn.CloseWithError(closeDone, "") })()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		str, err := conn.AcceptStream(ctx)
		if err != nil {
			log.Debug("tunnel down", "peer", peer.String(), "instance", peer.Instance, "err", context.Cause(conn.Context()))
			return
		}
		wg.Go(func() { c.serveStream(str) })
	}
}

// headTimeout bounds a head once its first byte is there. Before that a leased stream may be silent for as long as the
// spoke likes.
const headTimeout = 10 * time.Second

// headReader gives a head that comes in pieces its deadline, and the usual one, which comes whole, none.
type headReader struct {
	*quic.Stream
	inHead, begun, timed bool
}

func (r *headReader) Read(p []byte) (int, error) {
	if r.inHead && r.begun && !r.timed {
		r.timed = true
		r.SetReadDeadline(time.Now().Add(headTimeout))
	}
	n, err := r.Stream.Read(p)
	if n > 0 {
		r.begun = true
	}
	return n, err
}

// done ends the head; begin begins the next.
func (r *headReader) done() {
	r.inHead = false
	if r.timed {
		r.timed = false
		r.SetReadDeadline(time.Time{})
	}
}

func (r *headReader) begin(begun bool) { r.inHead, r.begun = true, begun }

// serveStream serves the exchanges of one leased stream, one after the other.
func (c *serverConn) serveStream(str *quic.Stream) {
	// The stream's context ends when the spoke stops reading, that is when it cancels, and when the connection dies.
	ctx := WithPeer(str.Context(), c.peer)
	in := &headReader{Stream: str}
	rd := bhttp.NewReader(in, c.srv.cfg.Limits)
	for {
		in.begin(rd.Begun())
		head, err := rd.ReadRequestHead()
		if err != nil {
			c.unread(str, err)
			return
		}
		in.done()
		x := &serverExchange{conn: c, str: str, rd: rd, head: head}
		if !x.serve(ctx) {
			return
		}
	}
}

// unread ends a stream whose next head did not come.
func (c *serverConn) unread(str *quic.Stream, err error) {
	var malformed *bhttp.Error
	switch {
	case err == io.EOF: // the spoke closed an idle stream
		str.Close()
	case errors.As(err, &malformed):
		status := 400
		if malformed.TooLarge {
			status = 431
		}
		c.refuse(str, status, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.refuse(str, 408, err)
	default: // cancelled, truncated or dead
		str.CancelWrite(codeCancelled)
	}
	str.CancelRead(codeMalformed) // nothing, if the end was read
}

// refuse answers a head that cannot be served: answer, FIN, stop reading. A reset would lose the answer.
func (c *serverConn) refuse(str *quic.Stream, status int, err error) {
	c.srv.counts.malformed.Add(1)
	c.srv.cfg.Log.Warn("malformed request on a tunnel", "peer", c.peer.String(), "instance", c.peer.Instance, "err", err)
	out, _ := bhttp.AppendResponseHead(nil, &bhttp.ResponseHead{Status: status}, true) // cannot fail: no fields
	out, _ = bhttp.AppendEnd(out, nil)
	str.SetWriteDeadline(time.Now().Add(drainFor))
	if _, err := str.Write(out); err != nil {
		str.CancelWrite(codeMalformed)
		return
	}
	str.Close()
}

// control reports whether an authority is the control authority.
func control(authority string) bool { return strings.EqualFold(authority, ControlAuthority) }
