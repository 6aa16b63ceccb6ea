// The page: shows what the client does and turns clicks into calls.

import { Client, QUEUE_LIMIT } from "./client.js";
import { describe, notOpen } from "./closecodes.js";
import { $, announce, clock, curl, showCommand } from "./dom.js";
import { startLab } from "./lab.js";
import { addEntry, addEvent, markLost, markSent } from "./log.js";
import { RoundTrip } from "./roundtrip.js";

const url = new URL("/ws", location.href);
url.protocol = location.protocol === "https:" ? "wss:" : "ws:";

const roundTrip = new RoundTrip();
const client = new Client(url, {
  probe: askProgram,
  onChange: show,
  onHello: showHello,
  onMessage(data) {
    const now = performance.now();
    lastMessage = now;
    const taken = roundTrip.received(data, now);
    lastRoundTrip = taken ?? lastRoundTrip;
    addEntry(taken === null ? "received" : "own", typeof data === "string" ? data : `[binary, ${data.byteLength} bytes]`);
    lab.received(data);
  },
});
const lab = startLab(client, url, send, noteSent);

// Connection

let step = NaN; // of the server, if it says one

// askProgram asks which step's program this is: from one attempt to the next it may
// have become another.
async function askProgram(signal) {
  const response = await fetch("/program", { cache: "no-store", signal });
  const program = response.ok ? await response.text() : "";
  step = parseInt(program.split("/")[1], 10);
  $("program").textContent = program || "of no step of the workshop";
}

let shown = { state: "closed", close: null, failed: null, retryAt: null, offline: false }; // what show() saw last

function show() {
  const { state, since, wanted, lastClose, failed, retryAt, offline } = client;
  for (const element of document.querySelectorAll(".state")) {
    element.textContent = state;
    element.dataset.state = state;
  }
  for (const element of document.querySelectorAll(".since")) element.textContent = clock(since);
  $("figures").hidden = state !== "open";
  $("toggle").textContent = wanted ? "Disconnect" : "Connect";
  showNext();

  const before = shown;
  shown = { state, close: lastClose, failed, retryAt, offline };
  if (failed !== before.failed) showFailed(failed);
  if (lastClose !== before.close) showClose(lastClose);
  else if (state === "closed" && before.state !== "closed" && failed === before.failed) addEvent("stopped");
  if (retryAt !== null && retryAt !== before.retryAt) addEvent(`waiting ${((retryAt - Date.now()) / 1000).toFixed(1)} s`);
  if (offline && !before.offline) addEvent("waiting for the network");
  if (state === before.state) return;
  if (state !== "closed") addEvent(state); // the others have told that one
  if (state === "open") {
    addEntry("note", "connection open");
    announce("Connected.");
    $("refusal").textContent = ""; // what was not sent can be sent now
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
  const hide = !wanted || state === "open" || state === "closing" || !(client.lastClose || client.failed);
  if (hide && document.activeElement === tryNow) $("text").focus();
  tryNow.hidden = hide;
  tryNow.setAttribute("aria-disabled", state !== "closed");
}

function showClose(close) {
  const { title, words } = describe(close, step);
  $("last-close").hidden = false;
  $("close-time").textContent = clock(close.at);
  $("close-name").textContent = title;
  $("close-words").textContent = words;
  $("close-reason").hidden = !close.reason;
  $("close-reason-text").textContent = close.reason;

  for (const entry of roundTrip.takeAll()) if (entry) markLost(entry);
  addEvent(`closed: ${title}`);
  addEntry("note", `connection closed: ${title}. ${words}`);
  announce(`Closed: ${title}. ${words} ${client.wanted ? "Trying again." : "Not trying again."}`);
}

// The last close stays, whatever comes of the attempts after it. They are not worth
// a line each among the messages.
function showFailed(failed) {
  $("failed").hidden = !failed;
  if (!failed) return;
  const { title, words } = notOpen(failed);
  $("failed-count").textContent = failed.count;
  $("failed-time").textContent = clock(failed.at);
  $("failed-name").textContent = title;
  $("failed-words").textContent = words;
  $("refused").hidden = !failed.answered;
  addEvent(`failed: ${title}`);
  announce(`Attempt failed: ${title}. ${words}`);
}

// showHello tells what a server that counts has kept for this page while it was away.
function showHello({ resumed, waiting, gap, missed }) {
  if (!resumed) return;
  const away = `away ${((Date.now() - client.lastClose.at) / 1000).toFixed(1)} s`;
  const messages = (n) => `${n.toLocaleString("en")} message${n === 1 ? "" : "s"}`;
  const text = !gap ? `${away}, ${messages(waiting)} caught up`
    : missed > 0 ? `${away}, a gap: ${messages(missed)} ${missed === 1 ? "is" : "are"} gone`
    : `${away}, a gap: this is another log, and nobody knows how many messages are gone`;
  addEvent(text);
  addEntry("note", text);
  announce(text);
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

// noteSent is for the figures. entry is that in the list of messages, if there is one.
function noteSent(text, entry) {
  lastMessage = performance.now();
  roundTrip.sent(text, lastMessage, entry);
}

// send returns whether the message was sent or now waits.
function send(text) {
  let entry = null;
  let sent = false;
  const accepted = client.send(text, () => {
    sent = true;
    if (entry) markSent(entry);
    else entry = addEntry("sent", text);
    noteSent(text, entry);
  });
  if (accepted && !sent) entry = addEntry("waiting", text);
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
const SILENT = 60_000; // ms; a server that has answered no request for so long is away

let poller = 0; // the interval, or 0 while not polling
let lastAnswer = 0; // when, as Date.now()

function startPolling() {
  $("online").textContent = "asking…";
  poller = setInterval(poll, POLL_EVERY);
  pollAnew();
}

// pollAnew asks at once. The silence before it does not count: nobody asked.
function pollAnew() {
  lastAnswer = Date.now();
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
    // Steps 1 and 2 do not count. They are asked something else, whether they are there.
    const response = await fetch(step < 3 ? "/program" : "/online", { cache: "no-store", signal: AbortSignal.timeout(POLL_TIMEOUT) });
    status = response.status;
    online = (await response.json())?.online;
  } catch (error) {
    // An answer that is not JSON is still an answer.
    if (!(error instanceof SyntaxError)) status = 0;
  }
  if (mine !== poller) return;
  const now = Date.now();
  if (status) lastAnswer = now;
  if (Number.isInteger(online)) {
    $("online").textContent = online;
  } else if (status === 404) {
    stopPolling("the server counts its peers from step 3 on");
  } else if (status === 200) {
    $("online").textContent = "the server counts its peers from step 3 on";
  } else if (status) {
    $("online").textContent = `no number: the server answered ${status}`;
  } else if (now - lastAnswer < SILENT) {
    $("online").textContent = `no answer for ${Math.round((now - lastAnswer) / 1000)} s`;
  } else {
    client.giveUp("the server has answered no request for a minute");
  }
}

document.addEventListener("visibilitychange", pollAnew);

setInterval(showFigures, 250);
client.connect();
showFigures();
