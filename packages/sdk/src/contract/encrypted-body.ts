import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, type KeyObject } from 'node:crypto'
import { SdkError } from '../errors.ts'
import type { BodyContext, BodyFormat, Written } from './body-format.ts'
import {
  contentTypeAround,
  contentTypeInside,
  coreOf,
  layeredShape,
  mediaTypeOf,
  readInside,
  wrapped,
} from './body-layers.ts'
import { isKeyId, secret, type BodyKeys } from './body-keys.ts'

/** Media type of encrypted bodies; its parameter `of` is the content type inside. */
const ENCRYPTED = 'application/vnd.stathmos.encrypted'

const ALGORITHM = 'aes-256-gcm'
/** The layout that is written: the first byte of every body. */
const LAYOUT = 1
/** GCM is made for 96 bits (NIST SP 800-38D §8.2). */
const NONCE_BYTES = 12
/** The full length: a shorter tag is easier to guess. */
const TAG_BYTES = 16

/** How a body is encrypted. */
export interface EncryptedOptions {
  /**
   * What becomes of bodies that came without encryption. `accept` reads them, for as long as senders and stored messages
   * change over; anybody who can write to a queue can then send what he likes. Default `refuse`.
   */
  readonly plaintext?: 'refuse' | 'accept'
  /**
   * Where nonces come from. Default: the operating system's cryptographic generator. It is handed in to reproduce a known
   * body, and for nothing else: two bodies with the same nonce under the same key show how they differ, and let anybody
   * forge others. That is why the service's `random`, which tests seed, is not asked: it would give every run of a test,
   * and every process with the same seed, the nonces of the one before.
   */
  readonly nonce?: (bytes: number) => Uint8Array
}

/**
 * Bodies of another format, encrypted and authenticated with AES-256-GCM, each for one message: in another message, under
 * another contract's name or version, or with a byte changed, it is refused as `malformed_message`. Keys, ids, names and
 * metadata are not encrypted: they are what messages are routed and found by. docs/sdk/bodies.md has the layout.
 *
 * A key is good for 2^32 bodies, of all processes together (NIST SP 800-38D §8.3).
 *
 * @throws {SdkError} `invalid_declaration` around a format whose bodies lie elsewhere, as they would lie there readable
 */
export function encrypted(inner: BodyFormat, keys: BodyKeys, options: EncryptedOptions = {}): BodyFormat {
  const { plaintext = 'refuse', nonce = randomBytes } = options
  if (isDetached(inner))
    throw new SdkError(
      'invalid_declaration',
      'encrypted around claimCheck would leave the bodies readable where they are stored; write claimCheck(encrypted(…), …)',
    )
  const accepts = plaintext === 'accept'
  const wrap = async ({ contentType, body }: Written, context: BodyContext): Promise<Written> => {
    const { id, key } = await currentOf(keys)
    const sealed = seal(body, { id, key, nonce: nonce(NONCE_BYTES), bound: boundTo(context, contentType) })
    return { contentType: contentTypeAround(ENCRYPTED, contentType), body: sealed }
  }
  return {
    contentType: contentTypeAround(ENCRYPTED, inner.contentType),
    reads: (mediaType) => mediaType === ENCRYPTED || (accepts && inner.reads(mediaType)),
    async encode(data, context = NOBODY) {
      const written = await wrapped(inner, await coreOf(inner).encode(data, context), context)
      return (await wrap(written, context)).body
    },
    async decode(body, context = NOBODY) {
      const { contentType } = context
      if (accepts && contentType !== '' && mediaTypeOf(contentType) !== ENCRYPTED)
        return readInside(inner, { contentType, body }, context)
      const of = contentTypeInside(contentType) ?? inner.contentType
      const opened = await open(body, keys, context, of)
      return quietly(inner, context, () => readInside(inner, { contentType: of, body: opened }, context))
    },
    shape: () => layeredShape(inner, { name: 'encryption', optional: accepts }),
    layer: {
      inner,
      wrap,
      secret: true,
      digest: (body, known) => digest(keys, body, known),
    },
  }
}

/** For callers without a contract. */
const NOBODY: BodyContext = { id: null, type: '', version: 1, contentType: '' }

interface Sealing {
  readonly id: string
  readonly key: KeyObject
  readonly nonce: Uint8Array
  readonly bound: Uint8Array
}

function seal(body: Uint8Array, { id, key, nonce, bound }: Sealing): Uint8Array {
  if (nonce.byteLength !== NONCE_BYTES)
    throw new SdkError('invalid_declaration', `a nonce has ${NONCE_BYTES} bytes, and ${nonce.byteLength} were given`)
  const header = Buffer.concat([Uint8Array.of(LAYOUT, id.length), Buffer.from(id, 'latin1')])
  const cipher = createCipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(Buffer.concat([header, bound]))
  return Buffer.concat([header, nonce, cipher.update(body), cipher.final(), cipher.getAuthTag()])
}

