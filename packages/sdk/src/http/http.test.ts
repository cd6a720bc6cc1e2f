import { createServer, type IncomingMessage, request as nodeRequest, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { command } from '../contract/command.ts'
import { event } from '../contract/event.ts'
import { SdkError } from '../errors.ts'
import { silentLog } from '../log.ts'
import { Outbox } from '../outbox/outbox.ts'
import { SettingsDirectory } from '../register/message-settings.ts'
import { Register } from '../register/register.ts'
import { Submission, submissionId } from '../register/submission.ts'
import { OutboxWorld } from '../testing/outbox-world.ts'
import { http } from './http.ts'
import type { IntakeOptions, IntakeService } from './intake.ts'

const Submit = command('ticket.submit', z.object({ title: z.string() }))
const Secret = event('salary.changed', z.object({}))

function world(options: Partial<IntakeOptions> = {}, broken?: Error) {
  const base = new OutboxWorld()
  const surroundings = base.process()
  const outbox = new Outbox(surroundings)
  const submission = new Submission(surroundings, outbox, new SettingsDirectory())
  const register = new Register(surroundings, () => undefined)
  const logged: string[] = []
  const service: IntakeService = {
    log: { ...silentLog, error: (_, message) => void logged.push(message) },
    submit: async (contract, data, more) => {
      if (broken !== undefined) throw broken
      return submission.submit(contract, data as never, more)
    },
    createMessage: (contract, data) => submission.createMessage(contract, data as never),
    find: async (id) => (await register.list({ id }, { bodies: false })).entries,
  }
  const { fetch, node } = http(service, { accept: [Submit], ...options })
  const post = (body: string | Uint8Array, headers: Record<string, string> = {}, path = '/messages/ticket.submit') =>
    fetch(
      new Request(`http://desk${path}`, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json', 'idempotency-key': 'DIR-7', ...headers },
      }),
    )
  const get = (path: string, method = 'GET') => fetch(new Request(`http://desk${path}`, { method }))
  return { base, fetch, node, post, get, logged, submission, outbox }
}

/** The answer as a status and its body. */
async function told(answer: Promise<Response>): Promise<[number, Record<string, unknown>]> {
  const response = await answer
  return [response.status, (await response.json()) as Record<string, unknown>]
}

const TV = '{"title":"tv"}'
const ID = submissionId('helpdesk', 'ticket.submit', 'DIR-7')

