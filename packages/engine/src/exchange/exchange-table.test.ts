import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EngineError } from '../errors.ts'
import { NO_HEADERS } from '../message/headers.ts'
import type { Headers } from '../message/headers.ts'
import { ExchangeTable } from './exchange-table.ts'
import type { ExchangeDefinition, ExchangeType } from './exchange.ts'

describe('declaring', () => {
  test('the same declaration again finds the same exchange', () => {
    const { table } = world()
    const first = table.declare(exchange('x'))
    const second = table.declare({ ...exchange('x'), opaque: 'ignored' })
    expect(first.created).toBe(true)
    expect(second).toEqual({ exchange: first.exchange, created: false })
    expect(table.get('x')).toBe(first.exchange)
  })

  test.each<[keyof ExchangeDefinition, Partial<ExchangeDefinition>, unknown, unknown]>([
    ['type', { type: 'topic' }, 'direct', 'topic'],
    ['durable', { durable: false }, true, false],
    ['autoDelete', { autoDelete: true }, false, true],
    ['internal', { internal: true }, false, true],
    ['delayed', { delayed: true }, false, true],
    ['alternate', { alternate: 'y' }, undefined, 'y'],
  ])('another %s is not equivalent, and the error says what differs', (field, parts, current, received) => {
    const { table } = world()
    table.declare(exchange('x'))
    expect(failure(() => table.declare({ ...exchange('x'), ...parts }))).toMatchObject({
      code: 'not_equivalent',
      data: { field, current, received },
    })
  })

  test('standard exchanges exist from the start, can be declared alike, and cannot be deleted', () => {
    const { table } = world()
    const standard = table.get('std.topic')!
    expect(table.declare(exchange('std.topic', 'topic')).exchange).toBe(standard)
    expect(table.isReserved(standard)).toBe(true)
    expect(failure(() => table.delete(standard)).code).toBe('reserved')
  })

  test('the default exchange cannot be declared, deleted, bound or unbound', () => {
    const { table, queue } = world()
    queue('q')
    table.declare(exchange('x'))
    expect(failure(() => table.declare(exchange(''))).code).toBe('reserved')
    expect(failure(() => table.delete(table.get('')!)).code).toBe('reserved')
    expect(failure(() => table.bind('', toQueue('q'), 'k', NO_HEADERS)).code).toBe('reserved')
    expect(failure(() => table.bind('x', toExchange(''), 'k', NO_HEADERS)).code).toBe('reserved')
    expect(failure(() => table.unbind('', toQueue('q'), 'k', NO_HEADERS)).code).toBe('reserved')
  })
})

