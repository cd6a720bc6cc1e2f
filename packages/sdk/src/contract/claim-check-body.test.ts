import { assert, asyncProperty, integer, nat, uint8Array } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Blobs } from '../blobs/blobs.ts'
import { memoryBlobs } from '../blobs/memory-blobs.ts'
import { SdkError } from '../errors.ts'
import type { Message } from '../message/message.ts'
import { checkCompatibility } from '../schema/compatibility.ts'
import { manifestOf } from '../schema/manifest.ts'
import type { BodyFormat } from './body-format.ts'
import { keyRing } from './body-keys.ts'
import { CLAIM_CHECK, claimCheck } from './claim-check-body.ts'
import type { Contract } from './contract.ts'
import { encrypted } from './encrypted-body.ts'
import { event } from './event.ts'
import { json } from './json-body.ts'

const Report = z.object({ text: z.string() })
const keys = keyRing({ k1: new Uint8Array(32).fill(1) }, 'k1')
const small = { text: 'short' }
const large = { text: 'x'.repeat(500) }

/** Blobs that count what is asked of them, and can be tampered with. */
class Shelf implements Blobs {
  readonly kept = new Map<string, Uint8Array>()
  gets = 0
  puts = 0
  down = false

  async put(key: string, bytes: Uint8Array) {
    this.puts++
    if (this.down) throw new Error('no bucket')
    this.kept.set(key, bytes)
  }

  async get(key: string) {
    this.gets++
    if (this.down) throw new Error('no bucket')
    return this.kept.get(key) ?? null
  }

  async prune() {
    return 0
  }
}

function world(inner: BodyFormat = json, bytesMax?: number) {
  const shelf = new Shelf()
  const format = claimCheck(inner, { above: 100, blobs: shelf, ...(bytesMax === undefined ? {} : { bytesMax }) })
  return { shelf, format, Filed: event('report.filed', Report).body(format) }
}

async function sent<In>(contract: Contract<'event', string, In>, data: In, id = 'm1'): Promise<Message> {
  const { version, contentType, body } = await contract.encode(data, id)
  const metadata = { correlationId: id }
  const { kind, name: type } = contract
  return { id, kind, type, version, source: 'lab', time: 0, key: null, keySeq: null, contentType, body, metadata }
}

