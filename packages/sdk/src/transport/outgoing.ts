import { SdkError } from '../errors.ts'
import { BUCKETS, bucketOf } from '../message/bucket.ts'
import type { Message } from '../message/message.ts'
import type { Random } from '../random.ts'
import type { WireForm, Wired } from '../wire/wire-form.ts'

/**
 * A message as bytes, or why it can never be sent: `too_large`, or `refused` by the form.
 *
 * @param bodyBytesMax the transport's limit
 */
export function written(message: Message, form: WireForm, bodyBytesMax: number): Wired | SdkError {
  try {
    const wired = form.encode(message)
    if (wired.body.length <= bodyBytesMax) return wired
    return tooLarge(message, wired.body.length, bodyBytesMax)
  } catch (error) {
    return error instanceof SdkError ? error : refused(message, error)
  }
}

/** Where among the places of its contract a message belongs: by its key, and anywhere without one. */
export function bucketFor(message: Message, random: Random): number {
  return message.key === null ? random.uint32() % BUCKETS : bucketOf(message.key)
}

export function tooLarge(message: Message, bytes: number, bytesMax: number): SdkError {
  const text = `${nameOf(message)} has a body of ${bytes} bytes; the transport takes at most ${bytesMax}`
  return new SdkError('too_large', text, { data: { id: message.id, type: message.type, bytes, bytesMax } })
}

export function unroutable(message: Message): SdkError {
  const isReply = message.kind === 'reply'
  const where = isReply
    ? 'nobody waits for it any more'
    : `no service has declared yet that it ${message.kind === 'command' ? 'handles' : 'answers'} it; start the one that does, or correct the name`
  const data = { id: message.id, type: message.type, kind: message.kind }
  // A consumer may be deployed later than those who send to it. Who has gone away with its reply place never comes back.
  return new SdkError('unroutable', `${nameOf(message)} reaches nobody: ${where}`, { data, retryable: !isReply })
}

export function refused(message: Message, cause: unknown): SdkError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  const data = { id: message.id, type: message.type }
  return new SdkError('refused', `${nameOf(message)} was refused: ${reason}`, { data, cause })
}

/** The engine has no room for it now. */
export function overloaded(message: Message): SdkError {
  const text = `${nameOf(message)} was not taken: a queue for it is full`
  return new SdkError('overloaded', text, { retryable: true, data: { id: message.id, type: message.type } })
}

/** Nothing is known of what was under way. */
export function transportDown(what: string, cause?: unknown): SdkError {
  return new SdkError('transport_down', what, { retryable: true, ...(cause === undefined ? {} : { cause }) })
}

function nameOf({ kind, type, id }: Message): string {
  return `${kind} "${type}" ${id}`
}
