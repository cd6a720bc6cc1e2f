import { createHash } from 'node:crypto'
import { BLOB_KEY, type Blobs } from '../blobs/blobs.ts'
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

/** Media type of a body that says where the body is; its parameter `of` is the content type there. */
export const CLAIM_CHECK = 'application/vnd.stathmos.claim-check'

/** Bytes of a body that lies elsewhere, unless the declaration allows more: sender and receiver have it in memory. */
const BYTES_MAX = 64 * 1024 * 1024
/** Bytes of a reference: a hash and a number. */
const REFERENCE_BYTES_MAX = 1024

/** Which bodies lie elsewhere, and where. */
export interface ClaimCheckOptions {
  /** Bodies of more bytes than this. */
  readonly above: number
  readonly blobs: Blobs
  /** Bytes of the largest body, for senders and receivers: more is `too_large`. Default 64 MiB. */
  readonly bytesMax?: number
}

/** What is sent of a body that lies elsewhere. */
interface Reference {
  readonly sha256: string
  readonly bytes: number
}

/**
 * Keeps large bodies of another format out of messages: they are put among blobs by their SHA-256, and the message says
 * where. Small ones stay as they are, so that it can be put around the format of a contract without a new version, once all
 * receivers have it. A body is there before its transaction can commit; one whose transaction was rolled back stays until
 * it is pruned, as all are: see `retention.blobs`.
 *
 * A body that is missing is an attempt that failed: it is tried again and, if nobody brings it back, parked. One with
 * another hash or size is `malformed_message`.
 *
 * @throws {SdkError} `invalid_declaration`
 */
export function claimCheck(inner: BodyFormat, options: ClaimCheckOptions): BodyFormat {
  const { above, blobs, bytesMax = BYTES_MAX } = options
  for (const [name, bytes] of Object.entries({ above, bytesMax }))
    if (!Number.isSafeInteger(bytes) || bytes < 0)
      throw new SdkError('invalid_declaration', `${name} is ${bytes}; it must be a whole number of bytes`)
  const checkedIn = async ({ contentType, body }: Written, context: BodyContext): Promise<Written> => {
    const bytes = body.byteLength
    if (bytes > bytesMax) throw tooLarge(context, bytes, bytesMax)
    const sha256 = hashOf(body)
    await reached(context, 'could not be put among the blobs', () => blobs.put(sha256, body))
    const reference: Reference = { sha256, bytes }
    return { contentType: contentTypeAround(CLAIM_CHECK, contentType), body: Buffer.from(JSON.stringify(reference)) }
  }
  const fetched = async (body: Uint8Array, context: BodyContext): Promise<Uint8Array> => {
    const { sha256, bytes } = referenceIn(body, context)
    if (bytes > bytesMax) throw tooLarge(context, bytes, bytesMax)
    const found = await reached(context, 'could not be fetched from the blobs', () => blobs.get(sha256))
    if (found === null)
      throw new SdkError(
        'not_found',
        `the body of ${nameOf(context)}, ${bytes} bytes, is not among the blobs under ${sha256}; bring it back there, then retry the message, or cancel it`,
        { retryable: true, data: { sha256, bytes } },
      )
    if (found.byteLength !== bytes || hashOf(found) !== sha256)
      throw malformed(context, `is not what lies among the blobs under ${sha256}: it was changed there`)
    return found
  }
  return {
    contentType: contentTypeAround(CLAIM_CHECK, inner.contentType),
    reads: (mediaType) => mediaType === CLAIM_CHECK || inner.reads(mediaType),
    /** Always elsewhere, whatever its size: for formats around this one, which give only bytes. */
    async encode(data, context = NOBODY) {
      const written = await wrapped(inner, await coreOf(inner).encode(data, context), context)
      return (await checkedIn(written, context)).body
    },
    async decode(body, context = NOBODY) {
      const { contentType } = context
      if (contentType !== '' && mediaTypeOf(contentType) !== CLAIM_CHECK)
        return readInside(inner, { contentType, body }, context)
      const of = contentTypeInside(contentType) ?? inner.contentType
      return readInside(inner, { contentType: of, body: await fetched(body, context) }, context)
    },
    shape: () => layeredShape(inner, { name: 'claim check', optional: true }),
    layer: {
      inner,
      detached: true,
      wrap: (written, context) => (written.body.byteLength > above ? checkedIn(written, context) : written),
    },
  }
}

/** For callers without a contract. */
const NOBODY: BodyContext = { id: null, type: '', version: 1, contentType: '' }

function referenceIn(body: Uint8Array, context: BodyContext): Reference {
  if (body.byteLength > REFERENCE_BYTES_MAX)
    throw malformed(context, `has ${body.byteLength} bytes, which no reference has`)
  let value: Partial<Reference> | null
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as Partial<Reference> | null
  } catch {
    throw malformed(context, 'is no JSON, which a reference is')
  }
  const { sha256, bytes } = value ?? {}
  if (typeof sha256 !== 'string' || !BLOB_KEY.test(sha256) || !Number.isSafeInteger(bytes) || (bytes ?? -1) < 0)
    throw malformed(context, 'is no reference: it needs "sha256" in hexadecimal and "bytes"')
  return { sha256, bytes: bytes! }
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

async function reached<T>(context: BodyContext, failure: string, reach: () => Promise<T>): Promise<T> {
  try {
    return await reach()
  } catch (cause) {
    if (cause instanceof SdkError) throw cause
    throw new SdkError('unreachable', `the body of ${nameOf(context)} ${failure}; its cause says why`, {
      retryable: true,
      cause,
    })
  }
}

function tooLarge(context: BodyContext, bytes: number, max: number): SdkError {
  return new SdkError(
    'too_large',
    `the body of ${nameOf(context)} has ${bytes} bytes, and ${max} are the most that claimCheck allows; raise its bytesMax`,
    { data: { bytes, max } },
  )
}

function malformed(context: BodyContext, what: string): SdkError {
  return new SdkError('malformed_message', `the body of ${nameOf(context)} ${what}`, { data: { field: 'body' } })
}

function nameOf({ type, id }: BodyContext): string {
  return `${type} ${id ?? ''}`.trim()
}
