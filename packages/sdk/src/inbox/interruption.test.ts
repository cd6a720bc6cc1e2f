import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import { InboxWorld, storeDown, Ticket, type ServiceProcess, type TicketData } from '../testing/inbox-world.ts'
import { declareBatch, declareOn, type Declaration } from './declaration.ts'

const KEYS = ['a', 'b', 'c']

/** What may happen between messages: to handlers, to processes, to the store, to the connection. */
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('send' as const), key: fc.constantFrom(...KEYS) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('fail' as const), calls: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('crash' as const, 'cut' as const, 'outage' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('hang' as const, 'restart' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 3000 }) }) },
)

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

const retry = { attempts: 100, initial: '1s', max: '2s', jitter: 0 } as const

test.each(['on', 'batch'] as const)(
  'whatever dies, fails or goes away: each message counts once, in the order of its key, and nothing is lost [%s]',
  { timeout: 120_000 },
  async (kind) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        await run(kind, steps)
      }),
      { numRuns: 150 },
    )
  },
)

async function run(kind: 'on' | 'batch', steps: readonly Step[]): Promise<void> {
  const world = new InboxWorld()
  const sent = new Map<string, number>(KEYS.map((key) => [key, 0]))
  let failures = 0
  let hangs = 0

  const handle = async (data: TicketData, tx: MemoryTransaction): Promise<void> => {
    const table = tx.table<number[]>('tickets')
    await table.set(data.ticketId, [...((await table.get(data.ticketId)) ?? []), data.number])
    if (failures > 0) {
      failures--
      throw new Error('not now')
    }
    // Until its process dies.
    if (hangs > 0) {
      hangs--
      await new Promise(() => {})
    }
  }
  const declaration = (): Declaration<MemoryTransaction> =>
    kind === 'on'
      ? declareOn<MemoryTransaction, 'ticket.changed', TicketData>(Ticket, { name: 'c', retry }, (data, { tx }) =>
          handle(data, tx),
        )
      : declareBatch<MemoryTransaction, 'ticket.changed', TicketData>(
          Ticket,
          { name: 'c', retry, batch: { size: 4, wait: '1s' } },
          async (items, { tx }) => {
            for (const { data } of items) await handle(data, tx)
          },
        )
  const begin = async (): Promise<ServiceProcess> => {
    const process = await world.process()
    await process.consume(declaration())
    return process
  }

  const processes = [await begin(), await begin()]
  for (const action of steps) {
    if (action.do === 'send') {
      const number = (sent.get(action.key) ?? 0) + 1
      sent.set(action.key, number)
      await world.send(action.key, number)
    } else if (action.do === 'fail') failures += action.calls
    else if (action.do === 'hang') hangs++
    else if (action.do === 'wait') await world.clock.advance(action.ms)
    else if (action.do === 'outage') {
      world.fault = storeDown()
      await world.clock.advance(2000)
      world.fault = null
    } else if (action.do === 'cut') {
      processes[0]?.transport.cut()
      await world.clock.advance(500)
      processes[0]?.transport.restore()
    } else {
      processes.shift()?.crash()
      processes.push(await begin())
    }
  }
  // Whoever hangs would hang for ever.
  hangs = 0
  for (const process of processes) process.crash()
  failures = 0
  await begin()
  await world.clock.advance('3m')
  for (const [key, count] of sent) {
    const written = world.store.table<number[]>('tickets').get(key) ?? []
    expect(written, `key ${key}`).toEqual(Array.from({ length: count }, (_, index) => index + 1))
  }
  expect(Object.values(await world.states()).filter((state) => state !== 'done')).toEqual([])
}