describe('binding', () => {
  test('the same binding is kept once', () => {
    const { table, queue } = world()
    const q = queue('q')
    table.declare(exchange('x'))
    expect(table.bind('x', toQueue('q'), 'k', NO_HEADERS)).toBe(true)
    expect(table.bind('x', toQueue('q'), 'k', NO_HEADERS)).toBe(false)
    expect(table.bind('x', toQueue('q'), 'l', NO_HEADERS)).toBe(true)
    expect(table.bind('x', toQueue('q'), 'k', new Map([['a', 1]]))).toBe(true)
    expect([...table.bindings()]).toHaveLength(3)
    expect(table.bindingsOf(q)).toHaveLength(3)
  })

  test('missing ends are named when binding, and make unbinding a no-op', () => {
    const { table, queue } = world()
    queue('q')
    table.declare(exchange('x'))
    expect(failure(() => table.bind('y', toQueue('q'), '', NO_HEADERS)).code).toBe('exchange_not_found')
    expect(failure(() => table.bind('x', toExchange('y'), '', NO_HEADERS)).code).toBe('exchange_not_found')
    expect(failure(() => table.bind('x', toQueue('p'), '', NO_HEADERS)).code).toBe('queue_not_found')
    expect(table.unbind('y', toQueue('q'), '', NO_HEADERS)).toBe(false)
    expect(table.unbind('x', toExchange('y'), '', NO_HEADERS)).toBe(false)
    expect(table.unbind('x', toQueue('q'), '', NO_HEADERS)).toBe(false)
  })

  test('a refused binding leaves nothing behind', () => {
    const { table, queue } = world()
    const q = queue('q')
    const { exchange: x } = table.declare(exchange('x', 'headers'))
    const args = new Map([['x-match', 'most']])
    expect(failure(() => table.bind('x', toQueue('q'), '', args)).code).toBe('invalid_argument')
    expect(table.bindingsOf(q)).toEqual([])
    expect(x.bindingCount).toBe(0)
  })

  test('a queue that goes takes its bindings along, and says which', () => {
    const { table, queue, drop, unbound } = world()
    const q = queue('q')
    queue('p')
    table.declare(exchange('x', 'fanout'))
    table.bind('x', toQueue('q'), 'a', NO_HEADERS)
    table.bind('x', toQueue('q'), 'b', NO_HEADERS)
    table.bind('x', toQueue('p'), 'a', NO_HEADERS)
    drop(q)
    expect([...table.bindings()].map((binding) => binding.destination.name)).toEqual(['p'])
    expect(unbound.map((binding) => binding.key)).toEqual(['a', 'b'])
    expect(route(table, 'x', '')).toEqual(['p'])
  })

  test('a queue of the same name as one that went begins without bindings', () => {
    const { table, queue, drop } = world()
    table.declare(exchange('x', 'fanout'))
    const first = queue('q')
    table.bind('x', toQueue('q'), '', NO_HEADERS)
    drop(first)
    const second = queue('q')
    expect(route(table, 'x', '')).toEqual([])
    expect(table.resolve(table.get('')!, 'q', null, null)).toEqual([second])
  })
})

describe('deleting', () => {
  test('bindings from and to the exchange go with it', () => {
    const { table, queue, deleted } = world()
    queue('q')
    for (const name of ['a', 'b', 'c']) table.declare(exchange(name, 'fanout'))
    table.bind('a', toExchange('b'), '', NO_HEADERS)
    table.bind('b', toQueue('q'), '', NO_HEADERS)
    table.bind('b', toExchange('c'), '', NO_HEADERS)
    const b = table.get('b')!
    table.delete(b)
    expect(b.deleted).toBe(true)
    expect(table.get('b')).toBeUndefined()
    expect([...table.bindings()]).toEqual([])
    expect(deleted).toEqual(['b'])
    expect(table.resolve(b, '', null, null)).toEqual([])
    table.delete(b)
    expect(deleted).toEqual(['b'])
  })

  test('ifUnused minds the bindings that lead on, not those that lead there', () => {
    const { table, queue } = world()
    queue('q')
    table.declare(exchange('a'))
    table.declare(exchange('b'))
    table.bind('a', toExchange('b'), '', NO_HEADERS)
    expect(failure(() => table.delete(table.get('a')!, { ifUnused: true })).code).toBe('in_use')
    expect(table.get('a')?.deleted).toBe(false)
    table.delete(table.get('b')!, { ifUnused: true })
    table.delete(table.get('a')!, { ifUnused: true })
    expect(table.get('a')).toBeUndefined()
  })

  test('an auto-delete exchange stays until its last binding is removed', () => {
    const { table, queue, deleted } = world()
    queue('q')
    table.declare({ ...exchange('x'), autoDelete: true })
    table.bind('x', toQueue('q'), 'a', NO_HEADERS)
    table.bind('x', toQueue('q'), 'b', NO_HEADERS)
    table.unbind('x', toQueue('q'), 'a', NO_HEADERS)
    expect(deleted).toEqual([])
    table.unbind('x', toQueue('q'), 'b', NO_HEADERS)
    expect(deleted).toEqual(['x'])
    expect(table.get('x')).toBeUndefined()
  })

  test('being the destination of others neither keeps an auto-delete exchange nor ends it', () => {
    const { table, deleted } = world()
    table.declare(exchange('a'))
    table.declare({ ...exchange('x'), autoDelete: true })
    table.bind('a', toExchange('x'), '', NO_HEADERS)
    table.unbind('a', toExchange('x'), '', NO_HEADERS)
    expect(deleted).toEqual([])
  })

  test('auto-delete goes up a chain of any length when its queue goes', () => {
    const { table, queue, drop, deleted } = world()
    const q = queue('q')
    const length = 20_000
    for (let at = 0; at < length; at++) table.declare({ ...exchange(`x${at}`, 'fanout'), autoDelete: true })
    for (let at = 1; at < length; at++) table.bind(`x${at}`, toExchange(`x${at - 1}`), '', NO_HEADERS)
    table.bind('x0', toQueue('q'), '', NO_HEADERS)
    expect(route(table, `x${length - 1}`, '')).toEqual(['q'])
    drop(q)
    expect(deleted).toHaveLength(length)
    expect(deleted.at(-1)).toBe(`x${length - 1}`)
  })

  test('auto-delete exchanges in a cycle each go once', () => {
    const { table, queue, drop, deleted } = world()
    const q = queue('q')
    for (const name of ['a', 'b']) table.declare({ ...exchange(name, 'fanout'), autoDelete: true })
    table.bind('a', toExchange('b'), '', NO_HEADERS)
    table.bind('b', toExchange('a'), '', NO_HEADERS)
    table.bind('b', toExchange('b'), '', NO_HEADERS)
    table.bind('b', toQueue('q'), '', NO_HEADERS)
    drop(q)
    expect(deleted).toEqual([])
    table.delete(table.get('a')!)
    expect(deleted).toEqual(['a'])
    table.unbind('b', toExchange('b'), '', NO_HEADERS)
    expect(deleted).toEqual(['a', 'b'])
  })
})