async function failure(promise: Promise<unknown>): Promise<SdkError> {
  const error = await promise.then(
    () => new Error('nothing was refused'),
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(SdkError)
  return error as SdkError
}

test('a large body lies among the blobs, and the message says where', async () => {
  const { shelf, Filed } = world()
  const message = await sent(Filed, large)
  expect(message.contentType).toBe('application/vnd.stathmos.claim-check; of="application/json"')
  const [[key, bytes] = ['', new Uint8Array()]] = [...shelf.kept]
  expect(JSON.parse(Buffer.from(message.body).toString())).toEqual({ sha256: key, bytes: bytes.byteLength })
  expect(Buffer.from(bytes).toString()).toBe(JSON.stringify(large))
  expect(await Filed.decode(message)).toEqual(large)
})

test('a small one stays as it was, for receivers that know nothing of blobs', async () => {
  const { shelf, Filed } = world()
  const message = await sent(Filed, small)
  expect(message.contentType).toBe('application/json')
  expect(await event('report.filed', Report).decode(message)).toEqual(small)
  expect(await Filed.decode(message)).toEqual(small)
  expect(shelf).toMatchObject({ puts: 0, gets: 0 })
})

test('the sender puts once and fetches nothing, and puts nothing of data that is refused', async () => {
  const { shelf, Filed } = world()
  await sent(Filed, large)
  expect(shelf).toMatchObject({ puts: 1, gets: 0 })
  expect(await failure(Filed.encode({ text: 7 as never, more: 'y'.repeat(500) } as never))).toMatchObject({
    code: 'invalid_data',
  })
  await Filed.digest(large)
  expect(shelf).toMatchObject({ puts: 1, gets: 0 })
})

test('of a version that is sent for the sake of earlier receivers, only that one is put', async () => {
  const { shelf, format, Filed } = world()
  const Next = Filed.next(z.object({ text: z.string(), by: z.string() }), (old) => ({ ...old, by: '' }), {
    down: ({ text }) => ({ text }),
  }).body(format)
  const message = await sent(Next.sendAs(1), { ...large, by: 'me' })
  expect(shelf.puts).toBe(1)
  expect(await Filed.decode(message)).toEqual(large)
})

test('the limit is that of the body: as many bytes stay, one more goes', async () => {
  const { shelf, Filed } = world()
  const around = JSON.stringify({ text: '' }).length
  await sent(Filed, { text: 'x'.repeat(100 - around) })
  expect(shelf.puts).toBe(0)
  await sent(Filed, { text: 'x'.repeat(101 - around) })
  expect(shelf.puts).toBe(1)
})

test('bodies of any size come back as they were', async () => {
  const { Filed } = world(encrypted(json, keys))
  await assert(
    asyncProperty(nat(400), async (chars) => {
      const data = { text: 'é'.repeat(chars) }
      expect(await Filed.decode(await sent(Filed, data))).toEqual(data)
    }),
  )
})

describe('with encryption inside', () => {
  test('neither the message nor the blob can be read, and each is for its message', async () => {
    const { shelf, Filed } = world(encrypted(json, keys))
    const message = await sent(Filed, large)
    expect(message.contentType).toContain(CLAIM_CHECK)
    expect(Buffer.from([...shelf.kept.values()][0]!).includes('xxx')).toBe(false)
    expect(await Filed.decode(message)).toEqual(large)
    expect(await failure(Filed.decode({ ...message, id: 'm2' }))).toMatchObject({ code: 'malformed_message' })
    expect((await sent(Filed, small)).contentType).toMatch(/^application\/vnd\.stathmos\.encrypted/)
  })

  test('plaintext is refused among the blobs as well', async () => {
    const plain = world()
    const message = await sent(plain.Filed, large)
    const locked = world(encrypted(json, keys))
    for (const [key, bytes] of plain.shelf.kept) locked.shelf.kept.set(key, bytes)
    for (const contentType of [message.contentType, CLAIM_CHECK])
      expect(await failure(locked.Filed.decode({ ...message, contentType }))).toMatchObject({
        code: 'malformed_message',
      })
  })

  test('the other way round is refused: the blob would be readable', () => {
    expect(() => encrypted(world().format, keys)).toThrow(/write claimCheck\(encrypted\(…\), …\)/)
  })
})

describe('what was tampered with is malformed:', () => {
  test('another body under the hash: every bit, every truncation', async () => {
    const { shelf, Filed } = world()
    const message = await sent(Filed, large)
    const [[key, bytes] = ['', new Uint8Array()]] = [...shelf.kept]
    await assert(
      asyncProperty(nat(bytes.byteLength - 1), integer({ min: 0, max: 7 }), async (at, bit) => {
        const changed = Uint8Array.from(bytes)
        changed[at]! ^= 1 << bit
        for (const found of [changed, bytes.slice(0, at)]) {
          shelf.kept.set(key, found)
          const error = await failure(Filed.decode(message))
          expect(error).toMatchObject({ code: 'malformed_message', retryable: false })
        }
      }),
    )
  })

  test('a reference with another size', async () => {
    const { Filed } = world()
    const message = await sent(Filed, large)
    const reference = JSON.parse(Buffer.from(message.body).toString()) as { sha256: string; bytes: number }
    const body = Buffer.from(JSON.stringify({ ...reference, bytes: reference.bytes + 1 }))
    expect(await failure(Filed.decode({ ...message, body }))).toMatchObject({ code: 'malformed_message' })
  })

  test('what is no reference, which is not looked for', async () => {
    const { shelf, Filed } = world()
    const message = await sent(Filed, large)
    const texts = ['', 'null', '[]', '7', '{}', '{"sha256":"../x","bytes":1}', '{"sha256":1,"bytes":1}', '\xff']
    const numbers = ['-1', '1.5', '1e400', '"1"', 'null'].map((n) => `{"sha256":"${'a'.repeat(64)}","bytes":${n}}`)
    for (const text of [...texts, ...numbers, ' '.repeat(2000)]) {
      const body = Buffer.from(text, 'latin1')
      expect(await failure(Filed.decode({ ...message, body }))).toMatchObject({ code: 'malformed_message' })
    }
    await assert(
      asyncProperty(uint8Array({ maxLength: 90 }), async (body) => {
        await failure(Filed.decode({ ...message, body }))
      }),
    )
    expect(shelf.gets).toBe(0)
  })
})

test('a missing body is tried again, and says what to bring back', async () => {
  const { shelf, Filed } = world()
  const message = await sent(Filed, large)
  const [key] = [...shelf.kept.keys()]
  shelf.kept.clear()
  const error = await failure(Filed.decode(message))
  expect(error).toMatchObject({ code: 'not_found', retryable: true, data: { sha256: key } })
  expect(error.message).toBe(
    `the body of report.filed m1, 511 bytes, is not among the blobs under ${key}; bring it back there, then retry the message, or cancel it`,
  )
})

test('blobs that cannot be reached fail a sender, and make a message wait', async () => {
  const { shelf, Filed } = world()
  const message = await sent(Filed, large)
  shelf.down = true
  expect(await failure(Filed.encode(large))).toMatchObject({ code: 'unreachable', retryable: true })
  expect(await failure(Filed.decode(message))).toMatchObject({ code: 'unreachable', retryable: true })
})

test('there is a limit, for senders and for receivers, who fetch nothing beyond it', async () => {
  const { shelf, Filed } = world(json, 1000)
  expect(await failure(Filed.encode({ text: 'x'.repeat(1000) }))).toMatchObject({
    code: 'too_large',
    data: { bytes: 1011, max: 1000 },
  })
  expect(shelf.puts).toBe(0)
  const message = await sent(Filed, large)
  const body = Buffer.from(JSON.stringify({ sha256: 'a'.repeat(64), bytes: 1e12 }))
  expect(await failure(Filed.decode({ ...message, body }))).toMatchObject({ code: 'too_large' })
  expect(shelf.gets).toBe(0)
})

test('numbers that are no sizes are refused', () => {
  const blobs = memoryBlobs({ clock: { now: () => 0 } })
  for (const above of [-1, 1.5, Number.NaN])
    expect(() => claimCheck(json, { above, blobs })).toThrow(/whole number of bytes/)
})

test('manifests tell that receivers have to know it first', () => {
  const [plain, checked] = [manifestOf([event('report.filed', Report)]), manifestOf([world().Filed])]
  expect(checkCompatibility([plain], checked, 'backward')).toEqual([])
  expect(checkCompatibility([plain], checked, 'forward').map(({ message }) => message)).toEqual([
    expect.stringContaining('bodies are sent with claim check around them and read as they are'),
  ])
})

test('a format of an application can be around it', async () => {
  const { format, shelf } = world()
  const zipped: BodyFormat = {
    ...format,
    contentType: 'application/x-own',
    reads: (mediaType) => mediaType === 'application/x-own',
    encode: (data, context) => format.encode(data, context),
    decode: (body, context) => format.decode(body, context && { ...context, contentType: format.contentType }),
  }
  delete (zipped as { layer?: unknown }).layer
  const Own = event('own', Report).body(zipped)
  expect(await Own.decode(await sent(Own, small))).toEqual(small)
  expect(shelf.puts).toBe(1)
})
