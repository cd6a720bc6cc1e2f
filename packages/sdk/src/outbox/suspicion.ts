import type { OutboxEntry } from '../store/port.ts'

/** Failures of the connection in a row after which messages are sent one at a time, to find the one that breaks it. */
const BREAKS_MAX = 3
/** Messages that are remembered to have broken the connection. */
const KNOWN_MAX = 1_000

/**
 * Tells a connection that is down from a message that brings it down. Both look the same: nothing is known of what was
 * sent. But who is sent alone and breaks it, while another one right after goes through, is to blame; when nothing goes
 * through, nobody is.
 */
export class Suspicion {
  #breaks = 0
  /** Sent alone, and broke the connection; nothing has gone through since. */
  readonly #suspects = new Map<string, OutboxEntry>()
  /** Were to blame before: they are sent alone and last. */
  readonly #known = new Set<string>()

  /** Whether nothing has broken since the connection worked. */
  get calm(): boolean {
    return this.#breaks === 0
  }

  /** Which of the entries to send now, as sends that follow each other. */
  partsOf(entries: readonly OutboxEntry[]): readonly (readonly OutboxEntry[])[] {
    if (this.#breaks >= BREAKS_MAX) {
      const free = withoutFollowers(entries, (entry) => this.#suspects.has(entry.message.id))
      return [[free.find((entry) => !this.#suspects.has(entry.message.id)) ?? entries[0]!]]
    }
    if (this.#known.size === 0) return [entries]
    const free = withoutFollowers(entries, (entry) => this.#known.has(entry.message.id))
    const clean = free.filter((entry) => !this.#known.has(entry.message.id))
    const known = free.filter((entry) => this.#known.has(entry.message.id)).map((entry) => [entry])
    return clean.length === 0 ? known : [clean, ...known]
  }

  /** Nothing is known of what was sent. */
  broke(part: readonly OutboxEntry[]): void {
    this.#breaks++
    if (part.length > 1 || this.#suspects.size >= KNOWN_MAX) return
    const [entry] = part
    this.#suspects.set(entry!.message.id, entry!)
  }

  /** The connection is fine. @returns who is to blame for the failures before */
  worked(part: readonly OutboxEntry[]): readonly OutboxEntry[] {
    this.#breaks = 0
    if (this.#suspects.size === 0 && this.#known.size === 0) return []
    for (const { message } of part) {
      this.#suspects.delete(message.id)
      this.#known.delete(message.id)
    }
    const guilty = [...this.#suspects.values()]
    this.#suspects.clear()
    for (const { message } of guilty) if (this.#known.size < KNOWN_MAX) this.#known.add(message.id)
    return guilty
  }
}

/** The name under which messages wait for each other; null for those without a key. */
export function lineOf({ message }: OutboxEntry): string | null {
  return message.key === null ? null : `${message.type}\n${message.key}`
}

/** The entries without those that come after one that `stops` its key. */
export function withoutFollowers(
  entries: readonly OutboxEntry[],
  stops: (entry: OutboxEntry) => boolean,
): readonly OutboxEntry[] {
  const stopped = new Set<string>()
  return entries.filter((entry) => {
    const line = lineOf(entry)
    if (line !== null && stopped.has(line)) return false
    if (line !== null && stops(entry)) stopped.add(line)
    return true
  })
}
