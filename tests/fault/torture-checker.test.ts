// The judge is judged: every kind of broken promise, planted in a history that is otherwise sound, must be found.
import { describe, expect, test } from 'vitest'
import { audit } from '../torture/checker.mjs'
import type { Event } from '../torture/ledger.mjs'

type Planted = { kind: string } & Record<string, unknown>

const topology = { ordered: ['q', 'fan', 'in'], deadLetters: { work: 'dead' } }

/** Numbers the events in the order in which they are written, and drains every queue at the end. */
function verdict(events: readonly Planted[]): string[] {
  const drained = ['q', 'fan', 'in', 'out', 'work', 'dead', 'shared'].map((queue) => ({ kind: 'drained', queue }))
  const history = [...events, ...drained].map((event, at) => ({ at, ...event })) as unknown as Event[]
  return audit(history, topology).violations.map(({ invariant, text }) => `${invariant}: ${text}`)
}

let number = 0
const publish = (id: string, queues = ['q'], more = {}): Planted => {
  const seq = number++
  return { kind: 'publish', id, queues, persistent: true, hash: `h-${id}`, by: 'p', seq, ...more }
}
const confirm = (id: string): Planted => ({ kind: 'confirm', id })
const deliver = (id: string, queue = 'q', more = {}): Planted => ({
  kind: 'deliver',
  queue,
  id,
  hash: `h-${id}`,
  redelivered: false,
  session: 's1',
  ...more,
})
const again = (id: string, queue = 'q', session = 's2'): Planted => deliver(id, queue, { redelivered: true, session })
const settle = (id: string, outcome = 'accept', queue = 'q'): Planted => ({ kind: 'settle', queue, id, outcome })
const begin = (tx: string, ...ids: string[]): Planted => ({
  kind: 'begin',
  tx,
  takes: ids.map((id) => ({ queue: 'in', id })),
})

describe('a sound history', () => {
  test('of publishes, crashes, repeats, releases, rejections and transactions has no violation', () => {
    const events = [
      ...['1', '2', '3'].flatMap((id) => [publish(id), confirm(id)]),
      publish('never-confirmed'),
      publish('transient', ['q'], { persistent: false }),
      confirm('transient'),
      publish('refused'),
      { kind: 'refuse', id: 'refused' },
      deliver('1'),
      deliver('2'),
      settle('1'),
      settle('2', 'release'),
      // The crash.
      again('1'),
      again('2'),
      deliver('3', 'q', { session: 's2' }),
      ...['1', '2', '3'].map((id) => settle(id)),
      publish('w', ['work', 'dead']),
      confirm('w'),
      deliver('w', 'work'),
      settle('w', 'reject', 'work'),
      deliver('w', 'dead'),
      settle('w', 'accept', 'dead'),
      publish('i', ['in']),
      confirm('i'),
      deliver('i', 'in'),
      begin('t1', 'i'),
      publish('t1.i', ['out'], { tx: 't1' }),
      { kind: 'rolled-back', tx: 't1' },
      settle('i', 'release', 'in'),
      again('i', 'in'),
      begin('t2', 'i'),
      publish('t2.i', ['out'], { tx: 't2' }),
      { kind: 'committed', tx: 't2' },
      deliver('t2.i', 'out'),
      settle('t2.i', 'accept', 'out'),
    ]
    expect(verdict(events)).toEqual([])
  })

  test('may lose what was neither confirmed nor delivered', () => {
    expect(verdict([publish('1'), publish('t.1', ['out'], { tx: 't' })])).toEqual([])
  })

  test('may deliver to two consumers of a shared queue in any order', () => {
    const events = [publish('1', ['shared']), publish('2', ['shared']), deliver('2', 'shared'), deliver('1', 'shared')]
    expect(verdict([...events, settle('1', 'accept', 'shared'), settle('2', 'accept', 'shared')])).toEqual([])
  })
})

