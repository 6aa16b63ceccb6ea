// A WebSocket client that reconnects. It knows nothing of the page around it.
//
// Pings do not appear here: a browser answers them by itself, and a script can
// neither see nor send them.

import { Backoff } from "./backoff.js";
import { mayRetry } from "./closecodes.js";
import { Queue } from "./queue.js";

export const QUEUE_LIMIT = 20; // messages kept while there is no connection

const STABLE_AFTER = 10_000; // ms a connection stays open before it counts as good

export class Client {
  state = "closed"; // "connecting", "open", "closing" or "closed"
  since = new Date(); // when state last changed
  wanted = false; // whether there should be a connection
  retryAt = null; // when the next attempt starts (as Date.now()), or null
  offline = false; // whether the next attempt waits for the network
  lastClose = null; // { code, reason, opened, asked, at } of the last close
  sent = { messages: 0, bytes: 0 }; // by the connection, since it was opened
  received = { messages: 0, bytes: 0 }; // likewise

  #url;
  #onChange;
  #onMessage;
  #socket = null; // set from new WebSocket() to its close event
  #opened = false; // whether #socket has been open
  #asked = false; // whether this side began closing #socket
  #away = false; // whether the page is hidden for good or in the back/forward cache
  #backoff = new Backoff();
  #queue = new Queue(QUEUE_LIMIT);
  #retryTimer = 0;
  #stableTimer = 0;

  // onChange() is called after any of the public fields changed, onMessage(data)
  // for each message: a string, or an ArrayBuffer for a binary one.
  constructor(url, { onChange, onMessage }) {
    this.#url = url;
    this.#onChange = onChange;
    this.#onMessage = onMessage;

    addEventListener("online", () => {
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

  // tryNow starts an attempt without waiting any longer. While a socket exists
  // it does nothing, so there are never two: if that socket is closing, its
  // close event starts the next attempt.
  tryNow() {
    this.#cancelRetry();
    if (this.wanted && !this.#away && !this.#socket) this.#open();
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

  // look notices that the server has begun to close. There is no event for it: the
  // close event comes when TCP is closed, too.
  look() {
    if (this.state === "open" && this.#socket.readyState === WebSocket.CLOSING) this.#setState("closing");
  }

  #open() {
    const socket = new WebSocket(this.#url);
    socket.binaryType = "arraybuffer"; // the size is known at once
    this.#socket = socket;
    this.#opened = false;
    this.#asked = false;
    this.#setState("connecting");

    socket.onopen = () => {
      this.#opened = true;
      // A server that accepts and then drops every connection would be asked
      // without a pause if opening alone reset the delay.
      this.#stableTimer = setTimeout(() => this.#backoff.reset(), STABLE_AFTER);
      this.sent = { messages: 0, bytes: 0 };
      this.received = { messages: 0, bytes: 0 };
      this.#setState("open");
      for (const { data, onSent } of this.#queue.takeAll()) this.#transmit(data, onSent);
    };
    socket.onmessage = ({ data }) => {
      count(this.received, data);
      this.#onMessage(data);
    };
    // There is no onerror: an error event carries no detail, and a close event
    // always follows it.
    socket.onclose = ({ code, reason }) => {
      clearTimeout(this.#stableTimer);
      this.#socket = null;
      this.lastClose = { code, reason, opened: this.#opened, asked: this.#asked, at: new Date() };
      if (!mayRetry(code)) this.wanted = false;
      this.#setState("closed");
      if (this.wanted && !this.#away) this.#retryLater();
    };
  }

  #transmit(data, onSent) {
    this.#socket.send(data);
    count(this.sent, data);
    onSent();
  }

  #close(reason) {
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

// count adds a message, and its bytes as UTF-8 carries them.
function count(total, data) {
  total.messages++;
  total.bytes += typeof data === "string" ? encoder.encode(data).length : data.byteLength;
}
