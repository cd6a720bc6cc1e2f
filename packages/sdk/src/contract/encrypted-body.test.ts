import { createDecipheriv, createSecretKey, randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { gunzipSync, gzipSync } from 'node:zlib'
import avsc from 'avsc'
import { assert, asyncProperty, integer, json as anyJson, nat, string, uint8Array } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { SdkError } from '../errors.ts'
import type { Message } from '../message/message.ts'
import { checkCompatibility } from '../schema/compatibility.ts'
import { manifestOf } from '../schema/manifest.ts'
import { avro } from './avro-body.ts'
import type { BodyContext, BodyFormat } from './body-format.ts'
import { keyRing, type BodyKeys } from './body-keys.ts'
import type { Contract } from './contract.ts'
import { encrypted } from './encrypted-body.ts'
import { event } from './event.ts'
import { json } from './json-body.ts'
import { request } from './request.ts'

const [k1, k2] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
const keys = keyRing({ k1 }, 'k1')
const Person = z.object({ name: z.string(), age: z.number() })
const Joined = event('person.joined', Person).body(encrypted(json, keys))
const ann = { name: 'Ann-Kathrin', age: 51 }

async function sent<In>(contract: Contract<'event', string, In>, data: In, id = 'm1'): Promise<Message> {
  const { version, contentType, body } = await contract.encode(data, id)
  return {
    id,
    kind: contract.kind,
    type: contract.name,
    version,
    source: 'lab',
    time: 0,
    key: null,
    keySeq: null,
    contentType,
    body,
    metadata: { correlationId: id },
  }
}

async function failure(promise: Promise<unknown>): Promise<SdkError> {
  const error = await promise.then(
    () => new Error('nothing was refused'),
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(SdkError)
  return error as SdkError
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

describe('a body', () => {
  test('is read by whoever has the key, and shows nothing to anybody else', async () => {
    const message = await sent(Joined, ann)
    expect(await Joined.decode(message)).toEqual(ann)
    expect(text(message.body)).not.toContain('Ann')
    expect(message.contentType).toBe('application/vnd.stathmos.encrypted; of="application/json"')
  })

  test('has the documented layout: 1, length and name of the key, nonce, ciphertext, tag', async () => {
    const nonce = Buffer.from('000102030405060708090a0b', 'hex')
    const { body } = await sent(event('e', Person).body(encrypted(json, keys, { nonce: () => nonce })), ann, 'm1')
    const bytes = Buffer.from(body)
    expect([...bytes.subarray(0, 4)]).toEqual([1, 2, 0x6b, 0x31])
    expect(bytes.subarray(4, 16)).toEqual(nonce)
    const decipher = createDecipheriv('aes-256-gcm', k1, nonce)
    // Header, then id, type, version and content type inside, each after its length in four bytes.
    const bound = ['m1', 'e', '1', 'application/json'].map((part) => `\0\0\0${String.fromCharCode(part.length)}${part}`)
    decipher.setAAD(Buffer.from(`\u0001\u0002k1${bound.join('')}`, 'latin1'))
    decipher.setAuthTag(bytes.subarray(-16))
    const opened = Buffer.concat([decipher.update(bytes.subarray(16, -16)), decipher.final()])
    expect(opened.toString()).toBe(JSON.stringify(ann))
  })

  test('is another one each time', async () => {
    const bodies = await Promise.all(Array.from({ length: 50 }, async () => text((await sent(Joined, ann)).body)))
    expect(new Set(bodies).size).toBe(50)
  })

  test('can be of any format inside', async () => {
    const type = avsc.Type.forSchema({
      type: 'record',
      name: 'Person',
      fields: [
        { name: 'name', type: 'string' },
        { name: 'age', type: 'int' },
      ],
    })
    const Avro = event('person.joined', Person).body(encrypted(avro(type), keys))
    const message = await sent(Avro, ann)
    expect(message.contentType).toBe('application/vnd.stathmos.encrypted; of="avro/binary"')
    expect(await Avro.decode(message)).toEqual(ann)
  })

  test('is read without the parameter of its content type, which a stranger may have dropped', async () => {
    const message = await sent(Joined, ann)
    const contentType = 'Application/Vnd.Stathmos.Encrypted'
    expect(await Joined.decode({ ...message, contentType })).toEqual(ann)
  })

  test('of any data, id and version comes back as it was', async () => {
    await assert(
      asyncProperty(anyJson(), string({ unit: 'binary' }), nat(), async (data, id, version) => {
        const format = encrypted(json, keys)
        const context = { id, type: 't', version, contentType: format.contentType }
        const value: unknown = JSON.parse(data)
        expect(await format.decode(await format.encode(value, context), context)).toEqual(value)
      }),
    )
  })

  test('is for one message: without an id it is not written', async () => {
    const error = await failure(Joined.encode(ann))
    expect(error).toMatchObject({ code: 'invalid_declaration' })
    expect(error.message).toContain('contract.encode(data, id)')
  })
})

describe('what was tampered with is malformed:', () => {
  test('every truncation, and every longer body', async () => {
    const message = await sent(Joined, ann)
    for (let bytes = 0; bytes < message.body.byteLength; bytes++) {
      const { code } = await failure(Joined.decode({ ...message, body: message.body.slice(0, bytes) }))
      expect(code).toBe('malformed_message')
    }
    const longer = Uint8Array.of(...message.body, 0)
    expect(await failure(Joined.decode({ ...message, body: longer }))).toMatchObject({ code: 'malformed_message' })
  })

  test('every single bit that is turned', async () => {
    const message = await sent(Joined, ann)
    const readable: number[] = []
    for (let bit = 0; bit < message.body.byteLength * 8; bit++) {
      const body = Uint8Array.from(message.body)
      body[bit >> 3]! ^= 1 << (bit & 7)
      const { code } = await failure(Joined.decode({ ...message, body }))
      // A turned bit in the name of the key names another one, and which byte is which is not known before the tag.
      if (code !== 'malformed_message' && !(code === 'unknown_key' && bit >> 3 >= 1 && bit >> 3 < 4)) readable.push(bit)
    }
    expect(readable).toEqual([])
  })

  test('anything that is done to any bytes', async () => {
    const message = await sent(Joined, ann)
    await assert(
      asyncProperty(nat(message.body.byteLength - 1), integer({ min: 1, max: 255 }), nat(40), async (at, by, cut) => {
        const body = Uint8Array.from(message.body).slice(0, Math.max(at + 1, message.body.byteLength - cut))
        body[at]! ^= by
        expect(['malformed_message', 'unknown_key']).toContain(
          (await failure(Joined.decode({ ...message, body }))).code,
        )
      }),
    )
    await assert(
      asyncProperty(uint8Array({ maxLength: 80 }), async (body) => {
        await failure(Joined.decode({ ...message, body }))
      }),
    )
  })

  test('a body in another message, of another contract, version or content type', async () => {
    const message = await sent(Joined, ann)
    const Left = event('person.left', Person).body(encrypted(json, keys))
    const Next = Joined.next(Person, (old) => old)
    const swapped = [
      Joined.decode({ ...message, id: 'm2' }),
      Left.decode({ ...message, type: 'person.left' }),
      Next.decode({ ...message, version: 2 }),
      Joined.decode({ ...message, contentType: 'application/vnd.stathmos.encrypted; of="application/x+json"' }),
    ]
    for (const each of swapped) {
      const error = await failure(each)
      expect(error).toMatchObject({ code: 'malformed_message', retryable: false })
      expect(error.message).toMatch(/was changed, belongs to another message/)
    }
  })

  test('the answer of a request as one of its errors', async () => {
    const sealed = encrypted(json, keys)
    const Find = request('find', {
      input: z.object({}),
      output: z.object({ id: z.string() }),
      errors: { gone: z.object({ id: z.string() }) },
      bodies: { output: sealed, errors: { gone: sealed } },
    })
    const answer = { ...(await Find.answer.encode({ id: '7' }, 'r1')), id: 'r1' }
    expect(await Find.answer.decode(answer)).toEqual({ id: '7' })
    expect(await failure(Find.errors.gone.decode(answer))).toMatchObject({ code: 'malformed_message' })
    expect(await failure(Find.answer.decode({ ...answer, id: 'r2' }))).toMatchObject({ code: 'malformed_message' })
  })

  test('also for a contract that reads newer versions', async () => {
    const sealed = encrypted(json, keys)
    const Newer = event('e', Person)
      .next(Person, (old) => old)
      .body(sealed)
    const Forward = event('e', Person, { forward: true }).body(sealed)
    const message = await sent(Newer, ann)
    expect(await Forward.decode(message)).toEqual(ann)
    expect(await failure(Forward.decode({ ...message, id: 'm2' }))).toMatchObject({ code: 'malformed_message' })
  })
})

describe('keys', () => {
  test('of earlier bodies are found by their names after a change of keys', async () => {
    const old = await sent(Joined, ann)
    const Rotated = Joined.body(encrypted(json, keyRing({ k1, k2 }, 'k2')))
    expect(await Rotated.decode(old)).toEqual(ann)
    const fresh = await sent(Rotated, ann)
    expect(await Rotated.decode(fresh)).toEqual(ann)
    const error = await failure(Joined.decode(fresh))
    expect(error).toMatchObject({ code: 'unknown_key', retryable: false, data: { keyId: 'k2' } })
    expect(error.message).toBe(
      'the body of person.joined m1 is encrypted with the key "k2", which this program does not have; give it that key, then retry the message',
    )
  })

  test('another key under the same name reads nothing', async () => {
    const Other = Joined.body(encrypted(json, keyRing({ k1: k2 }, 'k1')))
    expect((await failure(Other.decode(await sent(Joined, ann)))).message).toContain('another key of the name "k1"')
  })

  test('that cannot be fetched make a message wait, and a sender fail', async () => {
    const away: BodyKeys = {
      current: () => Promise.reject(new Error('no route to the key service')),
      find: () => Promise.reject(new Error('no route to the key service')),
    }
    const Away = Joined.body(encrypted(json, away))
    expect(await failure(Away.encode(ann, 'm1'))).toMatchObject({ code: 'unreachable', retryable: true })
    expect(await failure(Away.decode(await sent(Joined, ann)))).toMatchObject({ code: 'unreachable', retryable: true })
  })

  test('may come from anywhere, later, as keys of the platform', async () => {
    const key = createSecretKey(k1)
    const vault: BodyKeys = { current: async () => ({ id: 'vault:a:3', key }), find: async () => key }
    const Vault = Joined.body(encrypted(json, vault))
    expect(await Vault.decode(await sent(Vault, ann))).toEqual(ann)
  })

  test('that are none are refused at the declaration', () => {
    expect(() => keyRing({ short: randomBytes(16) }, 'short')).toThrow(/"short" has 16 bytes and needs 32/)
    expect(() => keyRing({ k1 }, 'k9')).toThrow(/no key "k9" to encrypt with, only "k1"/)
    expect(() => keyRing({ 'a b': k1 }, 'a b')).toThrow(/cannot name a key/)
    expect(() => keyRing({ '../k1': k1 }, '../k1')).toThrow(/cannot name a key/)
    expect(() => keyRing({ ['x'.repeat(101)]: k1 }, 'k1')).toThrow(/cannot name a key/)
  })

  test('are copied, and do not show when they are printed', async () => {
    const secret = Uint8Array.from(k1)
    const ring = keyRing({ k1: secret }, 'k1')
    secret.fill(0)
    expect(await Joined.body(encrypted(json, ring)).decode(await sent(Joined, ann))).toEqual(ann)
    expect(inspect(await ring.current(), { depth: 5, showHidden: true })).not.toMatch(/1, 1, 1|0101/)
  })

  test('a nonce of another length is refused', async () => {
    const Short = Joined.body(encrypted(json, keys, { nonce: () => new Uint8Array(8) }))
    expect(await failure(Short.encode(ann, 'm1'))).toMatchObject({ code: 'invalid_declaration' })
  })
})

describe('plaintext', () => {
  const Plain = event('person.joined', Person)
  const Accepting = event('person.joined', Person).body(encrypted(json, keys, { plaintext: 'accept' }))

  test('is refused, whatever its content type says', async () => {
    const message = await sent(Plain, ann)
    const error = await failure(Joined.decode(message))
    expect(error).toMatchObject({ code: 'malformed_message', retryable: false })
    expect(error.message).toContain('"application/json"')
    for (const contentType of ['application/vnd.stathmos.encrypted; of="application/json"', ''])
      expect(await failure(Joined.decode({ ...message, contentType }))).toMatchObject({ code: 'malformed_message' })
  })

  test('is read while senders change over, and what is sent is encrypted', async () => {
    expect(await Accepting.decode(await sent(Plain, ann))).toEqual(ann)
    const message = await sent(Accepting, ann)
    expect(await Joined.decode(message)).toEqual(ann)
    expect(await Accepting.decode(message)).toEqual(ann)
    const body = message.body.slice(1)
    expect(await failure(Accepting.decode({ ...message, body }))).toMatchObject({ code: 'malformed_message' })
  })

  test('manifests tell whether bodies are encrypted, and who reads which', () => {
    const [plain, locked, accepting] = [Plain, Joined, Accepting].map((contract) => manifestOf([contract]))
    const gaps = (from: typeof plain, to: typeof plain): string[] =>
      checkCompatibility([from!], to!, 'backward').map(({ message }) => message)
    expect(gaps(plain, plain)).toEqual([])
    expect(gaps(locked, locked)).toEqual([])
    expect(gaps(plain, accepting)).toEqual([])
    expect(gaps(locked, accepting)).toEqual([])
    expect(gaps(accepting, locked)).toEqual([])
    expect(gaps(plain, locked)).toEqual([
      expect.stringContaining('are sent as they are and read with encryption around them'),
    ])
    expect(gaps(locked, plain)).toEqual([
      expect.stringContaining('are sent with encryption around them and read as they are'),
    ])
  })
})

describe('errors say nothing of the data:', () => {
  const quoting = z.string().refine(() => false, { error: ({ input }) => `${String(input)} is on the list` })

  test('a validator that quotes what it refuses', async () => {
    const Listed = event('e', z.object({ who: quoting })).body(encrypted(json, keys))
    const error = await failure(Listed.encode({ who: 'Ann-Kathrin' }, 'm1'))
    expect(error).toMatchObject({ code: 'invalid_data', data: { issues: [{ path: 'who' }] } })
    expect(error.message).toContain('who: is refused')
    expect(inspect(error, { depth: 9 })).not.toContain('Ann')
    const Anybody = event('e', z.object({ who: z.string() })).body(encrypted(json, keys))
    const message = await sent(Anybody, { who: 'Ann-Kathrin' })
    expect(inspect(await failure(Listed.decode(message)), { depth: 9 })).not.toContain('Ann')
  })

  test('an upcaster that quotes what it does not understand', async () => {
    const Raised = Joined.next(Person, ({ name }) => {
      throw new Error(`who is ${name}?`)
    })
    const error = await failure(Raised.decode(await sent(Joined, ann)))
    expect(error).toMatchObject({ code: 'invalid_data' })
    expect(inspect(error, { depth: 9 })).not.toContain('Ann')
  })

  test('a parser that quotes what it cannot read', async () => {
    const words: BodyFormat = { ...json, encode: (data) => Buffer.from((data as typeof ann).name) }
    const format = encrypted(words, keys)
    const context: BodyContext = { id: 'm1', type: 'e', version: 1, contentType: format.contentType }
    const body = await format.encode(ann, context)
    const error = await failure(Promise.resolve(format.decode(body, context)))
    expect(error).toMatchObject({ code: 'malformed_message' })
    expect(inspect(error, { depth: 9 })).not.toContain('Ann')
  })
})

describe('a digest', () => {
  const digest = async (contract: typeof Joined, data = ann, known?: string): Promise<string> =>
    (await contract.digest(data, known)).digest

  test('is the same for the same data, needs no message, and tells a stranger nothing', async () => {
    const one = await digest(Joined)
    expect(one).toMatch(/^hmac:k1:[0-9a-f]{64}$/)
    expect(await digest(Joined)).toBe(one)
    expect(await digest(Joined, { ...ann, age: 52 })).not.toBe(one)
    expect(await digest(Joined.body(encrypted(json, keyRing({ k1: k2 }, 'k1'))))).not.toBe(one)
  })

  test('is found again after a change of keys', async () => {
    const Rotated = Joined.body(encrypted(json, keyRing({ k1, k2 }, 'k2')))
    const old = await digest(Joined)
    expect(await digest(Rotated)).not.toBe(old)
    expect(await digest(Rotated, ann, old)).toBe(old)
    const Forgotten = Joined.body(encrypted(json, keyRing({ k2 }, 'k2')))
    expect(await failure(digest(Forgotten, ann, old))).toMatchObject({ code: 'unknown_key' })
  })

  test('of a body as it is, is that of its bytes', async () => {
    const Plain = event('e', Person)
    expect(await Plain.digest(ann)).toEqual(await Plain.digest({ ...ann }))
    expect((await Plain.digest(ann)).digest).toMatch(/^[0-9a-f]{64}$/)
  })
})

test('a format of an application is told of the message, and can be around an encrypted one', async () => {
  const told: (BodyContext | undefined)[] = []
  const inner = encrypted(json, keys)
  const zipped: BodyFormat = {
    contentType: 'application/x-zipped',
    reads: (mediaType) => mediaType === 'application/x-zipped',
    async encode(data, context) {
      told.push(context)
      return gzipSync(await inner.encode(data, context))
    },
    decode: (body, context) =>
      inner.decode(gunzipSync(body), context && { ...context, contentType: inner.contentType }),
    shape: () => inner.shape(),
  }
  const Zipped = event('zipped', Person).body(zipped)
  const message = await sent(Zipped, ann)
  expect(told).toEqual([{ id: 'm1', type: 'zipped', version: 1, contentType: 'application/x-zipped' }])
  expect(await Zipped.decode(message)).toEqual(ann)
})
