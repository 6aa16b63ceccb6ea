// What the close codes mean, in words. The numbers are in RFC 6455, section
// 7.4.1, and in the IANA registry "WebSocket Close Code Number".

const CODES = {
  1000: ["normal closure", "The server closed the connection: nothing is left to say."],
  1001: ["going away", "The server is shutting down, perhaps to restart, and says so."],
  1002: ["protocol error", "The server read something that is not valid WebSocket. A browser writes valid frames, so look at what reads from the connection: only one goroutine may."],
  1003: ["unsupported data", "The server does not take this type of message, for example binary where it wants text."],
  1005: ["no code given", "The server sent a close frame without a code."],
  1007: ["invalid data", "A text message was not valid UTF-8."],
  1008: ["policy violation", "The server does not want this client to go on. Trying again would not change its mind."],
  1009: ["message too big", "A message was longer than the server reads. Send less at once."],
  1010: ["extension missing", "The client needed an extension that the server did not agree to."],
  1011: ["internal error", "The server had an error in your handler. Its log says which one."],
  1012: ["service restart", "The server is restarting. It should be back soon."],
  1013: ["try again later", "The server is too busy now."],
  1014: ["bad gateway", "A proxy got no valid answer from the server behind it."],
};

// 1006 never travels. The browser makes it up when no close frame came, and one
// number has to stand for very different things. The likeliest comes first.
function noCloseFrame({ asked, lost, quiet, busy }, step) {
  if (lost) return `This page has given the connection up: ${lost}. The network may have forgotten it, and then neither side is told. Messages marked “lost?” may have arrived nowhere.`;
  if (asked) return "This page asked to close, and the server did not answer with a close frame.";
  const rest = "the server's process ended, its handler returned without a close frame, a deadline passed, or the network failed. It can also hide another code: if the server closes with bytes still unread, its close frame may be lost on the way.";
  if (busy >= BUSY && !(step < 4)) return `After so many messages, most likely: cut off as too slow. More was waiting for this page than its queue or the log holds, or one write took 10 s; the server's log says which. Otherwise ${rest}`;
  if (quiet >= QUIET && !(step > 4)) return `After a minute of silence, most likely: the server's read deadline passed. In steps 2 to 4 nobody pings, so a silent page is taken for dead. Otherwise ${rest}`;
  return `The connection broke: ${rest}`;
}

const BUSY = 100; // messages in ten seconds; a queue of the server holds 256
const QUIET = 55_000; // ms; a server waits for 60 s

// notOpen has a title and some words for an attempt that never became a connection
// (Client.failed).
export function notOpen({ answered }) {
  return answered
    ? { title: "1006, no close frame", words: "The connection was never open. The server answers other requests, and has refused the handshake or broken it off." }
    : { title: "no answer", words: "The server is not running, or cannot be reached." };
}

// describe returns a title and some words for the end of a connection
// (Client.lastClose). step is that of the server, or NaN.
export function describe(close, step = NaN) {
  const { name, words } = meaning(close, step);
  return { title: close.lost ? name : `${close.code}, ${name}`, words };
}

function meaning(close, step) {
  const { code, asked, lost } = close;
  if (code === 1006) return { name: lost ? "given up" : "no close frame", words: noCloseFrame(close, step) };
  if (code === 1000 && asked) return { name: "normal closure", words: "This page closed the connection, and the server agreed." };
  if (code in CODES) return { name: CODES[code][0], words: CODES[code][1] };
  if (code >= 4000 && code <= 4999) return { name: "private code", words: "Codes from 4000 to 4999 mean what the application says. This page does not know this one." };
  if (code >= 3000 && code <= 3999) return { name: "registered code", words: "Codes from 3000 to 3999 belong to libraries and frameworks. This page does not know this one." };
  return { name: "unknown code", words: "This page does not know this code." };
}