describe('a broker whose power was cut', () => {
  const off = { kind: 'power-off' }
  const on = { kind: 'power-on' }

  test('is not believed until it is dead: nobody would have heard it', () => {
    const events = [
      ...['1', '2'].flatMap((id) => [publish(id), confirm(id)]),
      publish('3'),
      off,
      confirm('3'),
      deliver('3'),
      settle('3'),
      { kind: 'declared', name: 'new' },
      on,
      again('1'),
      again('2'),
      settle('1'),
      settle('2'),
      { kind: 'seen', name: 'new', exists: false },
    ]
    expect(verdict(events)).toEqual([])
  })

  test('owes what it said before [I1]', () => {
    const events = [publish('1'), confirm('1'), off, on]
    expect(verdict(events)).toEqual([expect.stringMatching(/^I1: 1 was confirmed/)])
  })

  test('may have taken a settlement that came when it was being cut, or not', () => {
    const before = [publish('1'), confirm('1'), off, deliver('1'), settle('1'), on]
    expect(verdict(before)).toEqual([])
    expect(verdict([...before, again('1'), settle('1')])).toEqual([])
  })

  test('owes a message again that it had confirmed and that nobody settled, though it came when it was being cut [I1]', () => {
    const events = [publish('1'), confirm('1'), off, deliver('1'), on]
    expect(verdict(events)).toEqual([expect.stringMatching(/^I1: 1 was delivered/)])
  })
})

