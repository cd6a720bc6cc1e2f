import { Buffer } from 'node:buffer'
import type { SqlValue } from '../driver.ts'

/** Values as every client takes them: some write an array of bytes that is no `Buffer` as a list of numbers. */
export function boundValues(values: readonly SqlValue[]): SqlValue[] {
  return values.map((value) =>
    value instanceof Uint8Array && !Buffer.isBuffer(value)
      ? Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      : value,
  )
}

/**
 * Whether a statement of the store comes back with rows, for clients that want to know it before. The store's own
 * statements only: none hides one word in a text, and those that change and then select begin with a table that changes.
 */
export function hasRows(text: string): boolean {
  return /^\s*(select|pragma|with)\b|\breturning\b/i.test(text)
}
