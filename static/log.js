// The list of messages, and the time line of the connection.

import { $, clock } from "./dom.js";

const MAX_ENTRIES = 500; // a busy chat must not fill the browser's memory
const MAX_TEXT = 1000; // characters shown of one message
const MAX_EVENTS = 100;

const box = $("log");
let waiting = []; // entries that the next frame shows

// The kinds of entries, and what the list calls them. Of a message that this page
// has sent, "own" comes back; what is "received" is somebody else's.
const LABELS = { sent: "sent", waiting: "waiting", lost: "lost?", own: "came back", received: "received", note: "note" };

// addEntry appends an entry and returns it.
export function addEntry(kind, text) {
  const entry = { kind, text: shorten(text), time: new Date(), element: null };
  show(entry);
  return entry;
}

// markSent turns a waiting entry into a sent one. It moves to the end, so that
// the list stays in the order of time.
export function markSent(entry) {
  entry.kind = "sent";
  entry.time = new Date();
  waiting = waiting.filter((other) => other !== entry);
  show(entry);
}

// markLost says of a sent entry that it has not come back.
export function markLost(entry) {
  entry.kind = "lost";
  if (entry.element) render(entry);
}

// All entries since the last frame share one layout of the page, and of a flood
// only what fits the list becomes part of the page at all.
function show(entry) {
  if (waiting.length === 0) requestAnimationFrame(flush);
  waiting.push(entry);
  if (waiting.length > 2 * MAX_ENTRIES) waiting = waiting.slice(-MAX_ENTRIES); // a hidden tab has no frames
}

function flush() {
  // Follow new messages only if the reader has not scrolled back.
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  const entries = waiting.slice(-MAX_ENTRIES);
  waiting = [];
  box.append(...entries.map(render));
  while (box.childElementCount > MAX_ENTRIES) box.firstElementChild.remove();
  if (atEnd) box.scrollTop = box.scrollHeight;
}

function render(entry) {
  entry.element ??= row("div", "time", "kind", "text");
  entry.element.className = `entry ${entry.kind}`;
  fill(entry.element, clock(entry.time), LABELS[entry.kind], entry.text);
  return entry.element;
}

function row(tag, ...parts) {
  const element = document.createElement(tag);
  for (const name of parts) {
    const part = document.createElement("span");
    part.className = name;
    element.append(part);
  }
  return element;
}

// textContent, never innerHTML: a message comes from somebody else, and must not
// become part of the page.
function fill(element, ...texts) {
  texts.forEach((text, i) => { element.children[i].textContent = text; });
}

function shorten(text) {
  if (text.length <= MAX_TEXT) return text;
  const whole = text.slice(0, MAX_TEXT).replace(/[\uD800-\uDBFF]$/, ""); // half an emoji is none
  return `${whole}… [${text.length} characters in all]`;
}

// addEvent puts an event on top of the time line.
export function addEvent(text) {
  const now = new Date();
  const item = row("li", "time", "text");
  fill(item, `${clock(now)}.${String(now.getMilliseconds()).padStart(3, "0")}`, text);
  $("timeline").prepend(item);
  if ($("timeline").childElementCount > MAX_EVENTS) $("timeline").lastElementChild.remove();
}
