import { SdkError } from '../errors.ts'
import { KEY_CHARS_MAX } from '../message/message.ts'
import { isStorable } from '../message/storable-text.ts'

/** What a contract's messages are about. */
export interface KeyRule {
  readonly of: (data: unknown) => string
  /** The version that the function was written for. */
  readonly version: number
}

/**
 * The key of data of the given version.
 *
 * A function that was written for an earlier version is watched: when it reads a field that the data does not have, it
 * would give a wrong key, and order would be lost in silence.
 *
 * @throws {SdkError} `invalid_declaration` when the function does not fit the version, `invalid_data` when the key is none
 */
export function keyOf(rule: KeyRule, data: unknown, name: string, version: number): string {
  const key = rule.version === version ? rule.of(data) : rule.of(watched(data, name, rule.version, version))
  if (typeof key !== 'string' || key === '' || key.length > KEY_CHARS_MAX || !isStorable(key))
    throw new SdkError(
      'invalid_data',
      `the key of "${name}" is ${describe(key)}; .key() must give a text of 1 to ${KEY_CHARS_MAX} characters`,
      { data: { contract: name, version } },
    )
  return key
}

/** The data, with an alarm on every field that is not there. */
function watched(data: unknown, name: string, written: number, version: number): unknown {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return data
  return new Proxy(data, {
    get(target, field) {
      if (typeof field === 'string' && !(field in target))
        throw new SdkError(
          'invalid_declaration',
          `the key of "${name}" was declared for version ${written} and reads "${field}", which this data of version ${version} does not have; repeat .key() after .next()`,
          { data: { contract: name, version, field } },
        )
      // With the target as receiver: what has private fields works only by itself.
      const value = Reflect.get(target, field, target) as unknown
      const descriptor = Reflect.getOwnPropertyDescriptor(target, field)
      // The language demands that a frozen field is shown as it is.
      if (descriptor?.configurable === false && descriptor.writable === false) return value
      return watched(value, name, written, version)
    },
  })
}

function describe(key: unknown): string {
  if (typeof key !== 'string') return key === null ? 'null' : typeof key
  if (key === '') return 'empty'
  return key.length > KEY_CHARS_MAX
    ? `${key.length} characters long`
    : 'a text with a NUL or half a surrogate pair in it'
}
