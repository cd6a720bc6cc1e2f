// What every front-end's sessions owe their listener, whatever they speak. A second protocol adds a row.
import { openEngine } from '@stathmos/engine'
import { MemoryFiles, SimulatedDisk, type Simulation, simulate } from '@stathmos/testkit'
import { encodeMethod, type Method, OutputBuffer, PROTOCOL_HEADER } from '@stathmos/wire/amqp'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { amqpOptions, openAmqp, STANDARD_EXCHANGES } from '../protocols/amqp/index.ts'
import { ByteChannel } from './byte-channel.ts'
import { type Protocol, SESSION_LIMITS, type World } from './protocol.ts'
import { SessionRegistry } from './registry.ts'

interface Row {
  readonly name: string
  open(world: World): Protocol
  /** Everything a client says from its first byte to a message that is confirmed, without waiting for an answer. */
  conversation(): Uint8Array
}

const METHODS: readonly (readonly [number, Method])[] = [
  [
    0,
    {
      name: 'connection.start-ok',
      clientProperties: new Map(),
      mechanism: 'PLAIN',
      response: Buffer.from('\0guest\0guest'),
      locale: 'en_US',
    },
  ],
  [0, { name: 'connection.tune-ok', channelMax: 10, frameMax: 131_072, heartbeat: 0 }],
  [0, { name: 'connection.open', virtualHost: '/' }],
  [1, { name: 'channel.open' }],
  [
    1,
    {
      name: 'queue.declare',
      queue: 'q',
      passive: false,
      durable: true,
      exclusive: false,
      autoDelete: false,
      noWait: false,
      arguments: new Map(),
    },
  ],
  [1, { name: 'queue.purge', queue: 'q', noWait: false }],
]

const ROWS: readonly Row[] = [
  {
    name: 'AMQP 0-9-1',
    open: (world) => openAmqp(world, amqpOptions({ version: '0.0.0' })),
    conversation() {
      const out = new OutputBuffer(4096)
      for (const [channel, method] of METHODS) encodeMethod(out, channel, method)
      return Buffer.concat([PROTOCOL_HEADER, out.written()])
    },
  },
]

interface Setting {
  readonly simulation: Simulation
  readonly protocol: Protocol
}

async function settingOf(row: Row): Promise<Setting> {
  const simulation = simulate({ seed: 11 })
  const { clock, random } = simulation
  const files = new SimulatedDisk(new MemoryFiles(), simulation)
  const opening = openEngine({ dataDir: '/data', files, clock, random, standardExchanges: STANDARD_EXCHANGES })
  const engine = await simulation.finish(opening)
  engine.access.setUser({ name: 'guest', passwordHash: '', tags: [] })
  engine.access.setPermission('guest', '/', { configure: '.*', write: '.*', read: '.*' })
  const authenticator = { verify: () => Promise.resolve(true) }
  const registry = new SessionRegistry()
  return { simulation, protocol: row.open({ engine, clock, random, authenticator, registry, limits: SESSION_LIMITS }) }
}

describe.each(ROWS)('a session of $name', (row) => {
  test('gives the same answers to the same bytes, in whatever pieces they come', async () => {
    const bytes = row.conversation()
    const answers = async (cuts: readonly number[]): Promise<string> => {
      const { simulation, protocol } = await settingOf(row)
      const channel = new ByteChannel(protocol)
      const ends = [...new Set([...cuts.map((cut) => cut % bytes.length), bytes.length])].toSorted((a, b) => a - b)
      let from = 0
      for (const end of ends) {
        if (end > from) channel.receive(bytes.subarray(from, end))
        from = end
      }
      await simulation.elapse(1000)
      expect(channel.open).toBe(true)
      return Buffer.from(channel.take()).toString('hex')
    }
    const whole = await answers([])
    expect(whole.length).toBeGreaterThan(100)
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(), { maxLength: 30 }), async (cuts) => {
        expect(await answers(cuts)).toBe(whole)
      }),
      { numRuns: 15 },
    )
  })

  test('takes any bytes without throwing', async () => {
    const { simulation, protocol } = await settingOf(row)
    const bytes = row.conversation()
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.uint8Array({ maxLength: 300 }), async (cut, noise) => {
        const channel = new ByteChannel(protocol)
        channel.receive(bytes.subarray(0, cut % bytes.length))
        channel.receive(noise)
        await simulation.elapse(100)
        channel.disconnect()
      }),
      { numRuns: 100 },
    )
  })

  test('hangs up on a peer that does not say who it is', async () => {
    const { simulation, protocol } = await settingOf(row)
    const channel = new ByteChannel(protocol)
    channel.receive(row.conversation().subarray(0, 9))
    await simulation.elapse(SESSION_LIMITS.authenticateMs - 1000)
    expect(channel.open).toBe(true)
    await simulation.elapse(60_000)
    expect(channel.open).toBe(false)
  })

  test('writes nothing to a peer that is gone', async () => {
    const { simulation, protocol } = await settingOf(row)
    const channel = new ByteChannel(protocol)
    channel.receive(row.conversation())
    channel.disconnect()
    const { writes } = channel
    await simulation.elapse(60_000)
    expect(channel.writes).toBe(writes)
  })

  test('says goodbye when the broker stops, and ends although the peer never answers', async () => {
    const { simulation, protocol } = await settingOf(row)
    const channel = new ByteChannel(protocol)
    channel.receive(row.conversation())
    await simulation.elapse(1000)
    channel.take()
    channel.session.drain('the broker is stopping')
    await simulation.elapse(100)
    expect(channel.take().length).toBeGreaterThan(0)
    await simulation.elapse(60_000)
    expect(channel.open).toBe(false)
  })
})
