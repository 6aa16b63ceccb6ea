// The laboratory: what this page can do to the server, and what came of it.

import { $, announce, curl, showCommand } from "./dom.js";

const MAX_PEERS = 200; // browsers allow a page little more
const FLOOD_SECONDS = 10;
const CUT_SECONDS = 10;
const LOAD = { messages: 400, bytes: 30 * 1024, ahead: 8 }; // ahead: how many may be under way

// startLab makes the laboratory work. send(text) is the chat's, which returns
// whether the message was taken. onSent(text) is called for each message that an
// experiment has sent without it.
export function startLab(client, url, send, onSent) {
  const peers = new Peers(url);
  const runs = { flood: null, load: null };

  $("send-big").onclick = () => send("x".repeat(40 * 1024));
  $("send-boom").onclick = () => send("boom");
  $("send-many").onclick = () => {
    for (let i = 1; i <= 100; i++) send(`quick ${i} of 100`);
  };
  $("add-10").onclick = () => peers.add(10);
  $("add-100").onclick = () => peers.add(100);
  $("close-peers").onclick = () => peers.close();
  addEventListener("pagehide", () => peers.close());

  $("send-load").onclick = () => {
    runs.load = new Run(client, onSent, { name: "load", total: LOAD.messages, bytes: LOAD.bytes });
    runs.load.sendUpTo(LOAD.ahead);
  };
  $("toggle-flood").onclick = () => {
    if (runs.flood?.sending) {
      runs.flood.stop();
    } else {
      const input = $("flood-rate");
      const rate = Math.min(input.max, Math.max(input.min, Math.round(input.valueAsNumber) || 50));
      input.value = rate;
      runs.flood = new Run(client, onSent, { name: "flood", total: rate * FLOOD_SECONDS });
      const { flood } = runs;
      const timer = setInterval(() => {
        flood.sendUpTo(Math.floor(rate * flood.seconds()));
        if (!flood.sending) clearInterval(timer);
      }, 20);
    }
    show();
  };

  for (const kind of ["stall", "vanish", "flood"]) {
    const where = url.host === "127.0.0.1:8080" ? "" : ` -url ${url}`;
    showCommand($(`${kind}-command`), `go run ./steps peer -${kind}${where}`);
  }
  $("cut").onclick = () => {
    if (!client.wanted) return;
    client.disconnect();
    setTimeout(() => client.connect(), CUT_SECONDS * 1000);
  };
  $("try-foreign").onclick = () => tryForeign(client, url);

  function show() {
    $("peers-result").textContent = peers.toString();
    $("load-result").textContent = runs.load?.toString() ?? "";
    $("flood-result").textContent = runs.flood?.toString() ?? "";
    $("toggle-flood").textContent = runs.flood?.sending ? "Stop" : "Start";
  }

  return {
    show,
    received(text) {
      runs.flood?.received(text);
      if (runs.load?.received(text)) runs.load.sendUpTo(runs.load.back + LOAD.ahead);
    },
  };
}

// Run sends numbered messages over the page's own connection and counts those
// that come back. It ends with that connection.
class Run {
  sending = true;
  back = 0;

  #client;
  #onSent;
  #connection; // when the connection was opened, which tells it from the next one
  #prefix; // tells this run's messages from those of other pages
  #total;
  #padding;
  #sent = 0;
  #began = performance.now();
  #lastBack = 0; // seconds after the beginning

  constructor(client, onSent, { name, total, bytes = 0 }) {
    this.#client = client;
    this.#onSent = onSent;
    this.#connection = client.since;
    this.#prefix = `${name} ${Math.random().toString(36).slice(2, 6)}: `;
    this.#total = total;
    this.#padding = " ".padEnd(bytes, "x");
  }

  seconds() {
    return (performance.now() - this.#began) / 1000;
  }

  stop() {
    this.sending = false;
  }

  // sendUpTo sends until count messages have been sent, or all of them.
  sendUpTo(count) {
    while (this.sending && this.#sent < count) {
      if (!this.#connected()) return this.stop();
      this.#sent++;
      const text = `${this.#prefix}${this.#sent} of ${this.#total}${this.#padding}`;
      this.#client.send(text, () => this.#onSent(text));
      if (this.#sent === this.#total) this.stop();
    }
  }

  // received returns whether text is one of this run's messages.
  received(text) {
    if (typeof text !== "string" || !text.startsWith(this.#prefix)) return false;
    this.back++;
    this.#lastBack = this.seconds();
    if (this.#allBack()) announce(this.toString());
    return true;
  }

  #connected() {
    return this.#client.state === "open" && this.#client.since === this.#connection;
  }

  toString() {
    if (this.#allBack()) return `All ${this.#sent} came back, the last after ${this.#lastBack.toFixed(1)} s.`;
    const soFar = `${this.#sent} sent, ${this.back} came back`;
    return this.#connected() ? `${soFar}, after ${this.seconds().toFixed(1)} s.` : `${soFar}; then the connection ended.`;
  }

  #allBack() {
    return !this.sending && this.#sent > 0 && this.back === this.#sent;
  }
}

// Peers are further connections of this page, which only count what they get.
class Peers {
  #url;
  #sockets = new Set();
  #open = 0;
  #refused = 0;
  #closed = 0;
  #received = 0;

  constructor(url) {
    this.#url = url;
  }

  add(count) {
    for (; count > 0 && this.#sockets.size < MAX_PEERS; count--) this.#add();
  }

  #add() {
    const socket = new WebSocket(this.#url);
    this.#sockets.add(socket);
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#open++;
    };
    socket.onmessage = () => this.#received++;
    socket.onclose = () => {
      if (opened) this.#open--;
      if (!this.#sockets.delete(socket)) return; // close has counted it
      if (opened) this.#closed++;
      else this.#refused++;
    };
  }

  close() {
    for (const socket of this.#sockets) socket.close(1000, "peer closed by the page");
    this.#sockets.clear();
    this.#refused = this.#closed = this.#received = 0;
  }

  toString() {
    const connecting = this.#sockets.size - this.#open;
    const parts = [`${this.#open} open`];
    if (connecting > 0) parts.push(`${connecting} connecting`);
    if (this.#refused) parts.push(`${this.#refused} refused`);
    if (this.#closed) parts.push(`${this.#closed} closed by the server`);
    return `${parts.join(", ")}; ${this.#received} messages received.`;
  }
}

const OTHER_NAME = { "127.0.0.1": "localhost", localhost: "127.0.0.1" };

function tryForeign(client, url) {
  const result = $("foreign-result");
  const other = OTHER_NAME[url.hostname];
  if (!other) {
    result.textContent = "For this, open the page as http://127.0.0.1 or http://localhost.";
    return;
  }
  const foreign = new URL(url);
  foreign.hostname = other;
  showCommand($("foreign-curl"), curl(foreign));
  $("foreign-curl").hidden = false;
  result.textContent = `Connecting to ${foreign} …`;

  let opened = false;
  const socket = new WebSocket(foreign);
  socket.onopen = () => {
    opened = true;
    result.textContent = "Accepted: any page on the web that you visit could do the same.";
    socket.close(1000);
  };
  socket.onclose = ({ code }) => {
    if (opened) return;
    result.textContent = client.state === "open"
      ? `${code}: refused, as it should be. A page is told no more; curl is.`
      : `${code}: refused, or no answer at all. Connect this page first, then it is clear which.`;
  };
}