describe('creating a message', () => {
  test('is answered when it is stored, with its id and where to look', async () => {
    const { post, base } = world()
    const response = await post(TV)
    expect(response.status).toBe(202)
    expect(response.headers.get('location')).toBe(`/messages/${ID}`)
    expect(await response.json()).toEqual({ id: ID, repeated: false })
    expect(await base.states({ direction: 'out' })).toEqual({ [ID]: 'pending' })
  })

  test('again with the same key is answered with the same id, and makes no other message', async () => {
    const { post, base } = world()
    await post(TV)
    expect(await told(post(TV))).toEqual([202, { id: ID, repeated: true }])
    expect(await told(post(TV, { 'idempotency-key': '"DIR-7"' }))).toMatchObject([202, { id: ID }])
    expect(await base.states({ direction: 'out' })).toEqual({ [ID]: 'pending' })
  })

  test('with the same key and other data is refused', async () => {
    const { post } = world()
    await post(TV)
    expect(await told(post('{"title":"radio"}'))).toMatchObject([422, { code: 'refused', status: 422 }])
  })

  test.each<[string, number, string, string | Uint8Array, Record<string, string>, string?]>([
    ['is no JSON', 400, 'malformed_json', '{"title"', {}],
    ['is no UTF-8', 400, 'malformed_json', new Uint8Array([0x22, 0xff, 0x22]), {}],
    ['is empty', 400, 'malformed_json', '', {}],
    ['is not what the contract declares', 422, 'invalid_data', '{"title":7}', {}],
    ['has no key', 400, 'invalid_key', TV, { 'idempotency-key': '' }],
    ['has too long a key', 400, 'invalid_key', TV, { 'idempotency-key': 'x'.repeat(201) }],
    ['is of another media type', 415, 'unsupported_media_type', TV, { 'content-type': 'text/plain' }],
    ['is of an unknown contract', 404, 'unknown_contract', TV, {}, '/messages/ticket.burn'],
    ['is of a contract that is not accepted', 404, 'unknown_contract', '{}', {}, '/messages/salary.changed'],
    ['goes somewhere else', 404, 'not_found', TV, {}, '/messages/a/b'],
    ['goes nowhere', 404, 'not_found', TV, {}, '/messages/%'],
    ['is too large', 413, 'too_large', `{"title":"${'x'.repeat(2000)}"}`, {}],
  ])('that %s: %i %s', async (_, status, code, body, headers, path) => {
    const { post, base } = world({ bodyBytesMax: 1000 })
    const response = await post(body, headers, path)
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    expect(await response.json()).toMatchObject({ type: 'about:blank', status, code, title: expect.any(String) })
    expect(response.status).toBe(status)
    expect(await base.states({ direction: 'out' })).toEqual({})
  })

  test('what a validator complains of is told with its place', async () => {
    const [, body] = await told(world().post('{"title":7}'))
    expect(body['issues']).toEqual([{ path: 'title', message: expect.stringContaining('string') }])
  })

  test('without a key needs the service’s consent', async () => {
    const withoutKey = new Request('http://desk/messages/ticket.submit', {
      method: 'POST',
      body: TV,
      headers: { 'content-type': 'application/json' },
    })
    expect(await told(world().fetch(withoutKey.clone()))).toMatchObject([400, { code: 'key_missing' }])
    const { fetch, base } = world({ keyless: true })
    await fetch(withoutKey.clone())
    await fetch(withoutKey.clone())
    expect(Object.keys(await base.states({ direction: 'out' }))).toHaveLength(2)
  })

  test('while the store is away: 503, to be repeated; and of other troubles nothing is told', async () => {
    const down = await world({}, new SdkError('store_down', 'host db-1 is gone', { retryable: true })).post(TV)
    expect([down.status, down.headers.get('retry-after')]).toEqual([503, '5'])
    expect(await down.text()).not.toContain('db-1')
    const { post, logged } = world({}, new Error('secret'))
    const broken = await post(TV)
    expect(broken.status).toBe(500)
    expect(await broken.text()).not.toContain('secret')
    expect(logged).toHaveLength(1)
  })
})

describe('looking at a message', () => {
  test('says what is becoming of it', async () => {
    const { post, get } = world()
    await post(TV)
    expect(await told(get(`/messages/${ID}`))).toEqual([
      200,
      {
        id: ID,
        contract: 'ticket.submit',
        externalId: 'DIR-7',
        state: 'pending',
        attempts: 0,
        createdAt: '2026-03-01T12:00:00.000Z',
        dueAt: null,
        reason: null,
      },
    ])
  })

  test('says that it was sent when it is gone from the outbox', async () => {
    const { post, get, outbox } = world()
    await post(TV)
    await outbox.drain()
    expect(await told(get(`/messages/${ID}`))).toMatchObject([200, { state: 'sent', externalId: 'DIR-7' }])
  })

  test('says nothing of messages that could not have been created here', async () => {
    const { get, submission } = world()
    const id = await submission.createMessage(Secret, {})
    expect(await told(get(`/messages/${id}`))).toMatchObject([404, { code: 'not_found' }])
  })

  test('another method is not allowed, and it is said which are', async () => {
    const response = await world().get('/messages/x', 'DELETE')
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, POST'])
  })
})