describe('resolving', () => {
  test('the default exchange leads to the queue of that name, for each key once', () => {
    const { table, queue } = world()
    queue('q')
    queue('p')
    expect(route(table, '', 'q')).toEqual(['q'])
    expect(route(table, '', 'none')).toEqual([])
    expect(route(table, '', 'q', ['p', 'q', 'none'])).toEqual(['q', 'p'])
  })

  test('a queue reached in several ways is there once', () => {
    const { table, queue } = world()
    queue('q')
    table.declare(exchange('a', 'topic'))
    table.declare(exchange('b', 'fanout'))
    table.bind('a', toQueue('q'), '#', NO_HEADERS)
    table.bind('a', toQueue('q'), 'k.*', NO_HEADERS)
    table.bind('a', toExchange('b'), 'k.#', NO_HEADERS)
    table.bind('b', toQueue('q'), '', NO_HEADERS)
    expect(route(table, 'a', 'k.l', ['k.m'])).toEqual(['q'])
  })

  test('the alternate takes what nothing matches, and only that', () => {
    const { table, queue } = world()
    queue('q')
    queue('rest')
    table.declare({ ...exchange('a'), alternate: 'b' })
    table.declare(exchange('b', 'fanout'))
    table.bind('a', toQueue('q'), 'k', NO_HEADERS)
    table.bind('b', toQueue('rest'), '', NO_HEADERS)
    expect(route(table, 'a', 'k')).toEqual(['q'])
    expect(route(table, 'a', 'other')).toEqual(['rest'])
    expect(route(table, 'a', 'other', ['k'])).toEqual(['q'])
  })

  test('a binding to an exchange that leads nowhere still matches: the alternate does not take it', () => {
    const { table, queue } = world()
    queue('rest')
    table.declare({ ...exchange('a', 'fanout'), alternate: 'b' })
    table.declare(exchange('empty', 'fanout'))
    table.declare(exchange('b', 'fanout'))
    table.bind('a', toExchange('empty'), '', NO_HEADERS)
    table.bind('b', toQueue('rest'), '', NO_HEADERS)
    expect(route(table, 'a', '')).toEqual([])
  })

  test('alternates chain, end at one that is missing, and do not run in circles', () => {
    const { table, queue } = world()
    queue('q')
    table.declare({ ...exchange('a'), alternate: 'b' })
    table.declare({ ...exchange('b'), alternate: 'c' })
    expect(route(table, 'a', 'q')).toEqual([])
    table.declare({ ...exchange('c'), alternate: 'a' })
    expect(route(table, 'a', 'q')).toEqual([])
    table.delete(table.get('c')!)
    table.declare({ ...exchange('c'), alternate: '' })
    expect(route(table, 'a', 'q')).toEqual(['q'])
  })

  test('headers are asked for once, and only where an exchange looks at them', () => {
    const { table, queue } = world()
    queue('q')
    for (const name of ['h', 'i']) {
      table.declare(exchange(name, 'headers'))
      table.bind(name, toQueue('q'), '', new Map([['a', 1]]))
    }
    table.declare(exchange('f', 'fanout'))
    table.bind('f', toExchange('h'), '', NO_HEADERS)
    table.bind('f', toExchange('i'), '', NO_HEADERS)
    let asked = 0
    const headers = (): Headers => {
      asked++
      return new Map([['a', 1]])
    }
    expect(table.resolve(table.get('f')!, '', null, headers).map((q) => q.name)).toEqual(['q'])
    expect(asked).toBe(1)
    table.resolve(table.get('')!, 'q', null, headers)
    expect(asked).toBe(1)
  })

  test('whether headers matter follows bindings and alternates, and is asked anew after a change', () => {
    const { table } = world()
    table.declare(exchange('h', 'headers'))
    table.declare(exchange('a', 'fanout'))
    table.declare(exchange('b', 'fanout'))
    table.declare({ ...exchange('c'), alternate: 'b' })
    const depends = () => ['a', 'b', 'c', 'h'].filter((name) => table.dependsOnHeaders(table.get(name)!))
    expect(depends()).toEqual(['h'])
    table.bind('a', toExchange('h'), '', NO_HEADERS)
    expect(depends()).toEqual(['a', 'h'])
    table.bind('b', toExchange('a'), '', NO_HEADERS)
    table.bind('a', toExchange('b'), '', NO_HEADERS)
    expect(depends()).toEqual(['a', 'b', 'c', 'h'])
    table.unbind('a', toExchange('h'), '', NO_HEADERS)
    expect(depends()).toEqual(['h'])
  })

  test('the version changes with whatever may change a result, and not otherwise', () => {
    const { table, queue, drop } = world()
    let last = table.version
    const grew = (change: () => unknown): boolean => {
      change()
      const grown = table.version > last
      last = table.version
      return grown
    }
    let q = { name: '' }
    expect(grew(() => (q = queue('q')))).toBe(true)
    expect(grew(() => table.declare(exchange('x')))).toBe(true)
    expect(grew(() => table.declare(exchange('x')))).toBe(false)
    expect(grew(() => table.bind('x', toQueue('q'), '', NO_HEADERS))).toBe(true)
    expect(grew(() => table.bind('x', toQueue('q'), '', NO_HEADERS))).toBe(false)
    expect(grew(() => route(table, 'x', ''))).toBe(false)
    expect(grew(() => table.unbind('x', toQueue('q'), '', NO_HEADERS))).toBe(true)
    expect(grew(() => table.unbind('x', toQueue('q'), '', NO_HEADERS))).toBe(false)
    expect(grew(() => table.delete(table.get('x')!))).toBe(true)
    expect(grew(() => drop(q))).toBe(true)
  })

  test('a result is the caller’s: later ones do not change it', () => {
    const { table, queue } = world()
    queue('q')
    queue('p')
    const first = table.resolve(table.get('')!, 'q', null, null)
    table.resolve(table.get('')!, 'p', null, null)
    expect(first.map((q) => q.name)).toEqual(['q'])
  })

  test('a message whose headers cannot be read harms no later one', () => {
    const { table, queue } = world()
    queue('q')
    table.declare(exchange('h', 'headers'))
    table.bind('h', toQueue('q'), '', NO_HEADERS)
    expect(() => table.resolve(table.get('h')!, '', null, unreadable)).toThrow('unreadable')
    expect(route(table, 'h', '')).toEqual(['q'])
  })
})

