import { createHash } from 'node:crypto'
import type { Attempt } from '../store/port.ts'

/** Characters of a message and of a stack that are kept. */
const MESSAGE_CHARS_MAX = 1000
const STACK_CHARS_MAX = 4000
const NAME_CHARS_MAX = 100

/**
 * A name that errors share which an operator would call the same: made of the class or code, and of the message with
 * what differs from case to case (numbers, quoted texts, ids) taken out. 12 hexadecimal digits after the class's name.
 */
export function fingerprintOf(error: unknown): string {
  const { name, message } = described(error)
  const shape = message
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi, '#')
    .replace(/"[^"]*"|'[^']*'|`[^`]*`/g, '#')
    .replace(/\b0x[0-9a-f]+\b|\b[0-9a-f]*\d[0-9a-f]*\b/gi, '#')
  return `${name}-${createHash('sha256').update(shape).digest('hex').slice(0, 12)}`
}

/** A failed attempt, for the history. @param version of the program that tried, when it says one */
export function attemptOf(error: unknown, attempt: number, at: number, by: string, version?: string): Attempt {
  const { name, message, stack } = described(error)
  return {
    at,
    attempt,
    name,
    message: message.slice(0, MESSAGE_CHARS_MAX),
    ...(stack === undefined ? {} : { stack: stack.slice(0, STACK_CHARS_MAX) }),
    fingerprint: fingerprintOf(error),
    by,
    ...(version === undefined ? {} : { version }),
  }
}

interface Described {
  readonly name: string
  readonly message: string
  readonly stack?: string
}

/**
 * Handlers throw what they like: objects without a prototype, errors whose message is no text, names with a NUL, and what
 * throws when it is looked at.
 */
function described(error: unknown): Described {
  try {
    if (!(error instanceof Error)) return { name: 'thrown', message: textOf(error) }
    const { message, name, stack } = error
    const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
    const seen = { name: nameIn(code ?? textOf(name)), message: textOf(message) }
    return typeof stack === 'string' ? { ...seen, stack } : seen
  } catch {
    return { name: 'thrown', message: 'what was thrown does not let itself be looked at' }
  }
}

function textOf(value: unknown): string {
  try {
    return typeof value === 'object' && value !== null ? (JSON.stringify(value) ?? 'undefined') : String(value)
  } catch {
    return Object.prototype.toString.call(value)
  }
}

/** What every store can keep in a column and look for by an index. */
function nameIn(name: string): string {
  return name.replace(/[^\x20-\x7e]/g, '?').slice(0, NAME_CHARS_MAX)
}
