package programs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// site is the name that deploy/nginx.conf serves.
const site = "chat.example.com"

// proxy is nginx with deploy/nginx.conf, on ports of its own.
type proxy struct {
	addr  string // of nginx
	addr6 string // the same port of ::1, or empty if this machine has no IPv6
	certs *x509.CertPool
}

// startNginx runs nginx with the configuration of the repository and two ports for
// the server. Only ports and paths are changed, and certificate and key are made
// here.
func startNginx(t *testing.T, primary, backup string) *proxy {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/nginx") // Debian's place, which a user may not have in PATH
	}
	if err != nil {
		if os.Getenv("WSWORKSHOP_TOOLS") != "" {
			t.Fatal("nginx is missing, and WSWORKSHOP_TOOLS says that it must be here: apt-get install nginx-light")
		}
		t.Skip("it needs nginx. On Debian and Ubuntu: apt-get install nginx-light")
	}

	dir := t.TempDir()
	p := &proxy{addr: freeAddr(t), certs: x509.NewCertPool()}
	makeCertificate(t, dir, p.certs)
	config := read(t, "solutions/deploy/nginx.conf")
	_, port, _ := net.SplitHostPort(p.addr)
	listen6 := ""
	if listener, err := net.Listen("tcp", "[::1]:"+port); err == nil {
		listener.Close()
		p.addr6 = "[::1]:" + port
		listen6 = "listen " + p.addr6 + " ssl;"
	}
	for _, change := range [][2]string{
		{"listen 443 ssl;", "listen " + p.addr + " ssl;"},
		{"listen [::]:443 ssl;", listen6},
		{"server 127.0.0.1:8081 ", "server " + primary + " "},
		{"server 127.0.0.1:8082 ", "server " + backup + " "},
		{"/etc/letsencrypt/live/" + site + "/fullchain.pem", dir + "/cert.pem"},
		{"/etc/letsencrypt/live/" + site + "/privkey.pem", dir + "/key.pem"},
		{"pid /run/nginx.pid;", "pid " + dir + "/nginx.pid;"},
		{"/var/log/nginx/access.log", dir + "/access.log"},
		{"/var/log/nginx/error.log", dir + "/error.log"},
		// Where nginx puts files for a while. Only root may use Debian's folder.
		{"http {", fmt.Sprintf("http { client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;", dir)},
	} {
		if n := strings.Count(config, change[0]); n != 1 {
			t.Fatalf("solutions/deploy/nginx.conf has %q %d times, and this test replaces it once", change[0], n)
		}
		config = strings.Replace(config, change[0], change[1], 1)
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}

	var output strings.Builder
	cmd := exec.Command(program, "-e", "stderr", "-c", file, "-g", "daemon off;")
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) // its workers end with it
		if err := <-ended; err != nil {
			t.Errorf("nginx: %v\n%s", err, &output)
		}
		if t.Failed() {
			log, _ := os.ReadFile(dir + "/error.log")
			t.Logf("nginx's error log:\n%s", log)
		}
	})
	eventually(t, "nginx answers", func() bool {
		select {
		case err := <-ended:
			ended <- nil
			t.Fatalf("nginx has not started: %v\n%s", err, &output)
		default:
		}
		conn, err := net.Dial("tcp", p.addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return p
}

// freeAddr returns an address with a port that is free.
func freeAddr(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// makeCertificate writes cert.pem and key.pem for the site, and trusts the former.
func makeCertificate(t *testing.T, dir string, trust *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{site},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	trust.AppendCertsFromPEM(certPEM)
	for name, data := range map[string][]byte{"cert.pem": certPEM, "key.pem": keyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// dial opens a WebSocket through nginx, as a page of the site does, from an
// address of this machine.
func (p *proxy) dial(from string, header http.Header) (*websocket.Conn, *http.Response, error) {
	_, port, _ := net.SplitHostPort(p.addr)
	local, addr := net.ParseIP(from), p.addr
	if local.To4() == nil {
		addr = p.addr6
	}
	dialer := websocket.Dialer{
		NetDial: func(network, _ string) (net.Conn, error) {
			return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: local}}).Dial(network, addr)
		},
		TLSClientConfig:  &tls.Config{RootCAs: p.certs},
		HandshakeTimeout: time.Minute,
	}
	if header == nil {
		header = http.Header{}
	}
	if header.Get("Origin") == "" {
		header.Set("Origin", "https://"+net.JoinHostPort(site, port))
	}
	return dialer.Dial("wss://"+net.JoinHostPort(site, port)+"/ws", header)
}

// join dials and demands success. The connection is closed at the end of the test.
func (p *proxy) join(t *testing.T, from string, header http.Header) *websocket.Conn {
	t.Helper()
	conn, response, err := p.dial(from, header)
	if err != nil {
		if response != nil {
			t.Fatalf("handshake from %s: %v, %s", from, err, response.Status)
		}
		t.Fatalf("handshake from %s: %v", from, err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// refused dials and demands a status.
func (p *proxy) refused(t *testing.T, want int, from string, header http.Header) {
	t.Helper()
	conn, response, err := p.dial(from, header)
	switch {
	case err == nil:
		conn.Close()
		t.Errorf("the handshake from %s with %v has succeeded; it should get %d", from, header, want)
	case response == nil:
		t.Errorf("handshake from %s with %v: %v; it should get %d", from, header, err, want)
	case response.StatusCode != want:
		t.Errorf("the handshake from %s with %v got %s; it should get %d", from, header, response.Status, want)
	}
}

// The last solution behind nginx, with the configuration in deploy. It needs Linux,
// where 127.0.0.2 is an address of the machine too.
func TestNginx(t *testing.T) {
	primary, backup := freeAddr(t), freeAddr(t)
	nginx := startNginx(t, primary, backup)
	program := buildServer(t, last)
	server := startProcess(t, program, "-addr", primary, "-trusted-proxy", "127.0.0.1/32")

	t.Run("a page of the site chats over wss", func(t *testing.T) {
		conn := nginx.join(t, "127.0.0.9", nil)
		want := strings.Repeat("0123456789abcdef", 2<<10) // 32 KiB, the largest
		if err := conn.WriteMessage(websocket.TextMessage, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.ReadMessage(); err != nil || string(got) != want {
			t.Fatalf("got %d bytes and %v, and not what was sent", len(got), err)
		}
		nginx.refused(t, http.StatusForbidden, "127.0.0.9", http.Header{"Origin": {"https://evil.example"}})
	})

	t.Run("the limits see the real client", func(t *testing.T) {
		for range 20 {
			nginx.join(t, "127.0.0.2", nil)
		}
		nginx.refused(t, http.StatusTooManyRequests, "127.0.0.2", nil)
		nginx.join(t, "127.0.0.3", nil)

		forged := func(value string) http.Header { return http.Header{"X-Forwarded-For": {value}} }
		for _, value := range []string{"192.0.2.1", "192.0.2.1, 127.0.0.1", "127.0.0.3", "junk"} {
			nginx.refused(t, http.StatusTooManyRequests, "127.0.0.2", forged(value))
		}
		nginx.join(t, "127.0.0.3", forged("127.0.0.2")) // nor does it do harm to somebody else
	})

	t.Run("the limits see the real client over IPv6", func(t *testing.T) {
		if nginx.addr6 == "" {
			t.Skip("this machine has no IPv6")
		}
		for range 20 {
			nginx.join(t, "::1", nil)
		}
		nginx.refused(t, http.StatusTooManyRequests, "::1", nil)
	})

	t.Run("who comes back resumes the session", func(t *testing.T) {
		config := &tls.Config{RootCAs: nginx.certs, ServerName: site, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		for _, again := range []bool{false, true} {
			conn, err := tls.Dial("tcp", nginx.addr, config)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(conn, "GET /online HTTP/1.0\r\n\r\n")
			io.Copy(io.Discard, conn) // the session comes after the handshake
			conn.Close()
			if did := conn.ConnectionState().DidResume; did != again {
				t.Errorf("session resumed: %v; right is %v", did, again)
			}
		}
	})

	t.Run("it waits longer than the server", func(t *testing.T) {
		code, config := read(t, "solutions/"+last+"/client.go"), read(t, "solutions/deploy/nginx.conf")
		wait := duration(t, config, `proxy_read_timeout (\w+);`)
		for _, name := range []string{"pingPeriod", "pongWait"} {
			match := regexp.MustCompile(name + ` = (\d+) \* time\.Second`).FindStringSubmatch(code)
			if match == nil {
				t.Fatalf("client.go has no %s", name)
			}
			if of, _ := time.ParseDuration(match[1] + "s"); wait <= of {
				t.Errorf("proxy_read_timeout is %v, and %s %v: nginx would cut an idle peer first", wait, name, of)
			}
		}
	})

	server.Process.Kill() // so that no port is taken twice
	<-server.ended
	t.Run("a restart loses nothing that came back", func(t *testing.T) {
		testRestart(t, nginx, program, primary, backup)
	})
}

// duration returns what a pattern finds in a text, in nginx's notation or Go's.
func duration(t *testing.T, text, pattern string) time.Duration {
	t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if match == nil {
		t.Fatalf("nothing matches %s", pattern)
	}
	d, err := time.ParseDuration(match[1])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// chatter is a peer in the restart. It sends its message n+1 when it has got the
// message n of everyone. So at most two messages of each wait for anyone, and no
// send queue gets full, however busy the machine is.
type chatter struct {
	name  string
	conn  *websocket.Conn
	sent  int            // messages that it has sent
	got   map[string]int // how often it has got each
	round map[string]int // how many messages it has got with each number
}

// say sends its next message.
func (c *chatter) say() error {
	c.sent++
	return c.conn.WriteMessage(websocket.TextMessage, []byte(c.text(c.sent)))
}

func (c *chatter) text(n int) string { return fmt.Sprintf("%s %d", c.name, n) }

// chat talks with as many peers until the connection ends, and returns why.
func (c *chatter) chat(peers int, received *atomic.Int32) error {
	if err := c.say(); err != nil {
		return err
	}
	for {
		_, data, err := c.conn.ReadMessage()
		if err != nil {
			return err
		}
		received.Add(1)
		_, number, _ := strings.Cut(string(data), " ")
		c.got[string(data)]++
		c.round[number]++
		if number == fmt.Sprint(c.sent) && c.round[number] == peers {
			c.say() // if it fails, the next read says more
		}
	}
}

// testRestart sends SIGTERM to one process while peers chat with it, and demands
// that they come back to the other, and that all know exactly what is lost.
func testRestart(t *testing.T, nginx *proxy, program, primary, backup string) {
	flags := []string{"-trusted-proxy", "127.0.0.1/32", "-message-rate", "200", "-addr"}
	before := startProcess(t, program, append(flags, primary)...)
	chatters := make([]*chatter, 20)
	for i := range chatters {
		from := fmt.Sprintf("127.0.1.%d", i+1)
		chatters[i] = &chatter{name: from, conn: nginx.join(t, from, nil), got: make(map[string]int), round: make(map[string]int)}
	}
	// This one will not answer its close frame. So the first process drains for 2
	// seconds, in which it answers handshakes with 503.
	silent, _, err := websocket.DefaultDialer.Dial("ws://"+primary+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	after := startProcess(t, program, append(flags, backup)...)
	eventually(t, "all are with the first process", func() bool { return before.online() == len(chatters)+1 })

	var received atomic.Int32
	var all sync.WaitGroup
	for _, c := range chatters {
		all.Go(func() {
			err := c.chat(len(chatters), &received)
			if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
				t.Errorf("%s: the connection ended with %v; it should be told 1001", c.name, err)
			}
			if c.conn, _, err = nginx.dial(c.name, nil); err != nil { // at once, and without a second try
				t.Errorf("%s has not come back: %v", c.name, err)
			}
		})
	}
	eventually(t, "the chat is lively", func() bool { return received.Load() >= 20_000 })
	if err := before.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if t.Failed() {
		return
	}
	if <-before.ended; before.err != nil {
		t.Errorf("the first process: %v; it should exit with 0\n%s", before.err, tail(before.records(), 5))
	}
	eventually(t, "all are with the second process", func() bool { return after.online() == len(chatters) })

	// A message that has come back to its sender has reached everyone, any other
	// nobody: so the sender knows what to send again.
	reached, lost := 0, 0
	for _, c := range chatters {
		for n := 1; n <= c.sent; n++ {
			want := c.got[c.text(n)]
			switch {
			case want == 1:
				reached++
			case want == 0 && n == c.sent: // the last, which was on its way
				lost++
			default:
				t.Errorf("%q has come back to its sender %d times", c.text(n), want)
			}
			for _, other := range chatters {
				if got := other.got[c.text(n)]; got != want {
					t.Errorf("%q has come to %s %d times, and to its sender %d times", c.text(n), other.name, got, want)
				}
			}
		}
	}

	for _, c := range chatters {
		defer c.conn.Close()
		if c.got[c.text(c.sent)] == 0 {
			c.sent-- // say it again
		}
		if err := c.say(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range chatters {
		for range chatters {
			_, data, err := c.conn.ReadMessage()
			if err != nil {
				t.Fatalf("%s, with the second process: %v", c.name, err)
			}
			c.got[string(data)]++
		}
		for _, other := range chatters {
			for n := 1; n <= other.sent; n++ {
				if got := c.got[other.text(n)]; got != 1 {
					t.Errorf("%s has got %q %d times in the end", c.name, other.text(n), got)
				}
			}
		}
	}
	t.Logf("restart: %d peers told 1001 and back at the first try; %d messages reached everyone, %d on their way reached nobody and were sent again",
		len(chatters), reached, lost)
}
