// The page: shows what the client does and turns clicks into calls.

import { Client, QUEUE_LIMIT } from "./client.js";
import { describe } from "./closecodes.js";
import { $, announce, clock, curl, showCommand } from "./dom.js";
import { startLab } from "./lab.js";
import { addEntry, addEvent, markSent } from "./log.js";
import { RoundTrip } from "./roundtrip.js";

const url = new URL("/ws", location.href);
url.protocol = location.protocol === "https:" ? "wss:" : "ws:";

const roundTrip = new RoundTrip();
const client = new Client(url, {
  onChange: show,
  onMessage(data) {
    const now = performance.now();
    lastMessage = now;
    lastRoundTrip = roundTrip.received(data, now) ?? lastRoundTrip;
    addEntry("received", typeof data === "string" ? data : `[binary, ${data.byteLength} bytes]`);
    lab.received(data);
  },
});
const lab = startLab(client, url, send, noteSent);

// Connection

let shown = { state: "closed", close: null, retryAt: null, offline: false }; // what show() saw last

function show() {
  const { state, since, wanted, lastClose, retryAt, offline } = client;
  $("state").textContent = state;
  $("state").dataset.state = state;
  $("since").textContent = clock(since);
  $("toggle").textContent = wanted ? "Disconnect" : "Connect";
  showNext();

  const before = shown;
  shown = { state, close: lastClose, retryAt, offline };
  if (lastClose !== before.close) showClose(lastClose);
  if (retryAt !== null && retryAt !== before.retryAt) addEvent(`waiting ${((retryAt - Date.now()) / 1000).toFixed(1)} s`);
  if (offline && !before.offline) addEvent("waiting for the network");
  if (state === before.state) return;
  if (state !== "closed") addEvent(state); // showClose has told that one
  if (state === "open") {
    addEntry("note", "connection open");
    announce("Connected.");
    roundTrip.reset();
    lastRoundTrip = lastMessage = null;
    startPolling();
  } else if (before.state === "open") {
    stopPolling("not known while not connected");
  }
}

let countdown = 0; // the timer that shows the next tenth of a second

function showNext() {
  const { state, wanted, retryAt, offline } = client;
  let text = "";
  if (retryAt !== null) {
    const seconds = Math.max(0, retryAt - Date.now()) / 1000;
    text = `Trying again in ${seconds.toFixed(1)} s.`;
    clearTimeout(countdown);
    countdown = setTimeout(showNext, 100);
  } else if (offline) {
    text = "The browser says this computer is offline. Trying again when that changes. A server on this computer can be reached anyway: press Try now.";
  } else if (state === "closing") {
    text = `Waiting for the server to close; the browser gives up after a while.${wanted ? " Then connecting again." : ""}`;
  } else if (state === "closed" && !wanted) {
    text = "Not trying again.";
  }
  $("next").textContent = text;

  // The button stays while an attempt runs, so that it does not blink.
  const tryNow = $("try-now");
  const hide = !wanted || state === "open" || state === "closing" || !client.lastClose;
  if (hide && document.activeElement === tryNow) $("text").focus();
  tryNow.hidden = hide;
  tryNow.setAttribute("aria-disabled", state !== "closed");
}

function showClose(close) {
  const { code, reason, opened, asked, at } = close;
  const { name, words } = describe(close);
  $("last-close").hidden = false;
  $("close-time").textContent = clock(at);
  $("close-name").textContent = `${code}, ${name}`;
  $("close-words").textContent = words;
  $("close-reason").hidden = !reason;
  $("close-reason-text").textContent = reason;
  $("refused").hidden = opened || asked;

  addEvent(`closed: ${code}, ${name}`);
  // Failed attempts are not worth a line each among the messages.
  if (opened) addEntry("note", `connection closed: ${code}, ${name}. ${words}`);
  announce(`Closed: ${code}, ${name}. ${words} ${client.wanted ? "Trying again." : "Not trying again."}`);
}

$("url").textContent = url.href;
$("toggle").onclick = () => (client.wanted ? client.disconnect() : client.connect());
$("try-now").onclick = () => client.tryNow();

showCommand($("curl"), curl(url));

// Figures

let lastMessage = null; // when, either way, as performance.now(); null: none yet
let lastRoundTrip = null; // ms

function showFigures() {
  client.look();
  lab.show();
  const { state, sent, received, since } = client;
  const isOpen = state === "open";
  $("protocol").textContent = isOpen
    ? `subprotocol ${client.protocol || "none"}, extensions ${client.extensions || "none"}`
    : "agreed on in the handshake";
  $("sent").textContent = inWords(sent);
  $("received").textContent = inWords(received);
  $("roundtrip").textContent = lastRoundTrip === null ? "not known until a message comes back" : `${lastRoundTrip.toFixed(1)} ms`;
  $("buffered").textContent = `${client.buffered.toLocaleString("en")} bytes`;
  const seconds = Math.floor((lastMessage === null ? Date.now() - since : performance.now() - lastMessage) / 1000);
  $("quiet").textContent = !isOpen ? "not connected" : lastMessage === null ? `none for ${seconds} s` : `${seconds} s ago`;
}

function inWords({ messages, bytes }) {
  return `${messages.toLocaleString("en")} message${messages === 1 ? "" : "s"}, ${bytes.toLocaleString("en")} bytes`;
}

// Sending

// noteSent is for the figures.
function noteSent(text) {
  lastMessage = performance.now();
  roundTrip.sent(text, lastMessage);
}

// send returns whether the message was sent or now waits.
function send(text) {
  let entry = null;
  let sent = false;
  const accepted = client.send(text, () => {
    sent = true;
    noteSent(text);
    if (entry) markSent(entry);
  });
  if (accepted) entry = addEntry(sent ? "sent" : "waiting", text);
  $("refusal").textContent = accepted ? "" : `Not sent: not connected, and ${QUEUE_LIMIT} messages are waiting already.`;
  return accepted;
}

$("form").onsubmit = (event) => {
  event.preventDefault();
  const input = $("text");
  if (input.value === "") return;
  if (send(input.value)) input.value = ""; // otherwise nobody has to type it again
};

// Who is online

const POLL_EVERY = 5000;
const POLL_TIMEOUT = 4000; // less than POLL_EVERY: one request at a time

let poller = 0; // the interval, or 0 while not polling

function startPolling() {
  $("online").textContent = "asking…";
  poller = setInterval(poll, POLL_EVERY);
  poll();
}

function stopPolling(why) {
  clearInterval(poller);
  poller = 0;
  $("online").textContent = why;
}

async function poll() {
  if (!poller || document.hidden) return;
  const mine = poller; // an answer that comes after a reconnect is out of date
  let status = 0;
  let online;
  try {
    const response = await fetch("/online", { cache: "no-store", signal: AbortSignal.timeout(POLL_TIMEOUT) });
    status = response.status;
    online = (await response.json())?.online;
  } catch (error) {
    // An answer that is not JSON is still an answer.
    if (!(error instanceof SyntaxError)) status = 0;
  }
  if (mine !== poller) return;
  if (Number.isInteger(online)) {
    $("online").textContent = online;
  } else if (status === 404 || status === 200) {
    stopPolling("the server counts its peers from step 3 on");
  } else {
    $("online").textContent = status ? `no number: the server answered ${status}` : "no answer";
  }
}

document.addEventListener("visibilitychange", poll);

setInterval(showFigures, 250);
client.connect();
showFigures();
