import { EngineWorld, type Inbox } from '@stathmos/testkit'
import { expect, test } from 'vitest'
import { HANDED_OUT_MAX } from './dispatcher.ts'

const BACKLOG = HANDED_OUT_MAX * 2 + 10
const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`)

/** Steps until `done`, and returns the most deliveries of one step. */
async function mostInOneStep({ simulation }: EngineWorld, inboxes: readonly Inbox[], done: () => boolean) {
  const got = (): number => inboxes.reduce((sum, inbox) => sum + inbox.got.length, 0)
  let most = 0
  while (!done()) {
    const before = got()
    expect(await simulation.step()).toBe(true)
    most = Math.max(most, got() - before)
  }
  return most
}

test('a backlog is handed out in slices, in order, and another queue has its turn in between', async () => {
  const world = await EngineWorld.open()
  const long = world.subscribe(world.queue('long'), { credit: 0 })
  for (const text of numbers(BACKLOG)) world.publish('long', text, { persistent: false })
  await world.settle()
  const short = world.subscribe(world.queue('short'))
  long.consumer.grant(Number.POSITIVE_INFINITY)
  world.publish('short', 'a', { persistent: false })
  await mostInOneStep(world, [], () => short.inbox.got.length > 0)
  expect(long.inbox.got.length).toBeLessThanOrEqual(HANDED_OUT_MAX)
  expect(await mostInOneStep(world, [long.inbox], () => long.inbox.got.length === BACKLOG)).toBe(HANDED_OUT_MAX)
  expect(long.inbox.texts).toEqual(numbers(BACKLOG))
})

test('what becomes durable meanwhile makes no slice longer, and comes behind', async () => {
  const world = await EngineWorld.open()
  const backlog = HANDED_OUT_MAX * 4
  const { inbox, consumer } = world.subscribe(world.queue('q'), { credit: 0, autoAccept: true })
  for (const text of numbers(backlog)) world.publish('q', text)
  await world.settle()
  consumer.grant(Number.POSITIVE_INFINITY)
  let published = backlog
  inbox.onDeliver = () => {
    if (inbox.got.length % 1000 === 0 && published < backlog + 20) world.publish('q', `${published++}`)
  }
  const most = await mostInOneStep(world, [inbox], () => inbox.got.length === backlog + 20)
  expect(most).toBe(HANDED_OUT_MAX)
  expect(inbox.texts).toEqual(numbers(backlog + 20))
})

test('consumers take turns across slices', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  for (const text of numbers(BACKLOG)) world.publish('q', text, { persistent: false })
  await world.settle()
  const inboxes = [1, 2, 3].map(() => world.subscribe(queue).inbox)
  await world.settle()
  for (const [at, { texts }] of inboxes.entries()) {
    expect(texts).toEqual(numbers(BACKLOG).filter((_, i) => i % 3 === at))
  }
})

test('no message that a consumer would take in a later slice is one too many, or late', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', { lengthMax: 10, messageTtlMs: 0 })
  const { inbox } = world.subscribe(queue)
  inbox.onDeliver = ({ ticket, redelivered }) => {
    // Something else that looks at the limit.
    if (inbox.got.length === HANDED_OUT_MAX && !redelivered) world.simulation.at(0, () => queue.release(ticket))
  }
  for (const text of numbers(BACKLOG)) world.publish('q', text, { persistent: false })
  await world.settle()
  expect(inbox.got).toHaveLength(BACKLOG + 1)
  expect(new Set(inbox.texts)).toEqual(new Set(numbers(BACKLOG)))
})

test('a limit holds for what is left when the consumer goes between two slices', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', { lengthMax: 10 })
  const { inbox, consumer } = world.subscribe(queue)
  for (const text of numbers(BACKLOG)) world.publish('q', text, { persistent: false })
  await mostInOneStep(world, [], () => inbox.got.length === HANDED_OUT_MAX)
  consumer.cancel()
  await world.settle()
  expect([inbox.got.length, queue.ready]).toEqual([HANDED_OUT_MAX, 10])
})
