import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { memoryBlobs } from '../blobs/memory-blobs.ts'
import { keyRing, type BodyKeys } from '../contract/body-keys.ts'
import { claimCheck } from '../contract/claim-check-body.ts'
import { encrypted } from '../contract/encrypted-body.ts'
import { event } from '../contract/event.ts'
import { json } from '../contract/json-body.ts'
import { Uncertain } from '../inbox/declaration.ts'
import { service } from '../service.ts'
import { memoryStore } from '../store/memory/memory-store.ts'
import { systemClock } from '../time/clock.ts'
import { memoryEngine } from '../transport/memory/index.ts'
import { testbed } from './testbed.ts'

const keys = keyRing({ k1: new Uint8Array(32).fill(1) }, 'k1')
const large = 'x'.repeat(5000)

async function world() {
  const kept = memoryBlobs({ clock: { now: () => 0 } })
  const blobs = {
    missing: false,
    count: () => kept.size,
    put: kept.put,
    prune: kept.prune,
    get: async (key: string) => (blobs.missing ? null : kept.get(key)),
  }
  const Filed = event('report.filed', z.object({ id: z.string(), text: z.string() }))
    .key(({ id }) => id)
    .body(claimCheck(encrypted(json, keys), { above: 1000, blobs }))
  const handled: string[] = []
  const app = service('archive', {
    store: memoryStore({ clock: systemClock }),
    transport: memoryEngine().transport(),
  }).on(Filed, { name: 'file', retry: { attempts: 3 } }, ({ id, text }) => {
    handled.push(`${id} ${text.length}`)
    if (id === 'bad') throw new Error('no')
  })
  const t = await testbed(app)
  onTestFinished(() => t.close())
  return { t, Filed, handled, blobs }
}

test('large bodies come to handlers in their places among the small ones', async () => {
  const { t, Filed, handled, blobs } = await world()
  await t.publish(Filed, { id: '1', text: 'short' })
  await t.publish(Filed, { id: '1', text: large })
  await t.publish(Filed, { id: '1', text: '' })
  await t.settled()
  expect(handled).toEqual(['1 5', '1 5000', '1 0'])
  expect(blobs.count()).toBe(1)
})

test('a body that is missing is tried again, then parked with its key, and handled when it is back', async () => {
  const { t, Filed, handled, blobs } = await world()
  blobs.missing = true
  const id = await t.publish(Filed, { id: '1', text: large })
  await t.publish(Filed, { id: '1', text: 'behind' })
  await t.settled()
  await t.rested()
  const parked = (await t.register.inspect(id)).find(({ direction }) => direction === 'in')
  expect(parked).toMatchObject({ state: 'parked', attempts: 3 })
  expect(parked?.errors.at(-1)?.message).toContain('bring it back there, then retry the message')
  expect(handled).toEqual([])
  blobs.missing = false
  await t.register.retry([id])
  await t.settled()
  expect(handled).toEqual(['1 5000', '1 6'])
})

test('a transaction that is rolled back leaves a body behind that nobody needs, until it is pruned', async () => {
  const { t, Filed, handled, blobs } = await world()
  const rolledBack = t.transaction(async (_, { publish }) => {
    await publish(Filed, { id: '1', text: large })
    throw new Error('changed my mind')
  })
  await expect(rolledBack).rejects.toThrow('changed my mind')
  await t.settled()
  expect(handled).toEqual([])
  expect(blobs.count()).toBe(1)
  await blobs.prune(1)
  expect(blobs.count()).toBe(0)
})

test('an edited message gets a body of its own', async () => {
  const { t, Filed, handled, blobs } = await world()
  const id = await t.publish(Filed, { id: 'bad', text: large })
  await t.settled()
  await t.rested()
  expect(blobs.count()).toBe(1)
  await t.register.edit(id, { id: 'bad', text: `${large}y` })
  await t.settled()
  expect(handled.at(-1)).toBe('bad 5001')
  expect(blobs.count()).toBe(2)
})

test('an effect of which nobody knows whether it happened is still verified after its message could not be read', async () => {
  let away = false
  const vault: BodyKeys = {
    current: () => keys.current(),
    find(id) {
      if (!away) return keys.find(id)
      away = false
      throw new Error('no route to the key service')
    },
  }
  const Charged = event('charged', z.object({ cents: z.number() })).body(encrypted(json, vault))
  const calls: string[] = []
  const app = service('bank', {
    store: memoryStore({ clock: systemClock }),
    transport: memoryEngine().transport(),
  }).effect(
    Charged,
    {
      name: 'charge',
      retry: { attempts: 5 },
      verify() {
        calls.push('verify')
        return 'done'
      },
    },
    () => {
      calls.push('charge')
      away = true
      throw new Uncertain('the line was cut')
    },
  )
  const t = await testbed(app)
  onTestFinished(() => t.close())
  await t.publish(Charged, { cents: 100 })
  await t.settled()
  await t.rested()
  expect(away).toBe(false)
  expect(calls).toEqual(['charge', 'verify'])
})
