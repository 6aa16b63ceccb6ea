// How long a message takes to the server and back, and which messages are this
// page's own. A script can neither send a ping nor see one, so the page times its
// own messages: an echo, or from step 4 on a broadcast, brings each of them back, in
// the order in which it sent them.
//
// Messages have no sender here. If somebody else sends the same text in the same
// moment, it is taken for this page's, and the time shown is too short.

const LIMIT = 1000; // messages remembered at once; while so many are under way, others are not

export class RoundTrip {
  #underway = []; // { data, at, note }, oldest first

  // note is what takeAll returns if the message does not come back.
  sent(data, at, note = null) {
    if (this.#underway.length < LIMIT) this.#underway.push({ data, at, note });
  }

  // received returns the time that data took, or null if it is not known as own.
  received(data, at) {
    const i = this.#underway.findIndex((message) => message.data === data);
    if (i < 0) return null;
    const taken = this.#underway.splice(0, i + 1); // those before it are lost
    return at - taken[i].at;
  }

  // takeAll forgets what is under way, and returns the notes.
  takeAll() {
    return this.#underway.splice(0).map(({ note }) => note);
  }
}
