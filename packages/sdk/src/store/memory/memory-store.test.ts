import { beforeEach, describe, expect, test } from 'vitest'
import type { Draft } from '../port.ts'
import { memoryStore, type MemoryStore, type MemoryTransaction } from './memory-store.ts'

interface Ticket {
  readonly id: string
  readonly tags: string[]
}

/** A step of another party that is awaited, and one that this party lets happen. */
function gate() {
  let open = () => {}
  const passed = new Promise<void>((resolve) => (open = resolve))
  return { open: () => open(), passed }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

const draft = (fields: Partial<Draft> = {}): Draft => ({
  id: 'm',
  kind: 'event',
  type: 't',
  version: 1,
  source: 's',
  time: 0,
  key: null,
  keySeq: null,
  contentType: 'application/json',
  body: new Uint8Array(),
  metadata: { correlationId: 'm' },
  ...fields,
})

let store: MemoryStore
beforeEach(() => {
  store = memoryStore({ clock: { now: () => 1_790_000_000_000, monotonic: () => 0, after: () => ({ cancel() {} }) } })
})

const put = (id: string, ...tags: string[]) =>
  store.transaction((tx) => tx.table<Ticket>('tickets').set(id, { id, tags }))

describe('rows of the user', () => {
  test('are seen by others when the transaction commits, and by itself at once', async () => {
    await store.transaction(async (tx) => {
      const tickets = tx.table<Ticket>('tickets')
      await tickets.set('b', { id: 'b', tags: [] })
      await tickets.set('a', { id: 'a', tags: [] })
      expect((await tickets.list()).map(({ id }) => id)).toEqual(['a', 'b'])
      expect(await tickets.get('a')).toEqual({ id: 'a', tags: [] })
      expect(store.table<Ticket>('tickets').list()).toEqual([])
    })
    expect(
      store
        .table<Ticket>('tickets')
        .list()
        .map(({ id }) => id),
    ).toEqual(['a', 'b'])
    expect(store.table('tickets').get('c')).toBeUndefined()
  })

  test('come back as they were when the transaction fails', async () => {
    await put('a', 'old')
    const failing = store.transaction(async (tx) => {
      const tickets = tx.table<Ticket>('tickets')
      await tickets.set('a', { id: 'a', tags: ['new'] })
      expect(await tickets.delete('a')).toBe(true)
      expect(await tickets.delete('a')).toBe(false)
      await tickets.set('b', { id: 'b', tags: [] })
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(store.table<Ticket>('tickets').list()).toEqual([{ id: 'a', tags: ['old'] }])
  })

  test('are copies: what a caller changes in its own hands changes nothing', async () => {
    const ticket = { id: 'a', tags: ['x'] }
    await store.transaction((tx) => tx.table<Ticket>('tickets').set('a', ticket))
    ticket.tags.push('y')
    store.table<Ticket>('tickets').get('a')!.tags.push('z')
    expect(store.table<Ticket>('tickets').get('a')).toEqual({ id: 'a', tags: ['x'] })
  })

  test('a row that was read is locked, so that no update is lost', async () => {
    await store.transaction((tx) => tx.table<number>('counts').set('n', 0))
    const increment = () =>
      store.transaction(async (tx) => {
        const counts = tx.table<number>('counts')
        const count = await counts.get('n')
        await turn()
        await counts.set('n', count! + 1)
      })
    await Promise.all(Array.from({ length: 20 }, increment))
    expect(store.table<number>('counts').get('n')).toBe(20)
  })
})

describe('transactions', () => {
  test('wait for each other only where they touch the same', async () => {
    const { open, passed } = gate()
    const order: string[] = []
    const first = store.transaction(async (tx) => {
      await store.outbox.add(tx, [draft({ id: '1', key: 'k' })])
      await passed
      order.push('first')
    })
    await store.transaction((tx) => store.outbox.add(tx, [draft({ id: '2', key: 'other' })]))
    order.push('other key')
    const second = store.transaction(async (tx) => {
      await store.outbox.add(tx, [draft({ id: '3', key: 'k' })])
      order.push('second')
    })
    await turn()
    open()
    await Promise.all([first, second])
    expect(order).toEqual(['other key', 'first', 'second'])
  })

  test('of two that wait for each other one is refused and may be repeated, the other commits', async () => {
    const both = [gate(), gate()]
    const work = (index: number, keys: readonly string[]) =>
      store.transaction(async (tx) => {
        await tx.table('t').set(keys[0]!, index)
        both[index]!.open()
        await both[1 - index]!.passed
        await tx.table('t').set(keys[1]!, index)
      })
    const outcomes = await Promise.allSettled([work(0, ['a', 'b']), work(1, ['b', 'a'])])
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected')
    expect(refused).toHaveLength(1)
    expect(refused[0]!.reason).toMatchObject({ code: 'conflict', retryable: true })
    const rows = store.table<number>('t').list()
    expect(rows).toHaveLength(2)
    expect(new Set(rows).size).toBe(1)
  })

  test('a circle of three is found as well', async () => {
    const gates = [gate(), gate(), gate()]
    const work = (index: number) =>
      store.transaction(async (tx) => {
        await tx.table('t').set(`${index}`, index)
        gates[index]!.open()
        await Promise.all(gates.map(({ passed }) => passed))
        await tx.table('t').set(`${(index + 1) % 3}`, index)
      })
    const outcomes = await Promise.allSettled([work(0), work(1), work(2)])
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(1)
  })

  test('a handle is of no use after the end', async () => {
    let kept: MemoryTransaction | undefined
    await store.transaction(async (tx) => {
      kept = tx
    })
    expect(store.isTransaction(kept)).toBe(false)
    await expect(store.outbox.add(kept!, [draft()])).rejects.toMatchObject({ code: 'transaction_over' })
    await expect(kept!.table('t').set('a', 1)).rejects.toMatchObject({ code: 'transaction_over' })
    await expect(kept!.table('t').list()).rejects.toMatchObject({ code: 'transaction_over' })
  })

  test('a handle of another store is refused', async () => {
    const other = memoryStore({ clock: { now: () => 0, monotonic: () => 0, after: () => ({ cancel() {} }) } })
    await other.transaction(async (tx) => {
      expect(store.isTransaction(tx)).toBe(false)
      await expect(store.outbox.add(tx, [draft()])).rejects.toMatchObject({ code: 'not_a_transaction' })
    })
  })
})

describe('watching', () => {
  test('tells of messages when they are committed, and of nothing else', async () => {
    let told = 0
    const end = store.watch(() => told++)
    await store.transaction(async (tx) => {
      await store.outbox.add(tx, [draft()])
      expect(told).toBe(0)
    })
    expect(told).toBe(1)
    await store.transaction((tx) => tx.table('t').set('a', 1))
    const failing = store.transaction(async (tx) => {
      await store.outbox.add(tx, [draft({ id: 'n' })])
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    const leases = await store.outbox.lease('o', 1000)
    const entries = await store.outbox.due(
      leases.map(({ bucket }) => bucket),
      10,
    )
    await store.outbox.sent(leases, entries, true)
    expect(told).toBe(1)
    await store.transaction((tx) => store.timers.set(tx, [{ draft: draft({ id: 't' }), dueAt: 0, cancelKey: null }]))
    await store.timers.fire(10)
    expect(told).toBe(2)
    end()
    await store.transaction((tx) => store.outbox.add(tx, [draft({ id: 'o' })]))
    expect(told).toBe(2)
  })
})
