// A WebSocket client that reconnects. It knows nothing of the page around it, and
// needs backoff.js, position.js and queue.js only: copy these four into a project of
// your own.
//
// Pings do not appear here: a browser answers them by itself, and a script can
// neither see nor send them. So a connection that the network has forgotten stays
// open for a script. This client gives it up when it has sent something and then
// nothing has come for a minute, when the network was away, and after a sleep.

import { Backoff, mayRetry } from "./backoff.js";
import { Position } from "./position.js";
import { Queue } from "./queue.js";

export const QUEUE_LIMIT = 20; // messages kept while there is no connection

const STABLE_AFTER = 10_000; // ms a connection stays open before it counts as good
const PROBE_TIMEOUT = 5000; // ms; a server that takes longer to answer is away
const ANSWER_WAIT = 60_000; // ms without a message, after one was sent
const ASLEEP = 120_000; // ms between two looks; a hidden page is let to look each minute
const LATELY = 10_000; // ms over which the traffic counts in lastClose.busy

export class Client {
  state = "closed"; // "connecting", "open", "closing" or "closed"
  since = new Date(); // when state last changed
  wanted = false; // whether there should be a connection
  retryAt = null; // when the next attempt starts (as Date.now()), or null
  offline = false; // whether the next attempt waits for the network
  sent = { messages: 0, bytes: 0 }; // by the connection, since it was opened
  received = { messages: 0, bytes: 0 }; // likewise

  // The end of the last connection that has been open: { code, reason, at, asked,
  // lost, quiet, busy }. asked: whether this side began closing. lost: why this
  // side gave the connection up, or empty. quiet: ms since the last message, either
  // way. busy: about how many messages, either way, in the last ten seconds.
  lastClose = null;

  // The attempts since then that failed: { count, answered, at }, or null. at is when
  // the last one did, answered whether the server answered: then it is there, and
  // has refused the handshake.
  failed = null;

  #url;
  #probe;
  #onChange;
  #onMessage;
  #onHello;
  #position = new Position();
  #probing = null; // an AbortController while an attempt asks whether the server is there
  #socket = null; // set from new WebSocket() to its end
  #opened = false; // whether #socket has been open
  #asked = false; // whether this side began closing #socket
  #away = false; // whether the page is hidden for good or in the back/forward cache
  #backoff = new Backoff();
  #queue = new Queue(QUEUE_LIMIT);
  #retryTimer = 0;
  #stableTimer = 0;
  #answerTimer = 0; // runs from a message sent to the next one received
  #traffic = { at: 0, busy: 0 }; // at: of the last message; busy: as it was then
  #looked = Date.now();

