// What a client was told, in the order in which it was told: one JSON line per event, appended and never changed.
// The checker believes nothing else.
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** Lines are collected before they are written; the process that writes them is never the one that is killed. */
const COLLECT_BYTES = 64 * 1024
const NEWLINE = 10

export class Ledger {
  #file
  #lines = ''

  constructor(path) {
    this.#file = openSync(path, 'a')
  }

  write(kind, fields) {
    this.#lines += `${JSON.stringify({ at: Number(process.hrtime.bigint()), kind, ...fields })}\n`
    if (this.#lines.length >= COLLECT_BYTES) this.flush()
  }

  flush() {
    writeSync(this.#file, this.#lines)
    this.#lines = ''
  }

  close() {
    this.flush()
    closeSync(this.#file)
  }
}

/** The events of every ledger in a directory, in the order in which they happened. */
export function readLedgers(dir) {
  const events = []
  for (const name of readdirSync(dir)) {
    if (!name.endsWith('.jsonl')) continue
    // As bytes: the ledger of hundreds of cycles is longer than a string can be.
    const bytes = readFileSync(join(dir, name))
    for (let at = 0; at < bytes.length;) {
      const end = bytes.indexOf(NEWLINE, at)
      const line = bytes.toString('utf8', at, end < 0 ? bytes.length : end)
      if (line !== '') events.push(JSON.parse(line))
      at = end < 0 ? bytes.length : end + 1
    }
  }
  return events.toSorted((a, b) => a.at - b.at)
}
