import type { HeaderValue, Headers } from '../message/headers.ts'
import { Timestamp } from '../message/headers.ts'
import { EngineError } from '../errors.ts'

/** Where a binding leads. */
export interface Destination {
  readonly kind: 'queue' | 'exchange'
  readonly name: string
}

/** A rule of an exchange: what matches `key` and `args` goes to the destination too. */
export interface Binding {
  /** Name of the exchange that the rule belongs to. */
  readonly source: string
  readonly destination: Destination
  readonly key: string
  readonly args: Headers
}

/**
 * Deepest nesting of arrays and maps in binding arguments. Comparing values recurses as deep as the arguments do,
 * so this bounds the stack whatever a message carries. Real arguments are flat.
 */
export const ARGUMENT_DEPTH_MAX = 32

/**
 * One string per meaning: two bindings are the same binding when source, destination, key and arguments are equal.
 * Arguments are equal whatever their order; numbers are equal by value, as in header matching.
 *
 * @throws {EngineError} `invalid_argument` when the arguments are nested deeper than {@link ARGUMENT_DEPTH_MAX}
 */
export function bindingIdentity(binding: Binding): string {
  const { source, destination, key, args } = binding
  return text(source) + destination.kind + text(destination.name) + text(key) + canonicalArguments(args)
}

/**
 * The arguments as one string, equal exactly when the arguments are equal. For comparing, not for reading back.
 *
 * @throws {EngineError} `invalid_argument` when nested deeper than {@link ARGUMENT_DEPTH_MAX}
 */
export function canonicalArguments(args: Headers): string {
  return args.size === 0 ? '' : canonicalMap(args, 1)
}

/** Length first, so that no content can pass for a delimiter. */
function text(value: string): string {
  return `${value.length}:${value}`
}

function canonicalMap(map: Headers, depth: number): string {
  const names = [...map.keys()].toSorted()
  return `{${names.map((name) => text(name) + canonicalValue(map.get(name)!, depth)).join('')}}`
}

function canonicalValue(value: HeaderValue, depth: number): string {
  if (depth > ARGUMENT_DEPTH_MAX) {
    throw new EngineError('invalid_argument', `binding arguments are nested deeper than ${ARGUMENT_DEPTH_MAX} levels`, {
      depthMax: ARGUMENT_DEPTH_MAX,
    })
  }
  if (value === null) return '~'
  if (typeof value === 'string') return `s${text(value)}`
  if (typeof value === 'boolean') return value ? 'T' : 'F'
  // An integer reads the same whether it came as a number or as a bigint.
  if (typeof value === 'number') return `n${Number.isInteger(value) ? BigInt(value) : value};`
  if (typeof value === 'bigint') return `n${value};`
  if (value instanceof Uint8Array) return `b${text(Buffer.from(value).toString('latin1'))}`
  if (value instanceof Timestamp) return `t${value.ms};`
  if (value instanceof Map) return canonicalMap(value, depth + 1)
  return `[${(value as readonly HeaderValue[]).map((item) => canonicalValue(item, depth + 1)).join('')}]`
}