  // onChange() is called after any of the public fields changed, onMessage(data)
  // for each message: a string, or an ArrayBuffer for a binary one. onHello(hello) is
  // called for each connection to a server that counts: hello.resumed says whether
  // this client has been there before, hello.waiting how many messages it gets now that
  // it has missed, hello.gap and hello.missed that some are gone.
  //
  // probe(signal) asks the server for anything over HTTP, and rejects if there is no
  // answer. Each attempt begins with it. It tells a server that is away from one that
  // refuses, which a WebSocket never does; and Firefox lets new WebSockets wait,
  // for up to a minute, after some to the same server have failed.
  constructor(url, { onChange, onMessage, onHello = () => {}, probe = (signal) => fetch("/", { method: "HEAD", cache: "no-store", signal }) }) {
    this.#url = url;
    this.#probe = probe;
    this.#onChange = onChange;
    this.#onMessage = onMessage;
    this.#onHello = onHello;

    addEventListener("online", () => {
      this.giveUp("the network was away");
      if (this.#pending()) this.tryNow();
    });
    addEventListener("offline", () => {
      if (this.#pending()) this.#retryLater();
    });
    // A page with an open connection may be kept out of the back/forward cache.
    // Close on the way out, and connect again if the page comes back.
    addEventListener("pagehide", () => {
      this.#away = true;
      this.#cancelRetry();
      this.#close("page hidden");
    });
    addEventListener("pageshow", (event) => {
      if (!event.persisted) return;
      this.#away = false;
      if (this.wanted) this.connect();
    });
  }

  connect() {
    this.wanted = true;
    this.#backoff.reset();
    this.tryNow();
  }

  disconnect() {
    this.wanted = false;
    this.#cancelRetry();
    this.#close("disconnected by the user");
    this.#onChange();
  }

  // tryNow starts an attempt without waiting any longer. While one is under way or a
  // socket exists it does nothing, so there are never two: if that socket is
  // closing, its close event starts the next attempt.
  tryNow() {
    this.#cancelRetry();
    if (this.wanted && !this.#away && !this.#socket && !this.#probing) this.#attempt();
    else this.#onChange();
  }

  // send sends data, or queues it until the connection is open, and returns
  // false if the queue is full. onSent() is called when the browser has taken
  // the message. That is not yet delivery: if the connection breaks now, the
  // message may be lost. To know more, the server has to acknowledge it.
  send(data, onSent = () => {}) {
    // Not this.state: between the server's close frame and the close event the
    // socket is no longer open, and send() would drop the message silently.
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#transmit(data, onSent);
      return true;
    }
    return this.#queue.add({ data, onSent });
  }

  // giveUp ends a connection that is believed to be dead, without waiting for the
  // server's answer, and tries again.
  giveUp(why) {
    const socket = this.#socket;
    if (!this.#opened || !socket || this.#asked) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
    this.#ended({ code: 1006, reason: "", lost: why });
  }

  // buffered is how many bytes the browser has taken and not yet handed on.
  get buffered() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  // protocol and extensions are what the handshake agreed on, or empty.
  get protocol() {
    return this.#socket?.protocol ?? "";
  }

  get extensions() {
    return this.#socket?.extensions ?? "";
  }

  // look is to be called a few times a second. It notices what has no event: that
  // the server has begun to close (the close event comes when TCP is closed, too),
  // and that the computer has slept.
  look() {
    const slept = Date.now() - this.#looked > ASLEEP;
    this.#looked = Date.now();
    if (this.state === "open" && this.#socket.readyState === WebSocket.CLOSING) this.#setState("closing");
    else if (slept) this.giveUp("this computer slept, or the page stood still");
  }

  async #attempt() {
    const probing = (this.#probing = new AbortController());
    this.#setState("connecting");
    const answered = await this.#probe(AbortSignal.any([probing.signal, AbortSignal.timeout(PROBE_TIMEOUT)])).then(() => true, () => false);
    if (this.#probing !== probing) return; // this attempt was stopped
    this.#probing = null;
    if (answered) this.#open();
    else this.#failed(false);
  }

  #open() {
    const url = new URL(this.#url, location.href);
    url.search += (url.search ? "&" : "") + this.#position.begin();
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer"; // the size is known at once
    this.#socket = socket;
    this.#opened = false;
    this.#asked = false;

    socket.onopen = () => {
      this.#opened = true;
      // A server that accepts and then drops every connection would be asked
      // without a pause if opening alone reset the delay.
      this.#stableTimer = setTimeout(() => this.#backoff.reset(), STABLE_AFTER);
      this.sent = { messages: 0, bytes: 0 };
      this.received = { messages: 0, bytes: 0 };
      this.#traffic = { at: Date.now(), busy: 0 };
      this.failed = null;
      this.#setState("open");
      for (const { data, onSent } of this.#queue.takeAll()) this.#transmit(data, onSent);
    };
    socket.onmessage = ({ data }) => {
      clearTimeout(this.#answerTimer);
      this.#answerTimer = 0;
      const said = this.#position.received(data);
      if (said === null) {
        this.#count(this.received, data);
        this.#onMessage(data);
      } else if ("resumed" in said) {
        this.#onHello(said);
      }
    };
    // There is no onerror: an error event carries no detail, and a close event
    // always follows it.
    socket.onclose = (event) => this.#ended(event);
  }

  #ended({ code, reason, lost = "" }) {
    clearTimeout(this.#stableTimer);
    clearTimeout(this.#answerTimer);
    this.#answerTimer = 0;
    this.#socket = null;
    if (!this.#opened && !this.#asked) return this.#failed(true);
    if (this.#opened) {
      this.lastClose = { code, reason, at: new Date(), asked: this.#asked, lost, quiet: Date.now() - this.#traffic.at, busy: this.#busy() };
      if (!mayRetry(code)) this.wanted = false;
    }
    this.#closed();
  }

  #failed(answered) {
    this.failed = { count: (this.failed?.count ?? 0) + 1, answered, at: new Date() };
    this.#closed();
  }

  #closed() {
    this.#setState("closed");
    if (this.wanted && !this.#away) this.#retryLater();
  }

  #transmit(data, onSent) {
    this.#socket.send(data);
    this.#answerTimer ||= setTimeout(() => this.giveUp("messages were sent, and for a minute nothing has come back"), ANSWER_WAIT);
    this.#count(this.sent, data);
    onSent();
  }

  // #count adds a message, and its bytes as UTF-8 carries them.
  #count(total, data) {
    total.messages++;
    total.bytes += typeof data === "string" ? encoder.encode(data).length : data.byteLength;
    this.#traffic = { busy: this.#busy() + 1, at: Date.now() };
  }

  // #busy is the number of messages, of which each fades away with the time.
  #busy() {
    return this.#traffic.busy * Math.exp((this.#traffic.at - Date.now()) / LATELY);
  }

  #close(reason) {
    if (this.#probing) {
      this.#probing.abort();
      this.#probing = null;
      this.#setState("closed");
    }
    if (!this.#socket || this.#asked) return;
    this.#asked = true;
    this.#socket.close(1000, reason);
    this.#setState("closing");
  }

  #retryLater() {
    this.#cancelRetry();
    if (navigator.onLine) {
      const delay = this.#backoff.next();
      this.retryAt = Date.now() + delay;
      this.#retryTimer = setTimeout(() => this.tryNow(), delay);
    } else {
      this.offline = true;
    }
    this.#onChange();
  }

  #pending() {
    return this.retryAt !== null || this.offline;
  }

  #cancelRetry() {
    clearTimeout(this.#retryTimer);
    this.retryAt = null;
    this.offline = false;
  }

  #setState(state) {
    this.state = state;
    this.since = new Date();
    this.#onChange();
  }
}

const encoder = new TextEncoder();
