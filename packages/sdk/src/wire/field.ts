import { SdkError } from '../errors.ts'
import { NAME_CHARS_MAX } from '../message/message.ts'
import { isStorable } from '../message/storable-text.ts'

/** A message that cannot be read. @param wrong what is wrong with the field, and what to do: `is missing; …` */
export function malformed(field: string, wrong: string, cause?: unknown): SdkError {
  return new SdkError('malformed_message', `"${field}" ${wrong}`, { data: { field }, cause })
}

const VERSION_MAX = 2 ** 31 - 1

/** Characters of a field of the metadata: those by which stores look for messages are names. */
export function charsMaxOf(field: string): number {
  return field === 'externalId' || field === 'dedupeKey' ? NAME_CHARS_MAX : Infinity
}

/** Text that every store can keep. */
export function text(field: string, value: string, charsMax = Infinity): string {
  if (value.length > charsMax) throw malformed(field, `has ${value.length} characters; at most ${charsMax} are allowed`)
  if (!isStorable(value)) throw malformed(field, 'has a NUL or half a surrogate pair in it; send text in UTF-8')
  return value
}

export function required(field: string, value: string | undefined, charsMax = Infinity): string {
  if (value === undefined || value === '') throw malformed(field, 'is missing; the sender has to set it')
  return text(field, value, charsMax)
}

/** A whole number from 1. */
export function count(field: string, value: string): number {
  const number = Number(value)
  if (!/^\d+$/.test(value) || number < 1 || !Number.isSafeInteger(number))
    throw malformed(field, `is ${JSON.stringify(value.slice(0, 40))}; it must be a whole number from 1`)
  return number
}

/** A version: every store has 32 bits for it. */
export function version(field: string, value: string): number {
  const number = count(field, value)
  if (number > VERSION_MAX) throw malformed(field, `is ${number}; at most ${VERSION_MAX} are known anywhere`)
  return number
}

/** The times that RFC 3339 can write, in ms: years 0 to 9999. */
const INSTANT_MIN = Date.UTC(2000, 0) - 63_113_904_000_000
const INSTANT_MAX = Date.UTC(10_000, 0) - 1

const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/

/** A time in ms since 1970, as RFC 3339 writes it. */
export function instantText(ms: number): string {
  return new Date(Math.min(Math.max(Math.trunc(ms), INSTANT_MIN), INSTANT_MAX)).toISOString()
}

/** The ms since 1970 of a time in RFC 3339; what is finer than a millisecond is left out. */
export function instant(field: string, value: string): number {
  const upper = value.toUpperCase()
  const ms = INSTANT.test(upper) ? Date.parse(upper) : Number.NaN
  if (Number.isNaN(ms))
    throw malformed(field, `is ${JSON.stringify(value.slice(0, 40))}; it must be a time like 2026-01-31T12:00:00.000Z`)
  return ms
}
