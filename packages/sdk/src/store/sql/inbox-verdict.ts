import type { Message } from '../../message/message.ts'
import type { Verdict } from '../port.ts'

/** What the database said of one message, when several are begun together. */
export interface Finding {
  /** An earlier message of its key is not done; nothing was recorded. */
  readonly behind: boolean
  /** Its row was not there, and is there now. */
  readonly recorded: boolean
  /** It has no dedupe key, or was the first with it, in this transaction. */
  readonly firstOfKey: boolean
  /** The highest number of its source, type and key, before these messages. Not looked at of what is behind. */
  readonly lastSeq: number | null
}

/** Puts what was found into words. The findings are of the same messages in the same order; of one id the first counts. */
export function verdictsOf(messages: readonly Message[], findings: ReadonlyMap<string, Finding>): readonly Verdict[] {
  const begun = new Set<string>()
  const last = new Map<string, number>()
  return messages.map((message) => {
    const { behind, recorded, firstOfKey, lastSeq } = findings.get(message.id)!
    const again = begun.has(message.id)
    begun.add(message.id)
    const kind = behind ? 'behind' : recorded && firstOfKey && !again ? 'new' : 'duplicate'
    const { source, type, key, keySeq } = message
    // What is behind was not recorded: it is compared when it is kept.
    if (behind || key === null || keySeq === null) return { message, kind, order: 'unknown' }
    const stream = JSON.stringify([source, type, key])
    const before = last.get(stream) ?? lastSeq
    last.set(stream, Math.max(before ?? 0, keySeq))
    return { message, kind, order: orderOf(keySeq, before) }
  })
}

function orderOf(keySeq: number, before: number | null): Verdict['order'] {
  if (before === null) return keySeq === 1 ? 'next' : 'unknown'
  if (keySeq <= before) return 'late'
  return keySeq === before + 1 ? 'next' : 'gap'
}
