import type { OutboxEntry } from '../store/port.ts'

/** Failures of the connection in a row after which messages are sent one at a time, to find the one that breaks it. */
const BREAKS_MAX = 3
/** Messages that are remembered to have broken the connection. */
const KNOWN_MAX = 1_000

/**
 * Tells a connection that is down from a message that brings it down. Both look the same: nothing is known of what was
 * sent. Who was sent alone and broke it is suspected when the very next thing goes through. It may have been an outage
 * that ended then, so the suspect is put to the proof: it is sent alone right after others went through. If it breaks the
 * connection again, and again the very next thing goes through, it is to blame. An outage costs nobody anything.
 */
export class Suspicion {
  #breaks = 0
  /** Sent alone since something went through: others have their turn before them. */
  readonly #tried = new Set<string>()
  /** What broke the connection last, when it was sent alone, and whether it had been put to the proof. */
  #last: { readonly entry: OutboxEntry; readonly proven: boolean } | null = null
  /** Those under suspicion: they are sent alone and last. */
  readonly #known = new Set<string>()

  /** Whether nothing has broken since the connection worked. */
  get calm(): boolean {
    return this.#breaks === 0
  }

  /** Which of the entries to send now, as sends that follow each other. */
  partsOf(entries: readonly OutboxEntry[]): readonly (readonly OutboxEntry[])[] {
    if (this.#breaks >= BREAKS_MAX) {
      const free = withoutFollowers(entries, (entry) => this.#tried.has(entry.message.id))
      return [[free.find((entry) => !this.#tried.has(entry.message.id)) ?? entries[0]!]]
    }
    if (this.#known.size === 0) return [entries]
    const free = withoutFollowers(entries, (entry) => this.#known.has(entry.message.id))
    const clean = free.filter((entry) => !this.#known.has(entry.message.id))
    const known = free.filter((entry) => this.#known.has(entry.message.id)).map((entry) => [entry])
    return clean.length === 0 ? known : [clean, ...known]
  }

  /** Nothing is known of what was sent. */
  broke(part: readonly OutboxEntry[]): void {
    const { calm } = this
    const before = this.#last
    this.#breaks++
    this.#last = null
    const [entry] = part
    if (part.length > 1 || entry === undefined) return
    const { id } = entry.message
    const again = before?.entry.message.id === id && before.proven
    this.#last = { entry, proven: again || (calm && this.#known.has(id)) }
    if (this.#tried.size < KNOWN_MAX) this.#tried.add(id)
  }

  /** The connection is fine. @returns who is to blame for the failure before; null when nobody is */
  worked(part: readonly OutboxEntry[]): OutboxEntry | null {
    const last = this.#last
    this.#breaks = 0
    this.#last = null
    this.#tried.clear()
    if (this.#known.size > 0) for (const { message } of part) this.#known.delete(message.id)
    if (last === null || part.some(({ message }) => message.id === last.entry.message.id)) return null
    // Those that others have sent meanwhile are never seen again: the oldest makes room.
    for (const oldest of this.#known) {
      if (this.#known.size < KNOWN_MAX) break
      this.#known.delete(oldest)
    }
    this.#known.add(last.entry.message.id)
    return last.proven ? last.entry : null
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
