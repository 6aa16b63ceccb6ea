// Where a client is in a server's log of broadcasts: which log, and the number of the
// last broadcast that it has. It counts what comes (steps/10-resume/README.md says
// how). A server that knows nothing of numbers ignores the question.

export class Position {
  #log = ""; // the log that #last is of, or empty: nothing yet
  #last = 0;
  #alone = null; // the text before a message that does not count; null: nothing counts
  #fresh = false; // whether the next message is the first of its connection
  #skip = false; // whether the next message is for this client alone

  // begin is to be called before each connection. It returns what the handshake
  // says in its URL's query.
  begin() {
    this.#alone = null;
    this.#fresh = true;
    this.#skip = false;
    return this.#log === "" ? "after=" : new URLSearchParams({ after: this.#last, log: this.#log }).toString();
  }

  // received counts a message. It returns null if the message is one to show, and
  // otherwise what the server has said of the position: the hello, with resumed
  // beside it, or {} for a text that only says what comes next.
  received(data) {
    const fresh = this.#fresh;
    this.#fresh = false;
    if (fresh) {
      const hello = parseHello(data);
      if (!hello) return null;
      const resumed = this.#log !== "";
      this.#log = hello.log;
      this.#last = hello.next - 1;
      this.#alone = hello.alone;
      return { ...hello, resumed };
    }
    if (this.#alone === null) return null;
    if (data === this.#alone) {
      this.#skip = true;
      return {};
    }
    if (!this.#skip) this.#last++;
    this.#skip = false;
    return null;
  }
}

function parseHello(data) {
  try {
    const hello = JSON.parse(data);
    return typeof hello.alone === "string" && typeof hello.log === "string" && hello.log !== "" && Number.isSafeInteger(hello.next) ? hello : null;
  } catch {
    return null; // the first message of a server that does not count
  }
}
