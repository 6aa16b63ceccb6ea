// The list of messages on the page.

const MAX_ENTRIES = 500; // a busy chat must not fill the browser's memory
const MAX_TEXT = 1000; // characters shown of one message

const box = document.getElementById("log");

export function clock(date) {
  return date.toLocaleTimeString("en-GB"); // 24 hours, with seconds
}

// addEntry appends an entry and returns it. kind is "sent", "waiting",
// "received" or "note".
export function addEntry(kind, text) {
  const entry = document.createElement("div");
  for (const name of ["time", "kind", "text"]) {
    const part = document.createElement("span");
    part.className = name;
    entry.append(part);
  }
  // textContent, never innerHTML: a message comes from somebody else, and must
  // not become part of the page.
  entry.children[2].textContent = shorten(text);
  append(entry, kind);
  return entry;
}

// markSent turns a waiting entry into a sent one. It moves to the end, so that
// the list stays in the order of time.
export function markSent(entry) {
  append(entry, "sent");
}

function append(entry, kind) {
  // Follow new messages only if the reader has not scrolled back.
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;

  entry.className = `entry ${kind}`;
  entry.children[0].textContent = clock(new Date());
  entry.children[1].textContent = kind;
  box.append(entry);
  while (box.childElementCount > MAX_ENTRIES) box.firstElementChild.remove();

  if (atEnd) box.scrollTop = box.scrollHeight;
}

function shorten(text) {
  if (text.length <= MAX_TEXT) return text;
  return `${text.slice(0, MAX_TEXT)}… [${text.length} characters in all]`;
}