test('in any graph, cycles included, routing ends and reaches what a naive walk reaches', () => {
  const names = ['a', 'b', 'c', 'd', 'e']
  const name = fc.constantFrom(...names)
  const node = fc.record({
    type: fc.constantFrom<ExchangeType>('direct', 'fanout', 'topic'),
    alternate: fc.option(name, { nil: undefined }),
  })
  const edge = fc.record({
    source: name,
    target: fc.constantFrom(...names, 'q1', 'q2', 'q3'),
    key: fc.constantFrom('k', 'l'),
  })
  fc.assert(
    fc.property(fc.tuple(node, node, node, node, node), fc.array(edge, { maxLength: 15 }), name, (nodes, edges, at) => {
      const { table, queue } = world()
      for (const q of ['q1', 'q2', 'q3']) queue(q)
      nodes.forEach(({ type, alternate }, index) => {
        table.declare({ ...exchange(names[index]!, type), ...(alternate === undefined ? {} : { alternate }) })
      })
      for (const { source, target, key } of edges) {
        table.bind(source, target.startsWith('q') ? toQueue(target) : toExchange(target), key, NO_HEADERS)
      }
      const seen = new Set<string>()
      const walk = (place: string): void => {
        if (seen.has(place)) return
        seen.add(place)
        if (place.startsWith('q')) return
        const { type, alternate } = nodes[names.indexOf(place)]!
        const matching = edges.filter((one) => one.source === place && (type === 'fanout' || one.key === 'k'))
        if (matching.length > 0) for (const { target } of matching) walk(target)
        else if (alternate !== undefined) walk(alternate)
      }
      walk(at)
      const expected = [...seen].filter((place) => place.startsWith('q'))
      expect(route(table, at, 'k').toSorted()).toEqual(expected.toSorted())
    }),
    { numRuns: 1000 },
  )
})

