import { EngineError } from '../errors.ts'
import type { HeaderValue, Headers } from '../message/headers.ts'
import { Timestamp } from '../message/headers.ts'
import type { Binding } from './binding.ts'
import type { Bound, Finder, Matcher, Routable } from './matcher.ts'

/** The argument that says how the others are combined. */
const MODE_ARGUMENT = 'x-match'

/** Arguments with this prefix are for the broker, and are compared only by the `-with-x` modes. */
const EXTENSION_PREFIX = 'x-'

interface Condition {
  /** True: every wanted header must match. False: one is enough. */
  readonly every: boolean
  readonly wanted: readonly (readonly [name: string, value: HeaderValue])[]
}

/**
 * A binding's arguments name headers and the values they must have; `x-match` says how many must match:
 * `all` (when absent too) or `any`, which ignore arguments that start with `x-`, or `all-with-x` or `any-with-x`,
 * which compare them as well (`x-match` itself never). An argument without a value (null) asks only that the header
 * is there. Without anything to compare, `all` matches every message and `any` none. Routing keys play no part.
 */
export class HeadersMatcher<B extends Bound> implements Matcher<B> {
  readonly #conditions = new Map<B, Condition>()

  add(bound: B): void {
    this.#conditions.set(bound, condition(bound.binding))
  }

  remove(bound: B): void {
    this.#conditions.delete(bound)
  }

  match(message: Routable, finder: Finder<B>): void {
    if (this.#conditions.size === 0) return
    const headers = message.headers()
    for (const [bound, wanted] of this.#conditions) {
      if (holds(wanted, headers)) finder.found(bound)
    }
  }
}

function condition(binding: Binding): Condition {
  const mode = binding.args.get(MODE_ARGUMENT) ?? 'all'
  if (mode !== 'all' && mode !== 'any' && mode !== 'all-with-x' && mode !== 'any-with-x') {
    throw new EngineError(
      'invalid_argument',
      `binding of "${binding.destination.name}" to exchange "${binding.source}": ${MODE_ARGUMENT} must be all, any, all-with-x or any-with-x`,
      { argument: MODE_ARGUMENT },
    )
  }
  const extensions = mode === 'all-with-x' || mode === 'any-with-x'
  const wanted = [...binding.args].filter(
    ([name]) => name !== MODE_ARGUMENT && (extensions || !name.startsWith(EXTENSION_PREFIX)),
  )
  return { every: mode === 'all' || mode === 'all-with-x', wanted }
}

function holds({ every, wanted }: Condition, headers: Headers): boolean {
  for (const [name, value] of wanted) {
    const actual = headers.get(name)
    const matches = actual !== undefined && (value === null || equalValues(value, actual))
    if (matches !== every) return !every
  }
  return every
}

/** Equal in value and in class: all numbers are one class, whatever their size or encoding; a string is never a number. */
export function equalValues(a: HeaderValue, b: HeaderValue): boolean {
  if (a === b) return true
  if (typeof a === 'bigint') return typeof b === 'number' && equalNumbers(a, b)
  if (typeof b === 'bigint') return typeof a === 'number' && equalNumbers(b, a)
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.compare(a, b) === 0
  if (a instanceof Timestamp) return b instanceof Timestamp && a.ms === b.ms
  if (a instanceof Map) return b instanceof Map && equalMaps(a, b)
  return Array.isArray(a) && Array.isArray(b) && equalArrays(a, b)
}

function equalNumbers(a: bigint, b: number): boolean {
  return Number.isInteger(b) && BigInt(b) === a
}

function equalArrays(a: readonly HeaderValue[], b: readonly HeaderValue[]): boolean {
  return a.length === b.length && a.every((item, index) => equalValues(item, b[index]!))
}

function equalMaps(a: Headers, b: Headers): boolean {
  if (a.size !== b.size) return false
  for (const [name, value] of a) {
    const other = b.get(name)
    if (other === undefined || !equalValues(value, other)) return false
  }
  return true
}
