// Package gates keeps steps, solutions, contracts and lessons in step. It has nothing
// but tests, which hold for the repository as it is handed out. What is about a
// starter that somebody has begun to solve is skipped, unless -authors asks for it.
//
//   - starters, drift, files, imports, todos: each starter is the solution before it
//     with what is new, and breaks its own promises only
//   - mistakes, with testdata/mistakes: wrong servers are caught, by the right promise
//     and with words that help
//   - stress, long: right servers never fail; protocol and fuzz
//   - excerpts, commands, own, numbers, records, links, mermaid, with pages and reader: what the
//     pages say of the code, and of commands, is so
//   - attacks, flags, flood, kernel, loads, nginx, peers, soak, with process: the real
//     program over real TCP, on Linux
//
// What is slow runs with -long only; go run ./steps verify runs all of it.
package gates