function world() {
  const queues = new Map<string, { name: string }>()
  const deleted: string[] = []
  const unbound: { key: string }[] = []
  const table = new ExchangeTable<{ name: string }>({
    queue: (name) => queues.get(name),
    standardExchanges: [exchange(''), exchange('std.topic', 'topic')],
    onDeleted: (gone) => void deleted.push(gone.name),
    onUnbound: (binding) => void unbound.push(binding),
  })
  return {
    table,
    deleted,
    unbound,
    queue(name: string) {
      const queue = { name }
      queues.set(name, queue)
      table.queueDeclared()
      return queue
    },
    drop(queue: { name: string }) {
      queues.delete(queue.name)
      table.removeQueue(queue)
    },
  }
}

function exchange(name: string, type: ExchangeType = 'direct'): ExchangeDefinition {
  return { name, type, durable: true, autoDelete: false, internal: false, delayed: false, opaque: '' }
}

function unreadable(): Headers {
  throw new Error('unreadable')
}

function toQueue(name: string) {
  return { kind: 'queue', name } as const
}

function toExchange(name: string) {
  return { kind: 'exchange', name } as const
}

function route(
  table: ExchangeTable<{ name: string }>,
  name: string,
  key: string,
  moreKeys: readonly string[] | null = null,
): string[] {
  return table.resolve(table.get(name)!, key, moreKeys, null).map((queue) => queue.name)
}

function failure(run: () => unknown): EngineError {
  try {
    run()
  } catch (error) {
    if (error instanceof EngineError) return error
    throw error
  }
  throw new Error('expected an EngineError')
}
