import type { StandardSchemaV1 } from '@standard-schema/spec'
import { SdkError } from '../errors.ts'
import type { Message } from '../message/message.ts'
import type { BodyFormat } from './body-format.ts'
import { invalid, textOf, told, validated } from './validation.ts'

/** One version of a contract's data. */
export interface VersionDefinition {
  readonly version: number
  readonly schema: StandardSchemaV1
  readonly format: BodyFormat
  /** From what the validator of the version before gave to what this one's takes; null for the first. */
  readonly up: ((old: never) => unknown) | null
  /** From what this version's validator gave to what the one of the version before takes. */
  readonly down: ((data: never) => unknown) | null
}

/** All versions of what a contract carries, from 1 on. */
export interface VersionChain {
  /** For errors: `"ticket.submitted"`. */
  readonly what: string
  readonly versions: readonly VersionDefinition[]
  /** Whether a version that is not known is read as if it were the newest known one. */
  readonly forward: boolean
}

/** The newest version. */
export function newestOf({ versions }: VersionChain): VersionDefinition {
  return versions[versions.length - 1]!
}

/**
 * Writes data of the newest version in `version`, and validates what a receiver will read of it: the data after it was
 * written and read again, so that what the format cannot carry is found by the sender.
 *
 * @returns the body, and what the newest version's validator makes of the data
 * @throws {SdkError} `invalid_data`
 */
export async function write(
  chain: VersionChain,
  version: number,
  data: unknown,
): Promise<{ contentType: string; body: Uint8Array; value: unknown }> {
  const newest = newestOf(chain)
  const written = await writeOne(chain, newest, data)
  let { value } = written
  if (version === newest.version) return { contentType: newest.format.contentType, ...written }
  for (const at of chain.versions.slice(version).toReversed()) {
    const to = chain.versions[at.version - 2]!
    const old = cast(at.down, value, `${named(chain, at)} to ${to.version}`)
    if (to.version > version) value = await validated(to.schema, old, named(chain, to))
    else
      return {
        contentType: to.format.contentType,
        body: (await writeOne(chain, to, old)).body,
        value: written.value,
      }
  }
  throw new SdkError('invalid_declaration', `${chain.what} has no version ${version}`)
}

/**
 * Reads a body of any version that is known and brings it to the newest.
 *
 * @param trusting leaves the newest version's data unvalidated
 * @throws {SdkError} `unknown_contract`, `malformed_message`, `invalid_data`
 */
export async function read(
  chain: VersionChain,
  written: Pick<Message, 'version' | 'contentType' | 'body'>,
  trusting: boolean,
): Promise<unknown> {
  const newest = newestOf(chain)
  if (written.version > newest.version) return readNewer(chain, written, trusting)
  const first = chain.versions[written.version - 1]
  if (first === undefined) throw unknownVersion(chain, written.version)
  const checked = (version: VersionDefinition, data: unknown): unknown =>
    trusting && version === newest ? data : validated(version.schema, data, named(chain, version))
  let value = await checked(first, await decoded(chain, first, written))
  for (const next of chain.versions.slice(written.version)) {
    const raised = cast(next.up, value, `${chain.what} version ${next.version - 1} to ${next.version}`)
    value = await checked(next, raised)
  }
  return value
}

/** Reads a version of the future by the newest that is known; the validator lets pass what it knows. */
async function readNewer(
  chain: VersionChain,
  written: Pick<Message, 'version' | 'contentType' | 'body'>,
  trusting: boolean,
): Promise<unknown> {
  if (!chain.forward) throw unknownVersion(chain, written.version)
  const newest = newestOf(chain)
  try {
    const value = await decoded(chain, newest, written)
    return trusting ? value : await validated(newest.schema, value, named(chain, newest))
  } catch (cause) {
    if (cause instanceof SdkError && (cause.code === 'peer_missing' || cause.code === 'peer_unusable')) throw cause
    throw unknownVersion(chain, written.version, cause)
  }
}

async function writeOne(
  chain: VersionChain,
  version: VersionDefinition,
  data: unknown,
): Promise<{ body: Uint8Array; value: unknown }> {
  const { format, schema } = version
  let body: Uint8Array
  let again: unknown
  try {
    body = await format.encode(data)
    again = await format.decode(body)
  } catch (cause) {
    if (cause instanceof SdkError) throw cause
    const message = `it has no form as ${format.contentType}: ${textOf(cause)}`
    throw invalid(named(chain, version), [{ path: '', message }], cause)
  }
  return { body, value: await validatedAgain(schema, data, again, version, named(chain, version)) }
}

/**
 * What consumers get is not the data but what its body is read as, in which a date is a text. A schema that takes the one and
 * not the other looks as if the sender had given what it did not give.
 */
async function validatedAgain(
  schema: VersionDefinition['schema'],
  data: unknown,
  again: unknown,
  { format }: VersionDefinition,
  what: string,
): Promise<unknown> {
  try {
    return await validated(schema, again, what)
  } catch (cause) {
    if (!(cause instanceof SdkError)) throw cause
    const isFine = await validated(schema, data, what).then(
      () => true,
      () => false,
    )
    if (!isFine) throw cause
    const isJson = format.contentType === 'application/json'
    const [name, remedy] = isJson
      ? ['JSON', 'what JSON has, as z.coerce.date() for a Date, which is a text there, or z.array() for a Set']
      : [format.contentType, 'what that has']
    const text = `the data is what ${what} declares, but consumers get it as ${name} gives it back, and that is not: ${told(cause)}; declare ${remedy}`
    throw new SdkError('invalid_data', text, { data: cause.data, cause })
  }
}

async function decoded(
  chain: VersionChain,
  version: VersionDefinition,
  { contentType, body }: Pick<Message, 'contentType' | 'body'>,
): Promise<unknown> {
  const mediaType = contentType.split(';', 1)[0]!.trim().toLowerCase()
  const { format } = version
  if (!format.reads(mediaType))
    throw new SdkError(
      'malformed_message',
      `the body is ${contentType === '' ? 'of no content type' : `"${contentType}"`}, but ${named(chain, version)} is read from ${format.contentType}; send that, or declare a version with .body() of the other format`,
      { data: { field: 'contentType', contentType } },
    )
  try {
    return await format.decode(body)
  } catch (cause) {
    if (cause instanceof SdkError) throw cause
    throw new SdkError(
      'malformed_message',
      `the body of ${named(chain, version)} is no ${format.contentType}: ${textOf(cause)}`,
      { data: { field: 'body' }, cause },
    )
  }
}

/** Calls an upcaster or downcaster. What it throws says that the data does not fit. */
function cast(caster: ((value: never) => unknown) | null, value: unknown, way: string): unknown {
  if (caster === null)
    throw new SdkError('invalid_declaration', `nothing brings ${way}; give .next() a \`down\` function`)
  try {
    return caster(value as never)
  } catch (cause) {
    if (cause instanceof SdkError) throw cause
    throw new SdkError('invalid_data', `the data could not be brought from ${way}: ${textOf(cause)}`, { cause })
  }
}

function unknownVersion(chain: VersionChain, version: number, cause?: unknown): SdkError {
  const known = newestOf(chain).version
  return new SdkError(
    'unknown_contract',
    `${chain.what} version ${version} is not known here, only ${known === 1 ? '1' : `1 to ${known}`}; deploy a program that knows it, then retry the message`,
    { data: { version, known }, cause },
  )
}

function named(chain: VersionChain, { version }: VersionDefinition): string {
  return `${chain.what} version ${version}`
}
