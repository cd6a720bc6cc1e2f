import { createHash } from 'node:crypto'
import type { Attempt } from '../store/port.ts'

/** Characters of a message and of a stack that are kept. */
const MESSAGE_CHARS_MAX = 1000
const STACK_CHARS_MAX = 4000

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

/** A failed attempt, for the history. */
export function attemptOf(error: unknown, attempt: number, at: number, by: string): Attempt {
  const { name, message } = described(error)
  const stack = error instanceof Error ? error.stack?.slice(0, STACK_CHARS_MAX) : undefined
  return {
    at,
    attempt,
    name,
    message: message.slice(0, MESSAGE_CHARS_MAX),
    ...(stack === undefined ? {} : { stack }),
    fingerprint: fingerprintOf(error),
    by,
  }
}

function described(error: unknown): { name: string; message: string } {
  if (!(error instanceof Error)) return { name: 'thrown', message: String(error) }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  return { name: code ?? error.name, message: error.message }
}
