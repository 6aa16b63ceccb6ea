// The page: shows what the client does and turns clicks into calls.

import { Client, QUEUE_LIMIT } from "./client.js";
import { describe } from "./closecodes.js";
import { addEntry, clock, markSent } from "./log.js";

const $ = (id) => document.getElementById(id);

const url = new URL("/ws", location.href);
url.protocol = location.protocol === "https:" ? "wss:" : "ws:";

const client = new Client(url, {
  onChange: show,
  onMessage(data) {
    addEntry("received", typeof data === "string" ? data : `[binary, ${data.byteLength} bytes]`);
  },
});

// Connection

let shown = { state: "closed", close: null }; // what show() saw last

function show() {
  const { state, since, wanted, lastClose } = client;
  $("state").textContent = state;
  $("state").dataset.state = state;
  $("since").textContent = clock(since);
  $("toggle").textContent = wanted ? "Disconnect" : "Connect";
  showNext();

  const before = shown;
  shown = { state, close: lastClose };
  if (lastClose !== before.close) showClose(lastClose);
  if (state === before.state) return;
  if (state === "open") {
    addEntry("note", "connection open");
    announce("Connected.");
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
    text = `Waiting for the server's close frame; the browser gives up after a while.${wanted ? " Then connecting again." : ""}`;
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

  // Failed attempts are not worth a line each: there may be many.
  if (opened) addEntry("note", `connection closed: ${code}, ${name}. ${words}`);
  announce(`Closed: ${code}, ${name}. ${words} ${client.wanted ? "Trying again." : "Not trying again."}`);
}

// announce is for screen readers. The same words twice are said once.
function announce(text) {
  if ($("announce").textContent !== text) $("announce").textContent = text;
}

$("url").textContent = url.href;
$("toggle").onclick = () => (client.wanted ? client.disconnect() : client.connect());
$("try-now").onclick = () => client.tryNow();

// The handshake as the browser sends it, as far as the server looks at it. The
// key is the example from RFC 6455; any 16 bytes in base64 will do.
$("curl").textContent = [
  "curl -i --http1.1 --max-time 5",
  "-H 'Connection: Upgrade' -H 'Upgrade: websocket'",
  "-H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='",
  `-H 'Origin: ${location.origin}'`,
  new URL("/ws", location.href).href,
].join(" ");
$("copy").hidden = !navigator.clipboard; // only there on https: and on localhost
$("copy").onclick = async () => {
  try {
    await navigator.clipboard.writeText($("curl").textContent);
    $("copied").textContent = "Copied.";
  } catch {
    $("copied").textContent = "The browser did not allow it. Select the line and copy it.";
  }
};

// Sending

// send returns whether the message was sent or now waits.
function send(text) {
  let entry = null;
  let sent = false;
  const accepted = client.send(text, () => {
    sent = true;
    if (entry) markSent(entry);
  });
  if (accepted) entry = addEntry(sent ? "sent" : "waiting", text);
  return accepted;
}

function refuse(what) {
  $("refusal").textContent = what && `${what}: not connected, and ${QUEUE_LIMIT} messages are waiting already.`;
}

$("form").onsubmit = (event) => {
  event.preventDefault();
  const input = $("text");
  if (input.value === "") return;
  const accepted = send(input.value);
  if (accepted) input.value = ""; // otherwise nobody has to type it again
  refuse(accepted ? "" : "Not sent");
};

$("send-many").onclick = () => {
  let refused = 0;
  for (let i = 1; i <= 100; i++) {
    if (!send(`quick ${i} of 100`)) refused++;
  }
  refuse(refused ? `${refused} of 100 not sent` : "");
};

$("send-big").onclick = () => {
  refuse(send("x".repeat(40 * 1024)) ? "" : "40 KB not sent");
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

client.connect();
