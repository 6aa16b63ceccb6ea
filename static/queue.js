// What waits while there is no connection, with a bound: a server that stays
// away for an hour must not fill the browser's memory.
export class Queue {
  #limit;
  #items = [];

  constructor(limit) {
    this.#limit = limit;
  }

  // add returns false if the queue is full.
  add(item) {
    if (this.#items.length >= this.#limit) return false;
    this.#items.push(item);
    return true;
  }

  // takeAll empties the queue and returns what was in it, oldest first.
  takeAll() {
    return this.#items.splice(0);
  }
}
