import { describe, expect, expectTypeOf, test } from 'vitest'
import type { Contract, Encoded } from '../contract/contract.ts'
import type { Payload, RequestContract } from '../contract/request-contract.ts'
import { SdkError } from '../errors.ts'
import { silentLog } from '../log.ts'
import type { Message } from '../message/message.ts'
import { ATTRIBUTE, METRIC } from '../telemetry/conventions.ts'
import { silentTelemetry } from '../telemetry/telemetry.ts'
import type { Clock } from '../time/clock.ts'
import type { Delivery, SendResult, Transport } from '../transport/port.ts'
import { Activity } from '../work/activity.ts'
import { Answerer, type AnswerHandler, type AnswerOptions } from './answerer.ts'
import { Asker, type AskerOptions, type RequestSurroundings } from './asker.ts'

/* ---------------------------------------------------------------- the world of these tests */

class Time implements Clock {
  #now = 1_000_000
  #timers: { at: number; fire: () => void }[] = []
  now = (): number => this.#now
  monotonic = (): number => this.#now
  after(delayMs: number, fire: () => void) {
    const timer = { at: this.#now + delayMs, fire }
    this.#timers.push(timer)
    return { cancel: () => void (this.#timers = this.#timers.filter((each) => each !== timer)) }
  }
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    await settled()
    for (;;) {
      const next = this.#timers.filter((each) => each.at <= until).toSorted((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      this.#timers = this.#timers.filter((each) => each !== next)
      this.#now = Math.max(this.#now, next.at)
      next.fire()
      await settled()
    }
    this.#now = until
    await settled()
  }
}

/** Everything that only waits for promises has run. */
async function settled(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve()
}

interface Sent extends Delivery {
  accepted: boolean
  released: boolean
}

/** Carries messages within the process; a test breaks it as it likes. */
class Wire {
  readonly sent: Message[] = []
  readonly waiting: Message[] = []
  readonly deliveries: Sent[] = []
  replyPlaces = 0
  refuse: (message: Message) => SendResult = () => 'sent'
  down = false
  /** Down, and does not know it. */
  deceived = false
  readonly #replies = new Map<string, (message: Message) => void>()
  #receive: ((delivery: Delivery) => void)[] = []
  #turn = 0
  readonly #watchers: ((up: boolean) => void)[] = []

  setDown(down: boolean): void {
    this.down = down
    for (const changed of this.#watchers) changed(!down)
  }

  deliver(message: Message | null): Sent {
    const delivery: Sent = {
      message,
      raw: { headers: {}, contentType: '', body: new Uint8Array() },
      redelivered: false,
      accepted: false,
      released: false,
      accept: () => void (delivery.accepted = true),
      release: () => void (delivery.released = true),
    }
    this.deliveries.push(delivery)
    this.#receive[this.#turn++ % this.#receive.length]!(delivery)
    return delivery
  }

  transport(replies = true): Transport {
    return {
      name: 'loopback',
      capabilities: { ordering: true, confirm: true, returns: true, replies, bodyBytesMax: 1000 },
      open: async () => {},
      declare: async () => {},
      send: async (messages) => {
        if (this.down) throw new SdkError('transport_down', 'down', { retryable: true })
        return messages.map((message) => {
          const result = this.refuse(message)
          if (result !== 'sent') return result
          this.sent.push(message)
          if (message.kind === 'reply') this.#replies.get(message.metadata.replyTo!)?.(message)
          else if (this.#receive.length > 0) this.deliver(message)
          else this.waiting.push(message)
          return 'sent'
        })
      },
      subscribe: async (_consumer, _prefetch, receive) => {
        this.#receive.push(receive)
        for (const message of this.waiting.splice(0)) this.deliver(message)
        return { pause() {}, resume() {}, close: async () => void (this.#receive = []) }
      },
      openReplies: async (receive) => {
        if (this.down) throw new SdkError('transport_down', 'down', { retryable: true })
        const address = `replies-${++this.replyPlaces}`
        this.#replies.set(address, receive)
        return { address: () => address, close: async () => void this.#replies.delete(address) }
      },
      watch: (changed) => {
        changed(!this.down || this.deceived)
        this.#watchers.push(changed)
        return () => {}
      },
      close: async () => {},
    }
  }
}

function json<T>(valid: (value: T) => boolean = () => true): Payload<T, T> {
  return {
    encode: async (data) => {
      if (!valid(data)) throw new SdkError('invalid_data', 'it is not what was declared')
      return { version: 1, contentType: 'application/json', body: Buffer.from(JSON.stringify(data ?? null)) }
    },
    decode: async ({ body, version }) => {
      if (version !== 1) throw new SdkError('unknown_contract', `version ${version} is not known`)
      return JSON.parse(Buffer.from(body).toString()) as T
    },
  }
}

type Skill = { readonly skill: string }
const skills = json<Skill>((data) => typeof data.skill === 'string')
const FindExpert = {
  kind: 'request' as const,
  name: 'experts.find' as const,
  version: 1,
  keyed: false,
  encode: async (data: Skill): Promise<Encoded> => ({ ...(await skills.encode(data)), key: null }),
  digest: () => Promise.reject(new Error('nobody submits a request')),
  decode: async (message: Message): Promise<Skill> => skills.decode(message),
  answer: json<{ expertId: number }>((data) => typeof data?.expertId === 'number'),
  errors: {
    nobody: json<{ nextFree: string }>((data) => typeof data.nextFree === 'string'),
    closed: json<undefined>(),
  },
} satisfies RequestContract<'experts.find', Skill, Skill>

function world(options: { asker?: AskerOptions; replies?: boolean } = {}) {
  const clock = new Time()
  const wire = new Wire()
  const counts: Record<string, number> = {}
  /** `error.type` of each request that was measured; null of those that were answered. */
  const measured: unknown[] = []
  let ids = 0
  const surroundings: RequestSurroundings = {
    service: 'desk',
    process: 'host:1:abcd',
    transport: wire.transport(options.replies),
    clock,
    random: { uint32: () => 0 },
    newId: () => `id-${++ids}`,
    log: silentLog,
    telemetry: {
      ...silentTelemetry,
      count: (name, value) => void (counts[name] = (counts[name] ?? 0) + value),
      record: (name, _, attributes) => {
        if (name === METRIC.operationDuration) measured.push(attributes[ATTRIBUTE.errorType] ?? null)
      },
    },
    activity: new Activity(),
  }
  const asker = new Asker(surroundings, options.asker)
  const answering = async (
    handler: AnswerHandler<typeof FindExpert>,
    more: AnswerOptions = {},
  ): Promise<Answerer<typeof FindExpert>> => {
    const answerer = new Answerer(surroundings, asker, FindExpert, more, handler)
    await answerer.start()
    return answerer
  }
  return { clock, wire, counts, measured, asker, ask: asker.ask, answering, surroundings }
}

const TV = { skill: 'tv' }

/* ---------------------------------------------------------------- asking and answering */

describe('an answer', () => {
  test('is what the handler returned, of the type that the contract declares', async () => {
    const { ask, answering } = world()
    await answering(({ skill }) => ({ expertId: skill.length }))
    const answer = await ask(FindExpert, TV)
    expect(answer).toEqual({ ok: true, value: { expertId: 2 } })
    if (answer.ok) expectTypeOf(answer.value).toEqualTypeOf<{ expertId: number }>()
    else if (answer.error === 'nobody') expectTypeOf(answer.value).toEqualTypeOf<{ nextFree: string }>()
    else if (answer.error === 'closed') expectTypeOf(answer.value).toEqualTypeOf<undefined>()
    else {
      expectTypeOf(answer.error).toEqualTypeOf<'timeout' | 'unreachable' | 'overloaded' | 'failed'>()
      expectTypeOf(answer.message).toEqualTypeOf<string>()
    }
  })

  test('is a declared error when the handler says so, with its data', async () => {
    const { ask, answering } = world()
    await answering((_, { fail }) => fail('nobody', { nextFree: 'monday' }))
    expect(await ask(FindExpert, TV)).toEqual({ ok: false, error: 'nobody', value: { nextFree: 'monday' } })
  })

  test('is "failed" when the handler throws, without the text of what it threw', async () => {
    const { ask, answering } = world()
    await answering(() => {
      throw new Error('password of the database is hunter2')
    })
    const answer = await ask(FindExpert, TV)
    expect(answer).toMatchObject({ ok: false, error: 'failed' })
    expect(JSON.stringify(answer)).not.toContain('hunter2')
    expect(JSON.stringify(answer)).toContain('id-1')
  })

  test('is "failed" when the handler returns what it did not declare', async () => {
    const { ask, answering } = world()
    await answering(() => ({ expertId: 'seven' }) as unknown as { expertId: number })
    expect(await ask(FindExpert, TV)).toMatchObject({ ok: false, error: 'failed' })
  })

  test('is "failed" when the answerer does not know the version that was asked', async () => {
    const { ask, answering } = world()
    await answering(() => ({ expertId: 1 }))
    const encode = async (data: Skill): Promise<Encoded> => ({ ...(await FindExpert.encode(data)), version: 2 })
    const answer = await ask({ ...FindExpert, encode }, TV)
    expect(answer).toMatchObject({ ok: false, error: 'failed', message: expect.stringContaining('version 2') })
  })

  test('is "failed" with its reason when the reply is too large to be sent', async () => {
    const { ask, answering, wire } = world()
    wire.refuse = (message) =>
      message.kind === 'reply' && message.metadata.error === undefined ? new SdkError('too_large', 'too large') : 'sent'
    await answering(() => ({ expertId: 1 }))
    expect(await ask(FindExpert, TV)).toMatchObject({ error: 'failed', message: expect.stringContaining('too large') })
  })

  test('comes to whoever asked: many at once share one place for replies', async () => {
    const { ask, answering, wire } = world()
    await answering(({ skill }) => ({ expertId: Number(skill) }), { concurrency: 3 })
    const answers = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map((n) => ask(FindExpert, { skill: String(n) })))
    expect(answers.map((answer) => answer.ok && answer.value.expertId)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(wire.replyPlaces).toBe(1)
  })

  test('counts, even when it is here before the engine has said that it took the request', async () => {
    const { ask, answering, surroundings } = world()
    await answering(() => ({ expertId: 1 }))
    const { transport } = surroundings
    const send = transport.send.bind(transport)
    let confirm = (): void => {}
    transport.send = async (messages) => {
      const results = await send(messages)
      if (messages[0]?.kind === 'request') await new Promise<void>((resolve) => (confirm = resolve))
      return results
    }
    expect(await ask(FindExpert, TV)).toEqual({ ok: true, value: { expertId: 1 } })
    confirm()
  })

  test('is the first one, when two answerers had the request; the other is counted', async () => {
    const { ask, answering, wire, counts } = world()
    await answering(() => ({ expertId: 1 }))
    await ask(FindExpert, TV)
    const reply = wire.sent.find((message) => message.kind === 'reply')!
    await wire.transport().send([{ ...reply, id: 'another' }])
    expect(counts[METRIC.requestsLateReplies]).toBe(1)
  })

  test('is "failed" when it names an error that the asker does not know', async () => {
    const { ask, answering } = world()
    await answering((_, { fail }) => fail('closed'))
    const { nobody } = FindExpert.errors
    expect(await ask({ ...FindExpert, errors: { nobody } }, TV)).toMatchObject({ ok: false, error: 'failed' })
  })
})

describe('time', () => {
  test('over before there is a connection: unreachable, and nothing is sent later', async () => {
    const { ask, clock, wire } = world()
    wire.setDown(true)
    const answer = ask(FindExpert, TV, { timeout: '2s' })
    await clock.advance(2000)
    expect(await answer).toMatchObject({ ok: false, error: 'unreachable' })
    wire.setDown(false)
    await clock.advance(10_000)
    expect(wire.sent).toEqual([])
  })

  test('a connection that comes back in time is used, once', async () => {
    const { ask, clock, wire, answering } = world()
    await answering(() => ({ expertId: 1 }))
    wire.setDown(true)
    const answer = ask(FindExpert, TV, { timeout: '2s' })
    await clock.advance(500)
    wire.setDown(false)
    await clock.advance(500)
    expect(await answer).toEqual({ ok: true, value: { expertId: 1 } })
    expect(wire.sent.filter((message) => message.kind === 'request')).toHaveLength(1)
  })

  test('a place for replies that cannot be opened is tried again', async () => {
    const { ask, clock, wire, answering } = world()
    await answering(() => ({ expertId: 1 }))
    wire.deceived = true
    wire.down = true
    const answer = ask(FindExpert, TV)
    await clock.advance(300)
    wire.down = false
    await clock.advance(300)
    expect(await answer).toMatchObject({ ok: true })
  })

  test('over after the request was sent: timeout; the reply that comes then is counted and harms nobody', async () => {
    const { ask, asker, clock, counts, answering } = world()
    let finish = (): void => {}
    await answering(async () => {
      await new Promise<void>((resolve) => (finish = resolve))
      return { expertId: 1 }
    })
    const answer = ask(FindExpert, TV, { timeout: '2s' })
    await clock.advance(2000)
    expect(await answer).toMatchObject({ ok: false, error: 'timeout' })
    finish()
    await settled()
    expect(asker.outstanding).toBe(0)
    // The answerer knows that nobody waits any more and keeps its reply to itself.
    expect(counts[METRIC.requestsExpired]).toBe(1)
  })

  test('a connection lost while sending: it may have arrived, so it is not sent again', async () => {
    const { ask, clock, wire } = world()
    wire.refuse = () => {
      throw new SdkError('transport_down', 'lost', { retryable: true })
    }
    const answer = ask(FindExpert, TV, { timeout: '2s' })
    await clock.advance(2000)
    expect(await answer).toMatchObject({ error: 'timeout' })
  })

  test('an expired request is dropped before it runs', async () => {
    const { ask, clock, wire, counts, answering } = world()
    const answer = ask(FindExpert, TV, { timeout: '2s' })
    await clock.advance(2000)
    await answer
    let ran = 0
    await answering(() => ({ expertId: ++ran }))
    await settled()
    expect(ran).toBe(0)
    expect(counts[METRIC.requestsExpired]).toBe(1)
    expect(wire.deliveries[0]!.accepted).toBe(true)
  })

  test('the answerer is told by its signal when nobody waits any more', async () => {
    const { ask, clock, answering } = world()
    let reason: unknown
    await answering(async (_, { signal }) => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
      reason = signal.reason
      return { expertId: 1 }
    })
    void ask(FindExpert, TV, { timeout: '2s' })
    await clock.advance(2000)
    expect(reason).toMatchObject({ code: 'expired' })
  })

  test('a nested request has no more time than the one that it is asked for, and is of its conversation', async () => {
    const { ask, answering, clock, wire } = world()
    await answering(async ({ skill }, { ask: nested }) => {
      await clock.advance(500)
      if (skill === 'inner') return { expertId: 2 }
      const inner = await nested(FindExpert, { skill: 'inner' }, { timeout: '1h' })
      return inner.ok ? inner.value : { expertId: 0 }
    })
    expect(await ask(FindExpert, TV, { timeout: '2s' })).toEqual({ ok: true, value: { expertId: 2 } })
    const [outer, inner] = wire.sent.filter((message) => message.kind === 'request')
    expect(inner!.metadata).toMatchObject({
      deadline: outer!.metadata.deadline,
      correlationId: outer!.id,
      causationId: outer!.id,
    })
  })

  test('a nested request for which no time is left is not sent', async () => {
    const { asker, clock, wire } = world()
    const because = { id: 'cause', metadata: { correlationId: 'cause', deadline: clock.now() } }
    expect(await asker.askBecauseOf(because)(FindExpert, TV)).toMatchObject({ error: 'timeout' })
    expect(wire.sent).toEqual([])
  })

  test('an aborted signal ends the waiting with its reason', async () => {
    const { ask, asker } = world()
    const controller = new AbortController()
    const answer = ask(FindExpert, TV, { signal: controller.signal })
    await settled()
    controller.abort(new Error('the customer hung up'))
    await expect(answer).rejects.toThrow('the customer hung up')
    expect(asker.outstanding).toBe(0)
    await expect(ask(FindExpert, TV, { signal: controller.signal })).rejects.toThrow('the customer hung up')
  })
})

describe('limits', () => {
  test('more than outstandingMax at once are overloaded, also when they are asked in one turn', async () => {
    const { ask, clock, wire, measured } = world({ asker: { outstandingMax: 2, timeout: '1s' } })
    const answers = [ask(FindExpert, TV), ask(FindExpert, TV), ask(FindExpert, TV)]
    await clock.advance(1000)
    expect((await Promise.all(answers)).map((answer) => !answer.ok && answer.error)).toEqual([
      'timeout',
      'timeout',
      'overloaded',
    ])
    expect(wire.sent).toHaveLength(2)
    // The alert on requests that are refused looks at it.
    expect(measured).toEqual(['overloaded', 'timeout', 'timeout'])
    expect(await Promise.race([ask(FindExpert, TV), settled()])).toBeUndefined()
  })

  test('no more than `concurrency` handlers run at once', async () => {
    const { ask, answering } = world()
    let running = 0
    let most = 0
    await answering(
      async () => {
        most = Math.max(most, ++running)
        await settled()
        running--
        return { expertId: 1 }
      },
      { concurrency: 2 },
    )
    await Promise.all([1, 2, 3, 4, 5].map(() => ask(FindExpert, TV)))
    expect(most).toBe(2)
  })

  test.each([
    ['unroutable', 'unreachable'],
    ['overloaded', 'overloaded'],
  ] as const)('the engine refuses it as %s: %s, at once', async (code, error) => {
    const { ask, wire } = world()
    wire.refuse = () => new SdkError(code, 'no')
    expect(await ask(FindExpert, TV)).toMatchObject({ ok: false, error })
  })

  test('what is the program’s own fault is thrown', async () => {
    const { ask, wire, asker } = world()
    await expect(ask(FindExpert, { skill: 7 } as unknown as Skill)).rejects.toMatchObject({ code: 'invalid_data' })
    wire.refuse = () => new SdkError('too_large', 'too large')
    await expect(ask(FindExpert, TV)).rejects.toMatchObject({ code: 'too_large' })
    expect(asker.outstanding).toBe(0)
    await expect(world({ replies: false }).ask(FindExpert, TV)).rejects.toMatchObject({ code: 'capability_missing' })
    expect(() => world({ asker: { outstandingMax: 0 } })).toThrow('outstandingMax is 0')
  })
})

describe('who answers', () => {
  test('compete: each request goes to one of them', async () => {
    const { ask, answering } = world()
    const handled: string[] = []
    await answering(({ skill }) => ({ expertId: handled.push(`a${skill}`) }))
    await answering(({ skill }) => ({ expertId: handled.push(`b${skill}`) }))
    await Promise.all(['1', '2', '3', '4'].map((skill) => ask(FindExpert, { skill })))
    expect(handled.toSorted()).toEqual(['a1', 'a3', 'b2', 'b4'])
  })

  test('settle a request when its reply is with the engine, so that another one takes over after a crash', async () => {
    const { ask, answering, wire } = world()
    const order: string[] = []
    wire.refuse = (message) => {
      if (message.kind === 'reply') order.push(wire.deliveries[0]!.accepted ? 'settled first' : 'reply first')
      return 'sent'
    }
    await answering(() => ({ expertId: 1 }))
    await ask(FindExpert, TV)
    await settled()
    expect(order).toEqual(['reply first'])
    expect(wire.deliveries[0]!.accepted).toBe(true)
  })

  test('settle it before it runs when it must not run again', async () => {
    const { ask, answering, wire } = world()
    await answering(() => ({ expertId: wire.deliveries[0]!.accepted ? 1 : 0 }), { once: true })
    expect(await ask(FindExpert, TV)).toEqual({ ok: true, value: { expertId: 1 } })
  })

  test('send the reply again when the engine was away', async () => {
    const { ask, answering, wire, clock } = world()
    let lost = 2
    wire.refuse = (message) =>
      message.kind === 'reply' && lost-- > 0 ? new SdkError('transport_down', 'lost', { retryable: true }) : 'sent'
    await answering(() => ({ expertId: 1 }))
    const answer = ask(FindExpert, TV)
    await clock.advance(1000)
    expect(await answer).toMatchObject({ ok: true })
  })

  test('drop what names no place for a reply, and what is no message', async () => {
    const { answering, wire } = world()
    let ran = 0
    await answering(() => ({ expertId: ++ran }))
    const request: Message = {
      id: 'x',
      kind: 'request',
      type: 'experts.find',
      version: 1,
      source: 'stranger',
      time: 0,
      key: null,
      keySeq: null,
      contentType: 'application/json',
      body: Buffer.from('{}'),
      metadata: { correlationId: 'x' },
    }
    const deliveries = [wire.deliver(request), wire.deliver(null)]
    await settled()
    expect(deliveries.map((delivery) => delivery.accepted)).toEqual([true, true])
    expect(ran).toBe(0)
  })
})

describe('the end', () => {
  test('the asker takes no more, waits for what is out, and closes its place then', async () => {
    const { ask, asker, answering, wire } = world()
    let finish = (): void => {}
    await answering(async () => {
      await new Promise<void>((resolve) => (finish = resolve))
      return { expertId: 1 }
    })
    const answer = ask(FindExpert, TV)
    await settled()
    const stopped = asker.stop()
    await expect(ask(FindExpert, TV)).rejects.toMatchObject({ code: 'not_started' })
    finish()
    expect(await answer).toMatchObject({ ok: true })
    await stopped
    expect(wire.replyPlaces).toBe(1)
  })

  test('the answerer finishes what runs and gives back what has not begun', async () => {
    const { ask, answering, wire } = world()
    let finish = (): void => {}
    const answerer = await answering(
      async () => {
        await new Promise<void>((resolve) => (finish = resolve))
        return { expertId: 1 }
      },
      { concurrency: 1 },
    )
    const first = ask(FindExpert, TV)
    void ask(FindExpert, TV)
    await settled()
    const stopped = answerer.stop()
    await settled()
    expect(wire.deliveries.map((delivery) => delivery.released)).toEqual([false, true])
    finish()
    expect(await first).toMatchObject({ ok: true })
    await stopped
    expect(wire.deliveries[0]!.accepted).toBe(true)
  })
})

test('a wrong request does not compile', () => {
  const { ask, asker, surroundings } = world()
  const wrong = (): void => {
    // @ts-expect-error its data is of another type
    void ask(FindExpert, { skill: 7 })
    const answer = (handler: AnswerHandler<typeof FindExpert>) =>
      new Answerer(surroundings, asker, FindExpert, {}, handler)
    // @ts-expect-error no such error is declared
    answer((_, { fail }) => fail('nowhere'))
    // @ts-expect-error what comes with the error is missing
    answer((_, { fail }) => fail('nobody'))
    // @ts-expect-error it answers something else
    answer(() => ({ expert: 1 }))
    const event = {} as Contract<'event', 'x', Skill, Skill>
    // @ts-expect-error an event is not asked
    void ask(event, TV)
  }
  expect(wrong).toBeTypeOf('function')
})
