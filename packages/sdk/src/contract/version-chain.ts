import { createHash } from 'node:crypto'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { SdkError } from '../errors.ts'
import type { Message } from '../message/message.ts'
import type { BodyContext, BodyFormat, Written } from './body-format.ts'
import { coreOf, isSecret, layerDigest, mediaTypeOf, wrapped } from './body-layers.ts'
import { discreet, invalid, textOf, told, validated } from './validation.ts'

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

/** Which message a body belongs to: see {@link BodyContext}. */
export type About = Pick<BodyContext, 'id' | 'type'>

/** By what the same data is known again, without a message being made of it. */
export interface Digest {
  readonly version: number
  readonly contentType: string
  /** At most 200 characters; tells a stranger no more than the body that is sent. */
  readonly digest: string
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
  about: About,
): Promise<Written & { readonly value: unknown }> {
  return discreetly(chain, async () => {
    const { to, context, body, value } = await form(chain, version, data, about)
    return { ...(await wrapped(to.format, body, context)), value }
  })
}

/**
 * What {@link write} would write, in few characters: the same for the same data, whatever its layers do.
 *
 * @param known an earlier one that this is to be compared with
 * @throws {SdkError} `invalid_data`
 */
export async function digestOf(
  chain: VersionChain,
  version: number,
  data: unknown,
  about: About,
  known: string | null,
): Promise<Digest> {
  return discreetly(chain, async () => {
    const { to, body } = await form(chain, version, data, about)
    const { contentType } = coreOf(to.format)
    const plain = (): string => createHash('sha256').update(`${version} ${contentType} `).update(body).digest('hex')
    return { version, contentType, digest: (await layerDigest(to.format, body, known)) ?? plain() }
  })
}

/** Data in the innermost format of a version, and validated. */
interface Formed {
  readonly to: VersionDefinition
  readonly context: BodyContext
  readonly body: Uint8Array
  /** What the newest version's validator makes of it. */
  readonly value: unknown
}

async function form(chain: VersionChain, version: number, data: unknown, about: About): Promise<Formed> {
  const newest = newestOf(chain)
  const written = await writeOne(chain, newest, data, about)
  let { value } = written
  if (version === newest.version) return { to: newest, ...written }
  for (const at of chain.versions.slice(version).toReversed()) {
    const to = chain.versions[at.version - 2]!
    const old = cast(at.down, value, `${named(chain, at)} to ${to.version}`)
    if (to.version > version) value = await validated(to.schema, old, named(chain, to))
    else return { to, ...(await writeOne(chain, to, old, about)), value: written.value }
  }
  throw new SdkError('invalid_declaration', `${chain.what} has no version ${version}`)
}

/**
 * Reads a body of any version that is known and brings it to the newest.
 *
 * @param trusting leaves the newest version's data unvalidated
 * @throws {SdkError} `unknown_contract`, `malformed_message`, `invalid_data`
 */
export async function read(chain: VersionChain, written: Received, trusting: boolean, about: About): Promise<unknown> {
  return discreetly(chain, () => readAny(chain, written, trusting, about))
}

type Received = Pick<Message, 'version' | 'contentType' | 'body'>

async function readAny(chain: VersionChain, written: Received, trusting: boolean, about: About): Promise<unknown> {
  const newest = newestOf(chain)
  if (written.version > newest.version) return readNewer(chain, written, trusting, about)
  const first = chain.versions[written.version - 1]
  if (first === undefined) throw unknownVersion(chain, written.version)
  const checked = (version: VersionDefinition, data: unknown): unknown =>
    trusting && version === newest ? data : validated(version.schema, data, named(chain, version))
  let value = await checked(first, await decoded(chain, first, written, about))
  for (const next of chain.versions.slice(written.version)) {
    const raised = cast(next.up, value, `${chain.what} version ${next.version - 1} to ${next.version}`)
    value = await checked(next, raised)
  }
  return value
}

/** Reads a version of the future by the newest that is known; the validator lets pass what it knows. */
async function readNewer(chain: VersionChain, written: Received, trusting: boolean, about: About): Promise<unknown> {
  if (!chain.forward) throw unknownVersion(chain, written.version)
  const newest = newestOf(chain)
  try {
    const value = await decoded(chain, newest, written, about)
    return trusting ? value : await validated(newest.schema, value, named(chain, newest))
  } catch (cause) {
    if (
      cause instanceof SdkError &&
      (cause.retryable || cause.data['tampered'] === true || OTHER_CAUSES.has(cause.code))
    )
      throw cause
    throw unknownVersion(chain, written.version, cause)
  }
}

/** What keeps a message from being read that has nothing to do with its version. */
const OTHER_CAUSES: ReadonlySet<string> = new Set(['peer_missing', 'peer_unusable', 'unknown_key'])

async function writeOne(
  chain: VersionChain,
  version: VersionDefinition,
  data: unknown,
  about: About,
): Promise<Omit<Formed, 'to'>> {
  const { schema } = version
  const format = coreOf(version.format)
  const context = { ...about, version: version.version, contentType: format.contentType }
  let body: Uint8Array
  let again: unknown
  try {
    body = await format.encode(data, context)
    again = await format.decode(body, context)
  } catch (cause) {
    if (cause instanceof SdkError) throw cause
    const message = `it has no form as ${format.contentType}: ${textOf(cause)}`
    throw invalid(named(chain, version), [{ path: '', message }], cause)
  }
  return { context, body, value: await validatedAgain(schema, data, again, format, named(chain, version)) }
}

/**
 * What consumers get is not the data but what its body is read as, in which a date is a text. A schema that takes the one and
 * not the other looks as if the sender had given what it did not give.
 */
async function validatedAgain(
  schema: VersionDefinition['schema'],
  data: unknown,
  again: unknown,
  format: BodyFormat,
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
  { contentType, body, version: written }: Received,
  about: About,
): Promise<unknown> {
  const { format } = version
  if (!format.reads(mediaTypeOf(contentType)))
    throw new SdkError(
      'malformed_message',
      `the body is ${contentType === '' ? 'of no content type' : `"${contentType}"`}, but ${named(chain, version)} is read from ${format.contentType}; send that, or declare a version with .body() of the other format`,
      { data: { field: 'contentType', contentType } },
    )
  try {
    return await format.decode(body, { ...about, version: written, contentType })
  } catch (cause) {
    if (cause instanceof SdkError) throw cause
    throw new SdkError(
      'malformed_message',
      `the body of ${named(chain, version)} is no ${format.contentType}: ${textOf(cause)}`,
      { data: { field: 'body' }, cause },
    )
  }
}

/** Where a version's bodies are secret, what is told of the data says nothing of it. */
async function discreetly<T>(chain: VersionChain, work: () => Promise<T>): Promise<T> {
  if (!chain.versions.some(({ format }) => isSecret(format))) return work()
  try {
    return await work()
  } catch (error) {
    throw discreet(error, chain.what)
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
