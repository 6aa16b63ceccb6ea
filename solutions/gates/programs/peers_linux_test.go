package programs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// patience is how long a peer waits for what must come. A busy machine stays far from
// it.
const patience = 2 * time.Minute

// from returns a dialer that connects from an address of this machine.
func from(ip string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: patience}
}

// nth returns the nth of many addresses of this machine.
func nth(n int) string { return fmt.Sprintf("127.1.%d.%d", n/250, 1+n%250) }

// dial opens a WebSocket from an address.
func (p *process) dial(ip string, header http.Header) (*websocket.Conn, *http.Response, error) {
	dialer := websocket.Dialer{NetDialContext: from(ip).DialContext, HandshakeTimeout: patience}
	return dialer.Dial("ws://"+p.addr+"/ws", header)
}

// join dials and demands success. A handshake that a busy machine has not got through
// in the server's time is tried again. The connection is closed at the end of the test.
func (p *process) join(t *testing.T, ip string) *websocket.Conn {
	t.Helper()
	for limit := time.Now().Add(patience); ; {
		conn, response, err := p.dial(ip, nil)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			return conn
		}
		if response != nil {
			t.Fatalf("handshake from %s: %v, %s", ip, err, response.Status)
		}
		select {
		case <-p.ended:
			t.Fatalf("handshake from %s: the server has ended: %v", ip, p.err)
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(limit) {
			t.Fatalf("handshake from %s: %v", ip, err)
		}
	}
}

// has waits until peers are in the hub: one that has got the answer to its handshake may
// not be there yet, and would miss what is said.
func (p *process) has(t *testing.T, peers int) {
	t.Helper()
	eventually(t, "all are online", func() bool { return p.online() == peers })
}

// comeAndGo lets peers connect and hang up, each from an address of its own.
func (p *process) comeAndGo(t *testing.T, peers int) {
	t.Helper()
	for n := range peers {
		p.join(t, nth(n)).Close()
	}
}

// said lets a peer say something that it and others get as their next message.
func said(t *testing.T, text string, speaker *websocket.Conn, others ...*websocket.Conn) {
	t.Helper()
	if err := speaker.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	for _, conn := range append(others, speaker) {
		conn.SetReadDeadline(time.Now().Add(patience))
		if _, got, err := conn.ReadMessage(); err != nil || string(got) != text {
			t.Fatalf("%s got %q, %v; it should get %q", conn.LocalAddr(), got, err, text)
		}
	}
}

// leaves demands that peers are told 1001 and that the process ends. It returns how
// long that took.
func (p *process) leaves(t *testing.T, peers ...*websocket.Conn) time.Duration {
	t.Helper()
	began := time.Now()
	for _, conn := range peers {
		conn.SetReadDeadline(time.Now().Add(patience))
		if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("%s: the connection ended with %v; it should be told 1001", conn.LocalAddr(), err)
		}
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("the process has not ended after %v", patience)
	}
	return time.Since(began).Round(time.Millisecond)
}

// visitor is an HTTP connection that stays open after an answer.
type visitor struct {
	net.Conn
	input *bufio.Reader
	since time.Time // when it asked last
}

// ask sends a request and reads the answer.
func (v *visitor) ask() error {
	v.since = time.Now()
	v.SetDeadline(v.since.Add(patience))
	if _, err := io.WriteString(v, "GET /online HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(v.input, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// idle waits until the server hangs up, and returns for how long it did not.
func (v *visitor) idle() (time.Duration, error) {
	v.SetDeadline(time.Now().Add(patience))
	_, err := v.input.ReadByte()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, err
	}
	return time.Since(v.since), nil
}

// visit opens connections from one address, and returns those that were answered.
func (p *process) visit(t *testing.T, ip string, connections int) []*visitor {
	t.Helper()
	var answered []*visitor
	for range connections {
		conn, err := from(ip).Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		v := &visitor{Conn: conn, input: bufio.NewReader(conn)}
		if v.ask() == nil {
			answered = append(answered, v)
		}
	}
	return answered
}
