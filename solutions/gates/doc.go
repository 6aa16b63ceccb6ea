// Package gates keeps steps, solutions, contracts and lessons in step. It has nothing
// but tests, which hold for the repository as it is handed out. What is about a
// starter that somebody has begun to solve is skipped, unless -authors asks for it.
//
//   - starters, drift, files, imports, todos: each starter is the solution before it
//     with what is new, and breaks its own promises only; carry takes a maintainer's
//     change of one solution over into the others
//   - mistakes, with testdata/mistakes: wrong servers are caught, by the right promise
//     and with words that help
//   - stress, long: right servers never fail; protocol and fuzz
//   - excerpts, commands, own, numbers, records, links, mermaid, spelling, with pages and
//     reader: what the pages say of the code, and of commands, is so
//   - programs, a package of its own: the real programs, over real TCP
//
// The flag -authors asks for what only authors need: it looks at begun starters too, and
// spelling and diagrams with aspell, npm and a browser. -long asks for what is slow.
// go run ./steps verify runs all that is slow.
package gates