describe('who may', () => {
  test('is asked before anything else is looked at', async () => {
    const asked: unknown[] = []
    const { post, get, base } = world({
      authorize: ({ method, contract, headers }) => {
        asked.push([method, contract])
        return headers.get('authorization') === 'Bearer good' || (headers.has('authorization') && 'forbidden')
      },
    })
    const stranger = await post('{', {}, '/messages/unknown')
    expect([stranger.status, stranger.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
    expect((await post(TV, { authorization: 'Bearer other' })).status).toBe(403)
    expect((await get(`/messages/${ID}`)).status).toBe(401)
    expect(await base.states({ direction: 'out' })).toEqual({})
    expect((await post(TV, { authorization: 'Bearer good' })).status).toBe(202)
    expect(asked).toEqual([
      ['POST', null],
      ['POST', 'ticket.submit'],
      ['GET', null],
      ['POST', 'ticket.submit'],
    ])
  })
})

describe("Node's own server", () => {
  const servers: Server[] = []
  afterEach(async () => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  })

  async function listening(
    options: Partial<IntakeOptions> = {},
    before: (request: IncomingMessage) => Promise<void> = async () => {},
  ) {
    const { node, base, logged } = world(options)
    const server = createServer((request, response) => {
      void before(request).then(() => node(request, response))
    })
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return { base, logged, port: (server.address() as AddressInfo).port }
  }

  const headers = { 'content-type': 'application/json', 'idempotency-key': 'DIR-7' }

  test('takes messages', async () => {
    const { base, port } = await listening()
    const response = await fetch(`http://127.0.0.1:${port}/messages/ticket.submit?x=1`, {
      method: 'POST',
      headers,
      body: TV,
    })
    expect(await response.json()).toEqual({ id: ID, repeated: false })
    expect(await base.states({ direction: 'out' })).toEqual({ [ID]: 'pending' })
  })

  test('tells the operator, and not the caller, that something has read the body before', async () => {
    const { port, logged } = await listening({}, async (request) => {
      for await (const _ of request);
    })
    const answer = fetch(`http://127.0.0.1:${port}/messages/ticket.submit`, { method: 'POST', headers, body: TV })
    expect(await told(answer)).toMatchObject([500, { code: 'internal' }])
    expect(logged).toEqual(['a message was not accepted'])
  })

  test('says that a body is too large before it has read all of it', async () => {
    const { port } = await listening({ bodyBytesMax: 1000 })
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const path = '/messages/ticket.submit'
      const sending = nodeRequest({ host: '127.0.0.1', port, path, method: 'POST', headers }, (response) => {
        resolve(response.statusCode)
        sending.destroy()
      })
      sending.on('error', reject)
      // No length is announced and the body never ends.
      sending.write('x'.repeat(2000))
    })
    expect(status).toBe(413)
  })

  test('outlives a caller that goes away in the middle of its body', async () => {
    const { base, port } = await listening()
    await new Promise<void>((resolve) => {
      const path = '/messages/ticket.submit'
      const sending = nodeRequest({ host: '127.0.0.1', port, path, method: 'POST', headers })
      sending.on('error', () => resolve())
      sending.write('{"title":', () => sending.destroy(new Error('gone')))
    })
    const response = await fetch(`http://127.0.0.1:${port}/messages/ticket.submit`, {
      method: 'POST',
      headers,
      body: TV,
    })
    expect(response.status).toBe(202)
    expect(Object.keys(await base.states({ direction: 'out' }))).toEqual([ID])
  })
})

test('a body that a framework has read before is no fault of the caller', async () => {
  const { fetch: handle, logged } = world()
  const headers = { 'content-type': 'application/json', 'idempotency-key': 'DIR-7' }
  const request = new Request('http://desk/messages/ticket.submit', { method: 'POST', body: TV, headers })
  await request.json()
  expect(await told(handle(request))).toMatchObject([500, { code: 'internal' }])
  expect(logged).toEqual(['a message was not accepted'])
})

test('a path of its own has to begin with a slash', () => {
  expect(() => world({ path: 'messages' })).toThrow('does not begin with /')
})
