// What a client was told, in the order in which it was told: one JSON line per event, appended and never changed.
// The checker believes nothing else.
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** Lines are collected before they are written; the process that writes them is never the one that is killed. */
const COLLECT_BYTES = 64 * 1024

/**
 * One event of a ledger. `at` is nanoseconds of the machine's monotonic clock, which all processes share.
 *
 * @typedef {{ at: number, kind: 'publish', id: string, queues: string[], persistent: boolean, hash: string, by: string, seq: number, tx?: string }
 *   | { at: number, kind: 'confirm' | 'refuse', id: string }
 *   | { at: number, kind: 'deliver', queue: string, id: string, hash: string, redelivered: boolean, session: string }
 *   | { at: number, kind: 'settle', queue: string, id: string, outcome: 'accept' | 'reject' | 'release' }
 *   | { at: number, kind: 'begin', tx: string, takes: { queue: string, id: string }[] }
 *   | { at: number, kind: 'committed' | 'rolled-back', tx: string }
 *   | { at: number, kind: 'purging' | 'purged', queue: string, ids: string[] }
 *   | { at: number, kind: 'declaring' | 'declared' | 'deleting' | 'deleted', name: string }
 *   | { at: number, kind: 'seen', name: string, exists: boolean }
 *   | { at: number, kind: 'drained', queue: string }} Event
 */

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
    for (const line of readFileSync(join(dir, name), 'utf8').split('\n')) if (line !== '') events.push(JSON.parse(line))
  }
  return events.toSorted((a, b) => a.at - b.at)
}
