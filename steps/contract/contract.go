// Package contract holds what the server of each step promises, as tests.
//
// A contract judges what a peer or an operator can see: frames, close codes,
// HTTP statuses, their order and time, goroutines left behind, log records. It
// knows nothing of the types and functions behind them, so that every correct
// design passes. It reaches the server under test through the few functions of
// [Server], which the test file of each step fills in.
//
// The contracts are cumulative: the server of step 4 keeps those of steps 1 to 4.
//
// A promise is named by the task of the lesson that keeps it, and a sentence:
// "2.2 a silent peer is gone after 60 s". Time in the scenarios is virtual
// (package [testing/synctest]), so that a minute of silence takes no time and a
// deadline is met to the nanosecond.
//
// # Where a promise is found
//
// Those of a step stand at the top of one file, each with its sentence, what usually
// breaks it, and the scenes that try it: 1 upgrade.go, 2 pumps.go, 3 hub.go,
// 4 broadcast.go, 5 keepalive.go, 6 shutdown.go, 7 recovery.go, 8 limits.go, 9 log.go.
// So 4.2 is found in broadcast.go, under Task: "4.2".
//
// A scene is a function of that file, or of one that has the scenes of several steps
// about one matter: delivery.go (much at once, and no message lost), hooks.go,
// limits_set.go (other limits than the default ones), program.go (the command line),
// records.go (the log), sizes.go. What a scene can do is told by package wstest, in
// steps/internal.
//
// Beside the promises, [RunProtocol] (protocol*.go) is about RFC 6455, section by
// section; the fuzz targets (fuzz*.go) are about hostile bytes; [RunBeyond] (beyond.go)
// is about what no promise asks for; run.go runs it all. The tests of this package are
// right servers of other designs, which must pass.
package contract

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
)

// Config is what a scenario asks of the server that it tests. What it leaves at
// the zero value has the documented default of the step.
type Config struct {
	Log       *slog.Logger // gets all log records
	Origins   []string     // allowed origins beside the server's own host
	AnyOrigin bool         // every origin is allowed

	// From step 7: the hook of a joining client, and the message handler; nil
	// stands for no hook, and for the handler that broadcasts. Their context is
	// done when the client's connection has ended.
	OnJoin    func(ctx context.Context, id string)
	OnMessage func(ctx context.Context, id, text string)

	// From step 8: the proxies whose X-Forwarded-For counts, the limits, if not the
	// default ones, and who says who a peer is.
	TrustedProxies []netip.Prefix
	Limits         *Limits
	Authenticate   func(*http.Request) (user string, err error)
}

// Limits are those of step 8. Zero lifts a limit. A rate is for each second; two
// seconds' worth may come at once, of handshakes four.
type Limits struct {
	MaxPerIP       int // connections
	MaxConnections int
	HandshakeRate  float64 // of one address
	MessageRate    float64 // of one connection
	ByteRate       float64 // of one address
}

// Server is a server under test. Its functions may be called from any
// goroutine, while the server serves. A step leaves nil what it does not have
// yet.
type Server struct {
	// HTTP is the program's HTTP server, with its timeouts, not yet listening.
	// It upgrades requests for /ws, and from step 3 answers GET /online with
	// {"online":N}.
	HTTP *http.Server

	// Main runs the program. It takes its flags from os.Args, and logs to
	// standard error, the address that it listens on first.
	Main func()

	// Send sends a text message to the client with the given id, which is in
	// the log records of its connection. From step 3.
	Send func(id, text string) error

	// Broadcast sends a text message to every client. From step 4. The error, from
	// step 9, says that it is too big; then nobody gets it.
	Broadcast func(text []byte) error

	// What Send's errors wrap, from step 3 on: no client has the id; its connection has
	// ended; and from step 4, too much waits for it. Errors that are nil are not asked
	// for.
	Unknown, Finished, TooSlow error

	// Shutdown ends all connections as [http.Server.Shutdown] does not. From
	// step 6.
	Shutdown func(context.Context) error

	// Stop ends what the server itself keeps running, such as the goroutine of
	// a hub. It is called once, after the last peer has gone. It may be nil.
	Stop func()
}

// Promise is one sentence that a server keeps or breaks.
type Promise struct {
	Task string // the task of the lesson that keeps it: "2.1"
	Name string // the sentence

	cause string // what usually breaks it
	test  func(*trial)
	lax   bool   // what is left behind is the matter of another promise
	first bool   // without it nothing else can be tried
	meets bool   // in its scenes goroutines meet at the same moment
	skip  string // why this system cannot try it, if it cannot
}

// String returns the name of the promise's test.
func (p Promise) String() string { return p.Task + " " + p.Name }

// Steps is the number of steps that have a contract.
const Steps = 10

// Promises returns the promises that step n (1 to [Steps]) adds, in the order of
// its lesson.
func Promises(n int) []Promise {
	return contracts[n-1]
}

var contracts = [Steps][]Promise{upgrade, pumps, hub, broadcast, keepalive, shutdown, recovery, limits, broadcastLog, resume}
