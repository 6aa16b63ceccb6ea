// How long a message takes to the server and back. A script can neither send a
// ping nor see one, so the page times its own messages: an echo, or from step 4
// on a broadcast, brings each of them back, in the order in which it sent them.
//
// Messages have no sender here. If somebody else sends the same text in the same
// moment, the time shown is too short.

const LIMIT = 100; // messages timed at once; while so many are under way, others are not

export class RoundTrip {
  #underway = []; // { data, at }, oldest first

  sent(data, at) {
    if (this.#underway.length < LIMIT) this.#underway.push({ data, at });
  }

  // received returns the time that data took, or null if it was not timed.
  received(data, at) {
    const i = this.#underway.findIndex((message) => message.data === data);
    if (i < 0) return null;
    const taken = this.#underway.splice(0, i + 1); // those before it are lost
    return at - taken[i].at;
  }

  reset() {
    this.#underway = [];
  }
}