describe('the checker finds', () => {
  test('a confirmed message that never comes [I1]', () => {
    expect(verdict([publish('1'), confirm('1')])).toEqual([expect.stringMatching(/^I1: 1 was confirmed/)])
  })

  test('a message that one of the queues of a fanout lost [I1]', () => {
    const events = [publish('1', ['q', 'fan']), confirm('1'), deliver('1'), settle('1')]
    expect(verdict(events)).toEqual([expect.stringMatching(/^I1: 1 .* fan/)])
  })

  test('a message that was in somebody’s hands and does not come again [I1]', () => {
    expect(verdict([publish('1'), confirm('1'), deliver('1')])).toEqual([expect.stringMatching(/^I1: .*held/)])
  })

  test('a released message that does not come again [I1]', () => {
    const events = [publish('1'), confirm('1'), deliver('1'), settle('1', 'release')]
    expect(verdict(events)).toEqual([expect.stringMatching(/^I1: .*release/)])
  })

  test('a message that was delivered before it was on disk, and is lost [I1]', () => {
    expect(verdict([publish('1'), deliver('1')])).toEqual([expect.stringMatching(/^I1: .*held/)])
  })

  test('a rejected message that never reaches its dead letters [I1]', () => {
    const events = [publish('1', ['work', 'dead']), confirm('1'), deliver('1', 'work'), settle('1', 'reject', 'work')]
    expect(verdict(events)).toEqual([expect.stringMatching(/^I1: 1 was rejected/)])
  })

  test('the lost output of a committed transaction [I1]', () => {
    const events = [publish('i', ['in']), confirm('i'), deliver('i', 'in'), begin('t', 'i')]
    events.push(publish('t.i', ['out'], { tx: 't' }), { kind: 'committed', tx: 't' })
    expect(verdict(events)).toEqual([expect.stringMatching(/^I1: t\.i was confirmed/)])
  })

  test('an input that a transaction took which never took effect [I1]', () => {
    const events = [publish('i', ['in']), confirm('i'), deliver('i', 'in'), begin('t', 'i')]
    expect(verdict(events)).toEqual([expect.stringMatching(/^I1: i was delivered .*held/)])
  })

  test('a message that nobody published [I2]', () => {
    expect(verdict([deliver('ghost')])).toEqual([expect.stringMatching(/^I2: .*nobody/)])
  })

  test('a message in a queue to which it was not published [I2]', () => {
    const events = [
      publish('1'),
      confirm('1'),
      deliver('1'),
      settle('1'),
      deliver('1', 'fan'),
      settle('1', 'accept', 'fan'),
    ]
    expect(verdict(events)).toEqual([expect.stringMatching(/^I2: fan delivered 1/)])
  })

  test('a message with other bytes [I2]', () => {
    const events = [publish('1'), confirm('1'), deliver('1', 'q', { hash: 'other' }), settle('1')]
    expect(verdict(events)).toEqual([expect.stringMatching(/^I2: .*bytes/)])
  })

  test('a message of a transaction that was rolled back [I2]', () => {
    const events = [publish('t.1', ['out'], { tx: 't' }), { kind: 'rolled-back', tx: 't' }, deliver('t.1', 'out')]
    expect(verdict([...events, settle('t.1', 'accept', 'out')])).toEqual([expect.stringMatching(/^I2: .*rolled back/)])
  })

  test('a repeat that does not say so [I3]', () => {
    const events = [publish('1'), confirm('1'), deliver('1'), deliver('1', 'q', { session: 's2' }), settle('1')]
    expect(verdict(events)).toEqual([expect.stringMatching(/^I3: q delivered 1 again/)])
  })

  test('first deliveries out of order, even across a crash [I4]', () => {
    const events = [
      publish('1'),
      publish('2'),
      deliver('2'),
      deliver('1', 'q', { session: 's2' }),
      settle('1'),
      settle('2'),
    ]
    expect(verdict(events)).toEqual([expect.stringMatching(/^I4: q delivered 1 for the first time/)])
  })

  test('repeats out of order [I4]', () => {
    const events = [
      publish('1'),
      publish('2'),
      deliver('1'),
      deliver('2'),
      again('2'),
      again('1'),
      settle('1'),
      settle('2'),
    ]
    expect(verdict(events)).toEqual([expect.stringMatching(/^I4: q delivered 1 to s2/)])
  })

  test('an input that comes again after its transaction was committed [I5]', () => {
    const events = [
      publish('i', ['in']),
      confirm('i'),
      deliver('i', 'in'),
      begin('t', 'i'),
      { kind: 'committed', tx: 't' },
    ]
    expect(verdict([...events, again('i', 'in'), settle('i', 'accept', 'in')])).toEqual([
      expect.stringMatching(/^I5: in delivered i/),
    ])
  })

  test('a transaction without an answer that put its output and kept its input [I5]', () => {
    const events = [
      publish('i', ['in']),
      confirm('i'),
      deliver('i', 'in'),
      begin('t', 'i'),
      publish('t.i', ['out'], { tx: 't' }),
    ]
    events.push(deliver('t.i', 'out'), settle('t.i', 'accept', 'out'), again('i', 'in'), settle('i', 'accept', 'in'))
    expect(verdict(events)).toEqual([expect.stringMatching(/^I5: in delivered i .*took effect/)])
  })

  test('a transaction without an answer of which one output is missing [I5]', () => {
    const events = [publish('t.1', ['out'], { tx: 't' }), publish('t.2', ['out'], { tx: 't' }), begin('t')]
    expect(verdict([...events, deliver('t.1', 'out'), settle('t.1', 'accept', 'out')])).toEqual([
      expect.stringMatching(/^I5: .*in part/),
    ])
  })

  test('a purged message that is back [I6]', () => {
    const events = [
      publish('1'),
      confirm('1'),
      { kind: 'purging', queue: 'q', ids: ['1'] },
      { kind: 'purged', queue: 'q', ids: ['1'] },
    ]
    expect(verdict([...events, deliver('1'), settle('1')])).toEqual([expect.stringMatching(/^I6: q delivered 1/)])
  })

  test('a deleted queue that is back [I6]', () => {
    const events = ['declaring', 'declared', 'deleting', 'deleted'].map((kind) => ({ kind, name: 'x' }))
    expect(verdict([...events, { kind: 'seen', name: 'x', exists: true }])).toEqual(['I6: x was deleted and is back'])
  })

  test('a declared queue that is gone [I7]', () => {
    const events = ['declaring', 'declared'].map((kind) => ({ kind, name: 'x' }))
    expect(verdict([...events, { kind: 'seen', name: 'x', exists: false }])).toEqual(['I7: x was declared and is gone'])
  })

  test('nothing where a declaration or deletion was not answered', () => {
    const open = [{ kind: 'declaring', name: 'x' }]
    expect(verdict([...open, { kind: 'seen', name: 'x', exists: false }])).toEqual([])
    expect(verdict([...open, { kind: 'seen', name: 'x', exists: true }])).toEqual([])
  })
})
