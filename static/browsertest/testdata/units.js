// Tests of the page's modules that need no page. results is what the Go test reads.

import { Backoff, mayRetry } from "/backoff.js";
import { describe, notOpen } from "/closecodes.js";
import { Position } from "/position.js";
import { Queue } from "/queue.js";
import { RoundTrip } from "/roundtrip.js";

const results = [];

function test(name, f) {
  try {
    f();
    results.push({ name, error: "" });
  } catch (error) {
    results.push({ name, error: String(error) });
  }
}

function equal(got, want) {
  const [g, w] = [JSON.stringify(got), JSON.stringify(want)];
  if (g !== w) throw new Error(`got ${g}, want ${w}`);
}

test("backoff doubles the ceiling up to 30 s", () => {
  const backoff = new Backoff();
  const delays = Array.from({ length: 9 }, () => backoff.next(0.5));
  equal(delays, [250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
});

test("backoff waits between nothing and the ceiling", () => {
  equal(new Backoff().next(0), 0);
  equal(new Backoff().next(0.998), 499);
});

test("backoff is random unless told otherwise", () => {
  const delays = new Set(Array.from({ length: 100 }, () => new Backoff().next()));
  if (delays.size < 90) throw new Error(`100 delays have ${delays.size} values`);
  for (const delay of delays) if (!(delay >= 0 && delay < 500)) throw new Error(`a first delay of ${delay} ms`);
});

test("backoff never grows beyond its bound", () => {
  const backoff = new Backoff();
  for (let i = 0; i < 5000; i++) backoff.next(0);
  equal(backoff.next(0.5), 15000);
});

test("backoff begins anew after a reset", () => {
  const backoff = new Backoff();
  for (let i = 0; i < 5; i++) backoff.next(0);
  backoff.reset();
  equal(backoff.next(0.5), 250);
});

const hello = (next, more = {}) => JSON.stringify({ log: "L", next, waiting: 0, gap: false, missed: 0, alone: "A", ...more });

test("position asks for what it has not, and counts what comes", () => {
  const position = new Position();
  equal(position.begin(), "after=");
  equal(position.received(hello(5)).resumed, false);
  equal([position.received("five"), position.received("six"), position.received(new ArrayBuffer(1))], [null, null, null]);
  equal(position.begin(), "after=7&log=L");
  equal(position.received(hello(8, { waiting: 2 })).waiting, 2);
  equal(position.begin(), "after=7&log=L");
});

test("position does not count what is for this client alone", () => {
  const position = new Position();
  position.begin();
  position.received(hello(1));
  equal([position.received("one"), position.received("A"), position.received("for you"), position.received("two")], [null, {}, null, null]);
  equal(position.begin(), "after=2&log=L");
});

test("position goes on from the present after a gap", () => {
  const position = new Position();
  position.begin();
  position.received(hello(1));
  position.begin();
  equal(position.received(hello(300, { gap: true, missed: 299 })), { log: "L", next: 300, waiting: 0, gap: true, missed: 299, alone: "A", resumed: true });
  equal(position.begin(), "after=299&log=L");
});

test("position leaves a server alone that does not count", () => {
  for (const first of ["good morning", "{", "null", '{"text":"a"}', "7"]) {
    const position = new Position();
    position.begin();
    equal([position.received(first), position.received("A")], [null, null]);
    equal(position.begin(), "after=");
  }
});

test("queue keeps the order and refuses what is too much", () => {
  const queue = new Queue(2);
  equal([queue.add("a"), queue.add("b"), queue.add("c")], [true, true, false]);
  equal(queue.takeAll(), ["a", "b"]);
  equal(queue.takeAll(), []);
  equal(queue.add("d"), true);
});

test("only 1008 and private codes forbid to try again", () => {
  const codes = [1000, 1001, 1005, 1006, 1008, 1009, 1011, 1012, 1013, 3000, 3999, 4000, 4999];
  equal(codes.filter((code) => !mayRetry(code)), [1008, 4000, 4999]);
});

test("each close code has a title and a sentence", () => {
  for (let code = 1000; code <= 4999; code++) {
    const { title, words } = describe({ code, asked: false });
    if (!/^\d{4}, [a-z]/.test(title) || !/^[A-Z].*\.$/.test(words)) throw new Error(`${title}: ${words}`);
  }
});

test("1006 says first what it most often means", () => {
  const first = (close, step) => describe({ code: 1006, asked: false, lost: "", quiet: 0, busy: 0, ...close }, step).words;
  for (const [close, step, words] of [
    [{}, 4, "The connection broke: "],
    [{ busy: 300 }, 4, "After so many messages, most likely: cut off as too slow."],
    [{ busy: 300 }, 9, "After so many messages, most likely: cut off as too slow."],
    [{ busy: 300 }, NaN, "After so many messages, most likely: cut off as too slow."],
    [{ busy: 300 }, 3, "The connection broke: "],
    [{ quiet: 60_000 }, 2, "After a minute of silence, most likely: the server's read deadline passed."],
    [{ quiet: 60_000 }, NaN, "After a minute of silence, most likely: the server's read deadline passed."],
    [{ quiet: 60_000 }, 5, "The connection broke: "],
    [{ asked: true, busy: 300 }, 4, "This page asked to close"],
    [{ lost: "it slept" }, 4, "This page has given the connection up: it slept."],
  ]) {
    if (!first(close, step).startsWith(words)) throw new Error(`step ${step}, ${JSON.stringify(close)}: ${first(close, step)}`);
  }
});

test("an attempt that failed says whether the server answers", () => {
  if (!notOpen({ answered: true }).words.includes("has refused the handshake")) throw new Error(notOpen({ answered: true }).words);
  if (!notOpen({ answered: false }).words.startsWith("The server is not running")) throw new Error(notOpen({ answered: false }).words);
});

test("round trip finds its own messages among others", () => {
  const trip = new RoundTrip();
  trip.sent("a", 100);
  trip.sent("b", 110);
  equal(trip.received("somebody else's", 120), null);
  equal(trip.received("a", 130), 30);
  equal(trip.received("a", 140), null);
  equal(trip.received("b", 150), 40);
});

test("round trip forgets what is lost", () => {
  const trip = new RoundTrip();
  trip.sent("lost", 0);
  trip.sent("a", 10);
  equal(trip.received("a", 15), 5);
  equal(trip.received("lost", 20), null);
  trip.sent("b", 30, "its entry");
  equal(trip.takeAll(), ["its entry"]);
  equal(trip.received("b", 40), null);
});

test("round trip times a bounded number of messages", () => {
  const trip = new RoundTrip();
  for (let i = 0; i < 2000; i++) trip.sent(String(i), 0);
  equal(trip.received("999", 1), 1);
  equal(trip.received("1000", 1), null);
});

window.results = results;
