import { expect, test } from 'vitest'
import type { Message } from '../message/message.ts'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import { METRIC } from '../telemetry/conventions.ts'
import type { Attributes, Span } from '../telemetry/telemetry.ts'
import { InboxWorld, Ticket, type TicketData } from '../testing/inbox-world.ts'
import { declareOn } from './declaration.ts'

test('each run of a handler is a span of its own, linked to its message, with what it failed with', async () => {
  const world = new InboxWorld()
  const spans: { name: string; links: readonly Message[]; attributes: Attributes; error?: unknown }[] = []
  const recorded: string[] = []
  let current: string | undefined
  world.telemetry.telemetry.span = (name, _, attributes, links): Span => {
    const span = { name, links, attributes: { ...attributes } }
    spans.push(span)
    return {
      traceparent: `trace-${spans.length}`,
      tracestate: undefined,
      set: (more) => Object.assign(span.attributes, more),
      end: (error) => void (error === undefined ? null : Object.assign(span, { error })),
    }
  }
  world.telemetry.telemetry.within = async (span, work) => {
    current = span.traceparent
    return work()
  }
  world.telemetry.telemetry.record = (name) => void recorded.push(name)
  const process = await world.process()
  const within: (string | undefined)[] = []
  let fails = true
  await process.consume(
    declareOn<MemoryTransaction, 'ticket.changed', TicketData>(Ticket, { name: 'close' }, () => {
      within.push(current)
      if (fails) throw new RangeError('not yet')
    }),
  )
  await world.send('a', 1)
  await world.settle()
  fails = false
  await world.clock.advance('2s')
  expect(spans.map(({ name, links, error }) => [name, links.map(({ id }) => id), error !== undefined])).toEqual([
    ['process ticket.changed', ['a1'], true],
    ['process ticket.changed', ['a1'], false],
  ])
  expect(spans[1]?.attributes).toMatchObject({
    'messaging.consumer.group.name': 'helpdesk.close',
    'messaging.message.id': 'a1',
    'stathmos.sdk.attempt': 2,
    'stathmos.sdk.message.key': 'a',
  })
  expect(within).toEqual(['trace-1', 'trace-2'])
  expect(recorded).toEqual([METRIC.processDuration, METRIC.processDuration, METRIC.inboxLag])
  expect(world.counted(METRIC.inboxFailures)).toBe(1)
  expect(world.counted(METRIC.consumed)).toBe(2)
})