async function open(body: Uint8Array, keys: BodyKeys, context: BodyContext, of: string): Promise<Uint8Array> {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const layout = bytes[0]
  if (layout !== LAYOUT)
    throw malformed(
      context,
      `begins with ${layout ?? 'nothing'} and not with ${LAYOUT}: it was written by another program`,
    )
  const headerBytes = 2 + (bytes[1] ?? 0)
  if (headerBytes === 2 || bytes.byteLength < headerBytes + NONCE_BYTES + TAG_BYTES)
    throw malformed(context, `has ${bytes.byteLength} bytes, which is too short`)
  const id = bytes.toString('latin1', 2, headerBytes)
  if (!isKeyId(id)) throw malformed(context, 'names no key')
  const key = await found(keys, id, `the body of ${nameOf(context)}`)
  const textAt = headerBytes + NONCE_BYTES
  const tagAt = bytes.byteLength - TAG_BYTES
  const decipher = createDecipheriv(ALGORITHM, key, bytes.subarray(headerBytes, textAt), { authTagLength: TAG_BYTES })
  decipher.setAAD(Buffer.concat([bytes.subarray(0, headerBytes), boundTo(context, of)]))
  decipher.setAuthTag(bytes.subarray(tagAt))
  const opened = decipher.update(bytes.subarray(textAt, tagAt))
  try {
    return Buffer.concat([opened, decipher.final()])
  } catch {
    throw malformed(
      context,
      `was changed, belongs to another message, or was encrypted with another key of the name "${id}"`,
    )
  }
}

/** What a body is bound to: a body is of no use under another id, name, version or content type. */
function boundTo({ id, type, version }: BodyContext, contentType: string): Uint8Array {
  if (id === null)
    throw new SdkError(
      'invalid_declaration',
      `an encrypted body${type === '' ? '' : ` of "${type}"`} belongs to one message; give the message's id: contract.encode(data, id)`,
    )
  const parts = [id, type, String(version), contentType].flatMap((text) => {
    const bytes = Buffer.from(text)
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.byteLength)
    return [length, bytes]
  })
  return Buffer.concat(parts)
}

/**
 * Keyed, because a plain hash would let anybody find out data that can be guessed. It names its key, by which a later one
 * is compared with it.
 */
async function digest(keys: BodyKeys, body: Uint8Array, known: string | null): Promise<string> {
  const id = known === null ? undefined : /^hmac:(.+):[0-9a-f]{64}$/.exec(known)?.[1]
  const made =
    id === undefined ? await currentOf(keys) : { id, key: await found(keys, id, 'what was submitted before') }
  const own = new Uint8Array(hkdfSync('sha256', made.key, '', 'stathmos digest', 32))
  return `hmac:${made.id}:${createHmac('sha256', own).update(body).digest('hex')}`
}

async function currentOf(keys: BodyKeys): Promise<{ readonly id: string; readonly key: KeyObject }> {
  const current = await asked('the key to encrypt with', async () => keys.current())
  return { id: current.id, key: secret(current) }
}

async function found(keys: BodyKeys, id: string, what: string): Promise<KeyObject> {
  const key = await asked(`the key "${id}"`, async () => keys.find(id))
  if (key !== null && key !== undefined) return secret({ id, key })
  throw new SdkError(
    'unknown_key',
    `${what} is encrypted with the key ${JSON.stringify(id)}, which this program does not have; give it that key, then retry the message`,
    { data: { keyId: id } },
  )
}

async function asked<T>(what: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (cause) {
    if (cause instanceof SdkError) throw cause
    throw new SdkError('unreachable', `${what} could not be fetched; its cause says why`, { retryable: true, cause })
  }
}

/** What a parser says of bytes that it cannot read often quotes them. */
async function quietly(inner: BodyFormat, context: BodyContext, read: () => Promise<unknown>): Promise<unknown> {
  try {
    return await read()
  } catch (error) {
    if (error instanceof SdkError) throw error
    throw malformed(context, `could be decrypted, and what was inside is no ${inner.contentType}`)
  }
}

function malformed(context: BodyContext, what: string): SdkError {
  return new SdkError('malformed_message', `the encrypted body of ${nameOf(context)} ${what}`, {
    data: { field: 'body', tampered: true },
  })
}

function nameOf({ type, id }: BodyContext): string {
  return `${type} ${id ?? ''}`.trim()
}

function isDetached({ layer }: BodyFormat): boolean {
  return layer !== undefined && (layer.detached === true || isDetached(layer.inner))
}
